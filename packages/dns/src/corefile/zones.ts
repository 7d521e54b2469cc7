import { formatIp, parsePrefix, type Prefix, subnetAt, subnetCount } from '@weft/net';
import { nameFromText } from '../wire/name.ts';
import { CorefileError, type Position, parsingError } from './error.ts';
import type { Token } from './lexer.ts';

/** Where a server block listens and for which zone. */
export interface Address {
  readonly transport: Transport;
  /** Zone in lower case with final dot. */
  readonly zone: string;
  readonly port: number;
}

/** How a server block is reached. */
export type Transport = 'dns' | 'tls' | 'https' | 'grpc' | 'quic' | 'https3';

const DEFAULT_PORTS: Readonly<Record<Transport, number>> = {
  dns: 53,
  tls: 853,
  https: 443,
  grpc: 443,
  quic: 853,
  https3: 443,
};

/** `dns://cluster.local.:53`, as CoreDNS prints an address. */
export function formatAddress(address: Address): string {
  return `${address.transport}://${address.zone}:${address.port}`;
}

/** Reads a key of a server block; a CIDR block may stand for several zones. `defaultPort` replaces 53. */
export function addressesFromKey(key: Token, defaultPort?: number): Address[] {
  const scheme = /^(dns|tls|https|grpc|quic|https3):\/\//.exec(key.text);
  const transport = (scheme?.[1] ?? 'dns') as Transport;
  const { zones, port } = splitHostPort(key, key.text.slice(scheme?.[0].length ?? 0));
  const fallback = transport === 'dns' && defaultPort !== undefined ? defaultPort : DEFAULT_PORTS[transport];
  return zones.map((zone) => ({ transport, zone, port: port ?? fallback }));
}

/** Zones named by an argument of a plugin: a domain, or a CIDR block. Ports and schemes are ignored. */
export function zonesFromArgument(token: Token): string[] {
  const scheme = /^(dns|tls|https|grpc|quic|https3):\/\//.exec(token.text);
  return splitHostPort(token, token.text.slice(scheme?.[0].length ?? 0)).zones;
}

function splitHostPort(position: Position, text: string): { zones: string[]; port: number | undefined } {
  const colon = text.lastIndexOf(':');
  if (colon >= 0 && colon === text.length - 1) fail(position, `expecting data after last colon: "${text}"`);
  const numeric = colon >= 0 && /^[+-]?[0-9]+$/.test(text.slice(colon + 1));
  const host = numeric ? text.slice(0, colon) : text;
  const port = numeric ? Number(text.slice(colon + 1)) : undefined;
  if (port !== undefined && (port < 0 || port > 65535)) fail(position, `listen: address ${port}: invalid port`);
  if (host.length > 255) fail(position, `specified zone is too long: ${host.length} > 255`);
  const prefix = parsePrefix(host);
  if (prefix !== undefined) return { zones: reverseZones(position, prefix), port };
  const zone = host.endsWith('.') ? host : `${host}.`;
  try {
    if (host === '') throw new RangeError('empty');
    nameFromText(zone);
  } catch {
    fail(position, `zone is not a valid domain name: ${host}`);
  }
  return { zones: [zone.toLowerCase()], port };
}

function fail(position: Position, message: string): never {
  throw new CorefileError(position, message, `see line ${position.line} of ${position.file}`);
}

/** More zones than this from one key are a mistake, not a wish. */
const MAX_ZONES = 4096;

/** Reverse zones that cover a block: cut at the next label boundary (8 bits for IPv4, 4 for IPv6). */
function reverseZones(position: Position, prefix: Prefix): string[] {
  const step = prefix.ip.family === 4 ? 8 : 4;
  const length = Math.ceil(prefix.length / step) * step;
  const count = subnetCount(prefix, length);
  if (count > BigInt(MAX_ZONES)) throw parsingError(position, `${formatIp(prefix.ip)}/${prefix.length} is too wide`);
  const zones: string[] = [];
  for (let i = 0n; i < count; i++) zones.push(reverseName(subnetAt(prefix, length, i)));
  return zones;
}

function reverseName(prefix: Prefix): string {
  const { bytes, family } = prefix.ip;
  if (family === 4) {
    const labels = [...bytes.subarray(0, prefix.length / 8)].reverse();
    return `${labels.map((byte) => `${byte}.`).join('')}in-addr.arpa.`;
  }
  const nibbles = [...bytes].flatMap((byte) => [byte >> 4, byte & 15]).slice(0, prefix.length / 4);
  return `${nibbles
    .reverse()
    .map((nibble) => `${nibble.toString(16)}.`)
    .join('')}ip6.arpa.`;
}

/** True for names under `in-addr.arpa.` and `ip6.arpa.`. */
export function isReverseZone(zone: string): boolean {
  return /(^|\.)(in-addr|ip6)\.arpa\.$/.test(zone);
}
