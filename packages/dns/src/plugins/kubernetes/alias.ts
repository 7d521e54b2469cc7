import { labelOffsets, type NameKey, nameKey, type Rr, record, TYPE } from '../../wire/index.ts';
import { addressOf } from './records.ts';
import { type Found, type Lookup, NODATA, NXDOMAIN } from './table.ts';

/** What following an alias needs to know. */
export interface AliasContext {
  /** A or AAAA. */
  readonly type: number;
  /** Key of the zone that the question was in. */
  readonly zone: NameKey;
  /** Seconds. */
  readonly ttl: number;
  readonly lookup: (key: NameKey, labels: readonly number[], end: number) => Lookup;
}

/** The records of a chain of aliases, and the name outside the zone at which the chain leaves it. */
export interface Chain {
  readonly records: readonly Rr[];
  readonly leaves: Uint8Array | undefined;
}

const MAX_LINKS = 8;
const NOWHERE: Chain = { records: [], leaves: undefined };

/** Follows an alias inside its zone. A chain that leads nowhere or in a circle leaves nothing, as in CoreDNS. */
export function followAlias(context: AliasContext, question: NameKey, start: Found): Chain {
  const { type, zone, ttl, lookup } = context;
  const records: Rr[] = [];
  const seen = new Set([question]);
  let owner: Uint8Array | undefined;
  let found = start;
  for (;;) {
    const target = found.answers.hosts.names[0] as Uint8Array;
    records.push(record(owner, TYPE.CNAME, ttl, target));
    const key = nameKey(target);
    const labels = labelOffsets(key);
    const end = key.length - zone.length;
    const inside = key.endsWith(zone) && (end === 0 || labels.includes(end));
    if (!inside) return { records, leaves: target };
    if (seen.has(key) || seen.size > MAX_LINKS) return NOWHERE;
    seen.add(key);
    const next = lookup(key, labels, end);
    if (next === NXDOMAIN || next === NODATA) return NOWHERE;
    if (!('service' in next)) {
      const bytes = addressOf(next.ip);
      if ((bytes.length === 4) !== (type === TYPE.A)) return NOWHERE;
      return { records: [...records, record(target, type, ttl, bytes)], leaves: undefined };
    }
    const { hosts } = next.answers;
    if (hosts.names.length === 0) {
      const addresses = type === TYPE.A ? hosts.a : hosts.aaaa;
      if (addresses.length === 0) return NOWHERE;
      return { records: [...records, ...addresses.map((rr) => ({ ...rr, name: target }))], leaves: undefined };
    }
    owner = target;
    found = next;
  }
}
