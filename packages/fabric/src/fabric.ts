import type { NetNs, RtEvent } from '@weft/kernel';
import { writeSysctl, readSysctl } from '@weft/kernel';
import {
  type Diff,
  type Entry,
  type Logger,
  type LoopState,
  type Metrics,
  type Plan,
  PlanLoop,
  sameValue,
} from '@weft/plan';
import { type Backend, type FabricConfig, type ResolvedConfig, resolveConfig, type Underlay } from './backend.ts';
import { findBackend } from './backends/index.ts';
import { compilePeer, compileSelf, type Compiled, podMtu } from './compile.ts';
import { entryKey, type FabricEntry, type FabricPlan } from './entries.ts';
import { FabricKernel } from './kernel/kernel.ts';
import { BGP_PROTOCOL, ROUTE_PROTOCOL } from './kernel/read.ts';
import type { Node } from '@weft/kube';
import { type BlockSource, type FabricCondition, type FabricNode, fabricNode, type NodeSource } from './nodes.ts';
import { NodeTable } from './node-table.ts';
import { BgpRouting, bgpUnit } from './bgp/routing.ts';
import type { BgpSource } from './bgp/source.ts';
import type { BgpStatus } from './bgp/status.ts';
import { LocalPods } from './local-pods.ts';
import { fabricStatus, type FabricStatus, type FabricStatusInput } from './status.ts';
import { findUnderlay } from './underlay.ts';

export interface FabricOptions {
  /** Name of the Node object of this machine. */
  readonly nodeName: string;
  readonly nodes: NodeSource;
  /** Blocks of pools and borrowed addresses, beside the nodes' pod CIDRs. */
  readonly blocks?: BlockSource;
  /** Objects of the backend `bgp`; without them all nodes are peers of each other. */
  readonly bgp?: BgpSource;
  readonly config: FabricConfig;
  /** The node's network namespace; default: the one of this process. Stays open for as long as the fabric runs. */
  readonly ns?: NetNs;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Time between audits, milliseconds. Default 30,000; 0 for none. Deletions by others are noticed at once anyway. */
  readonly auditMs?: number;
}

/** Unit of what an earlier life left and nobody wants any more. */
const LEFTOVERS = ' leftovers';
const NOTHING: Compiled = { plan: new Map(), conditions: [] };

/** Pod connectivity between nodes: Node objects in, routes and tunnels out. */
export class Fabric {
  readonly #options: FabricOptions;
  readonly #log: Logger;
  readonly #backend: Backend;
  readonly #config: ResolvedConfig;
  readonly #kernel: FabricKernel;
  readonly #loop: PlanLoop<FabricEntry>;
  readonly #table = new NodeTable();
  readonly #bgp: BgpRouting | undefined;
  readonly #conditions = new Map<string, readonly FabricCondition[]>();
  readonly #closers: (() => void)[] = [];
  #underlay: Underlay | undefined;
  #refreshing: Promise<void> = Promise.resolve();
  #auditTimer: NodeJS.Timeout | undefined;
  #suspects = new Set<string>();
  #drift: FabricStatusInput['drift'] = { repaired: 0, lastAt: undefined };
  readonly #forwarding = new Set<4 | 6>();
  readonly #localPods: LocalPods;
  #stopped = false;

  /** Throws WeftError for an unknown backend or a setting out of range. */
  constructor(options: FabricOptions) {
    this.#options = options;
    this.#log = options.log.child({ component: 'fabric' });
    this.#backend = findBackend(options.config.backend ?? 'vxlan');
    this.#config = resolveConfig(options.config);
    const keys = this.#config.encryptionKeys.map((key) => Buffer.from(key, 'base64'));
    this.#kernel = new FabricKernel(options.ns, this.#log, keys);
    this.#localPods = new LocalPods(this.#kernel.rtnl, () => this.#loop.touch(options.nodeName));
    const subsystem = {
      name: 'fabric',
      compile: (unit: string): FabricPlan => this.#compile(unit),
      apply: (diff: Diff<FabricEntry>): Promise<void> => this.#kernel.apply(diff),
      audit: async (): Promise<number> => {
        const repaired = await this.#kernel.audit();
        if (repaired > 0) this.#drift = { repaired: this.#drift.repaired + repaired, lastAt: Date.now() };
        return repaired;
      },
    };
    const { log, metrics, auditMs = 30_000 } = options;
    this.#loop = new PlanLoop<FabricEntry>(subsystem, { log, metrics, auditMs });
    if (this.#backend.name === 'bgp') this.#bgp = this.#makeBgp();
  }

  /** Resolves when the nodes that exist now can be reached (or a failure is being retried). */
  async start(): Promise<void> {
    this.#forward(4);
    this.#loop.hold();
    this.#closers.push(
      this.#options.nodes.on({
        add: (node) => this.#seen(fabricNode(node), node),
        update: (_old, node) => this.#seen(fabricNode(node), node),
        delete: (node) => this.#gone(node.metadata.name),
      }),
    );
    const stop = this.#options.blocks?.on((names) => {
      if (names === undefined) this.#touchAll();
      else for (const name of names) this.#loop.touch(name);
      this.#bgp?.blocksChanged();
    });
    if (stop !== undefined) this.#closers.push(stop);
    await this.#options.nodes.synced;
    await this.#options.blocks?.synced;
    await this.#bgp?.synced;
    await this.#refreshUnderlay();
    if (this.#backend.capabilities.followsPods === true) await this.#localPods.list();
    await this.#adopt();
    for (const name of this.#table.names()) this.#loop.touch(name);
    this.#loop.release();
    const events = this.#kernel.rtnl.subscribe(
      ['link', 'address4', 'address6', 'route4', 'route6', 'neigh'],
      (event) => this.#noticed(event),
      () => this.#overrun(),
    );
    this.#closers.push(() => events.close());
    await this.#settled();
  }

  /** Stops following nodes. What was programmed stays, so that traffic goes on while an agent is replaced. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const close of this.#closers.splice(0)) close();
    clearTimeout(this.#auditTimer);
    this.#bgp?.stop();
    await this.#refreshing;
    await this.#loop.stop();
    await this.#kernel.close();
  }

  /** Resolves when all changes seen so far are in effect. */
  async idle(): Promise<void> {
    await this.#refreshing;
    await this.#loop.idle();
  }

  /** Compares the kernel with the plan now and repairs it. Returns how many entries differed. */
  audit(): Promise<number> {
    return this.#loop.auditNow();
  }

  get backend(): string {
    return this.#backend.name;
  }

  /** The MTU that pods should have, bytes; undefined until the node's InternalIP is found on an interface. */
  get podMtu(): number | undefined {
    const self = this.#table.get(this.#options.nodeName);
    if (self === undefined || this.#underlay === undefined) return this.#config.mtu;
    return podMtu(this.#backend, this.#config, this.#underlay, self);
  }

  /** What keeps nodes from being reached. */
  get conditions(): readonly FabricCondition[] {
    return [...this.#conditions.values()].flat();
  }

  /** Sessions and routes of the backend `bgp`; undefined with another one. */
  get bgpStatus(): BgpStatus | undefined {
    return this.#bgp?.status;
  }

  /** What users are told: this node, its devices, and each peer with the way to it. */
  get status(): FabricStatus {
    return fabricStatus({
      node: this.#options.nodeName,
      backend: this.backend,
      podMtu: this.podMtu,
      encrypted: this.#config.encryptionKeys.length > 0,
      underlay: this.#underlay,
      nodes: [...this.#table.names()].flatMap((name) => this.#table.get(name) ?? []),
      conditions: this.conditions,
      plan: this.plan,
      state: this.state,
      drift: this.#drift,
    });
  }

  /** What is in effect, each entry with the Node that caused it. */
  get plan(): Plan<FabricEntry> {
    return this.#loop.applied;
  }

  get state(): LoopState {
    return this.#loop.state;
  }

  #makeBgp(): BgpRouting {
    const { nodeName, ns, blocks, bgp, log, metrics } = this.#options;
    return new BgpRouting({
      nodeName,
      ns,
      rtnl: this.#kernel.rtnl,
      blocks,
      source: bgp,
      log,
      metrics,
      contested: (node) => this.#table.conflict(node) !== undefined,
      subnets: () => this.#underlay?.subnets ?? [],
      touch: (units) => {
        for (const unit of units) this.#loop.touch(unit);
      },
    });
  }

  #compile(unit: string): FabricPlan {
    const learned = this.#bgp?.compile(unit);
    if (learned !== undefined) return learned;
    const compiled = this.#compiled(unit);
    if (compiled.conditions.length === 0) this.#conditions.delete(unit);
    else {
      if (!sameValue(this.#conditions.get(unit), compiled.conditions)) {
        for (const { node, reason, message } of compiled.conditions) this.#log.warn(message, { node, reason });
      }
      this.#conditions.set(unit, compiled.conditions);
    }
    return compiled.plan;
  }

  #compiled(unit: string): Compiled {
    const node = this.#withBlocks(unit);
    const self = this.#withBlocks(this.#options.nodeName);
    if (node === undefined || self === undefined) return NOTHING;
    const underlay = this.#underlay;
    if (underlay === undefined) {
      if (unit !== self.name || Object.keys(self.ip).length === 0) return NOTHING;
      const message = `no interface carries the InternalIP ${Object.values(self.ip).join(', ')}`;
      return { plan: new Map(), conditions: [{ node: unit, reason: 'UnderlayUnknown', message }] };
    }
    const pools = this.#options.blocks?.pools() ?? [];
    const localPods = this.#localPods.addresses;
    const context = { config: this.#config, self, underlay, pools, localPods };
    const conflict = this.#table.conflict(node);
    return unit === self.name
      ? compileSelf(this.#backend, context, conflict)
      : compilePeer(this.#backend, context, node, conflict);
  }

  #withBlocks(name: string): FabricNode | undefined {
    const node = this.#table.get(name);
    const blocks = this.#options.blocks?.blocksOf(name) ?? [];
    return node === undefined || blocks.length === 0 ? node : { ...node, blocks };
  }

  #seen(node: FabricNode, object: Node): void {
    this.#bgp?.node(object, node);
    // Nodes report their health every few seconds; nearly all updates change nothing here.
    if (sameValue(this.#table.get(node.name), node)) return;
    const touched = this.#table.set(node);
    if (node.podCidrs.some((cidr) => cidr.includes(':'))) this.#forward(6);
    if (node.name !== this.#options.nodeName) {
      for (const name of touched) this.#loop.touch(name);
      return;
    }
    // Everything depends on this node's own addresses.
    this.#later(() => this.#touchAll());
  }

  #gone(name: string): void {
    this.#bgp?.forget(name);
    for (const touched of this.#table.delete(name)) this.#loop.touch(touched);
    if (name === this.#options.nodeName) this.#touchAll();
  }

  #touchAll(): void {
    for (const name of this.#table.names()) this.#loop.touch(name);
  }

  /** Looks at the underlay again, then goes on. */
  #later(then: () => void): void {
    this.#refreshing = this.#refreshing.then(async () => {
      await this.#refreshUnderlay();
      if (!this.#stopped) then();
    });
  }

  async #refreshUnderlay(): Promise<void> {
    const self = this.#table.get(this.#options.nodeName);
    if (self === undefined || this.#stopped) return;
    try {
      // An address that is away for a moment (DHCP, a renumbering under way) is no reason to tear tunnels down.
      this.#underlay = (await findUnderlay(this.#kernel.rtnl, self)) ?? this.#underlay;
    } catch (error) {
      this.#log.error('cannot look for the interface of the InternalIP', { error });
      return;
    }
    this.#loosenReversePath();
  }

  /** Takes over what the kernel has, so that the first apply is only the difference. */
  async #adopt(): Promise<void> {
    const found = new Map<string, Entry<FabricEntry>>();
    const kept: string[] = [];
    for (const entry of await this.#kernel.adopt()) {
      if (this.#bgp !== undefined && entry.type === 'route' && entry.protocol === 'bgp') {
        kept.push(entry.dst);
        const cause = { kind: 'Node', name: this.#options.nodeName } as const;
        this.#loop.adopt(bgpUnit(entry.dst), new Map([[entryKey(entry), { value: entry, cause }]]));
        continue;
      }
      found.set(entryKey(entry), { value: entry, cause: { kind: 'Node', name: this.#options.nodeName } });
    }
    this.#bgp?.start(kept);
    if (found.size === 0) return;
    for (const name of this.#table.names()) {
      const mine = new Map<string, Entry<FabricEntry>>();
      for (const key of this.#compile(name).keys()) {
        const entry = found.get(key);
        if (entry === undefined) continue;
        mine.set(key, entry);
        found.delete(key);
      }
      this.#loop.adopt(name, mine);
    }
    this.#log.info('adopted what an earlier agent left', { leftovers: found.size });
    if (found.size === 0) return;
    this.#loop.adopt(LEFTOVERS, found);
    this.#loop.touch(LEFTOVERS);
  }

  /** First sync: applied, or failed once and being retried. */
  async #settled(): Promise<void> {
    let applied = false;
    void this.#loop.idle().then(() => {
      applied = true;
    });
    while (!applied && this.#loop.state.failures === 0 && !this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Announcements were lost: everything may have changed. */
  #overrun(): void {
    this.#suspect('*');
    if (this.#backend.capabilities.followsPods === true) void this.#localPods.list();
  }

  #noticed(event: RtEvent): void {
    if (this.#backend.capabilities.followsPods === true && event.type === 'route') this.#localPods.noticed(event);
    if (event.type === 'address' || event.type === 'link') {
      const name = event.type === 'link' ? event.link.name : '';
      if (event.type === 'link' && event.action === 'del') this.#suspect(`device/${name}`);
      if (event.type === 'address' || name === this.#underlay?.name) this.#underlayChanged();
      // What went down took its routes along, and nobody says so.
      if (event.type === 'link' && event.link.name === this.#underlay?.name) this.#suspect('*');
    } else if (event.type === 'route' && event.action === 'del' && event.route.protocol === BGP_PROTOCOL) {
      this.#suspect(`bgp/${event.route.dst}`);
    } else if (event.type === 'route' && event.action === 'del' && event.route.protocol === ROUTE_PROTOCOL) {
      this.#suspect(`route/${event.route.dst}`);
      this.#suspect(`unreachable/${event.route.dst}`);
    } else if (event.type === 'fdb' && event.entry.dst !== undefined) this.#suspect(`fdb:${event.entry.mac}`);
    else if (event.type === 'neighbour' && event.action === 'del')
      this.#suspect(`neighbour:${event.neighbour.address}`);
  }

  /** Something that may be ours was changed, by us or by others: a look soon tells. */
  #suspect(key: string): void {
    this.#suspects.add(key);
    this.#auditTimer ??= setTimeout(() => {
      const keys = [...this.#suspects];
      this.#suspects = new Set();
      this.#auditTimer = undefined;
      if (keys.some((suspect) => this.#isOurs(suspect))) void this.#loop.auditNow();
    }, 50);
  }

  #isOurs(suspect: string): boolean {
    if (suspect === '*' || this.#kernel.wants(suspect)) return true;
    const [kind, value] = suspect.split(/:(.*)/s);
    if (kind !== 'fdb' && kind !== 'neighbour') return false;
    return [...this.#loop.applied.values()].some(({ value: e }) =>
      e.type === 'fdb'
        ? kind === 'fdb' && e.mac === value
        : e.type === 'neighbour' && kind === 'neighbour' && e.address === value,
    );
  }

  #underlayChanged(): void {
    const before = this.#underlay;
    this.#later(() => {
      if (!sameValue(before, this.#underlay)) this.#touchAll();
      this.#bgp?.underlayChanged();
    });
  }

  #forward(family: 4 | 6): void {
    if (this.#forwarding.has(family)) return;
    this.#forwarding.add(family);
    this.#sysctl(family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding', '1');
  }

  /** Strict reverse-path filtering on the underlay drops answers of pods to a node's own address. */
  #loosenReversePath(): void {
    const { ns } = this.#options;
    if (this.#underlay === undefined) return;
    const key = `net/ipv4/conf/${this.#underlay.name}/rp_filter`;
    try {
      const strict = readSysctl(key, ns) === '1' || readSysctl('net/ipv4/conf/all/rp_filter', ns) === '1';
      if (strict && readSysctl(key, ns) !== '2') writeSysctl(key, '2', ns);
    } catch (error) {
      this.#log.warn('cannot look at reverse-path filtering', { key, error });
    }
  }

  #sysctl(key: string, value: string): void {
    try {
      writeSysctl(key, value, this.#options.ns);
    } catch (error) {
      this.#log.error('cannot switch forwarding on', { key, error });
    }
  }
}
