import type { Family } from '@weft/net';
import { encodeAnnouncements, encodeWithdrawals, type PathAttributes } from '../codec/index.ts';
import { type Exported, exportRoute } from './export.ts';
import type { Rib } from './rib.ts';

interface Group {
  readonly family: Family;
  readonly exported: Exported;
  readonly prefixes: string[];
}

/** Keys of attributes: two routes with one key go into one message. */
function keyOf({ nextHop, attributes }: Exported): string {
  return `${nextHop} ${JSON.stringify(attributes)}`;
}

/**
 * What one peer has been told (Adj-RIB-Out) and what it must still be told. Memory is bounded by the number of prefixes,
 * however slowly the peer reads: only the last state of each is sent.
 */
export class Outgoing {
  readonly #peer: string;
  readonly #families: readonly Family[];
  readonly #as4: boolean;
  readonly #sent = new Map<string, string>();
  readonly #pending = new Set<string>();
  /** Routes that came in one UPDATE share their attributes; so does what is made of them. */
  #cache = new WeakMap<
    PathAttributes,
    Map<string, { readonly exported: Exported | undefined; readonly key: string }>
  >();

  constructor(peer: string, families: readonly Family[], as4: boolean) {
    this.#peer = peer;
    this.#families = families;
    this.#as4 = as4;
  }

  /** Number of routes that the peer has of us. */
  get size(): number {
    return this.#sent.size;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** These may have changed. */
  touch(prefixes: Iterable<string>): void {
    for (const prefix of prefixes) this.#pending.add(prefix);
  }

  /** Everything must be told again; of one family when given, else of all. */
  refresh(rib: Rib, family?: Family): void {
    for (const prefix of [...this.#sent.keys(), ...rib.prefixes()]) {
      if (family === undefined || familyOf(prefix) === family) this.#pending.add(prefix);
    }
    for (const prefix of this.#sent.keys()) {
      // Forgotten, so that it is sent though it is the same.
      if (family === undefined || familyOf(prefix) === family) this.#sent.set(prefix, '');
    }
  }

  /** The filters are others now: what was computed is worth nothing. */
  forgetPolicy(): void {
    this.#cache = new WeakMap();
  }

  /** Messages for at most `limit` prefixes of those that are pending. */
  take(rib: Rib, limit: number): readonly Uint8Array[] {
    const gone: Record<Family, string[]> = { 4: [], 6: [] };
    const groups = new Map<string, Group>();
    let count = 0;
    for (const prefix of this.#pending) {
      if (count++ >= limit) break;
      this.#pending.delete(prefix);
      const family = familyOf(prefix);
      if (!this.#families.includes(family)) continue;
      const { exported, key } = this.#export(rib, prefix);
      const before = this.#sent.get(prefix);
      if (exported === undefined) {
        if (before !== undefined) gone[family].push(prefix);
        this.#sent.delete(prefix);
      } else if (before !== key) {
        const group = groups.get(key);
        if (group === undefined) groups.set(key, { family, exported, prefixes: [prefix] });
        else group.prefixes.push(prefix);
        this.#sent.set(prefix, key);
      }
    }
    const announcements: Uint8Array[] = [];
    for (const { family, exported, prefixes } of groups.values()) {
      try {
        const { nextHop, attributes } = exported;
        announcements.push(...encodeAnnouncements(family, nextHop, attributes, prefixes, this.#as4));
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        // Attributes that fill a message cannot be passed on; what the peer had before is not true any more.
        gone[family].push(...prefixes);
        for (const prefix of prefixes) this.#sent.delete(prefix);
      }
    }
    return [...this.#families.flatMap((family) => encodeWithdrawals(family, gone[family])), ...announcements];
  }

  #export(rib: Rib, prefix: string): { readonly exported: Exported | undefined; readonly key: string } {
    const [best] = rib.best(prefix);
    const to = rib.peer(this.#peer);
    if (best === undefined || to === undefined) return { exported: undefined, key: '' };
    const { attributes, nextHop = '' } = best.route;
    const compute = (): { exported: Exported | undefined; key: string } => {
      const exported = exportRoute(rib.self, best, to);
      return { exported, key: exported === undefined ? '' : keyOf(exported) };
    };
    // Rules may look at the prefix: then nothing is shared.
    if (to.export.rules.length > 0) return compute();
    let shared = this.#cache.get(attributes);
    if (shared === undefined) this.#cache.set(attributes, (shared = new Map()));
    const at = `${best.peer?.name ?? ''} ${nextHop} ${familyOf(prefix)}`;
    let found = shared.get(at);
    if (found === undefined) shared.set(at, (found = compute()));
    return found;
  }
}

function familyOf(prefix: string): Family {
  return prefix.includes(':') ? 6 : 4;
}
