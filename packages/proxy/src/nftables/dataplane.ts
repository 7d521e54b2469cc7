import { type NetNs, Nft, NftBatch, type NftFamily } from '@weft/kernel';
import { type Diff, type Logger, type Plan, silentLogger } from '@weft/plan';
import type { Family } from '@weft/net';
import type { FamilyConfig } from '../config.ts';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import type { Planned } from '../model/types.ts';
import { NO_CHANGE, wholePlan } from '../whole.ts';
import type { Changes } from './changes.ts';
import { encodeChanges, encodeTable } from './encode.ts';
import { FamilyState } from './family.ts';
import { REUSE_DELAY_MS } from './ids.ts';
import { nftFamily, TABLE } from './layout.ts';
import { type Readback, readTable } from './readback.ts';

export interface NftablesOptions {
  /** One configuration per family that is served. */
  readonly tables: readonly FamilyConfig[];
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
  /** Steady clock in milliseconds. */
  readonly now?: () => number;
}

/** One family's table. */
interface FamilyTable {
  readonly config: FamilyConfig;
  state: FamilyState;
  /**
   * `live`: the state is the image of what the kernel has. `absent`: the table is made with the next transaction.
   * `foreign`: something is there that cannot be continued from; it serves until the whole plan can take its place in
   * one transaction. `unknown`: a transaction failed, and what the kernel has must be read first.
   */
  phase: 'live' | 'absent' | 'foreign' | 'unknown';
}

/** A transaction's buffer up to this size is used again for the next. */
const KEEP_BYTES = 16_384;

/**
 * Services by nftables, in the flat layout of the README: one data-map element per frontend and endpoint, a few shared
 * chains, written over nfnetlink.
 */
export class NftablesDataPlane implements DataPlane {
  readonly name = 'nftables';
  readonly sharesNftables = true;
  readonly capabilities: Capabilities = {
    families: [4, 6],
    protocols: ['TCP', 'UDP', 'SCTP'],
    sessionAffinity: true,
    sourceRanges: true,
    localhostNodePorts: false,
    allNodePortAddresses: true,
    rejects: true,
    resets: true,
    refusesNodeToExternal: true,
    guardsServiceBlocks: true,
    localForOutsideOnly: true,
    dropsWithoutLocal: true,
    affinityEndsOnTime: true,
    keepsConnections: true,
    keepsClientAddress: true,
    worksWithoutAgent: true,
  };
  readonly #options: NftablesOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tables: FamilyTable[];
  #nft: Nft | undefined;
  #batch = new NftBatch();
  /** The whole plan has been applied once. */
  #complete = false;
  #sweeper: NodeJS.Timeout | undefined;
  /** Transactions one after the other: each is compiled against the state that the one before has left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: NftablesOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#now = options.now ?? (() => performance.now());
    this.#tables = options.tables.map((config) => ({
      config,
      state: new FamilyState(config),
      phase: 'absent' as const,
    }));
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
      if (await this.#recover()) await this.#rebuild(wholePlan(diff, applied));
      else
        await this.#write((table) => (table.phase === 'foreign' ? undefined : [table.state.update(diff, this.#now())]));
    });
  }

  complete(applied: Plan<Planned>): Promise<void> {
    return this.#serial(async () => {
      const lost = await this.#recover();
      this.#complete = true;
      const whole = wholePlan(NO_CHANGE, applied);
      await this.#write((table) => {
        const now = this.#now();
        const first = lost || table.phase === 'foreign' ? [table.state.update(whole, now)] : [];
        return [...first, table.state.complete(now)];
      });
    });
  }

  audit(applied: Plan<Planned>): Promise<number> {
    return this.#serial(async () => {
      for (const table of this.#tables) await this.#read(table);
      return this.#rebuild(wholePlan(NO_CHANGE, applied));
    });
  }

  async stop(): Promise<void> {
    clearTimeout(this.#sweeper);
    await this.#last.catch(() => {});
    this.#nft?.close();
    this.#nft = undefined;
  }

  async cleanup(next?: DataPlane): Promise<void> {
    await this.#last.catch(() => {});
    if (next?.sharesNftables === true) return;
    const nft = this.#nft ?? Nft.open(this.#options.ns);
    const batch = new NftBatch();
    await calm(nft, ['ip', 'ip6']);
    for (const family of ['ip', 'ip6'] as const) batch.destroyTable({ family, name: TABLE });
    await nft.commit(batch);
    if (this.#nft === undefined) nft.close();
    for (const table of this.#tables) Object.assign(table, { state: new FamilyState(table.config), phase: 'absent' });
  }

  async #read(table: FamilyTable): Promise<Readback> {
    const read = await readTable(this.#open(), table.config);
    const before = table.phase === 'live' && this.#complete ? table.state : undefined;
    table.state = new FamilyState(table.config);
    if (read.state === 'ours') table.state.adopt(read.found, this.#now(), before);
    if (read.state === 'foreign') this.#log.warn('the table cannot be continued from', { why: read.why });
    table.phase = read.state === 'ours' ? 'live' : read.state;
    return read;
  }

  /** After a failed transaction: reads what the kernel has. True when it did, and the whole plan must be compared. */
  async #recover(): Promise<boolean> {
    if (!this.#tables.some((table) => table.phase === 'unknown')) return false;
    for (const table of this.#tables) await this.#read(table);
    return true;
  }

  /** Leads tables that were just read to the plan. Returns how much of them was wrong. */
  async #rebuild(whole: Diff<Planned>): Promise<number> {
    let wrong = 0;
    await this.#write((table) => {
      if (table.phase === 'foreign' && !this.#complete) return undefined;
      const now = this.#now();
      const changes = [table.state.update(whole, now)];
      if (this.#complete) changes.push(table.state.complete(now));
      wrong += table.phase === 'live' ? changes.reduce((sum, change) => sum + change.count, 0) : 1;
      return changes;
    });
    return wrong;
  }

  /** One transaction over all families; `compile` returns undefined for a table that is left as it is. */
  async #write(compile: (table: FamilyTable) => readonly Changes[] | undefined): Promise<void> {
    // A cold start's buffer is not worth keeping.
    if (this.#batch.bytes > KEEP_BYTES) this.#batch = new NftBatch();
    const batch = this.#batch;
    batch.clear();
    const written: FamilyTable[] = [];
    const foreign = this.#tables
      .filter((table) => table.phase === 'foreign')
      .map((table) => nftFamily(table.config.family));
    if (this.#complete && foreign.length > 0) await calm(this.#open(), foreign);
    for (const table of this.#tables) {
      const changes = compile(table);
      if (changes === undefined) continue;
      const { config, state, phase } = table;
      if (phase === 'foreign') batch.destroyTable({ family: nftFamily(config.family), name: TABLE });
      if (phase === 'foreign' || phase === 'absent') encodeTable(batch, config, state.text);
      for (const change of changes) encodeChanges(batch, change, state.text);
      written.push(table);
    }
    try {
      // Without privilege over the host a message is limited (net.core.wmem_max). In pieces the same changes come in the
      // same safe order.
      if (batch.count > 0) await this.#open().commit(batch, { allowSplit: true });
    } catch (error) {
      for (const table of this.#tables) table.phase = 'unknown';
      throw error;
    }
    for (const table of written) {
      table.phase = 'live';
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
        if (this.#tables.some((table) => table.phase !== 'live')) return;
        await this.#write((table) => [table.state.sweep(this.#now())]);
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

/**
 * Before a table goes: a packet that is inside of it at that moment no longer finds its frontend, but its ClusterIP still,
 * since sets keep their elements until they are freed and maps do not. Nothing may refuse it by then.
 */
async function calm(nft: Nft, families: readonly NftFamily[]): Promise<void> {
  const there = (await nft.listTables()).filter((table) => table.name === TABLE && families.includes(table.family));
  if (there.length === 0) return;
  const batch = new NftBatch();
  for (const { family } of there) batch.flushChain({ family, table: TABLE, name: 'leftover' });
  // A table of another layout may not have that chain.
  await nft.commit(batch).catch(() => {});
}
