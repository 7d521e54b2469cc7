import type { IpvsChange, NetNs } from '@weft/kernel';
import { type Family, parseIp, prefixContains } from '@weft/net';
import { type Diff, type Logger, type Plan, silentLogger } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import { differences } from '../iptables/audit.ts';
import { cleanXtables, type XtablesUse } from '../iptables/cleanup.ts';
import { detectVariant, failed, Iptables, type Run, runner, type Variant } from '../iptables/program.ts';
import { canonical, parseTable } from '../iptables/saved.ts';
import { formatAddress, portOf } from '../model/packed.ts';
import type { Planned } from '../model/types.ts';
import { NO_CHANGE, wholePlan } from '../whole.ts';
import { type IpvsSettings, serverKey, type Surroundings } from './compile.ts';
import { IpvsFamily } from './family.ts';
import { IpvsKernel } from './kernel.ts';
import { CHAINS, JUMPS, rulesText } from './rules.ts';

export interface IpvsOptions {
  /** One configuration per family that is served. */
  readonly tables: readonly FamilyConfig[];
  readonly settings?: IpvsSettings;
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  /** Which iptables; default: the one that this node's other programs use. */
  readonly variant?: Variant;
  /** Milliseconds between looks at servers that wait for their connections to end; default a minute, as kube-proxy. */
  readonly terminateMs?: number;
  /** Milliseconds that what another plane has taken over is kept at least, for connections in the making; default 3 s. */
  readonly drainMs?: number;
}

const TERMINATE_MS = 60_000;
const DRAIN_MS = 3000;
const DRAIN_LOOK_MS = 1000;
const DRAIN_LOOK_MAX_MS = 30_000;
const OURS: ReadonlySet<string> = new Set([...CHAINS.nat, ...CHAINS.filter]);

interface FamilyState {
  state: IpvsFamily;
  readonly config: FamilyConfig;
  readonly iptables: Iptables;
  /** Load balancer addresses that the rules close to the node; undefined when the rules are not as written. */
  closed: string | undefined;
}

/** Services by the kernel's own load balancer (IPVS), with kube-proxy's sets, chains, rules and dummy link. */
export class IpvsDataPlane implements DataPlane {
  readonly name = 'ipvs';
  readonly capabilities: Capabilities = {
    families: [4, 6],
    protocols: ['TCP', 'UDP', 'SCTP'],
    sessionAffinity: true,
    sourceRanges: true,
    localhostNodePorts: false,
    allNodePortAddresses: true,
    rejects: true,
    resets: false,
    refusesNodeToExternal: true,
    guardsServiceBlocks: false,
    localForOutsideOnly: false,
    dropsWithoutLocal: false,
    affinityEndsOnTime: false,
    keepsConnections: false,
    keepsClientAddress: true,
    worksWithoutAgent: true,
  };
  readonly #options: IpvsOptions;
  readonly #log: Logger;
  readonly #run: Run;
  #kernel: IpvsKernel | undefined;
  #families: FamilyState[] = [];
  #complete = false;
  /** What the kernel has is not known. */
  #lost = true;
  #local: Record<Family, string[]> = { 4: [], 6: [] };
  #timer: NodeJS.Timeout | undefined;
  #drain: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: IpvsOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#run = runner(options.ns);
  }

  async start(): Promise<StartReport> {
    this.#kernel = await IpvsKernel.open(this.#options.ns);
    const variant = this.#options.variant ?? (await detectVariant(this.#run));
    const adopted: Family[] = [];
    this.#families = this.#options.tables.map((config) => ({
      config,
      state: new IpvsFamily(this.#around(config)),
      iptables: new Iptables(this.#run, config.family, variant),
      closed: undefined,
    }));
    for (const { config } of this.#families) {
      const { bound } = await this.#kernel.read(config.family);
      if (bound.size > 0) adopted.push(config.family);
    }
    return { adopted, replaced: [] };
  }

  apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void> {
    // Half of a world is no reason to write: what an earlier agent left serves until all of it is known.
    if (!this.#complete) return Promise.resolve();
    return this.#serial(async (kernel) => {
      if (this.#lost) await this.#restart(kernel, wholePlan(diff, applied));
      else {
        for (const { state } of this.#families) state.update(diff);
        await this.#lookAround(kernel);
      }
      await this.#sync(kernel);
    });
  }

  complete(applied: Plan<Planned>): Promise<void> {
    return this.#serial(async (kernel) => {
      await this.#restart(kernel, wholePlan(NO_CHANGE, applied));
      await this.#sync(kernel);
      this.#complete = true;
      this.#timer ??= setInterval(() => void this.#terminate(), this.#options.terminateMs ?? TERMINATE_MS).unref();
    });
  }

  audit(applied: Plan<Planned>): Promise<number> {
    return this.#serial(async (kernel) => {
      // Before the whole plan is known, what an earlier agent left is not wrong.
      if (!this.#complete) return 0;
      let wrong = 0;
      await this.#restart(kernel, wholePlan(NO_CHANGE, applied));
      for (const family of this.#families) {
        const steps = family.state.steps(true);
        const found = Object.values(steps).reduce((sum, list: readonly unknown[]) => sum + list.length, 0);
        const rules = differences({
          wanted: rulesText(family.config, family.state.closed),
          filter: await family.iptables.save('filter'),
          nat: await family.iptables.save('nat'),
          jumps: JUMPS,
        });
        if (found + rules.length === 0) {
          family.closed = JSON.stringify(family.state.closed);
          continue;
        }
        wrong += found + rules.length;
        this.#log.warn('virtual services, sets or rules were not as written', {
          family: family.config.family,
          entries: found,
          chains: rules.slice(0, 20),
        });
      }
      if (wrong > 0) await this.#sync(kernel);
      return wrong;
    });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#drain);
    this.#drain = undefined;
    await this.#looking;
    await this.#last.catch(() => {});
    this.#kernel?.close();
    this.#kernel = undefined;
    this.#lost = true;
  }

  xtables(family: Family): XtablesUse | undefined {
    if (!this.#options.tables.some((table) => table.family === family)) return undefined;
    return { has: (chain) => OURS.has(chain), jumps: JUMPS };
  }

  async cleanup(next?: DataPlane): Promise<void> {
    await this.stop();
    await cleanXtables(
      this.#run,
      (chain) => OURS.has(chain),
      (family) => next?.xtables?.(family),
      this.#log,
    );
    this.#complete = false;
    if (next !== undefined) {
      await this.#withKernel((kernel) => kernel.removeConnectionless([4, 6]));
      this.#drained(Date.now(), Math.min(this.#options.drainMs ?? DRAIN_MS, DRAIN_LOOK_MS));
    } else await this.#withKernel((kernel) => kernel.remove([4, 6]));
  }

  /**
   * Removes virtual services when their last open connection has ended: another plane has the new ones, which never come
   * as far as IPVS. `stop` ends it.
   */
  #drained(since: number, pause: number): void {
    const drainMs = this.#options.drainMs ?? DRAIN_MS;
    const look = async (): Promise<void> => {
      const gone = await this.#withKernel(async (kernel) => {
        const open = Date.now() - since < drainMs || (await kernel.openConnections([4, 6])) > 0;
        if (!open && this.#drain !== undefined) await kernel.remove([4, 6]);
        return !open;
      });
      if (gone !== false || this.#drain === undefined) return;
      this.#drained(since, Math.min(pause * 2, DRAIN_LOOK_MAX_MS));
    };
    this.#drain = setTimeout(() => {
      this.#looking = look().catch((error: unknown) => {
        this.#log.error('cannot remove virtual services', { error });
      });
    }, pause).unref();
  }

  /** Undefined on a kernel without IPVS, which has nothing of it. */
  async #withKernel<T>(work: (kernel: IpvsKernel) => Promise<T>): Promise<T | undefined> {
    let kernel: IpvsKernel;
    try {
      kernel = await IpvsKernel.open(this.#options.ns);
    } catch (error) {
      this.#log.debug('nothing to clean', { error });
      return undefined;
    }
    try {
      return await work(kernel);
    } finally {
      kernel.close();
    }
  }

  #around(config: FamilyConfig): Surroundings {
    const local = this.#local[config.family];
    return {
      config,
      settings: this.#options.settings ?? {},
      local: new Set(local),
      nodePortAddresses: config.nodePorts.all ? local : [],
    };
  }

  /** Reads the kernel and takes the plan anew. */
  async #restart(kernel: IpvsKernel, whole: Diff<Planned>): Promise<void> {
    await kernel.prepare(
      this.#families.map((family) => family.config.family),
      this.#options.settings ?? {},
    );
    this.#local = await kernel.localAddresses();
    for (const family of this.#families) {
      family.state = new IpvsFamily(this.#around(family.config));
      family.state.update(whole);
      this.#move(family);
      family.state.read(await kernel.read(family.config.family));
      family.closed = undefined;
    }
    this.#lost = false;
  }

  /** NodePorts are virtual services of every address: they follow when the node's addresses change. */
  async #lookAround(kernel: IpvsKernel): Promise<void> {
    this.#local = await kernel.localAddresses();
    for (const family of this.#families) this.#move(family);
  }

  #move(family: FamilyState): void {
    const { config, state } = family;
    const local = this.#local[config.family];
    const { nodePorts } = config;
    const inside = (address: string): boolean => {
      const ip = parseIp(address);
      return ip !== undefined && nodePorts.cidrs.some((cidr) => prefixContains(cidr, ip));
    };
    const chosen = new Set(nodePorts.all ? local : state.planAddresses.concat(local.filter(inside)));
    const nodePortAddresses = [...chosen].sort();
    const before = state.around;
    const same = (a: Iterable<string>, b: Iterable<string>): boolean => [...a].join() === [...b].join();
    if (same(before.nodePortAddresses, nodePortAddresses) && same(before.local, local)) return;
    state.moved({ ...before, local: new Set(local), nodePortAddresses });
  }

  async #sync(kernel: IpvsKernel): Promise<void> {
    for (const family of this.#families) {
      const steps = family.state.steps(true);
      const refused = new Set<IpvsChange>();
      const change = async (changes: readonly IpvsChange[]): Promise<void> => {
        for (const { change: which, error } of await kernel.ipvs.change(changes)) {
          refused.add(which);
          const port = family.state.ownerOf(serverKey(which.service));
          this.#log.error('the kernel refuses a Service; all others are programmed', { port, error });
        }
      };
      // What packets need comes before what leads them to it, and goes after.
      await kernel.sets.change(steps.addElements);
      await change(steps.servers);
      // An address that the rules of another mode do not translate any more must be the node's by then.
      await kernel.bind(steps, 'bind');
      await this.#writeRules(family);
      await kernel.bind(steps, 'unbind');
      await change(steps.removeServers);
      await kernel.sets.change(steps.removeElements);
      family.state.done(steps, refused);
    }
  }

  async #writeRules(family: FamilyState): Promise<void> {
    const closed = JSON.stringify(family.state.closed);
    if (family.closed === closed) return;
    const { iptables, config } = family;
    const has = new Set<string>();
    for (const table of ['filter', 'nat'] as const) {
      for (const [chain, rules] of parseTable(await iptables.save(table), table))
        for (const rule of rules) has.add(`${table} ${chain} ${canonical(rule)}`);
    }
    const missing = JUMPS.filter((j) => !has.has(`${j.table} ${j.from} ${canonical(`-A ${j.from} ${j.rule}`)}`));
    const done = await iptables.restore(rulesText(config, family.state.closed, missing));
    if (done.code !== 0) throw failed(`iptables-restore for IPv${config.family}`, done);
    family.closed = closed;
  }

  /** Removes servers whose last connection has ended. */
  async #terminate(): Promise<void> {
    await this.#serial(async (kernel) => {
      if (this.#lost) return;
      for (const { state } of this.#families) {
        for (const { service, endpoints } of state.terminating()) {
          const waiting = new Set(endpoints.map((e) => `${formatAddress(e.slice(0, -2))} ${portOf(e)}`));
          for (const server of await kernel.ipvs.destinations(service)) {
            if (!waiting.has(`${server.address} ${server.port}`) || server.active + server.inactive > 0) continue;
            const gone: IpvsChange = { do: 'delDestination', service, destination: server };
            await kernel.ipvs.apply([gone]);
            state.terminated(gone);
          }
        }
      }
    }).catch((error: unknown) => this.#log.error('cannot remove servers without connections', { error }));
  }

  #serial<T>(work: (kernel: IpvsKernel) => Promise<T>): Promise<T> {
    const done = this.#last.then(async () => {
      this.#kernel ??= await IpvsKernel.open(this.#options.ns);
      try {
        return await work(this.#kernel);
      } catch (error) {
        this.#lost = true;
        throw error;
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }
}
