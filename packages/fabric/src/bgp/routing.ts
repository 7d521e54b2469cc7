import type { Prefix } from '@weft/net';
import type { NetNs, Rtnl } from '@weft/kernel';
import type { IPPool, Node } from '@weft/kube';
import { type Entry, errorMessage, type Logger, type Metrics, type Provenance, sameValue } from '@weft/plan';
import { type FabricEntry, type FabricPlan, entryKey } from '../entries.ts';
import type { BlockSource, FabricNode } from '../nodes.ts';
import { type BgpNode, type BgpProblem, compileSpeaker } from './compile/index.ts';
import { BgpMetrics } from './metrics.ts';
import { NextHops } from './next-hops.ts';
import { type BgpSource, bgpNode, NO_OBJECTS } from './source.ts';
import { Speaker } from './speaker/index.ts';
import { type BgpStatus, bgpStatus } from './status.ts';

/** Metric of routes that were learned: whatever the host has of its own for a destination stands above them. */
const BGP_METRIC = 2000;
const UNIT = 'bgp ';
const NOTHING: FabricPlan = new Map();

export interface BgpRoutingOptions {
  readonly nodeName: string;
  readonly ns: NetNs | undefined;
  readonly rtnl: Rtnl;
  readonly blocks: BlockSource | undefined;
  readonly source: BgpSource | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** An older node claims what this one does. */
  readonly contested: (node: FabricNode) => boolean;
  /** Subnets of the node's own link. */
  readonly subnets: () => readonly Prefix[];
  /** Units whose compilation may come out differently. */
  readonly touch: (units: readonly string[]) => void;
}

/** The unit of a route. */
export function bgpUnit(prefix: string): string {
  return UNIT + prefix;
}

/** Routes between nodes by BGP: Node and BGP objects go to a speaker, what it learns comes out as plans. */
export class BgpRouting {
  readonly #options: BgpRoutingOptions;
  readonly #log: Logger;
  readonly #source: BgpSource;
  readonly #nodes = new Map<string, { readonly object: Node; readonly known: FabricNode }>();
  readonly #hops: NextHops;
  readonly #metrics: BgpMetrics;
  readonly #closers: (() => void)[] = [];
  #speaker: Speaker | undefined;
  #problems: readonly BgpProblem[] = [];
  #scheduled: NodeJS.Immediate | undefined;

  constructor(options: BgpRoutingOptions) {
    this.#options = options;
    this.#log = options.log.child({ component: 'bgp' });
    this.#source = options.source ?? NO_OBJECTS;
    this.#hops = new NextHops(options.rtnl, () => this.#touchAll());
    this.#metrics = new BgpMetrics(options.metrics);
  }

  /** Resolves when all objects are known that decide who the peers are. */
  get synced(): Promise<void> {
    return this.#source.synced;
  }

  /** Begins to speak. `kept`: routes that an earlier speaker left in the kernel; they stay until all is known again. */
  start(kept: readonly string[]): void {
    const { ns, log } = this.#options;
    this.#speaker = new Speaker({
      ...(ns === undefined ? {} : { ns }),
      log,
      restarting: kept.length > 0,
      onRoutes: (prefixes) => this.#options.touch(prefixes.map(bgpUnit)),
      onComplete: () => this.#options.touch(kept.map(bgpUnit)),
    });
    this.#closers.push(this.#source.on(() => this.#later()));
    this.#configure();
    const measure = setInterval(() => this.#measure(), 5000);
    measure.unref();
    this.#closers.push(() => clearInterval(measure));
  }

  /** Goes away without a word: peers and the kernel keep the routes for the restart time. */
  stop(): void {
    for (const close of this.#closers.splice(0)) close();
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#speaker?.stop(true);
  }

  node(object: Node, known: FabricNode): void {
    const before = this.#nodes.get(object.metadata.name);
    this.#nodes.set(object.metadata.name, { object, known });
    // Nodes report their health every few seconds.
    if (before === undefined || !sameValue(bgpNode(before.object, before.known), bgpNode(object, known))) this.#later();
  }

  forget(name: string): void {
    if (this.#nodes.delete(name)) this.#later();
  }

  /** Blocks or pools have changed. */
  blocksChanged(): void {
    this.#later();
  }

  /** Addresses or routes of the node have changed. */
  underlayChanged(): void {
    this.#hops.forget();
    this.#touchAll();
  }

  /** What is wrong with objects, for conditions. */
  get problems(): readonly BgpProblem[] {
    return this.#problems;
  }

  get status(): BgpStatus {
    return bgpStatus(this.#options.nodeName, this.#speaker, this.#problems);
  }

  /** The plan of a unit; undefined when the unit is none of BGP's. */
  compile(unit: string): FabricPlan | undefined {
    if (!unit.startsWith(UNIT)) return undefined;
    const prefix = unit.slice(UNIT.length);
    const paths = this.#speaker?.rib.best(prefix) ?? [];
    const subnets = this.#options.subnets();
    const hops = new Set<string>();
    let cause: Provenance | undefined;
    for (const { route, peer } of paths) {
      const gateway = peer === undefined ? undefined : this.#hops.gateway(route.nextHop ?? '', subnets);
      if (gateway === undefined || peer === undefined) continue;
      cause ??= this.#causeOf(peer.name);
      hops.add(gateway);
    }
    const [via, ...more] = [...hops].sort();
    if (via === undefined || cause === undefined) return NOTHING;
    const common = { type: 'route', kind: 'unicast', protocol: 'bgp', dst: prefix, metric: BGP_METRIC } as const;
    const value: FabricEntry = more.length === 0 ? { ...common, via } : { ...common, hops: [via, ...more] };
    return new Map<string, Entry<FabricEntry>>([[entryKey(value), { value, cause }]]);
  }

  #causeOf(peer: string): Provenance {
    const config = this.#speaker?.self.peers.find((p) => p.name === peer);
    return config?.cause ?? { kind: 'BGPPeer', name: peer };
  }

  #touchAll(): void {
    const { rib } = this.#speaker ?? {};
    if (rib !== undefined) this.#options.touch([...rib.prefixes()].map(bgpUnit));
  }

  /** Objects come in bursts; they are looked at once per turn of the event loop. */
  #later(): void {
    if (this.#speaker === undefined) return;
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      this.#configure();
    });
  }

  #configure(): void {
    const { nodeName, blocks, contested } = this.#options;
    const nodes: BgpNode[] = [...this.#nodes.values()].map(({ object, known }) => bgpNode(object, known));
    const self = nodes.find((node) => node.name === nodeName);
    if (self === undefined || (self.ip[4] === undefined && self.ip[6] === undefined)) {
      // The node is gone, or has no address any more: nobody is to send it anything.
      if (this.#speaker !== undefined) this.#speaker.configure({ ...this.#speaker.self, peers: [], routes: [] });
      return;
    }
    try {
      const { config, problems } = compileSpeaker({
        self,
        nodes,
        contested: (name) => {
          const known = this.#nodes.get(name)?.known;
          return known !== undefined && contested(known);
        },
        blocksOf: (name) => blocks?.blocksOf(name) ?? [],
        pools: this.#pools(),
        configurations: this.#source.configurations(),
        peers: this.#source.peers(),
        filters: this.#source.filters(),
        services: this.#source.services(),
        secret: (name, key) => this.#source.secret(name, key),
      });
      if (!sameValue(problems, this.#problems)) {
        for (const { kind, name, message } of problems) this.#log.warn(message, { kind, name });
      }
      this.#problems = problems;
      this.#speaker?.configure(config);
    } catch (error) {
      this.#log.error('cannot bring the BGP configuration into effect', { error: errorMessage(error) });
    }
  }

  /** Pools of the objects, and those that the fabric knows besides. */
  #pools(): readonly IPPool[] {
    const own = this.#source.pools();
    if (own.length > 0) return own;
    return (this.#options.blocks?.pools() ?? []).map(({ name, cidr }) => ({ metadata: { name }, spec: { cidr } }));
  }

  #measure(): void {
    if (this.#speaker !== undefined) this.#metrics.update(this.#speaker);
  }
}
