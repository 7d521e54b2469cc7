import type { TableMemory } from './memory.ts';

/** Words that a worker and its keeper share. */
export const ORDER = {
  /** Grows with every list of sockets that waits to be read. */
  given: 0,
  /** The last list that the worker has taken over. */
  taken: 1,
  /** 1 when the worker is to end. */
  stop: 2,
  words: 4,
} as const;

/** A socket that a worker reads. */
export interface WorkerSocket {
  readonly id: number;
  readonly fd: number;
  readonly ipv6: boolean;
  readonly table: TableMemory;
}

/** What a worker starts with. */
export interface WorkerStart {
  readonly orders: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
  /** Where its answers are counted. */
  readonly counts: SharedArrayBuffer;
}
