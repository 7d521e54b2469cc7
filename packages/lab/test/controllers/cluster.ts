import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '@weft/apiserver';
import {
  type Draft,
  Informer,
  KubeClient,
  type KubeObject,
  type Node,
  type Pod,
  type ResourceType,
  resources,
} from '@weft/kube';
import { type Logger, Metrics, silentLogger } from '@weft/plan';

/** A real API server in a directory of its own, with a client, for controllers to run against. */
export class TestCluster {
  readonly directory: string;
  readonly client: KubeClient;
  readonly metrics = new Metrics();
  readonly log: Logger;
  readonly #stop = new AbortController();
  readonly #server: ApiServer;

  private constructor(directory: string, server: ApiServer, log: Logger) {
    this.directory = directory;
    this.#server = server;
    this.log = log;
    this.client = new KubeClient({ transport: { kind: 'unix', path: path.join(directory, 'api.sock') } });
  }

  static async start(log: Logger = silentLogger): Promise<TestCluster> {
    const directory = mkdtempSync(path.join(tmpdir(), 'weft-workloads-'));
    const server = await startApiServer({
      dataDir: path.join(directory, 'data'),
      listen: undefined,
      unixPath: path.join(directory, 'api.sock'),
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: [30_000, 32_767],
      clusterDomain: 'cluster.local',
      durability: 'none',
      log,
      metrics: new Metrics(),
    });
    return new TestCluster(directory, server, log);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** What startControllers and startWorkloads take. */
  get common(): { client: KubeClient; log: Logger; metrics: Metrics; signal: AbortSignal } {
    return { client: this.client, log: this.log, metrics: this.metrics, signal: this.signal };
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.client.close();
    await this.#server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: Draft<T>): Promise<T> {
    const namespace = type.namespaced ? { namespace: 'default' } : {};
    return this.client.create(type, { ...object, metadata: { ...namespace, ...object.metadata } });
  }

  get<T extends KubeObject>(type: ResourceType<T>, name: string): Promise<T> {
    return this.client.get(type, type.namespaced ? 'default' : undefined, name);
  }

  async list<T extends KubeObject>(type: ResourceType<T>, labelSelector?: string): Promise<T[]> {
    const namespace = type.namespaced ? 'default' : undefined;
    return (await this.client.list(type, namespace, labelSelector === undefined ? {} : { labelSelector })).items;
  }

  /** Asks again until the answer is true; the test's own time limit ends a wait in vain. */
  async until<T>(ask: () => Promise<T | undefined | false>): Promise<T> {
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Messages of the events about an object. */
  async events(name: string): Promise<string[]> {
    const { items } = await this.client.list(resources.events, undefined, {
      fieldSelector: `involvedObject.name=${name}`,
    });
    return items.map((e) => `${e.type} ${e.reason} ${e.message}`);
  }

  /** A Node that is ready, as its kubelet would say. */
  node(name: string, fields: { labels?: Record<string, string>; spec?: Node['spec'] } = {}): Promise<Node> {
    const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    return this.create(resources.nodes, {
      metadata: { name, labels: { 'kubernetes.io/hostname': name, ...fields.labels } },
      ...(fields.spec === undefined ? {} : { spec: fields.spec }),
      status: {
        conditions: [
          {
            type: 'Ready',
            status: 'True',
            reason: 'KubeletReady',
            message: 'ready',
            lastHeartbeatTime: time,
            lastTransitionTime: time,
          },
        ],
      },
    });
  }

  /** Says of a pod what its kubelet would say once it runs. */
  async run(pod: Pod, ip: string, ready = true): Promise<Pod> {
    const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const status = {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      startTime: time,
      conditions: [
        ...(pod.status?.conditions ?? []).filter((c) => !['Ready', 'ContainersReady'].includes(c.type)),
        { type: 'ContainersReady', status: ready ? 'True' : 'False', lastTransitionTime: time },
        { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: time },
      ],
    };
    return this.client.patch(
      resources.pods,
      pod.metadata.namespace,
      pod.metadata.name,
      { status },
      {
        subresource: 'status',
      },
    );
  }
}

/** Runs every pod that is bound to a node, and ends those that are deleted: the kubelets of all nodes. */
export class Kubelets {
  /** Pods whose names this matches never become ready. */
  broken: RegExp | undefined;
  /** Nodes whose kubelet has died. */
  readonly dead = new Set<string>();
  readonly pods: Informer<Pod>;
  readonly #cluster: TestCluster;
  #next = 1;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.pods = new Informer({ client: cluster.client, type: resources.pods });
    const look = (pod: Pod): void => {
      void this.#look(pod).catch(() => {});
    };
    this.pods.on({ add: look, update: (_, after) => look(after) });
    this.pods.start(cluster.signal);
  }

  async #look(pod: Pod): Promise<void> {
    const { namespace, name } = pod.metadata;
    if (!pod.spec.nodeName || this.dead.has(pod.spec.nodeName)) return;
    if (pod.metadata.deletionTimestamp !== undefined) {
      await this.#cluster.client.delete(resources.pods, namespace, name, { gracePeriodSeconds: 0 });
    } else if (pod.status?.podIP === undefined && pod.status?.phase === 'Pending') {
      const n = this.#next++;
      await this.#cluster.run(pod, `10.244.${n >> 8}.${n & 255}`, !this.broken?.test(name));
    }
  }
}

export function podTemplate(app: string): { metadata: { labels: Record<string, string> }; spec: Pod['spec'] } {
  return {
    metadata: { labels: { app } },
    spec: { containers: [{ name: 'c', image: 'nginx', ports: [{ name: 'http', containerPort: 80 }] }] },
  };
}
