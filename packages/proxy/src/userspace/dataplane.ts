import { Conntrack, type NetNs } from '@weft/kernel';
import { formatIp, parseIp, prefixContains } from '@weft/net';
import { type Diff, type Logger, type Plan, silentLogger } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import { differences } from '../iptables/audit.ts';
import { cleanXtables } from '../iptables/cleanup.ts';
import { detectVariant, failed, Iptables, type Run, runner, type Variant } from '../iptables/program.ts';
import { canonical, parseTable } from '../iptables/saved.ts';
import { endpointWidth, formatAddress, unpackList } from '../model/packed.ts';
import { type Planned, type ServicePort, servicePortName } from '../model/types.ts';
import { NO_CHANGE, wholePlan } from '../whole.ts';
import { type HostAddresses, hostAddresses } from './host.ts';
import { Affinity, Pool } from './pool.ts';
import { parsePortRange, type PortRange } from './ports.ts';
import { compilePort, isUserspaceChain, JUMPS, type PortRules, restoreText } from './rules.ts';
import { type Listener, tcpListener } from './tcp.ts';
import { udpListener } from './udp.ts';

export interface UserspaceSettings {
  /** Local ports to listen on, as kube-proxy's `portRange`. Default: any. */
  readonly portRange?: string;
  /** Milliseconds that a client's UDP flow is kept after its last datagram. Default: that of the kernel, 30 s. */
  readonly udpIdleMs?: number;
}

export interface UserspaceOptions {
  /** One configuration per family that is served. */
  readonly tables: readonly FamilyConfig[];
  readonly settings?: UserspaceSettings;
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  /** Which iptables; default: the one that this node's other programs use. */
  readonly variant?: Variant;
}

const UDP = 17;
const UDP_IDLE_MS = 30_000;
/** Milliseconds that a socket without rules takes connections on: some were led there just before. */
const GRACE_MS = 1000;
const POOLS = ['cluster', 'local'] as const;
type PoolName = (typeof POOLS)[number];

/** One service port at work. */
interface Portal {
  value: ServicePort;
  readonly affinity: Affinity;
  readonly pools: Readonly<Record<PoolName, Pool>>;
  listeners: Partial<Record<PoolName, Listener>>;
  rules: PortRules;
}

interface FamilyPortals {
  readonly config: FamilyConfig;
  readonly iptables: Iptables;
  readonly portals: Map<string, Portal>;
  /** Addresses of the plan that answer on NodePorts. */
  readonly planAddresses: Set<string>;
  /** Ports that the kernel has refused, until they change. */
  readonly refused: Set<string>;
  host: HostAddresses;
  /** What the kernel has is not known. */
  full: boolean;
}

/**
 * Services by this process: the kernel leads clients to sockets of ours, and what they send is carried on to endpoints in
 * turns. The way kube-proxy began; for kernels and rules that leave nothing else. Endpoints see the node as the client.
 */
export class UserspaceDataPlane implements DataPlane {
  readonly name = 'userspace';
  readonly capabilities: Capabilities = {
    families: [4, 6],
    protocols: ['TCP', 'UDP'],
    sessionAffinity: true,
    sourceRanges: true,
    localhostNodePorts: true,
    allNodePortAddresses: true,
    rejects: true,
    resets: true,
    refusesNodeToExternal: true,
    guardsServiceBlocks: false,
    localForOutsideOnly: true,
    dropsWithoutLocal: true,
    affinityEndsOnTime: true,
    keepsConnections: true,
    keepsClientAddress: false,
    worksWithoutAgent: false,
  };
  readonly #options: UserspaceOptions;
  readonly #log: Logger;
  readonly #run: Run;
  readonly #range: PortRange;
  #families: FamilyPortals[] = [];
  #retired: Listener[] = [];
  #complete = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: UserspaceOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#run = runner(options.ns);
    this.#range = parsePortRange(options.settings?.portRange ?? '');
  }

  async start(): Promise<StartReport> {
    const variant = this.#options.variant ?? (await detectVariant(this.#run));
    this.#families = [];
    for (const config of this.#options.tables) {
      const host = await hostAddresses(config.family, this.#options.ns);
      if (host.main === undefined)
        this.#log.warn('Services of a family are not served: this node has no address to listen on', {
          family: config.family,
        });
      this.#families.push({
        config,
        iptables: new Iptables(this.#run, config.family, variant),
        portals: new Map(),
        planAddresses: new Set(),
        refused: new Set(),
        host,
        full: true,
      });
    }
    this.#log.info('using iptables', { variant });
    return { adopted: [], replaced: [] };
  }

  apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void> {
    // Rules of a world that is half known would refuse the other half.
    if (!this.#complete) return Promise.resolve();
    return this.#serial(async () => {
      const lost = this.#families.some((family) => family.full);
      if (lost) await this.#restart(wholePlan(diff, applied));
      for (const family of this.#families) {
        const touched = lost || this.#update(family, diff);
        if (touched) await this.#sync(family);
      }
    });
  }

  complete(applied: Plan<Planned>): Promise<void> {
    return this.#serial(async () => {
      await this.#restart(wholePlan(NO_CHANGE, applied));
      for (const family of this.#families) await this.#sync(family);
      this.#complete = true;
    });
  }

  audit(applied: Plan<Planned>): Promise<number> {
    return this.#serial(async () => {
      if (!this.#complete) return 0;
      let wrong = 0;
      for (const family of this.#families) {
        const { iptables } = family;
        const host = await hostAddresses(iptables.family, this.#options.ns);
        const found = differences({
          wanted: restoreText(this.#rules(family), []).text,
          filter: await iptables.save('filter'),
          nat: await iptables.save('nat'),
          jumps: JUMPS,
        });
        if (found.length > 0)
          this.#log.warn('the rules were not as written', { family: iptables.family, chains: found.slice(0, 20) });
        const moved = host.main !== family.host.main || host.all.join() !== family.host.all.join();
        if (found.length === 0 && !moved) continue;
        wrong += found.length;
        family.full = true;
      }
      if (this.#families.some((family) => family.full)) {
        await this.#restart(wholePlan(NO_CHANGE, applied));
        for (const family of this.#families) await this.#sync(family);
      }
      return wrong;
    });
  }

  /** Rules stay and lead nowhere. Open TCP connections go on as long as this process does. */
  async stop(): Promise<void> {
    await this.#last.catch(() => {});
    for (const family of this.#families) {
      for (const portal of family.portals.values()) this.#shut(portal);
      family.portals.clear();
    }
    for (const listener of this.#retired.splice(0)) listener.close();
  }

  async retire(): Promise<void> {
    await this.#last.catch(() => {});
  }

  async cleanup(): Promise<void> {
    await this.#last.catch(() => {});
    await cleanXtables(this.#run, isUserspaceChain, () => undefined, this.#log);
    const ports = new Set<number>();
    for (const family of this.#families) {
      for (const portal of family.portals.values()) {
        for (const listener of Object.values(portal.listeners)) ports.add(listener.port);
        this.#retire(portal);
      }
      family.portals.clear();
      family.full = true;
    }
    this.#complete = false;
    this.#closeRetired();
    await this.#forgetFlows(ports);
  }

  /** UDP flows that are led to sockets of ours would go on to be led there. */
  async #forgetFlows(ports: ReadonlySet<number>): Promise<void> {
    if (ports.size === 0) return;
    const conntrack = Conntrack.open(this.#options.ns);
    try {
      for (const { config, host } of this.#families) {
        await conntrack.deleteWhere(
          { family: config.family, proto: UDP },
          (flow) => flow.reply.src === host.main && ports.has(flow.reply.sport),
        );
      }
    } finally {
      conntrack.close();
    }
  }

  /** Takes a change of the plan in. True when rules have changed. Endpoints are in effect at once: no rule names them. */
  #update(family: FamilyPortals, diff: Diff<Planned>): boolean {
    let touched = false;
    let moved = false;
    const mine = (value: Planned): boolean => value.family === family.config.family;
    for (const [key, { value }] of diff.removed) {
      if (!mine(value)) continue;
      if (value.type === 'NodePortAddress') {
        moved = family.planAddresses.delete(formatAddress(value.address)) || moved;
      } else touched = this.#remove(family, key) || touched;
    }
    const set = (key: string, value: Planned): void => {
      if (!mine(value)) return;
      if (value.type === 'ServicePort') touched = this.#set(family, key, value) || touched;
      else {
        family.planAddresses.add(formatAddress(value.address));
        moved = true;
      }
    };
    for (const [key, { value }] of diff.added) set(key, value);
    for (const [key, { to }] of diff.changed) set(key, to.value);
    if (moved) for (const portal of family.portals.values()) portal.rules = this.#compile(family, portal);
    return touched || moved;
  }

  #remove(family: FamilyPortals, key: string): boolean {
    const portal = family.portals.get(key);
    if (portal === undefined) return false;
    family.portals.delete(key);
    family.refused.delete(key);
    this.#retire(portal);
    return true;
  }

  #set(family: FamilyPortals, key: string, value: ServicePort): boolean {
    if (value.protocol === 'SCTP') return false;
    const portal = family.portals.get(key) ?? newPortal(value);
    const before = portal.rules;
    portal.value = value;
    portal.affinity.seconds = value.affinitySeconds;
    family.portals.set(key, portal);
    family.refused.delete(key);
    const width = endpointWidth(value.family);
    const serving = new Set([value.cluster, value.local, value.draining].flatMap((list) => unpackList(list, width)));
    for (const name of POOLS) {
      portal.pools[name].set(value[name]);
      const listener = portal.listeners[name];
      if (value[name] === '') {
        delete portal.listeners[name];
        if (listener !== undefined) this.#retired.push(listener);
      } else if (listener === undefined) this.#listen(family, portal, name);
      else listener.keep?.(serving);
    }
    portal.rules = this.#compile(family, portal);
    return before.nat.join() !== portal.rules.nat.join() || before.filter.join() !== portal.rules.filter.join();
  }

  #listen(family: FamilyPortals, portal: Portal, pool: PoolName): void {
    const { value } = portal;
    if (family.host.main === undefined) return;
    const name = servicePortName(value);
    const options = {
      address: family.host.main,
      range: this.#range,
      pool: portal.pools[pool],
      name,
      ns: this.#options.ns,
      log: this.#log,
    };
    try {
      portal.listeners[pool] =
        value.protocol === 'TCP'
          ? tcpListener(options)
          : udpListener({ ...options, idleMs: this.#options.settings?.udpIdleMs ?? UDP_IDLE_MS });
    } catch (error) {
      this.#log.error('cannot listen for a Service; all others are served', { port: name, error });
    }
  }

  #compile(family: FamilyPortals, portal: Portal): PortRules {
    const { host } = family;
    if (host.main === undefined) return NO_RULES;
    const sockets: Partial<Record<PoolName, number>> = {};
    for (const name of POOLS) {
      const port = portal.listeners[name]?.port;
      if (port !== undefined) sockets[name] = port;
    }
    const around = { config: family.config, host: host.main, nodeAddresses: nodeAddresses(family) };
    return compilePort(portal.value, sockets, around);
  }

  /** Takes the whole plan: what is served already keeps its sockets. */
  async #restart(whole: Diff<Planned>): Promise<void> {
    for (const family of this.#families) {
      const host = await hostAddresses(family.config.family, this.#options.ns);
      const moved = host.main !== family.host.main;
      family.host = host;
      family.full = true;
      family.refused.clear();
      family.planAddresses.clear();
      for (const [key, portal] of family.portals) {
        if (moved || !whole.added.has(key)) {
          family.portals.delete(key);
          this.#retire(portal);
        }
      }
      this.#update(family, whole);
    }
  }

  #rules({ portals, refused }: FamilyPortals): Map<string, PortRules> {
    const out = new Map<string, PortRules>();
    for (const [key, { rules }] of portals) if (!refused.has(key)) out.set(key, rules);
    return out;
  }

  /** Writes the rules, and again without a port that the program refuses. Then sockets that nothing leads to go. */
  async #sync(family: FamilyPortals): Promise<void> {
    const { iptables, refused } = family;
    const missing = family.full ? await this.#missingJumps(iptables) : [];
    for (;;) {
      const { text, owner } = restoreText(this.#rules(family), missing);
      const done = await iptables.restore(text);
      if (done.code === 0) break;
      const error = failed(`iptables-restore for IPv${iptables.family}`, done);
      const line = /line:? (\d+)/i.exec(done.stderr)?.[1];
      const key = line === undefined || done.code >= 4 ? undefined : owner(Number(line));
      if (key === undefined) throw error;
      refused.add(key);
      this.#log.error('the kernel refuses a Service; all others are served', { port: key, error });
    }
    family.full = false;
    this.#closeRetired();
  }

  async #missingJumps(iptables: Iptables): Promise<typeof JUMPS> {
    const has = new Set<string>();
    for (const table of ['filter', 'nat'] as const) {
      for (const [chain, list] of parseTable(await iptables.save(table), table))
        for (const rule of list) has.add(`${table} ${chain} ${canonical(rule)}`);
    }
    return JUMPS.filter((j) => !has.has(`${j.table} ${j.from} ${canonical(`-A ${j.from} ${j.rule}`)}`));
  }

  #retire(portal: Portal): void {
    this.#retired.push(...Object.values(portal.listeners));
    portal.listeners = {};
  }

  /** Closes sockets that no rule leads to any more; TCP's a little later, for those who are on their way. */
  #closeRetired(): void {
    for (const listener of this.#retired.splice(0)) {
      if (listener.keep === undefined) setTimeout(() => listener.close(), GRACE_MS).unref();
      else listener.close();
    }
  }

  #shut(portal: Portal): void {
    for (const listener of Object.values(portal.listeners)) listener.close();
    portal.listeners = {};
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(async () => {
      try {
        return await work();
      } catch (error) {
        for (const family of this.#families) family.full = true;
        throw error;
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }
}

const NO_RULES: PortRules = { filter: [], nat: [] };

function newPortal(value: ServicePort): Portal {
  const affinity = new Affinity();
  const pool = (): Pool => new Pool(value.family, affinity);
  return { value, affinity, pools: { cluster: pool(), local: pool() }, listeners: {}, rules: NO_RULES };
}

/** Addresses that answer on NodePorts, when these are not all. */
function nodeAddresses({ config, planAddresses, host }: FamilyPortals): string[] {
  const { nodePorts } = config;
  if (nodePorts.all) return [];
  const out = new Set(planAddresses);
  for (const text of host.all) {
    const ip = parseIp(text);
    if (ip !== undefined && nodePorts.cidrs.some((cidr) => prefixContains(cidr, ip))) out.add(formatIp(ip));
  }
  if (config.family === 4 && nodePorts.localhost === true) out.add('127.0.0.1');
  return [...out].sort();
}
