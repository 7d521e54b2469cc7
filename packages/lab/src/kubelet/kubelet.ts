import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { EventRecorder, Informer, type KubeClient, objectKey, type Pod, resources } from '@weft/kube';
import { errorMessage, type Logger, type Metrics } from '@weft/plan';
import { ImageStore } from '../images/index.ts';
import { type PodNetwork, Runtime } from '../runtime/index.ts';
import type { NodeContext } from './context.ts';
import { parseResolvConf } from './dns.ts';
import { NodeReporter } from './node.ts';
import { nodeCapacity, runtimeVersion } from './node-status.ts';
import { KubeletObjects } from './objects.ts';
import { uidOf } from './pod.ts';
import { KubeletServer, type ServedPod } from './server.ts';
import { Tokens } from './tokens.ts';
import { tearDownVolumes } from './volumes/volumes.ts';
import { PodWorker } from './worker.ts';

export interface KubeletOptions {
  readonly nodeName: string;
  /** Addresses of the node, the primary one first. */
  readonly nodeIPs: readonly string[];
  readonly client: KubeClient;
  /** Kept while the node is down: pods' volumes and logs, the runtime's records. */
  readonly dataDir: string;
  /** Sockets and mounts. */
  readonly runDir: string;
  /** Where logs, exec, attach and port-forward are served. Default `<runDir>/kubelet.sock`. */
  readonly socketPath?: string;
  /** The OCI layout that all nodes share. */
  readonly imagesDir: string;
  readonly network: PodNetwork;
  readonly clusterDNS: readonly string[];
  readonly clusterDomain: string;
  /** Address and port of the Service `kubernetes`, for pods' environment. */
  readonly kubernetesService?: { readonly host: string; readonly port: number };
  /** True in a mount namespace of the cluster's own; see RuntimeOptions. */
  readonly ownMounts?: boolean;
  /** Inside an unprivileged user namespace. For messages only: everything is tried and adapts by itself. */
  readonly rootless?: boolean;
  /** Labels of the Node object besides the usual ones. */
  readonly nodeLabels?: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Ends the kubelet; pods go on. */
  readonly signal: AbortSignal;
}

/** A running kubelet. */
export interface Kubelet {
  /** Pods of this node as it knows them. */
  pods(): Pod[];
  /** Ids of all sandboxes there are, also of those that are being made: whoever else holds an address holds it for nobody. */
  sandboxes(): string[];
  /** Resolves once the Node object is there. */
  readonly registered: Promise<void>;
  /** Stops looking after the pods; they run on. */
  stop(): Promise<void>;
  /** Ends every pod and gives everything back. For a node that is taken away. */
  removeAll(): Promise<void>;
}

/** kubelet's containerLogMaxSize. */
const LOG_MAX_BYTES = 10 * 1024 * 1024;
const LOG_CHECK_MS = 10_000;
/** Time between looks for what belongs to no pod, and after one that could not do everything. */
const SWEEP_MS = 60_000;
const SWEEP_RETRY_MS = 1000;

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/**
 * Starts the kubelet of a node: finds again the pods that run, registers the node, and leads the pods that the API
 * server assigns to it. Resolves when requests are served and existing pods are known.
 */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { nodeName, client, dataDir, runDir, log, metrics, signal } = options;
  mkdirSync(join(dataDir, 'pods'), { recursive: true });
  mkdirSync(runDir, { recursive: true });
  const images = ImageStore.open(options.imagesDir);
  const workers = new Map<string, PodWorker>();
  const runtime = await Runtime.open({
    dataDir,
    runDir,
    images,
    network: options.network,
    log,
    ownMounts: options.ownMounts ?? true,
    onExit: (container) => workers.get(container.labels.uid ?? '')?.containerEnded(container),
    onSandboxLost: (sandbox) => workers.get(sandbox.uid)?.wake(),
  });
  const capacity = nodeCapacity(dataDir);
  const context: NodeContext = {
    nodeName,
    nodeIPs: options.nodeIPs,
    client,
    runtime,
    images,
    network: options.network,
    objects: new KubeletObjects({
      client,
      log,
      signal,
      onChange: (key) => {
        for (const worker of workers.values()) worker.objectChanged(key);
      },
    }),
    tokens: new Tokens(client),
    events: new EventRecorder({ client, component: 'kubelet', host: nodeName, log }),
    dns: { servers: options.clusterDNS, domain: options.clusterDomain },
    kubernetesService: options.kubernetesService,
    allocatable: capacity,
    dataDir,
    resolvConf: () => parseResolvConf(readOr('/etc/resolv.conf', '')),
    hosts: () => readOr('/etc/hosts', '127.0.0.1\tlocalhost\n'),
    log,
  };

  const byName = new Map<string, PodWorker>();
  const accept = (pod: Pod): void => {
    const uid = uidOf(pod);
    const known = workers.get(uid);
    if (known !== undefined) return known.update(pod);
    const worker = new PodWorker(context, pod, () => {
      workers.delete(uid);
      if (byName.get(objectKey(pod)) === worker) byName.delete(objectKey(pod));
    });
    workers.set(uid, worker);
    byName.set(objectKey(pod), worker);
    worker.wake();
  };
  let sweeping: NodeJS.Timeout | undefined;
  const sweep = async (): Promise<void> => {
    let done = false;
    try {
      done = await clearOrphans(context, workers);
    } catch (error) {
      log.error('cannot clear what no pod owns', { error });
    }
    if (signal.aborted) return;
    // Right after a start the network may not be there yet to take addresses back.
    sweeping = setTimeout(() => void sweep(), done ? SWEEP_MS : SWEEP_RETRY_MS);
    sweeping.unref();
  };
  const informer = new Informer<Pod>({
    client,
    type: resources.pods,
    fieldSelector: `spec.nodeName=${nodeName}`,
    name: 'kubelet-pods',
    log,
    metrics,
  });
  informer.on({
    add: accept,
    update: (before, after) => {
      if (uidOf(before) !== uidOf(after)) workers.get(uidOf(before))?.remove();
      accept(after);
    },
    delete: (pod) => workers.get(uidOf(pod))?.remove(),
    synced: () => void sweep(),
  });

  const find = (namespace: string, name: string): ServedPod | undefined => {
    const worker = byName.get(`${namespace}/${name}`);
    if (worker === undefined) return undefined;
    const sandbox = worker.sandboxId === undefined ? undefined : runtime.sandboxes.get(worker.sandboxId);
    return { pod: worker.pod, status: worker.status, sandbox, containers: (container) => worker.containers(container) };
  };
  const server = new KubeletServer({
    socketPath: options.socketPath ?? join(runDir, 'kubelet.sock'),
    runtime,
    find,
    log,
  });
  await server.start();
  const reporter = new NodeReporter({
    nodeName,
    nodeIPs: options.nodeIPs,
    client,
    network: options.network,
    images,
    capacity,
    runtimeVersion: runtimeVersion(runtime.tools.runc),
    ...(options.nodeLabels === undefined ? {} : { labels: options.nodeLabels }),
    log,
    signal,
  });
  const registered = reporter.start();
  registered.catch((error: unknown) => log.error('cannot register the node', { error }));
  informer.start(signal);
  const gauge = metrics.gauge('weft_kubelet_pods', 'Pods that this node looks after.');
  metrics.beforeRender(() => gauge.set(workers.size));

  const rotation = setInterval(() => void runtime.rotateLogs(LOG_MAX_BYTES), LOG_CHECK_MS);
  rotation.unref();
  const stop = async (): Promise<void> => {
    clearInterval(rotation);
    clearTimeout(sweeping);
    reporter.stop();
    server.stop();
    for (const worker of workers.values()) worker.close();
    runtime.close();
    await context.events.flush().catch(() => {});
  };
  signal.addEventListener('abort', () => void stop(), { once: true });
  return {
    pods: () => [...workers.values()].map((worker) => worker.pod),
    sandboxes: () => runtime.sandboxes.list().map((sandbox) => sandbox.id),
    registered,
    stop,
    removeAll: async () => {
      await stop();
      await Promise.all([...workers.values()].map((worker) => worker.settled()));
      await runtime.removeAll();
      for (const uid of readdirSync(join(dataDir, 'pods'))) tearDownVolumes(join(dataDir, 'pods', uid), undefined);
    },
  };
}

/** Ends what runs for pods that are no more, and removes what they left. False when something has to be tried again. */
async function clearOrphans(context: NodeContext, workers: ReadonlyMap<string, PodWorker>): Promise<boolean> {
  const { runtime, dataDir, log } = context;
  let done = true;
  for (const sandbox of runtime.sandboxes.list()) {
    if (workers.has(sandbox.uid)) continue;
    log.info('ending a pod that is no more', { pod: `${sandbox.namespace}/${sandbox.name}`, uid: sandbox.uid });
    await runtime.removeSandbox(sandbox.id).catch((error: unknown) => {
      done = false;
      log.warn('cannot end it; it is tried again', { sandbox: sandbox.id, error: errorMessage(error) });
    });
  }
  for (const container of runtime.containers.list()) {
    if (!workers.has(container.labels.uid ?? '')) await runtime.containers.remove(container.id);
  }
  const pods = join(dataDir, 'pods');
  for (const uid of readdirSync(pods)) if (!workers.has(uid)) tearDownVolumes(join(pods, uid), undefined);
  const logs = join(dataDir, 'logs');
  if (!existsSync(logs)) return done;
  for (const name of readdirSync(logs)) {
    const uid = name.split('_').at(-1) ?? '';
    if (!workers.has(uid)) rmSync(join(logs, name), { recursive: true, force: true });
  }
  return done;
}
