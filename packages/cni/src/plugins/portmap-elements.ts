import type { Element } from '@weft/kernel';
import { formatIp } from '@weft/net';
import type { PortEntry, PortProtocol } from './ports.ts';

const PROTOCOLS: Readonly<Record<number, PortProtocol>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
/** Fields of a concatenation begin at multiples of this, bytes. */
const WORD = 4;
const BYTES = { 4: 4, 6: 16 } as const;

function address(family: 4 | 6, bytes: Uint8Array, at: number): string {
  return formatIp({ family, bytes: bytes.slice(at, at + BYTES[family]) });
}

function port(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/**
 * The translation that an element of a map of host ports stands for: `[address .] protocol . port : address . port`.
 * Undefined for what we never write.
 */
export function entryOf(family: 4 | 6, bound: boolean, { key, data }: Element): PortEntry | undefined {
  const start = bound ? BYTES[family] : 0;
  const protocol = PROTOCOLS[key[start] ?? 0];
  if (protocol === undefined || !(data instanceof Uint8Array)) return undefined;
  return {
    family,
    hostIp: bound ? address(family, key, 0) : undefined,
    protocol,
    hostPort: port(key, start + WORD),
    podIp: address(family, data, 0),
    containerPort: port(data, BYTES[family]),
  };
}
