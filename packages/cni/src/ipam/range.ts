import {
  addressAt,
  compareIp,
  type Family,
  formatIp,
  formatPrefix,
  type Ip,
  indexIn,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  prefixSize,
} from '@weft/net';
import { CniCode, CniError } from '../spec/errors.ts';
import { arrayField, isObject, type JsonObject, objectsField, stringField } from '../spec/json.ts';

/** A run of addresses to give out: positions `first` to `last` in a block, without the gateway. */
export interface AddressRange {
  readonly prefix: Prefix;
  /** Text of the block, for messages. */
  readonly subnet: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly gateway: Ip;
}

/** Ranges of one family; every attachment gets one address of each set. */
export interface RangeSet {
  readonly family: Family;
  readonly ranges: readonly AddressRange[];
}

/** Number of addresses that can be given out. */
function rangeSize(range: AddressRange): bigint {
  const gateway = indexIn(range.prefix, range.gateway);
  const held = prefixContains(range.prefix, range.gateway) && gateway >= range.first && gateway <= range.last;
  return range.last - range.first + 1n - (held ? 1n : 0n);
}

export function rangeSetSize(set: RangeSet): bigint {
  return set.ranges.reduce((sum, range) => sum + rangeSize(range), 0n);
}

function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  if (!prefixesOverlap(a.prefix, b.prefix)) return false;
  const ends = (range: AddressRange): [Ip, Ip] => [
    addressAt(range.prefix, range.first),
    addressAt(range.prefix, range.last),
  ];
  const [aFirst, aLast] = ends(a);
  const [bFirst, bLast] = ends(b);
  return compareIp(aFirst, bLast) <= 0 && compareIp(bFirst, aLast) <= 0;
}

/** The range of a set that can give out `ip`. */
export function rangeOf(set: RangeSet, ip: Ip): AddressRange | undefined {
  return set.ranges.find((range) => {
    if (!prefixContains(range.prefix, ip)) return false;
    const at = indexIn(range.prefix, ip);
    return at >= range.first && at <= range.last && compareIp(ip, range.gateway) !== 0;
  });
}

/** `10.244.1.0/24`, or `10.244.1.10-10.244.1.20 of 10.244.1.0/24`. */
export function formatRange(range: AddressRange): string {
  const whole = range.first <= 2n && range.last >= prefixSize(range.prefix) - 2n;
  const end = (at: bigint): string => formatIp(addressAt(range.prefix, at));
  return whole ? range.subnet : `${end(range.first)}-${end(range.last)} of ${range.subnet}`;
}

/**
 * A block as a range. The network address, the gateway (the first address unless given) and, in IPv4, the broadcast
 * address are not given out.
 */
export function rangeOfSubnet(
  subnet: string,
  options: { readonly rangeStart?: string; readonly rangeEnd?: string; readonly gateway?: string; path?: string } = {},
): AddressRange {
  const path = options.path ?? 'subnet';
  const prefix = parsePrefix(subnet);
  if (prefix === undefined) throw new CniError(CniCode.invalidConfig, `ipam: ${path}: not a CIDR block: ${subnet}`);
  const size = prefixSize(prefix);
  if (size < 4n) {
    throw new CniError(
      CniCode.invalidConfig,
      `ipam: ${path}: ${formatPrefix(prefix)} is too small to give out addresses`,
      'a /30 (IPv6: /126) is the smallest block that works',
    );
  }
  const within = (text: string, name: string): bigint => {
    const ip = parseIp(text);
    if (ip === undefined || !prefixContains(prefix, ip)) {
      throw new CniError(CniCode.invalidConfig, `ipam: ${name}: ${text} is not in ${formatPrefix(prefix)}`);
    }
    return indexIn(prefix, ip);
  };
  const first = options.rangeStart === undefined ? 1n : within(options.rangeStart, 'rangeStart');
  const end = prefix.ip.family === 4 ? size - 2n : size - 1n;
  const last = options.rangeEnd === undefined ? end : within(options.rangeEnd, 'rangeEnd');
  if (first > last) {
    throw new CniError(
      CniCode.invalidConfig,
      `ipam: rangeStart ${options.rangeStart} is after rangeEnd ${options.rangeEnd}`,
    );
  }
  const gateway = options.gateway === undefined ? addressAt(prefix, 1) : parseIp(options.gateway);
  if (gateway === undefined) {
    throw new CniError(CniCode.invalidConfig, `ipam: gateway: not an IP address: ${options.gateway}`);
  }
  const range = { prefix, subnet: formatPrefix(prefix), first, last, gateway };
  if (rangeSize(range) < 1n) {
    throw new CniError(
      CniCode.invalidConfig,
      `ipam: ${path}: ${formatRange(range)} holds no address besides its gateway`,
    );
  }
  return range;
}

function rangeFromConfig(value: JsonObject, path: string): AddressRange {
  const subnet = stringField(value, 'subnet', `${path}.subnet`);
  if (subnet === undefined) throw new CniError(CniCode.invalidConfig, `ipam: ${path}.subnet is missing`);
  const text = (name: string): string | undefined => stringField(value, name, `${path}.${name}`) || undefined;
  const rangeStart = text('rangeStart');
  const rangeEnd = text('rangeEnd');
  const gateway = text('gateway');
  return rangeOfSubnet(subnet, {
    path: `${path}.subnet`,
    ...(rangeStart === undefined ? {} : { rangeStart }),
    ...(rangeEnd === undefined ? {} : { rangeEnd }),
    ...(gateway === undefined ? {} : { gateway }),
  });
}

/**
 * Reads the ranges of an `ipam` object as the host-local plugin knows them: `ranges` (a list of sets, each a list of
 * ranges) and the older `subnet` beside it.
 */
export function rangeSetsFromConfig(ipam: JsonObject): readonly RangeSet[] {
  const sets: AddressRange[][] = [];
  if (stringField(ipam, 'subnet') !== undefined) sets.push([rangeFromConfig(ipam, 'ipam')]);
  (arrayField(ipam, 'ranges') ?? []).forEach((set, i) => {
    const path = `ranges[${i}]`;
    // One level of nesting less is a common slip, and can only mean one thing.
    const members = isObject(set) ? [{ value: set, path }] : objectsField({ set }, 'set', path);
    sets.push((members ?? []).map((member) => rangeFromConfig(member.value, member.path)));
  });
  if (sets.length === 0) throw new CniError(CniCode.invalidConfig, 'ipam: no ranges: set `ranges` or `subnet`');
  const all: AddressRange[] = [];
  return sets.map((ranges, i) => {
    const family = ranges[0]?.prefix.ip.family;
    if (family === undefined) throw new CniError(CniCode.invalidConfig, `ipam: ranges[${i}] is empty`);
    for (const range of ranges) {
      if (range.prefix.ip.family !== family) {
        throw new CniError(CniCode.invalidConfig, `ipam: ranges[${i}] mixes IPv4 and IPv6: one set per family`);
      }
      const other = all.find((earlier) => rangesOverlap(earlier, range));
      if (other !== undefined) {
        throw new CniError(
          CniCode.invalidConfig,
          `ipam: ranges overlap: ${formatRange(other)} and ${formatRange(range)}`,
        );
      }
      all.push(range);
    }
    return { family, ranges };
  });
}
