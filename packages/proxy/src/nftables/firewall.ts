import { createHash } from 'node:crypto';
import type { Changes, FirewallAdd } from './changes.ts';
import { REUSE_DELAY_MS } from './ids.ts';

interface RangeRecord {
  readonly add: FirewallAdd;
  users: number;
  idleSince: number;
}

/** Names of the chain and the set of a list of source ranges: equal lists share them. */
function firewallNames(ranges: readonly string[]): FirewallAdd {
  const hash = createHash('sha256').update(ranges.join(',')).digest('hex').slice(0, 16);
  return { chain: `fw-${hash}`, set: `r-${hash}`, ranges };
}

/** Source ranges of load balancers: one chain and one interval set per distinct list, one element per address. */
export class Firewall {
  readonly #lists = new Map<string, RangeRecord>();
  /** Frontend key → chain, as the kernel has it. */
  readonly #guarded = new Map<string, string>();

  adopt(guarded: ReadonlyMap<string, string>, chains: ReadonlySet<string>, now: number): void {
    for (const chain of chains) {
      const add = { chain, set: `r${chain.slice(2)}`, ranges: [] };
      this.#lists.set(chain, { add, users: 0, idleSince: now });
    }
    for (const [key, chain] of guarded) {
      this.#guarded.set(key, chain);
      const record = this.#lists.get(chain);
      if (record !== undefined) record.users += 1;
    }
  }

  /** Frontend keys that are guarded now. */
  keys(): Iterable<string> {
    return this.#guarded.keys();
  }

  /** Restricts a frontend to `ranges`; empty lifts the restriction. */
  guard(key: string, ranges: readonly string[], now: number, changes: Changes): void {
    const old = this.#guarded.get(key);
    if (ranges.length === 0) {
      if (old !== undefined) this.#lift(key, old, now, changes);
      return;
    }
    const add = firewallNames(ranges);
    if (old === add.chain) return;
    if (old !== undefined) this.#lift(key, old, now, changes);
    let record = this.#lists.get(add.chain);
    if (record === undefined) {
      record = { add, users: 0, idleSince: 0 };
      this.#lists.set(add.chain, record);
      changes.firewallsAdded.push(add);
    }
    record.users += 1;
    this.#guarded.set(key, add.chain);
    changes.guarded.push({ key, chain: add.chain });
  }

  get hasIdle(): boolean {
    for (const record of this.#lists.values()) if (record.users === 0) return true;
    return false;
  }

  sweep(now: number, changes: Changes): void {
    for (const [chain, record] of this.#lists) {
      if (record.users > 0 || record.idleSince + REUSE_DELAY_MS > now) continue;
      this.#lists.delete(chain);
      changes.firewallsRemoved.push(record.add);
    }
  }

  #lift(key: string, chain: string, now: number, changes: Changes): void {
    this.#guarded.delete(key);
    changes.unguarded.push({ key, chain });
    const record = this.#lists.get(chain);
    if (record === undefined) return;
    record.users -= 1;
    if (record.users === 0) record.idleSince = now;
  }
}
