import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { findCluster } from '@weft/lab';
import { KubeClient, type Pod, resources } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';
import { cacheDir, fetchKubectl, KUBECTL_VERSION, kubectlOnPath } from '../kubectl.ts';

/** Where the inspector of a DNS server listens in its pod; deploy/dns.yaml says so too. */
const INSPECT_PORT = 9154;
const FORWARD_MS = 15_000;

export interface ClusterChoice {
  readonly name: string;
  readonly kubeconfig?: string;
}

/** A cluster whose DNS is looked into: any that a kubeconfig leads to. */
export class DnsCluster {
  readonly client: KubeClient;
  readonly domain: string | undefined;
  readonly #kubeconfig: string;

  private constructor(client: KubeClient, kubeconfig: string, domain: string | undefined) {
    this.client = client;
    this.domain = domain;
    this.#kubeconfig = kubeconfig;
  }

  /** The lab cluster of that name, or the one that the given kubeconfig's current context names. */
  static async open(choice: ClusterChoice): Promise<DnsCluster> {
    if (choice.kubeconfig !== undefined) {
      return new DnsCluster(await KubeClient.fromKubeconfig(choice.kubeconfig), choice.kubeconfig, undefined);
    }
    const cluster = findCluster(choice.name, hostContext());
    if (cluster === undefined || !existsSync(cluster.paths.kubeconfig)) {
      throw new WeftError({
        code: 'NO_SUCH_CLUSTER',
        message: `there is no cluster "${choice.name}"`,
        hint: 'weft status lists the clusters of this machine; --kubeconfig FILE leads to any other',
      });
    }
    const { kubeconfig } = cluster.paths;
    return new DnsCluster(await KubeClient.fromKubeconfig(kubeconfig), kubeconfig, cluster.config.clusterDomain);
  }

  close(): void {
    this.client.close();
  }

  async pods(): Promise<Pod[]> {
    return (await this.client.list<Pod>(resources.pods, undefined)).items;
  }

  /** The pods of cluster DNS that answer now. */
  async servers(): Promise<string[]> {
    const { items } = await this.client.list<Pod>(resources.pods, 'kube-system', { labelSelector: 'k8s-app=kube-dns' });
    const ready = items.filter(
      (pod) =>
        pod.metadata.deletionTimestamp === undefined &&
        pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
    );
    if (ready.length > 0) return ready.map((pod) => pod.metadata.name);
    throw new WeftError({
      code: 'NO_DNS_PODS',
      message: 'no pod of kube-system with the label k8s-app=kube-dns is ready',
      hint: 'kubectl -n kube-system get pods -l k8s-app=kube-dns tells why',
    });
  }

  /** What a program in a pod prints; undefined when it fails. */
  async exec(namespace: string, pod: string, command: readonly string[]): Promise<string | undefined> {
    const child = this.#kubectl(['exec', '-n', namespace, pod, '--', ...command]);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    const code = await new Promise<number | null>((resolve) => {
      child.on('error', () => resolve(1));
      child.on('close', resolve);
    });
    return code === 0 ? text : undefined;
  }

  /** Lets `use` ask the inspector of a DNS pod, through a port that kubectl forwards. */
  async inspect<T>(pod: string, use: (ask: <R>(path: string) => Promise<R>) => Promise<T>): Promise<T> {
    const child = this.#kubectl(['port-forward', '-n', 'kube-system', `pod/${pod}`, `:${INSPECT_PORT}`]);
    try {
      const port = await forwardedPort(child);
      return await use((path) => ask(port, path, pod));
    } finally {
      child.kill('SIGTERM');
    }
  }

  #kubectl(args: readonly string[]): ReturnType<typeof spawnKubectl> {
    const program =
      kubectlOnPath() ?? fetchKubectl(KUBECTL_VERSION, cacheDir(), (text) => process.stderr.write(`weft: ${text}\n`));
    return spawnKubectl(program, args, this.#kubeconfig);
  }
}

function spawnKubectl(program: string, args: readonly string[], kubeconfig: string) {
  return spawn(program, [...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
}

function forwardedPort(child: ReturnType<typeof spawnKubectl>): Promise<number> {
  return new Promise((resolve, reject) => {
    let out = '';
    let errors = '';
    const fail = (why: string): void =>
      reject(
        new WeftError({
          code: 'PORT_FORWARD',
          message: `cannot forward a port of the DNS pod: ${why.trim()}`,
          hint: 'you need the right to create pods/portforward in kube-system',
        }),
      );
    const timer = setTimeout(() => fail(`nothing within ${FORWARD_MS / 1000} s`), FORWARD_MS);
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString('utf8');
      const port = /127\.0\.0\.1:(\d+) ->/.exec(out)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      resolve(Number(port));
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString('utf8');
    });
    child.on('error', (error) => fail(error.message));
    child.on('close', () => {
      clearTimeout(timer);
      fail(errors || 'kubectl ended');
    });
  });
}

async function ask<R>(port: number, path: string, pod: string): Promise<R> {
  let response: Response;
  try {
    response = await fetch(`http://127.0.0.1:${port}${path}`);
  } catch (error) {
    throw new WeftError({
      code: 'NO_INSPECTOR',
      message: `pod ${pod} does not answer on port ${INSPECT_PORT} of its loopback`,
      hint: `only Weft's DNS server can be looked into, started with -inspect 127.0.0.1:${INSPECT_PORT} as in deploy/dns.yaml`,
      cause: error,
    });
  }
  const body = (await response.json()) as R & { error?: string };
  if (!response.ok) throw new WeftError({ code: 'BAD_QUERY', message: body.error ?? `status ${response.status}` });
  return body;
}
