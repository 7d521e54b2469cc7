import { isKernelError, NetNs, NfAcct, readSysctl, Rtnl, writeSysctl } from '@weft/kernel';
import { type Family, formatIp, parseIp, prefixContains } from '@weft/net';
import { type Diff, type Logger, type Metrics, type Plan, silentLogger } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import type { Planned } from '../model/types.ts';
import { NO_CHANGE, wholePlan } from '../whole.ts';
import { differences } from './audit.ts';
import { answersLocalhost, CANARY_TABLES, type Jump, jumps } from './base.ts';
import { cleanXtables, findLeftovers, isIptablesChain, type XtablesUse } from './cleanup.ts';
import { FamilyRules } from './family.ts';
import { IptablesMetrics } from './metrics.ts';
import {
  CANARY,
  INVALID_DROPPED,
  KUBELET_FIREWALL,
  LOCALHOST_ACCEPTED,
  LOCALNET_MARK,
  SERVICE_CHAIN,
  SERVICES,
} from './names.ts';
import { detectVariant, failed, Iptables, type Run, runner, type Variant } from './program.ts';
import { type Restore, type RestoreInput, writeRestore } from './restore.ts';
import { canonical, parseTable } from './saved.ts';

export interface IptablesOptions {
  /** One configuration per family that is served. */
  readonly tables: readonly FamilyConfig[];
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** Which iptables; default: the one that this node's other programs use. */
  readonly variant?: Variant;
  /** Milliseconds between looks at the canaries; default 30 s (kube-proxy's syncPeriod). */
  readonly canaryMs?: number;
}

const CANARY_MS = 30_000;
const ROUTE_LOCALNET = 'net.ipv4.conf.all.route_localnet';
/** Services from which on iptables-nft takes minutes where legacy takes a second: its restore compares chains pair by pair. */
const NFT_SLOW = 1000;

interface FamilyTables {
  rules: FamilyRules;
  readonly iptables: Iptables;
  /** What the kernel has is not known: everything is written again. */
  full: boolean;
}

/** Services by iptables, with kube-proxy's chains, rules and order. */
export class IptablesDataPlane implements DataPlane {
  readonly name = 'iptables';
  readonly capabilities: Capabilities = {
    families: [4, 6],
    protocols: ['TCP', 'UDP', 'SCTP'],
    sessionAffinity: true,
    sourceRanges: true,
    localhostNodePorts: true,
    allNodePortAddresses: true,
    rejects: true,
    resets: false,
    refusesNodeToExternal: false,
    guardsServiceBlocks: false,
    localForOutsideOnly: true,
    dropsWithoutLocal: true,
    affinityEndsOnTime: true,
    keepsConnections: true,
    keepsClientAddress: true,
    worksWithoutAgent: true,
  };
  readonly #options: IptablesOptions;
  readonly #log: Logger;
  readonly #run: Run;
  readonly #metrics: IptablesMetrics | undefined;
  #families: FamilyTables[] = [];
  #complete = false;
  #warned = false;
  #canary: NodeJS.Timeout | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: IptablesOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#run = runner(options.ns);
    this.#metrics = options.metrics === undefined ? undefined : new IptablesMetrics(options.metrics);
    // What it finds is told with the next rendering: the kernel is not asked while one waits.
    options.metrics?.beforeRender(() => void this.#readCounters());
  }

  async start(): Promise<StartReport> {
    const variant = this.#options.variant ?? (await detectVariant(this.#run));
    const counters = await makeCounters(this.#options.ns, this.#log);
    this.#families = this.#options.tables.map((config) => ({
      rules: new FamilyRules({ ...config, counters }),
      iptables: new Iptables(this.#run, config.family, variant),
      full: true,
    }));
    const adopted: (4 | 6)[] = [];
    for (const { iptables } of this.#families) {
      const nat = parseTable(await iptables.save('nat'), 'nat');
      if (nat.has(SERVICES)) adopted.push(iptables.family);
    }
    this.#log.info('using iptables', { variant });
    return { adopted, replaced: [] };
  }

  apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void> {
    // Half of a world is no reason to write: what an earlier agent left serves until all of it is known.
    if (!this.#complete) return Promise.resolve();
    return this.#serial(async () => {
      // A sync that failed has left the rules ahead of the plan.
      const lost = this.#families.some((family) => family.full);
      if (lost) this.#restart(wholePlan(diff, applied));
      for (const family of this.#families) {
        const touched = lost || family.rules.update(diff);
        if (touched) await this.#sync(family);
      }
    });
  }

  complete(applied: Plan<Planned>): Promise<void> {
    return this.#serial(async () => {
      this.#restart(wholePlan(NO_CHANGE, applied));
      for (const family of this.#families) await this.#sync(family);
      this.#complete = true;
      this.#canary ??= setInterval(() => void this.#watchCanaries(), this.#options.canaryMs ?? CANARY_MS).unref();
    });
  }

  audit(applied: Plan<Planned>): Promise<number> {
    return this.#serial(async () => {
      // Before the whole plan is known, what an earlier agent left is not wrong.
      if (!this.#complete) return 0;
      let wrong = 0;
      for (const family of this.#families) {
        const { rules, iptables } = family;
        const found = differences({
          wanted: this.#write(family, { all: true, jumps: jumps(rules.config), canaries: true }).text,
          filter: await iptables.save('filter'),
          nat: await iptables.save('nat'),
          jumps: jumps(rules.config),
        });
        if (found.length === 0) continue;
        wrong += found.length;
        this.#log.warn('the rules were not as written', { family: iptables.family, chains: found.slice(0, 20) });
        family.full = true;
      }
      if (wrong > 0) {
        this.#restart(wholePlan(NO_CHANGE, applied));
        for (const family of this.#families) await this.#sync(family);
      }
      return wrong;
    });
  }

  async stop(): Promise<void> {
    clearInterval(this.#canary);
    this.#canary = undefined;
    await this.#last.catch(() => {});
  }

  xtables(family: Family): XtablesUse | undefined {
    const config = this.#options.tables.find((table) => table.family === family);
    return config === undefined ? undefined : { has: isIptablesChain, jumps: jumps(config) };
  }

  async cleanup(next?: DataPlane): Promise<void> {
    await this.stop();
    const { kubelet, localnet } = await findLeftovers(this.#run);
    if (localnet) writeSysctl(ROUTE_LOCALNET, '0', this.#options.ns);
    const isOurs = (chain: string): boolean =>
      isIptablesChain(chain) || chain === LOCALNET_MARK || (chain === KUBELET_FIREWALL && !kubelet);
    await cleanXtables(this.#run, isOurs, (family) => next?.xtables?.(family), this.#log);
    await removeCounters(this.#options.ns);
    this.#complete = false;
    for (const family of this.#families) Object.assign(family, { full: true });
  }

  async #readCounters(): Promise<void> {
    if (!this.#complete || !this.#families.some(({ rules }) => rules.config.counters === true)) return;
    const acct = NfAcct.open(this.#options.ns);
    try {
      for (const name of COUNTERS) {
        const counter = await acct.get(name);
        if (counter !== undefined) this.#metrics?.counted(name, counter.packets);
      }
    } catch (error) {
      this.#log.debug('cannot read counters', { error });
    } finally {
      acct.close();
    }
  }

  #restart(whole: Diff<Planned>): void {
    for (const family of this.#families) {
      family.rules = new FamilyRules(family.rules.config);
      family.rules.update(whole);
      family.full = true;
    }
  }

  /** Leads the kernel to the rules: with everything when what it has is not known, else with what has changed. */
  async #sync(family: FamilyTables): Promise<void> {
    const { rules, iptables, full } = family;
    let missing: readonly Jump[] = [];
    if (full) {
      missing = await this.#look(family);
      this.#warnOfNft(family);
    }
    const restore = await this.#load(family, missing);
    family.full = false;
    rules.written();
    this.#metrics?.synced(iptables.family, restore.total, restore.written);
  }

  /** Reads what the kernel has: chains that may be left over, and jumps that are missing. */
  async #look({ rules, iptables }: FamilyTables): Promise<Jump[]> {
    const tables = {
      filter: parseTable(await iptables.save('filter'), 'filter'),
      nat: parseTable(await iptables.save('nat'), 'nat'),
    };
    rules.forgetKernel([...tables.nat.keys()].filter((chain) => SERVICE_CHAIN.test(chain)));
    const has = new Set<string>();
    for (const table of ['filter', 'nat'] as const) {
      for (const [chain, list] of tables[table])
        for (const rule of list) has.add(`${table} ${chain} ${canonical(rule)}`);
    }
    if (answersLocalhost(rules.config)) {
      // Packets to 127.0.0.1 leave for pods only where the kernel routes that block.
      await this.#routeLocalnet(iptables);
    }
    return jumps(rules.config).filter((j) => !has.has(`${j.table} ${j.from} ${canonical(`-A ${j.from} ${j.rule}`)}`));
  }

  /** Has the kernel route 127.0.0.0/8, and leaves a mark when it did not before: a clean-up undoes it then. */
  async #routeLocalnet(iptables: Iptables): Promise<void> {
    if (readSysctl(ROUTE_LOCALNET, this.#options.ns) === '1') return;
    const done = await iptables.restore(`*mangle\n:${LOCALNET_MARK} - [0:0]\nCOMMIT\n`);
    if (done.code !== 0) throw failed('iptables-restore of a mark', done);
    writeSysctl(ROUTE_LOCALNET, '1', this.#options.ns);
  }

  /** Writes, and writes again without a port that the kernel refuses: the others are not to suffer for it. */
  async #load(family: FamilyTables, missing: readonly Jump[]): Promise<Restore> {
    const { rules, iptables, full } = family;
    for (;;) {
      const restore = this.#write(family, { jumps: missing, canaries: full });
      const done = await iptables.restore(restore.text);
      if (done.code === 0) return restore;
      this.#metrics?.failed(iptables.family, full);
      const error = failed(`iptables-restore for IPv${iptables.family}`, done);
      const line = /line:? (\d+)/i.exec(done.stderr)?.[1];
      // 4 is trouble of the moment: the lock, or memory.
      if (done.code === 4 || done.code > 4 || error.code === 'PROXY_IPTABLES_LOCKED') throw error;
      const owner = line === undefined ? undefined : restore.owner(Number(line));
      const culprits = owner === undefined ? await this.#isolate(family, error) : [owner];
      for (const key of culprits) {
        rules.refuse(key);
        this.#log.error('the kernel refuses a Service; all others are programmed', { port: key, error });
      }
    }
  }

  /**
   * Finds which ports the kernel refuses, when the program does not say: in a namespace of its own, since a world with half
   * of its Services must not be in effect for a moment. Throws `error` when it is none of them.
   */
  async #isolate(family: FamilyTables, error: Error): Promise<string[]> {
    const { rules, iptables } = family;
    const scratch = NetNs.anonymous();
    if (rules.config.counters === true) await makeCounters(scratch, this.#log);
    const trial = new Iptables(runner(scratch), iptables.family, iptables.variant);
    const works = async (without: ReadonlySet<string>): Promise<boolean> => {
      const { text } = this.#write(family, { jumps: [], canaries: false, all: true, without });
      return (await trial.restore(text)).code === 0;
    };
    try {
      const suspects = [...rules.changed].filter((key) => !rules.refused.has(key));
      const bad = new Set(suspects);
      // Where everything works there, or nothing does, no port is to blame.
      if (suspects.length === 0 || (await works(new Set())) || !(await works(bad))) throw error;
      const culprits: string[] = [];
      const search = async (part: readonly string[]): Promise<void> => {
        for (const key of part) bad.delete(key);
        if (await works(bad)) return;
        for (const key of part) bad.add(key);
        if (part.length === 1) {
          culprits.push(part[0] as string);
          return;
        }
        const middle = part.length >> 1;
        await search(part.slice(0, middle));
        await search(part.slice(middle));
      };
      await search(suspects);
      if (culprits.length === 0) throw error;
      return culprits;
    } finally {
      scratch.close();
    }
  }

  #write(
    { rules, full }: FamilyTables,
    more: Pick<RestoreInput, 'jumps' | 'canaries'> & { all?: boolean; without?: ReadonlySet<string> },
  ): Restore {
    return writeRestore({
      config: rules.config,
      ports: rules.ports(full || more.all === true, more.without),
      stale: rules.stale,
      nodeAddresses: this.#nodeAddresses(rules),
      dropInvalid: this.#dropsInvalid(),
      jumps: more.jumps,
      canaries: more.canaries,
    });
  }

  #dropsInvalid(): boolean {
    try {
      return readSysctl('net.netfilter.nf_conntrack_tcp_be_liberal', this.#options.ns) === '0';
    } catch {
      return true;
    }
  }

  #nodeAddresses(rules: FamilyRules): string[] {
    const { nodePorts, family } = rules.config;
    const out = new Set(rules.planAddresses);
    if (nodePorts.cidrs.length > 0) {
      for (const ip of this.#local) {
        if (ip.family === family && nodePorts.cidrs.some((cidr) => prefixContains(cidr, ip))) out.add(formatIp(ip));
      }
    }
    if (answersLocalhost(rules.config) && !nodePorts.all) out.add('127.0.0.1');
    return [...out].sort();
  }

  #local: readonly NonNullable<ReturnType<typeof parseIp>>[] = [];

  /** Addresses of the node's interfaces, which NodePorts by block are looked up in. */
  async #readAddresses(): Promise<void> {
    if (!this.#families.some(({ rules }) => rules.config.nodePorts.cidrs.length > 0)) return;
    const rt = Rtnl.open(this.#options.ns);
    try {
      const found = await rt.addresses.list();
      this.#local = found.flatMap((a) => parseIp(a.address.split('/')[0] ?? '') ?? []);
    } finally {
      rt.close();
    }
  }

  #warnOfNft({ rules, iptables }: FamilyTables): void {
    if (this.#warned || iptables.variant !== 'nft' || rules.size <= NFT_SLOW) return;
    this.#warned = true;
    this.#log.warn('iptables here is the nft variant, which takes minutes to load this many Services', {
      services: rules.size,
      hint: 'use --proxy-mode nftables, or iptables-legacy (update-alternatives --set iptables /usr/sbin/iptables-legacy)',
    });
  }

  /** Somebody who flushes the tables takes the canaries along. */
  async #watchCanaries(): Promise<void> {
    await this.#serial(async () => {
      for (const family of this.#families) {
        const there = await Promise.all(CANARY_TABLES.map((table) => family.iptables.hasChain(table, CANARY)));
        if (there.every(Boolean)) continue;
        this.#log.warn('somebody has flushed the tables; writing all rules again', { family: family.iptables.family });
        family.full = true;
        await this.#sync(family);
      }
    }).catch((error: unknown) => this.#log.error('cannot write the rules again', { error }));
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(async () => {
      await this.#readAddresses();
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

const COUNTERS = [INVALID_DROPPED, LOCALHOST_ACCEPTED];

/** Makes the counters that rules count into; false where the kernel has none: the rules do without. */
async function makeCounters(ns: NetNs | undefined, log: Logger): Promise<boolean> {
  try {
    const acct = NfAcct.open(ns);
    try {
      for (const name of COUNTERS) await acct.ensure(name);
    } finally {
      acct.close();
    }
    return true;
  } catch (error) {
    log.debug('this kernel has no named counters', { error });
    return false;
  }
}

async function removeCounters(ns: NetNs | undefined): Promise<void> {
  const acct = NfAcct.open(ns);
  try {
    for (const name of COUNTERS) await acct.del(name);
  } catch (error) {
    // Another program's rules may count into them; a kernel may have none.
    if (!isKernelError(error)) throw error;
  } finally {
    acct.close();
  }
}
