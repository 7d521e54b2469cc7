import { Nft, NftBatch, type NetNs } from '@weft/kernel';
import { type Diff, type Entry, type Logger, type Plan, silentLogger } from '@weft/plan';
import type { Family } from '@weft/net';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import type { Planned } from '../model/types.ts';
import type { Changes } from './changes.ts';
import { encodeChanges, encodeTable } from './encode.ts';
import { FamilyState } from './family.ts';
import { REUSE_DELAY_MS } from './ids.ts';
import { type LayoutConfig, nftFamily, TABLE } from './layout.ts';
import { type Readback, readTable } from './readback.ts';

export interface NftablesOptions {
  /** One configuration per family that is served. */
  readonly tables: readonly LayoutConfig[];
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  /** Steady clock in milliseconds. */
  readonly now?: () => number;
}

/** One family, and what the next transaction has to do before anything else. */
interface FamilyTable {
  readonly config: LayoutConfig;
  state: FamilyState;
  /**
   * `ready`: the state is the image of the kernel. `adopt`: the whole plan must come next, and only differences are
   * written. `create` and `replace`: likewise, and the table is written anew in the same transaction. `unknown`: a
   * transaction failed, and what the kernel holds must be read first.
   */
  phase: 'ready' | 'adopt' | 'create' | 'replace' | 'unknown';
}

/**
 * Services by nftables, in the flat layout of the README: one data-map element per frontend and endpoint, a few shared
 * chains, written over nfnetlink.
 */
export class NftablesDataPlane implements DataPlane {
  readonly name = 'nftables';
  readonly capabilities: Capabilities = {
    families: [4, 6],
    protocols: ['TCP', 'UDP', 'SCTP'],
    sessionAffinity: true,
    sourceRanges: true,
    localhostNodePorts: false,
    allNodePortAddresses: true,
    rejects: true,
  };
  readonly #options: NftablesOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tables: FamilyTable[];
  #nft: Nft | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  /** Transactions one after the other: each is compiled against the state that the one before has left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: NftablesOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#now = options.now ?? (() => performance.now());
    this.#tables = options.tables.map((config) => ({ config, state: new FamilyState(config), phase: 'create' }));
  }

  async start(): Promise<StartReport> {
    this.#nft ??= Nft.open(this.#options.ns);
    const adopted: Family[] = [];
    const replaced: string[] = [];
    for (const table of this.#tables) {
      const read = await this.#read(table);
      if (read.state === 'ours') adopted.push(table.config.family);
      if (read.state === 'foreign') replaced.push(`table ${nftFamily(table.config.family)} ${TABLE}: ${read.why}`);
    }
    return { adopted, replaced };
  }

  apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void> {
    return this.#serial(async () => {
      for (const table of this.#tables) if (table.phase === 'unknown') await this.#read(table);
      const fresh = this.#tables.some((table) => table.phase !== 'ready');
      const whole = fresh ? wholePlan(diff, applied) : diff;
      await this.#write((table) => table.state.update(table.phase === 'ready' ? diff : whole, this.#now()));
    });
  }

  audit(applied: Plan<Planned>): Promise<number> {
    return this.#serial(async () => {
      let wrong = 0;
      for (const table of this.#tables) {
        const read = await this.#read(table);
        if (read.state === 'foreign') this.#log.warn('the table was changed by something else', { why: read.why });
        if (read.state !== 'ours') wrong += 1;
      }
      const whole = wholePlan({ added: new Map(), changed: new Map(), removed: new Map() }, applied);
      await this.#write((table) => {
        const changes = table.state.update(whole, this.#now());
        if (table.phase === 'adopt') wrong += changes.count;
        return changes;
      });
      return wrong;
    });
  }

  async stop(): Promise<void> {
    clearTimeout(this.#sweeper);
    await this.#last.catch(() => {});
    this.#nft?.close();
    this.#nft = undefined;
  }

  async cleanup(): Promise<void> {
    await this.#last.catch(() => {});
    const nft = this.#nft ?? Nft.open(this.#options.ns);
    const batch = new NftBatch();
    for (const family of ['ip', 'ip6'] as const) batch.destroyTable({ family, name: TABLE });
    await nft.commit(batch);
    if (this.#nft === undefined) nft.close();
    for (const table of this.#tables) Object.assign(table, { state: new FamilyState(table.config), phase: 'create' });
  }

  async #read(table: FamilyTable): Promise<Readback> {
    const read = await readTable(this.#open(), table.config);
    const before = table.phase === 'ready' ? table.state : undefined;
    table.state = new FamilyState(table.config);
    if (read.state === 'ours') table.state.adopt(read.found, this.#now(), before);
    table.phase = read.state === 'ours' ? 'adopt' : read.state === 'foreign' ? 'replace' : 'create';
    return read;
  }

  /** One transaction over all families. */
  async #write(compile: (table: FamilyTable) => Changes): Promise<void> {
    const batch = new NftBatch();
    for (const table of this.#tables) {
      const { config, state, phase } = table;
      if (phase === 'replace') batch.destroyTable({ family: nftFamily(config.family), name: TABLE });
      if (phase === 'create' || phase === 'replace') encodeTable(batch, config, state.text);
      encodeChanges(batch, compile(table), state.text);
    }
    try {
      // Where one message cannot hold it, a new table may come in pieces: nothing depends on it yet.
      const isNew = this.#tables.every((table) => table.phase === 'create');
      if (batch.count > 0) await this.#open().commit(batch, { allowSplit: isNew });
    } catch (error) {
      for (const table of this.#tables) table.phase = 'unknown';
      throw error;
    }
    for (const table of this.#tables) {
      table.phase = 'ready';
      for (const port of table.state.takeRefused()) {
        this.#log.error('no class left, the Service refuses connections', { servicePort: port });
      }
    }
    this.#scheduleSweep();
  }

  #scheduleSweep(): void {
    if (this.#sweeper !== undefined || !this.#tables.some((table) => table.state.hasIdle)) return;
    this.#sweeper = setTimeout(() => {
      this.#sweeper = undefined;
      if (this.#nft === undefined) return;
      this.#serial(async () => {
        // Not in the middle of finding out what the kernel holds.
        if (this.#tables.some((table) => table.phase !== 'ready')) return;
        await this.#write((table) => table.state.sweep(this.#now()));
      }).catch((error: unknown) => this.#log.warn('could not remove what is no longer used', { error }));
    }, REUSE_DELAY_MS + 50);
    this.#sweeper.unref();
  }

  #open(): Nft {
    if (this.#nft === undefined) throw new Error('the nftables data plane is not started');
    return this.#nft;
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work, work);
    this.#last = next.catch(() => {});
    return next;
  }
}

/** The next plan as one addition. */
function wholePlan(diff: Diff<Planned>, applied: Plan<Planned>): Diff<Planned> {
  const added = new Map<string, Entry<Planned>>();
  for (const [key, entry] of applied) if (!diff.removed.has(key)) added.set(key, entry);
  for (const [key, { to }] of diff.changed) added.set(key, to);
  for (const [key, entry] of diff.added) added.set(key, entry);
  return { added, changed: new Map(), removed: new Map() };
}
