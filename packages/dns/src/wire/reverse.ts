import { formatIp, parseIp } from '@weft/net';
import type { NameKey } from './name.ts';

const IN_ADDR = '\u0007in-addr\u0004arpa\0';
const IP6 = '\u0003ip6\u0004arpa\0';

/** Canonical text of the address that a reverse name spells completely. Undefined when it spells none. */
export function reverseAddress(key: NameKey, labels: readonly number[]): string | undefined {
  if (labels.length === 6 && key.endsWith(IN_ADDR) && key.length - IN_ADDR.length === labels[4]) {
    const parts = [3, 2, 1, 0].map((i) => key.slice((labels[i] as number) + 1, labels[i + 1]));
    const ip = parseIp(parts.join('.'));
    return ip === undefined ? undefined : formatIp(ip);
  }
  if (labels.length === 34 && key.endsWith(IP6) && key.length - IP6.length === labels[32]) {
    let hex = '';
    for (let i = 31; i >= 0; i--) {
      const nibble = key.slice((labels[i] as number) + 1, labels[i + 1]);
      if (!/^[0-9a-f]$/.test(nibble)) return undefined;
      hex += nibble;
    }
    return formatIp(Uint8Array.from(Buffer.from(hex, 'hex')));
  }
  return undefined;
}
