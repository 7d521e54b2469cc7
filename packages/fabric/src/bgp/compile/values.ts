import { createHash } from 'node:crypto';
import type { LargeCommunity } from '../codec/index.ts';
import type { BgpNode } from './world.ts';

/** An AS number in either notation (RFC 5396); undefined when it is none. */
export function parseAsNumber(value: number | string | undefined): number | undefined {
  const text = String(value ?? '').trim();
  const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(text);
  const [high, low] = dotted === null ? [0, Number(text)] : [Number(dotted[1]), Number(dotted[2])];
  if (!/^[\d.]+$/.test(text) || high > 0xffff || (dotted !== null && low > 0xffff)) return undefined;
  const as = high * 0x10000 + low;
  return Number.isInteger(as) && as > 0 && as <= 0xffff_ffff ? as : undefined;
}

/** A standard community as one number, or a large one as three; undefined when the text is neither. */
export function parseCommunity(text: string): number | LargeCommunity | undefined {
  if (!/^\d+(:\d+){1,2}$/.test(text)) return undefined;
  const [a = 0, b = 0, c] = text.split(':').map(Number);
  if (c === undefined) return a > 0xffff || b > 0xffff ? undefined : a * 0x10000 + b;
  return [a, b, c].some((part) => part > 0xffff_ffff) ? undefined : [a, b, c];
}

/** Seconds of a duration as Go writes it (`2m0s`, `120s`); undefined when it is none. */
export function parseSeconds(text: string | undefined): number | undefined {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text ?? '');
  if (match === null || match[0] === '') return undefined;
  const [, h = '0', m = '0', s = '0'] = match;
  return Number(h) * 3600 + Number(m) * 60 + Number(s);
}

/** The router id of a node: its IPv4 address, or a number made of its name where it has none. */
export function routerIdOf(node: BgpNode): string {
  if (node.ip[4] !== undefined) return node.ip[4];
  const bytes = createHash('sha256').update(`bgp ${node.name}`).digest().subarray(0, 4);
  // Neither 0 nor multicast.
  bytes[0] = 1 + ((bytes[0] as number) % 223);
  return bytes.join('.');
}

/** `IP`, `IP:port`, `[IPv6]:port`. */
export function parsePeerAddress(text: string): { readonly address: string; readonly port?: number } {
  const match = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  return match === null
    ? { address: text.replace(/^\[(.*)\]$/, '$1') }
    : { address: match[1] as string, port: Number(match[2]) };
}
