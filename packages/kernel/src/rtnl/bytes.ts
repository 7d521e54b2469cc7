import { type Ip, parseInterfaceAddress, parseIp } from '@weft/net';
import { EINVAL } from '../errno.ts';
import { KernelError } from '../errors.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_BRIDGE = 7;

function invalid(what: string, text: string): KernelError {
  return new KernelError({
    errno: EINVAL,
    operation: 'use',
    object: `${what} ${JSON.stringify(text)}`,
    extack: 'not valid',
  });
}

export function macBytes(text: string): Uint8Array {
  const parts = text.split(':');
  const bytes = Uint8Array.from(parts, (part) =>
    /^[0-9a-fA-F]{1,2}$/.test(part) ? Number.parseInt(part, 16) : Number.NaN,
  );
  if (parts.length !== 6 || parts.some((part) => !/^[0-9a-fA-F]{1,2}$/.test(part))) throw invalid('MAC address', text);
  return bytes;
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
}

/** Address bytes, or an error that names what the address is for. */
export function ipBytesOf(text: string, what: string): Uint8Array {
  const ip = parseIp(text);
  if (ip === undefined) throw invalid(what, text);
  return ip.bytes;
}

/** `10.0.0.1/24`, or an address alone with its full length. Host bits stay. */
export function addressOf(text: string, what: string): { readonly ip: Ip; readonly length: number } {
  const parsed = parseInterfaceAddress(text);
  if (parsed !== undefined) return parsed;
  const ip = parseIp(text);
  if (ip === undefined) throw invalid(what, text);
  return { ip, length: ip.bytes.length * 8 };
}

/** AF_* number of an address. */
export function afOf(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF_INET : AF_INET6;
}

export function familyOf(af: number): 4 | 6 {
  return af === AF_INET6 ? 6 : 4;
}

export function af(family: 4 | 6 | undefined): number {
  return family === undefined ? 0 : family === 4 ? AF_INET : AF_INET6;
}
