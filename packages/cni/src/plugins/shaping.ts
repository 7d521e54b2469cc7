import type { Tc, U32Key } from '@weft/kernel';
import type { Prefix } from '@weft/net';

export interface Rate {
  readonly bytesPerSecond: number;
  /** Bytes that may go at once. */
  readonly burst: number;
}

/** A limit on what leaves by one interface. */
export interface Shaping {
  readonly rate: Rate;
  /** Which address of a packet is that of the pod's peer, which the subnets are about. */
  readonly peer: 'source' | 'destination';
  /** Subnets that alone are limited; empty: all but `except`. */
  readonly only: readonly Prefix[];
  /** Subnets that are not limited. */
  readonly except: readonly Prefix[];
}

/** Longest that a packet may wait, seconds: as the reference plugin. */
const LATENCY = 0.025;
/** Bytes a second of what is not limited: 100 Gbit/s, as the reference plugin. */
const UNLIMITED = 12_500_000_000;
/** Handle of the qdisc that limits. */
export const HTB_LIMIT = '1:';
/** Classes of a limit that has subnets. */
export const CLASS = { free: '1:1', limited: '1:30' } as const;
const MINOR = { free: 0x1, limited: 0x30 } as const;
/** Bytes from the start of the header to the addresses. */
const OFFSET = {
  4: { source: 12, destination: 16 },
  6: { source: 8, destination: 24 },
} as const;

/** The comparisons that find a subnet's addresses, word by word. Pure. */
export function subnetKeys(subnet: Prefix, peer: Shaping['peer']): readonly U32Key[] {
  const { bytes, family } = subnet.ip;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const keys: U32Key[] = [];
  for (let at = 0; at < bytes.length; at += 4) {
    const bits = Math.min(Math.max(subnet.length - at * 8, 0), 32);
    if (bits === 0) break;
    const mask = (0xffffffff << (32 - bits)) >>> 0;
    keys.push({ value: (view.getUint32(at) & mask) >>> 0, mask, offset: OFFSET[family][peer] + at });
  }
  return keys;
}

/** Puts a limit on an interface, in the place of what is there. */
export async function shape(tc: Tc, index: number, { rate, peer, only, except }: Shaping): Promise<void> {
  const { bytesPerSecond, burst } = rate;
  await tc.qdiscs.del({ index }, { missingOk: true });
  const subnets = [...only, ...except];
  if (subnets.length === 0) {
    const limit = Math.floor(bytesPerSecond * LATENCY) + burst;
    await tc.qdiscs.add({ index, handle: HTB_LIMIT, kind: 'tbf', tbf: { rate: bytesPerSecond, burst, limit } });
    return;
  }
  const [classId, rest] = only.length > 0 ? [CLASS.limited, MINOR.free] : [CLASS.free, MINOR.limited];
  await tc.qdiscs.add({ index, handle: HTB_LIMIT, kind: 'htb', htb: { defaultClass: rest } });
  const limited = { rate: bytesPerSecond, burst };
  await tc.classes.add({ index, parent: HTB_LIMIT, handle: CLASS.limited, kind: 'htb', htb: limited });
  await tc.classes.add({ index, parent: HTB_LIMIT, handle: CLASS.free, kind: 'htb', htb: { rate: UNLIMITED } });
  for (const subnet of subnets) {
    const v6 = subnet.ip.family === 6;
    await tc.filters.add({
      index,
      parent: HTB_LIMIT,
      // One priority has one protocol.
      priority: v6 ? 17 : 16,
      protocol: v6 ? 'ipv6' : 'ip',
      kind: 'u32',
      keys: subnetKeys(subnet, peer),
      classId,
    });
  }
}
