import {
  CniServer,
  defaultConflist,
  type Installed,
  installPlugins,
  networksConflist,
  type PodAttachment,
} from '@weft/cni';
import { type AnnouncedService, Fabric, type FabricConfig, L2Announcer } from '@weft/fabric';
import { EventRecorder, Informer, type KubeClient, type Node, resources, type Service } from '@weft/kube';
import { errorMessage, type Logger, type Metrics } from '@weft/plan';
import { type EbpfPlaces, type Mode, proxyInformers, ServiceProxy } from '@weft/proxy';
import { AddressBook } from './addresses/book.ts';
import { AddressCache } from './addresses/cache.ts';
import { BlockRoutes } from './addresses/routes.ts';
import { BgpObjects } from './bgp.ts';
import { writeConflist } from './conflist.ts';
import { type HealthCheck, healthServer, listenOrReport } from './http.ts';
import { L2_NETWORKS, slimBalancer } from './balancers.ts';
import { PodNetworks } from './networks/pod-networks.ts';
import { podCidrsOf, slimNode } from './nodes.ts';
import { ProxyModeFollower } from './proxy-mode.ts';

export interface AgentOptions {
  /** Name of this machine's Node object. */
  readonly nodeName: string;
  readonly client: KubeClient;
  /** Pod CIDRs of the whole cluster, one per family. */
  readonly clusterCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly fabric: FabricConfig;
  readonly cni: {
    /** Where runtimes look for network configurations, usually /etc/cni/net.d. */
    readonly confDir: string;
    /** Where runtimes look for plugins, usually /opt/cni/bin. */
    readonly binDir: string;
    readonly socketPath: string;
    /** Journals of addresses and host ports. */
    readonly stateDir: string;
    /** Keeps the compiled shim for the next start. */
    readonly shimCacheDir?: string;
    readonly shimSourceDir?: string;
    /** The shim as it was built with this program, where it was. */
    readonly shimPrebuilt?: string;
  };
  /** Whether Services are this agent's as well, and not kube-proxy's. Default true. */
  readonly services?: boolean;
  /** Where NodePorts answer; see ServiceProxy. */
  readonly nodePortAddresses?: readonly string[];
  /** Data plane of Services, unless the Node's annotation says another one. Default nftables. */
  readonly proxyMode?: Mode;
  /** Where the programs of the ebpf data plane work. Default: the whole machine. */
  readonly ebpf?: EbpfPlaces;
  /** Answer for addresses of load balancers on the node's network when the controller chooses this node. */
  readonly announce?: boolean;
  /** Address of /healthz, /readyz and /metrics; none when absent. */
  readonly listen?: { readonly host: string; readonly port: number };
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/** Name of the configuration file; runtimes take the first in order. */
const CONFLIST = '10-weft.conflist';

/**
 * The node daemon: pod network, routes to other nodes and Services of one machine, over one set of watches. It knows
 * nothing of containers; whoever runs them calls the CNI plugins that it installs.
 */
export class Agent {
  readonly cni: CniServer;
  readonly fabric: Fabric;
  readonly proxy: ServiceProxy;
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #nodes: Informer<Node>;
  readonly #mode: ProxyModeFollower;
  readonly #announcer: L2Announcer | undefined;
  readonly #balancers: Informer<Service, AnnouncedService> | undefined;
  readonly #cache: AddressCache;
  readonly #bgp: BgpObjects | undefined;
  readonly #addresses: AddressBook;
  #installed: Installed | undefined;
  #networkProblem: string | undefined = 'the agent is starting';
  #conflistFor = '';

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#log = options.log;
    const { client, log, metrics, nodeName } = options;
    this.#nodes = new Informer<Node>({
      client,
      type: resources.nodes,
      transform: slimNode,
      name: 'nodes',
      log,
      metrics,
    });
    const events = new EventRecorder({ client, component: 'weft-agent', host: nodeName, log });
    this.#cache = new AddressCache({ nodeName, client, nodes: this.#nodes, log, metrics });
    this.#addresses = new AddressBook({ nodeName, client, cache: this.#cache, events, log, metrics });
    const { socketPath, stateDir } = options.cni;
    this.cni = new CniServer({
      socketPath,
      stateDir,
      addresses: this.#addresses,
      networks: new PodNetworks({ client, cache: this.#cache, events, log, signal: options.signal }),
      confDir: options.cni.confDir,
      problem: () => this.#networkProblem ?? this.#fabricProblem(),
      log,
      metrics,
    });
    const blocks = new BlockRoutes(this.#cache);
    if (options.fabric.backend === 'bgp') {
      this.#bgp = new BgpObjects({ nodeName, client, cache: this.#cache, log, metrics });
    }
    this.fabric = new Fabric({
      nodeName,
      nodes: this.#nodes,
      blocks,
      ...(this.#bgp === undefined ? {} : { bgp: this.#bgp }),
      config: options.fabric,
      log,
      metrics,
    });
    const { services, slices, start } = proxyInformers({ client, nodeName, log, metrics });
    this.proxy = new ServiceProxy({
      nodeName,
      sources: { services, slices, node: this.#nodes },
      dataPlane: options.proxyMode ?? 'nftables',
      event: (service, type, reason, message) => {
        const [namespace = '', name = ''] = service.split('/');
        events.event({ apiVersion: 'v1', kind: 'Service', namespace, name }, type, reason, message);
      },
      clusterCidrs: options.clusterCidrs,
      serviceCidrs: options.serviceCidrs,
      ...(options.nodePortAddresses === undefined ? {} : { nodePortAddresses: options.nodePortAddresses }),
      ...(options.ebpf === undefined ? {} : { ebpf: options.ebpf }),
      log,
      metrics,
    });
    if (options.announce === true) {
      const shared = { client, log, metrics, name: 'balancers' };
      this.#balancers = new Informer({ ...shared, type: resources.services, transform: slimBalancer });
      const networks = (cidrs: readonly string[]): void => void this.#tellNetworks(cidrs);
      this.#announcer = new L2Announcer({ nodeName, services: this.#balancers, log, metrics, networks });
    }
    this.#startServices = start;
    const fallback = options.proxyMode ?? 'nftables';
    this.#mode = new ProxyModeFollower({ nodeName, client, proxy: this.proxy, events, fallback, log });
  }

  readonly #startServices: (signal: AbortSignal) => void;

  /** Says on the Node which networks it is on, so that it is chosen for no address that it cannot announce. */
  async #tellNetworks(cidrs: readonly string[]): Promise<void> {
    const { client, nodeName, signal } = this.#options;
    const patch = { metadata: { annotations: { [L2_NETWORKS]: cidrs.join(',') } } };
    for (let delay = 1000; !signal.aborted; delay = Math.min(delay * 2, 60_000)) {
      try {
        await client.patch(resources.nodes, undefined, nodeName, patch);
        return;
      } catch (error) {
        this.#log.warn('cannot say on the Node which networks it is on', { error, retryInMs: delay });
        await new Promise((resolve) => setTimeout(resolve, delay).unref());
      }
    }
  }

  /** Brings everything up; resolves when the plugins can be called and what exists now is programmed. */
  async start(): Promise<void> {
    const { signal, cni, listen } = this.#options;
    if (listen !== undefined) this.#serveHealth(listen);
    this.#nodes.start(signal);
    this.#cache.start(signal);
    this.#addresses.start(signal);
    this.#bgp?.start(signal);
    if (this.#services) this.#startServices(signal);
    this.#balancers?.start(signal);
    signal.addEventListener('abort', () => void this.#stop(), { once: true });
    const [installed] = await Promise.all([
      installPlugins({
        binDir: cni.binDir,
        agentSocket: cni.socketPath,
        ...(cni.shimCacheDir === undefined ? {} : { cacheDir: cni.shimCacheDir }),
        ...(cni.shimSourceDir === undefined ? {} : { sourceDir: cni.shimSourceDir }),
        ...(cni.shimPrebuilt === undefined ? {} : { prebuilt: cni.shimPrebuilt }),
      }),
      this.cni.start(),
      this.#services ? this.proxy.start(signal) : undefined,
      this.fabric.start(),
      this.#announcer?.start(),
    ]);
    this.#installed = installed;
    if (installed.kind === 'node') this.#log.warn('CNI plugins run as Node scripts', { why: installed.why });
    this.#nodes.on({ add: (n) => this.#configure(n), update: (_, n) => this.#configure(n) });
    this.#cache.onChange((change) => {
      const own = change === 'pools' ? this.#nodes.get(this.#options.nodeName) : undefined;
      if (own !== undefined) this.#configure(own);
    });
    if (this.#services) this.#nodes.on({ add: (n) => this.#mode.node(n), update: (_, n) => this.#mode.node(n) });
  }

  get #services(): boolean {
    return this.#options.services ?? true;
  }

  /** Why pods cannot be given a network now, or undefined. */
  get networkProblem(): string | undefined {
    return this.#networkProblem;
  }

  /** How the CNI plugins were installed; undefined before that. */
  get installed(): Installed | undefined {
    return this.#installed;
  }

  /** Frees what sandboxes hold that are no more. `asOf`: when the list was taken, milliseconds since the epoch. */
  async reconcileSandboxes(valid: readonly string[], asOf: number): Promise<readonly PodAttachment[]> {
    const { freed } = await this.cni.reconcile(
      valid.map((containerId) => ({ containerId, ifname: '' })),
      { asOf },
    );
    for (const { containerId, addresses, pod } of freed) {
      const name = pod === undefined ? undefined : `${pod.namespace}/${pod.name}`;
      this.#log.warn('freed what a vanished pod had held', { pod: name, containerId, addresses });
      this.#addresses.leaked(pod, containerId, addresses);
    }
    return freed;
  }

  /** Writes the CNI configuration as soon as this node has pod CIDRs, and again when they or the MTU change. */
  #configure(node: Node): void {
    const { nodeName, cni } = this.#options;
    if (node.metadata.name !== nodeName) return;
    const podCidrs = podCidrsOf(node);
    const mtu = this.fabric.podMtu;
    if (podCidrs.length === 0 && this.#cache.pools().length === 0) {
      this.#networkProblem = `node ${nodeName} has no spec.podCIDR yet, and there is no IPPool`;
      return;
    }
    if (mtu === undefined) {
      // The node's address is not on an interface yet; the fabric looks again by itself.
      this.#networkProblem = `the InternalIP of node ${nodeName} is on none of its interfaces`;
      setTimeout(() => this.#configure(this.#nodes.get(nodeName) ?? node), 50).unref();
      return;
    }
    const wanted = `${mtu} ${podCidrs.join(',')}`;
    if (wanted === this.#conflistFor) return;
    try {
      const { socketPath: agentSocket } = cni;
      const first = defaultConflist({ mtu, podCidrs, agentSocket });
      writeConflist(cni.confDir, CONFLIST, networksConflist(first, { agentSocket }));
      this.#conflistFor = wanted;
      this.#networkProblem = undefined;
      this.#log.info('pod network configured', { podCidrs, mtu, backend: this.fabric.backend });
    } catch (error) {
      this.#networkProblem = errorMessage(error);
      this.#log.error('cannot configure the pod network', { error, podCidrs });
    }
  }

  /** What keeps this node's own part of the fabric from working. */
  #fabricProblem(): string | undefined {
    const own = this.fabric.conditions.filter((c) => c.node === this.#options.nodeName);
    return own.map((c) => c.message).join('; ') || undefined;
  }

  #serveHealth(listen: { readonly host: string; readonly port: number }): void {
    const proxy = (problem: () => string | undefined): HealthCheck[] =>
      this.#services ? [{ name: 'proxy', problem }] : [];
    const server = healthServer({
      live: proxy(() =>
        this.proxy.health.healthy || this.proxy.state.applies === 0
          ? undefined
          : 'Services have been waiting for too long',
      ),
      ready: [
        { name: 'network', problem: () => this.#networkProblem },
        ...proxy(() => (this.proxy.health.healthy ? undefined : 'Services are not in effect')),
        {
          name: 'fabric',
          // A peer that cannot be reached is in the log and the metrics; it must not take every node out of service.
          problem: () => this.#fabricProblem(),
        },
      ],
      metrics: this.#options.metrics,
      documents: {
        '/bgp': () => this.fabric.bgpStatus,
        '/fabric': () => this.fabric.status,
        '/services/traffic': (query) => (this.#services ? this.proxy.traffic(query.get('service') ?? '') : undefined),
      },
    });
    listenOrReport(server, listen, this.#log);
    this.#options.signal.addEventListener('abort', () => server.close(), { once: true });
  }

  async #stop(): Promise<void> {
    const proxy = this.#services ? this.proxy.stop() : undefined;
    await Promise.all([this.fabric.stop(), this.cni.stop(), proxy, this.#announcer?.stop()]);
  }
}
