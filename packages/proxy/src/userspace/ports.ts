import { isKernelError } from '@weft/kernel';
import { WeftError } from '@weft/plan';

/** Local ports that the proxy may listen on, first and last; undefined: any that the kernel gives. */
export type PortRange = readonly [first: number, last: number] | undefined;

/**
 * A range as kube-proxy's `portRange` has it: `8000-9000`, `8000+100` or a single port; '', `0` and `0-0` leave the choice
 * to the kernel. Throws WeftError `PROXY_PORT_RANGE`.
 */
export function parsePortRange(text: string): PortRange {
  const range = rangeOf(text);
  if (range !== false) return range;
  throw new WeftError({
    code: 'PROXY_PORT_RANGE',
    message: `portRange: ${JSON.stringify(text)} is not a range of ports`,
    hint: 'write it as 8000-9000 or 8000+1000; 0-0 lets the kernel choose',
  });
}

export function isPortRange(text: string): boolean {
  return rangeOf(text) !== false;
}

function rangeOf(text: string): PortRange | false {
  if (/^\s*(0|0-0)?\s*$/.test(text)) return undefined;
  const match = /^\s*(\d+)\s*(?:([-+])\s*(\d+))?\s*$/.exec(text);
  const first = Number(match?.[1]);
  const second = Number(match?.[3] ?? 0);
  const last = match?.[2] === '-' ? second : Math.min(first + second, 65_535);
  return match !== null && first >= 1 && first <= last && last <= 65_535 ? [first, last] : false;
}

/**
 * Opens something on a free port of the range, beginning anywhere in it: two agents that follow each other do not meet.
 * Throws what `open` throws, and WeftError `PROXY_PORTS_TAKEN` when no port of the range is free.
 */
export function openInRange<T>(range: PortRange, open: (port: number) => T, random = Math.random): T {
  if (range === undefined) return open(0);
  const [first, last] = range;
  const count = last - first + 1;
  const start = Math.floor(random() * count);
  for (let i = 0; i < count; i++) {
    try {
      return open(first + ((start + i) % count));
    } catch (error) {
      if (!isKernelError(error, 'EADDRINUSE') && !isKernelError(error, 'EACCES')) throw error;
    }
  }
  throw new WeftError({
    code: 'PROXY_PORTS_TAKEN',
    message: `portRange: all ${count} ports from ${first} to ${last} are in use`,
    hint: 'give a larger range (--proxy-port-range): every service port needs one port, or two with a Local policy',
  });
}
