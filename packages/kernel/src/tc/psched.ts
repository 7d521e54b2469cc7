import { readFileSync } from 'node:fs';

let perUsec: number | undefined;

/** Ticks of the packet scheduler in a microsecond (/proc/net/psched, as tc reads it); 15.625 on all kernels of today. */
function ticksPerUsec(): number {
  if (perUsec !== undefined) return perUsec;
  const [t2us = 1000, us2t = 64, clockRes = 1_000_000] = readFileSync('/proc/net/psched', 'utf8')
    .split(' ')
    .map((word) => Number.parseInt(word, 16));
  perUsec = (t2us / us2t) * (clockRes / 1_000_000);
  return perUsec;
}

/** Ticks that `bytes` take at `rate` bytes a second; what does not fit 32 bits is the most that does. */
export function ticksOfBytes(bytes: number, rate: number): number {
  if (rate <= 0) return 0;
  const usec = Math.min(Math.floor((bytes * 1_000_000) / rate), 0xffffffff);
  return Math.min(Math.floor(usec * ticksPerUsec()), 0xffffffff);
}

/** Bytes that go at `rate` bytes a second in so many ticks. */
export function bytesOfTicks(ticks: number, rate: number): number {
  return Math.round((ticks / ticksPerUsec() / 1_000_000) * rate);
}
