import type { KubeClient, Node } from '@weft/kube';
import { Informer, resources } from '@weft/kube';
import { Conntrack, type Flow, type NetNs } from '@weft/kernel';
import { type PortTraffic, trafficOf } from './explain/traffic.ts';
import type { Family } from '@weft/net';
import { type Diff, type Logger, type LoopState, Metrics, type Plan, PlanLoop, silentLogger } from '@weft/plan';
import { UdpCleaner } from './conntrack/cleaner.ts';
import { HealthCheckServers } from './healthcheck/server.ts';
import type { FamilyConfig } from './config.ts';
import type { DataPlane } from './dataplane.ts';
import { ProxyMetrics } from './metrics.ts';
import { type NodeFacts, nodeFacts } from './model/node.ts';
import { PROXY_SELECTOR, slimService, type SlimService, slimSlice, type SlimSlice } from './model/slim.ts';
import { type Planned, type ServicePort, servicePortName } from './model/types.ts';
import { World } from './model/world.ts';
import { NO_CHANGE, wholePlan } from './whole.ts';
import { IptablesDataPlane } from './iptables/dataplane.ts';
import { IpvsDataPlane } from './ipvs/dataplane.ts';
import { EbpfDataPlane } from './ebpf/dataplane.ts';
import type { EbpfPlaces } from './ebpf/kernel.ts';
import { NODE_PLACES } from './ebpf/places.ts';
import { NftablesDataPlane } from './nftables/dataplane.ts';
import { UserspaceDataPlane } from './userspace/dataplane.ts';
import { familiesOf, familyConfigs, type Mode, MODES, type TableOptions } from './options.ts';

/** The part of an informer that the proxy uses. */
export interface Source<T> {
  on(handlers: {
    add?(object: T): void;
    update?(before: T, after: T): void;
    delete?(object: T): void;
    synced?(): void;
  }): () => void;
}

/** What the proxy watches. `node` may show other nodes too; only the own one is looked at. */
export interface ProxySources {
  readonly services: Source<SlimService>;
  readonly slices: Source<SlimSlice>;
  readonly node?: Source<Node | NodeFacts>;
}

export interface ServiceProxyOptions extends TableOptions {
  /** Name of this node as `nodeName` of endpoints has it. */
  readonly nodeName: string;
  readonly sources: ProxySources;
  /** Default `nftables`. */
  readonly dataPlane?: Mode | DataPlane;
  /** Network namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** Milliseconds between audits; default 5 minutes, 0 for none. */
  readonly auditMs?: number;
  /** Shortest time between the starts of two changes of the kernel, ms. Default 0. */
  readonly minSyncMs?: number;
  /** ebpf mode: where its programs work. Default: the whole machine. */
  readonly ebpf?: EbpfPlaces;
  /** Something about a Service that its owner should know, as an Event. */
  readonly event?: ProxyEvent;
}

/** `service` is `ns/name`. */
export type ProxyEvent = (service: string, type: 'Normal' | 'Warning', reason: string, message: string) => void;

/** What `/healthz` and `/livez` are made from. */
export interface ProxyHealth {
  /** Nothing has been waiting for longer than `HEALTH_TIMEOUT_MS`. */
  readonly healthy: boolean;
  /** The same, but for a proxy that has not seen the API yet: it is no use to start it again. */
  readonly live: boolean;
  /** False when the node is being removed: load balancers should stop sending. */
  readonly nodeEligible: boolean;
  /** Milliseconds since the epoch. */
  readonly lastUpdated: number | undefined;
}

/** kube-proxy calls itself unhealthy when a change waits for two sync periods. */
const HEALTH_TIMEOUT_MS = 60_000;
const AUDIT_MS = 300_000;
/** Milliseconds until the rules of a former data plane are tried to be removed again. */
const CLEAN_UP_MS = 10_000;
/** Units handed to the loop at a time while the world is loaded. */
const LOAD_UNITS = 512;

/** Informers that keep only what the proxy needs. Start them yourself, or hand them to several proxies. */
export function proxyInformers(options: {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}): ProxySources & { readonly start: (signal: AbortSignal) => void } {
  const { client, nodeName } = options;
  const shared = {
    client,
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.metrics === undefined ? {} : { metrics: options.metrics }),
  };
  const services = new Informer({
    ...shared,
    type: resources.services,
    labelSelector: PROXY_SELECTOR,
    transform: slimService,
    name: 'proxy-services',
  });
  const slices = new Informer({
    ...shared,
    type: resources.endpointslices,
    labelSelector: PROXY_SELECTOR,
    transform: slimSlice(nodeName),
    name: 'proxy-endpointslices',
  });
  const node = new Informer<Node, NodeFacts>({
    ...shared,
    type: resources.nodes,
    fieldSelector: `metadata.name=${nodeName}`,
    transform: nodeFacts,
    name: 'proxy-node',
  });
  return {
    services,
    slices,
    node,
    start: (signal) => {
      for (const informer of [services, slices, node]) informer.start(signal);
    },
  };
}

function answersEverywhere(tables: readonly FamilyConfig[]): boolean {
  return tables.every((table) => table.nodePorts.all || table.nodePorts.cidrs.length > 0);
}

function modeOf(plane: DataPlane): Mode {
  return MODES.find((mode) => mode === plane.name) ?? 'nftables';
}

function makePlane(
  mode: Mode,
  tables: readonly FamilyConfig[],
  options: Pick<ServiceProxyOptions, 'ns' | 'metrics' | 'ipvs' | 'userspace' | 'ebpf'>,
  log: Logger,
): DataPlane {
  const shared = { tables, log, ...(options.ns === undefined ? {} : { ns: options.ns }) };
  if (mode === 'nftables') return new NftablesDataPlane(shared);
  if (mode === 'ebpf') return new EbpfDataPlane({ ...shared, places: options.ebpf ?? NODE_PLACES });
  if (mode === 'ipvs')
    return new IpvsDataPlane({ ...shared, ...(options.ipvs === undefined ? {} : { settings: options.ipvs }) });
  if (mode === 'userspace')
    return new UserspaceDataPlane({
      ...shared,
      ...(options.userspace === undefined ? {} : { settings: options.userspace }),
    });
  return new IptablesDataPlane({ ...shared, ...(options.metrics === undefined ? {} : { metrics: options.metrics }) });
}

/** Services on one node: watches, compiles, and leads a data plane. */
export class ServiceProxy {
  /** Resolves when the Services that existed at the start are in effect; rejects when stopped before. */
  readonly synced: Promise<void>;
  readonly families: readonly Family[];
  #dataPlane: DataPlane;
  #switching: Promise<unknown> = Promise.resolve();
  /** Health checks answer on every address. */
  #everywhere: boolean;
  /** Planes whose rules could not be removed; tried again. */
  readonly #leftovers = new Set<DataPlane>();
  /** Planes out of use that may still wait for the end of connections they carry. */
  readonly #former = new Set<DataPlane>();
  readonly #options: ServiceProxyOptions;
  readonly #log: Logger;
  readonly #world: World;
  readonly #loop: PlanLoop<Planned>;
  readonly #metrics: ProxyMetrics;
  readonly #cleaner: UdpCleaner;
  readonly #checks: HealthCheckServers;
  readonly #detach: (() => void)[] = [];
  /** Times of endpoint changes that are not in effect yet, and how many runs of the loop were over when they came. */
  #triggers: { readonly at: number; readonly runs: number }[] = [];
  readonly #startedAt = Date.now();
  #pendingSince = 0;
  #serviceChanges = 0;
  #endpointChanges = 0;
  #applied = false;
  /** The sources have shown what there is. */
  #loading = false;
  #stopping: Promise<void> | undefined;
  #resolveSynced!: () => void;
  #rejectSynced!: (reason: unknown) => void;

  constructor(options: ServiceProxyOptions) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).child({ component: 'proxy' });
    const plane = options.dataPlane ?? 'nftables';
    const mode = typeof plane === 'string' ? plane : modeOf(plane);
    const tables = familyConfigs(options, mode);
    this.families = familiesOf(options);
    this.#dataPlane = typeof plane === 'string' ? makePlane(plane, tables, options, this.#log) : plane;
    this.#world = new World({
      nodeName: options.nodeName,
      families: this.families,
      primaryNodePorts: tables.some((table) => table.nodePorts.primary),
    });
    if (options.sources.node === undefined && tables.some((table) => table.nodePorts.primary)) {
      this.#log.warn('NodePorts answer nowhere: their primary addresses come from the Node, which is not watched');
    }
    const metrics = options.metrics ?? new Metrics();
    this.#metrics = new ProxyMetrics(metrics, this.families, this.#dataPlane.name);
    metrics.beforeRender(() => this.#countNoLocal());
    this.#cleaner = new UdpCleaner({
      families: this.families,
      log: this.#log,
      nodeAddresses: () => this.#world.node.addresses,
      observe: (seconds, deleted) => this.#metrics.conntrackCleaned(seconds, deleted),
      ...(options.ns === undefined ? {} : { ns: options.ns }),
    });
    this.#everywhere = answersEverywhere(tables);
    this.#checks = new HealthCheckServers({
      healthy: () => this.health.healthy,
      everywhere: () => this.#everywhere,
      log: this.#log,
      ...(options.ns === undefined ? {} : { ns: options.ns }),
      failed: (service, port, reason) =>
        options.event?.(
          service,
          'Warning',
          'FailedToStartServiceHealthcheck',
          `node ${options.nodeName} failed to start healthcheck ${JSON.stringify(service)} on port ${port}: ${reason}`,
        ),
    });
    this.#loop = new PlanLoop<Planned>(
      {
        name: 'proxy',
        compile: (unit) => this.#world.compile(unit),
        apply: (diff) => this.#apply(diff),
        audit: (applied) => this.#dataPlane.audit(applied),
      },
      { log: this.#log, metrics, auditMs: options.auditMs ?? AUDIT_MS, minIntervalMs: options.minSyncMs ?? 0 },
    );
    this.synced = new Promise((resolve, reject) => {
      this.#resolveSynced = resolve;
      this.#rejectSynced = reject;
    });
    // Nobody has to wait for it.
    this.synced.catch(() => {});
  }

  get state(): LoopState {
    return this.#loop.state;
  }

  /** What is in effect, by `ns/name:port/protocol/family`, with the object and field each entry comes from. */
  get plan(): Plan<Planned> {
    return this.#loop.applied;
  }

  get health(): ProxyHealth {
    const waited = this.#loop.state.pending === 0 ? 0 : Date.now() - this.#pendingSince;
    return {
      healthy: this.#applied && waited <= HEALTH_TIMEOUT_MS,
      live: waited <= HEALTH_TIMEOUT_MS,
      nodeEligible: this.#world.node.eligible,
      lastUpdated: this.#loop.state.lastAppliedAt,
    };
  }

  /** Starts to follow the sources, which the caller starts. `signal` stops it; the rules stay in effect. */
  async start(signal: AbortSignal): Promise<void> {
    const report = await this.#dataPlane.start();
    for (const why of report.replaced) this.#log.warn('replacing rules that cannot be continued from', { why });
    if (report.adopted.length > 0)
      this.#log.info('taking over the rules of an earlier run', { families: report.adopted });
    if (signal.aborted) {
      await this.stop();
      return;
    }
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#follow();
  }

  /** The data plane that has the node's Services in hand. */
  get dataPlane(): DataPlane {
    return this.#dataPlane;
  }

  /**
   * Changes the data plane while traffic goes on: the new one takes the whole plan, and only when it is complete the old
   * one is removed. In between both do the same to a new connection, whichever sees it first; established ones are the
   * kernel's own. When the new one fails it is taken away again, and the old one goes on.
   */
  switchTo(to: Mode | DataPlane, options: TableOptions = this.#options): Promise<void> {
    const done = this.#switching.then(() => this.#switchTo(to, options));
    this.#switching = done.catch(() => {});
    return done;
  }

  async #switchTo(to: Mode | DataPlane, options: TableOptions): Promise<void> {
    const mode = typeof to === 'string' ? to : modeOf(to);
    const old = this.#dataPlane;
    if (to === old || (to === old.name && typeof to === 'string')) return;
    await this.synced;
    const tables = familyConfigs({ ...options, families: this.families }, mode);
    const settings = {
      ...this.#options,
      ...(options.ipvs === undefined ? {} : { ipvs: options.ipvs }),
      ...(options.userspace === undefined ? {} : { userspace: options.userspace }),
    };
    const next = typeof to === 'string' ? makePlane(to, tables, settings, this.#log) : to;
    const primary = tables.some((table) => table.nodePorts.primary);
    // While both serve, both get what either needs.
    if (primary) this.#touch(this.#world.setPrimaryNodePorts(true));
    await this.#loop.idle();
    await this.#stopFormer();
    await this.#loop.between(async () => {
      try {
        await next.start();
        await next.apply(wholePlan(NO_CHANGE, this.#loop.applied), new Map());
        await next.complete(this.#loop.applied);
      } catch (error) {
        await next.cleanup(old).catch(() => {});
        await next.stop();
        throw error;
      }
      this.#dataPlane = next;
      await (old.retire?.() ?? old.stop());
      this.#former.add(old);
      await this.#cleanUp(old);
    });
    this.#everywhere = answersEverywhere(tables);
    this.#checks.reopen();
    this.#reportUnserved(wholePlan(NO_CHANGE, this.#loop.applied));
    if (!primary) this.#touch(this.#world.setPrimaryNodePorts(false));
    this.#log.info('changed the data plane', { from: old.name, to: next.name });
  }

  /** Removes a plane that is out of use. When that fails the new one serves all the same, and it is tried again. */
  async #cleanUp(old: DataPlane): Promise<void> {
    try {
      await old.cleanup(this.#dataPlane);
      this.#leftovers.delete(old);
    } catch (error) {
      this.#leftovers.add(old);
      this.#log.error('cannot remove the rules of the former data plane', {
        plane: old.name,
        error,
        retryInMs: CLEAN_UP_MS,
      });
      setTimeout(() => {
        // Meanwhile it may be in use again.
        if (this.#stopping !== undefined || this.#dataPlane.name === old.name || !this.#leftovers.has(old)) return;
        this.#switching = this.#switching.then(() => this.#cleanUp(old));
      }, CLEAN_UP_MS).unref();
    }
  }

  /** Removes what another data plane than the present one has left on this node. */
  removeTraces(mode: Mode): Promise<void> {
    const done = this.#switching.then(async () => {
      if (mode === this.#dataPlane.name) return;
      const plane = makePlane(mode, familyConfigs(this.#options, mode), this.#options, this.#log);
      this.#former.add(plane);
      await plane.cleanup(this.#dataPlane);
    });
    this.#switching = done.catch(() => {});
    return done;
  }

  /** What goes to the endpoints of a Service (`ns/name`) through this node, as the kernel tracks it; undefined when it has none here. */
  async traffic(service: string): Promise<PortTraffic[] | undefined> {
    const ports: ServicePort[] = [];
    for (const { value } of this.#loop.applied.values())
      if (value.type === 'ServicePort' && value.service === service) ports.push(value);
    if (ports.length === 0) return undefined;
    const conntrack = Conntrack.open(this.#options.ns);
    try {
      const flows: Flow[] = [];
      for (const family of new Set(ports.map((port) => port.family)))
        for (const flow of await conntrack.dump({ family })) flows.push(flow);
      return trafficOf(ports, flows);
    } finally {
      conntrack.close();
    }
  }

  /** Compares the kernel with the plan now. Returns how many elements were wrong and have been repaired. */
  audit(): Promise<number> {
    return this.#loop.auditNow();
  }

  /** Resolves when every change seen so far is in effect, UDP flows included. */
  async idle(): Promise<void> {
    await this.#loop.idle();
    await this.#cleaner.idle();
  }

  /** Stops following; what is in effect stays. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    for (const detach of this.#detach.splice(0)) detach();
    // A switch may be waiting for it.
    this.#rejectSynced(new Error('the proxy was stopped'));
    await this.#switching;
    await this.#loop.stop();
    this.#checks.stop();
    await this.#cleaner.stop();
    await this.#stopFormer();
    await this.#dataPlane.stop();
  }

  async #stopFormer(): Promise<void> {
    for (const plane of this.#former) await plane.stop();
    this.#former.clear();
  }

  #follow(): void {
    const { services, slices, node } = this.#options.sources;
    let missing = node === undefined ? 2 : 3;
    const synced = (): void => {
      missing -= 1;
      if (missing === 0) void this.#load();
    };
    if (node !== undefined) {
      const set = (object: Node | NodeFacts): void => {
        const facts = 'metadata' in object ? nodeFacts(object) : object;
        if (facts.name === this.#options.nodeName) this.#touch(this.#world.setNode(facts));
      };
      this.#detach.push(node.on({ add: set, update: (_before, after) => set(after), synced }));
    }
    const changed = (service: SlimService, next: SlimService | undefined): void => {
      this.#serviceChanges += 1;
      this.#metrics.serviceChanged(this.#serviceChanges);
      this.#touch([this.#world.setService(service.key, next)]);
    };
    this.#detach.push(
      services.on({
        add: (service) => changed(service, service),
        update: (_before, after) => changed(after, after),
        delete: (service) => changed(service, undefined),
        synced,
      }),
    );
    const sliced = (before: SlimSlice | undefined, after: SlimSlice | undefined): void => {
      this.#endpointChanges += 1;
      this.#metrics.endpointsChanged(this.#endpointChanges);
      if (after !== undefined && after.trigger > this.#startedAt) {
        this.#triggers.push({ at: after.trigger, runs: this.#loop.state.applies });
      }
      this.#touch(this.#world.setSlice(before, after));
    };
    this.#detach.push(
      slices.on({
        add: (slice) => sliced(undefined, slice),
        update: sliced,
        delete: (slice) => sliced(slice, undefined),
        synced,
      }),
    );
  }

  #touch(units: readonly string[]): void {
    // Until all sources have shown what there is, nothing can be said of any unit.
    if (!this.#loading) return;
    if (units.length > 0 && this.#loop.state.pending === 0) this.#pendingSince = Date.now();
    for (const unit of units) this.#loop.touch(unit);
  }

  /** Brings the whole world into effect, piece by piece: at no time is all of it in the making. */
  async #load(): Promise<void> {
    this.#loading = true;
    const units = this.#world.units();
    for (let i = 0; i < units.length && this.#stopping === undefined; i += LOAD_UNITS) {
      for (const unit of units.slice(i, i + LOAD_UNITS)) this.#loop.touch(unit);
      // Tried, not in effect: a Service that the kernel refuses must not keep the others out.
      await this.#loop.tried();
    }
    await this.#complete();
  }

  async #complete(): Promise<void> {
    for (let delay = 100; this.#stopping === undefined; delay = Math.min(delay * 2, 30_000)) {
      try {
        await this.#dataPlane.complete(this.#loop.applied);
        this.#applied = true;
        this.#cleaner.note(wholePlan(NO_CHANGE, this.#loop.applied));
        this.#resolveSynced();
        return;
      } catch (error) {
        this.#log.error('cannot remove what an earlier run left', { error, retryInMs: delay });
        await new Promise((resolve) => setTimeout(resolve, delay).unref());
      }
    }
  }

  async #apply(diff: Diff<Planned>): Promise<void> {
    const started = performance.now();
    const triggers = this.#triggers;
    this.#triggers = [];
    this.#serviceChanges = 0;
    this.#endpointChanges = 0;
    try {
      await this.#dataPlane.apply(diff, this.#loop.applied);
    } catch (error) {
      this.#triggers = [...triggers, ...this.#triggers];
      this.#metrics.syncFailed();
      throw error;
    }
    this.#metrics.synced((performance.now() - started) / 1000, !this.#applied);
    const now = Date.now();
    for (const { at, runs } of triggers) {
      // An earlier run has dealt with it and found nothing to do.
      if (this.#loop.state.applies - runs > 1) continue;
      this.#metrics.programmed(Math.max(0, now - at) / 1000);
    }
    // Before the whole plan is in effect a flow that is forgotten may find the rules of yesterday, or none.
    if (this.#applied) this.#cleaner.note(diff);
    this.#checks.note(diff);
    this.#reportUnserved(diff);
  }

  /** Says of each Service that the data plane cannot serve a port of it, when it comes. */
  #reportUnserved(diff: Diff<Planned>): void {
    const { name, capabilities } = this.#dataPlane;
    for (const { value } of diff.added.values()) {
      if (value.type !== 'ServicePort' || capabilities.protocols.includes(value.protocol)) continue;
      const message = `port ${servicePortName(value)}: the ${name} data plane of node ${this.#options.nodeName} cannot serve ${value.protocol}`;
      this.#log.warn(message, { hint: 'use another --proxy-mode, for example nftables' });
      this.#options.event?.(value.service, 'Warning', 'UnsupportedProtocol', message);
    }
  }

  #countNoLocal(): void {
    let internal = 0;
    let external = 0;
    for (const { value } of this.#loop.applied.values()) {
      if (value.type !== 'ServicePort' || value.local !== '' || !value.hasEndpoints) continue;
      if (value.internal === 'Local') internal += 1;
      if (value.external === 'Local') external += 1;
    }
    this.#metrics.noLocalEndpoints(internal, external);
  }
}
