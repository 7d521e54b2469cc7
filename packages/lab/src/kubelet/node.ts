import { isStatus, type KubeClient, type Lease, microTimestamp, type Node, resources, wellKnown } from '@weft/kube';
import { errorMessage, type Logger } from '@weft/plan';
import type { ImageStore } from '../images/index.ts';
import { goArch } from '../images/oci.ts';
import type { PodNetwork } from '../runtime/index.ts';
import { nodeStatus } from './node-status.ts';

const LEASE_MS = 10_000;
const LEASE_SECONDS = 40;
/** A status that does not change is written this often (kubelet's nodeStatusReportFrequency). */
const REPORT_MS = 300_000;
const CHECK_MS = 2000;
/** Until the network is ready for the first time. */
const EAGER_CHECK_MS = 20;
const EAGER_FOR_MS = 10_000;
const RETRY_MS = 500;

export interface NodeReporterOptions {
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly client: KubeClient;
  readonly network: PodNetwork;
  readonly images: ImageStore;
  readonly capacity: Readonly<Record<string, string>>;
  readonly runtimeVersion: Promise<string>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Registers the Node object, keeps its status and its lease. Retries for ever. */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  #node: Node | undefined;
  #problem: string | undefined = 'the node is starting';
  #reported: string | undefined;
  #reportedAt = 0;
  /** Last renewal of the lease. A longer pause than the lease allows makes the control plane write the node off. */
  #aliveAt = Date.now();
  #beganAt = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #leaseTimer: NodeJS.Timeout | undefined;
  #leaseMade = false;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.stop(), { once: true });
  }

  /** Resolves once the Node object is there. */
  async start(): Promise<void> {
    while (!this.#options.signal.aborted) {
      try {
        await this.#register();
        break;
      } catch (error) {
        this.#options.log.warn('cannot register the node; it is tried again', { error: errorMessage(error) });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    void this.#check();
    void this.#renewLease();
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#leaseTimer);
  }

  async #status(): Promise<ReturnType<typeof nodeStatus>> {
    const { nodeName, nodeIPs, capacity, images, runtimeVersion } = this.#options;
    return nodeStatus(
      {
        nodeName,
        nodeIPs,
        capacity,
        images,
        runtimeVersion: await runtimeVersion,
        networkProblem: this.#problem,
        before: this.#node,
      },
      Date.now(),
    );
  }

  async #register(): Promise<void> {
    const { client, nodeName, network } = this.#options;
    this.#problem = await network.check?.();
    const labels: Record<string, string> = {
      'beta.kubernetes.io/arch': goArch(),
      'beta.kubernetes.io/os': 'linux',
      [wellKnown.labels.arch]: goArch(),
      [wellKnown.labels.hostname]: nodeName,
      [wellKnown.labels.os]: 'linux',
      ...this.#options.labels,
    };
    const annotations = { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' };
    try {
      this.#node = await client.create(resources.nodes, {
        metadata: { name: nodeName, labels, annotations },
        spec: {},
        status: await this.#status(),
      });
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
      this.#node = await client.get(resources.nodes, undefined, nodeName);
      const missing = Object.entries(labels).some(([key, value]) => this.#node?.metadata.labels?.[key] !== value);
      if (missing)
        await client.patch(resources.nodes, undefined, nodeName, { metadata: { labels } }, { type: 'merge' });
    }
    const ready = this.#node.status?.conditions?.find((c) => c.type === 'Ready');
    if (ready !== undefined && this.#node.status?.nodeInfo !== undefined && this.#isFresh(this.#node)) {
      this.#reported = this.#digest();
      this.#reportedAt = Date.now();
    } else await this.#report();
  }

  /** True for a Node that was just made with the status that it was given. */
  #isFresh(node: Node): boolean {
    const beat = node.status?.conditions?.find((c) => c.type === 'Ready')?.lastHeartbeatTime;
    return beat !== undefined && Math.abs(Date.parse(beat) - Date.now()) < 1500 && this.#reported === undefined;
  }

  #digest(): string {
    return JSON.stringify([this.#problem ?? null, this.#options.images.list().map((i) => i.ref + i.configDigest)]);
  }

  async #report(): Promise<void> {
    const { client, nodeName } = this.#options;
    const digest = this.#digest();
    const status = await this.#status();
    this.#node = await client.patch<Node>(
      resources.nodes,
      undefined,
      nodeName,
      { status },
      { type: 'merge', subresource: 'status' },
    );
    this.#reported = digest;
    this.#reportedAt = Date.now();
  }

  async #check(): Promise<void> {
    const { signal, network, log } = this.#options;
    if (signal.aborted) return;
    let wait = CHECK_MS;
    try {
      this.#problem = await network.check?.();
      if (this.#digest() !== this.#reported || Date.now() - this.#reportedAt > REPORT_MS) await this.#report();
      if (this.#problem !== undefined) wait = Date.now() - this.#beganAt < EAGER_FOR_MS ? EAGER_CHECK_MS : RETRY_MS;
    } catch (error) {
      wait = RETRY_MS;
      if (isStatus(error, 'NotFound')) {
        log.warn('the Node object is gone; it is registered again');
        this.#reported = undefined;
        await this.#register().catch((cause: unknown) =>
          log.warn('cannot register the node', { error: errorMessage(cause) }),
        );
      } else log.warn('cannot report the state of the node', { error: errorMessage(error) });
    }
    this.#timer = setTimeout(() => void this.#check(), wait);
    this.#timer.unref();
  }

  async #renewLease(): Promise<void> {
    const { client, nodeName, signal, log } = this.#options;
    if (signal.aborted) return;
    const namespace = wellKnown.NODE_LEASE_NAMESPACE;
    const renewTime = microTimestamp(Date.now());
    let wait = LEASE_MS;
    try {
      if (this.#leaseMade) {
        await client.patch(resources.leases, namespace, nodeName, { spec: { renewTime } }, { type: 'merge' });
      } else {
        const uid = this.#node?.metadata.uid ?? '';
        const spec: NonNullable<Lease['spec']> = {
          holderIdentity: nodeName,
          leaseDurationSeconds: LEASE_SECONDS,
          renewTime,
        };
        const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }];
        await client
          .create(resources.leases, { metadata: { name: nodeName, namespace, ownerReferences }, spec })
          .catch(async (error: unknown) => {
            if (!isStatus(error, 'AlreadyExists')) throw error;
            await client.patch(resources.leases, namespace, nodeName, { spec }, { type: 'merge' });
          });
        this.#leaseMade = true;
      }
      // Written off as Unknown meanwhile, whatever was reported last: say again how things are.
      if (Date.now() - this.#aliveAt > LEASE_SECONDS * 1000) this.#reported = undefined;
      this.#aliveAt = Date.now();
    } catch (error) {
      if (isStatus(error, 'NotFound')) this.#leaseMade = false;
      log.debug('cannot renew the lease of the node', { error: errorMessage(error) });
      wait = 1000;
    }
    this.#leaseTimer = setTimeout(() => void this.#renewLease(), wait);
    this.#leaseTimer.unref();
  }
}
