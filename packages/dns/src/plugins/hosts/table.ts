import { formatIp, parseIp } from '@weft/net';
import { type NameKey, nameFromText, nameKey, type Rr, record, TYPE } from '../../wire/index.ts';

/** Names and addresses of a hosts file. */
export interface HostsTable {
  readonly a: ReadonlyMap<NameKey, readonly Rr[]>;
  readonly aaaa: ReadonlyMap<NameKey, readonly Rr[]>;
  /** Names by canonical address. */
  readonly reverse: ReadonlyMap<string, readonly Uint8Array[]>;
}

/** Reads lines of the form of hosts(5). Lines without a valid address, and names that are none, are passed over. */
export function parseHosts(lines: Iterable<string>, ttl: number): HostsTable {
  const a = new Map<NameKey, Rr[]>();
  const aaaa = new Map<NameKey, Rr[]>();
  const reverse = new Map<string, Uint8Array[]>();
  for (const line of lines) {
    const [address, ...names] = (line.split('#')[0] as string).trim().split(/\s+/);
    const ip = parseIp((address ?? '').split('%')[0] as string);
    if (ip === undefined) continue;
    for (const text of names) {
      let name: Uint8Array;
      try {
        name = nameFromText(text);
      } catch {
        continue;
      }
      const table = ip.family === 4 ? a : aaaa;
      const key = nameKey(name);
      const type = ip.family === 4 ? TYPE.A : TYPE.AAAA;
      table.set(key, [...(table.get(key) ?? []), record(undefined, type, ttl, ip.bytes)]);
      const canonical = formatIp(ip);
      reverse.set(canonical, [...(reverse.get(canonical) ?? []), name]);
    }
  }
  return { a, aaaa, reverse };
}

/** Two tables as one; the first one's records come first. */
export function mergeHosts(one: HostsTable, two: HostsTable): HostsTable {
  const merge = <V>(x: ReadonlyMap<string, readonly V[]>, y: ReadonlyMap<string, readonly V[]>): Map<string, V[]> => {
    const out = new Map<string, V[]>();
    for (const source of [x, y]) {
      for (const [key, values] of source) out.set(key, [...(out.get(key) ?? []), ...values]);
    }
    return out;
  };
  return { a: merge(one.a, two.a), aaaa: merge(one.aaaa, two.aaaa), reverse: merge(one.reverse, two.reverse) };
}
