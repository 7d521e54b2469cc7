import { Worker } from 'node:worker_threads';
import type { Logger } from '@weft/plan';
import { ORDER, type WorkerSocket, type WorkerStart } from './orders.ts';
import { createRing, Ring, type RingPacket } from './ring.ts';
import type { Sorts } from './tallies.ts';

/** Packets that the chain answers in one turn of the event loop. */
const TURN = 128;
/** A worker that dies again within this time is not started again at once, milliseconds. */
const QUICK_DEATH_MS = 1000;
/** How often a worker that is to leave a socket is looked at, milliseconds. */
const LOOK_MS = 2;

/** Threads hold little: everything that grows is in shared memory. */
const LIMITS = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2, codeRangeSizeMb: 16, stackSizeMb: 1 };

/** One place for a worker. What it reads and counts outlives the worker that is in it. */
class Seat {
  readonly orders = new Int32Array(new SharedArrayBuffer(ORDER.words * 4));
  readonly sockets: WorkerSocket[] = [];
  readonly ring: Ring;
  readonly #start: WorkerStart;
  readonly #file: URL;
  readonly #log: Logger;
  readonly #onPackets: () => void;
  readonly #onDeath: () => void;
  #worker: Worker | undefined;
  #startedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(file: URL, counts: SharedArrayBuffer, log: Logger, onPackets: (seat: Seat) => void, onDeath: () => void) {
    const ring = createRing();
    this.ring = new Ring(ring);
    this.ring.sleep();
    this.#start = { orders: this.orders.buffer, ring, counts };
    this.#file = file;
    this.#log = log;
    this.#onPackets = () => onPackets(this);
    this.#onDeath = onDeath;
    this.#begin();
  }

  /** Tells the worker which sockets to read. Resolves when it reads these and no others, or is dead: false then. */
  async announce(): Promise<boolean> {
    this.#worker?.postMessage([...this.sockets]);
    const given = Atomics.add(this.orders, ORDER.given, 1) + 1;
    Atomics.notify(this.orders, ORDER.given);
    while (this.#worker !== undefined) {
      if (Atomics.load(this.orders, ORDER.taken) - given >= 0) return true;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return false;
  }

  /** Ends the worker; what it has handed over is still to be read. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    Atomics.store(this.orders, ORDER.stop, 1);
    Atomics.add(this.orders, ORDER.given, 1);
    Atomics.notify(this.orders, ORDER.given);
    const worker = this.#worker;
    if (worker !== undefined) await new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  }

  /** Ends the worker as an accident would; for tests. */
  kill(): void {
    void this.#worker?.terminate();
  }

  #begin(): void {
    this.#startedAt = performance.now();
    // Nothing that was announced to the one before is still to be taken over: the list comes anew.
    Atomics.store(this.orders, ORDER.taken, 0);
    const worker = new Worker(this.#file, { workerData: this.#start, resourceLimits: LIMITS, name: 'weft-dns' });
    this.#worker = worker;
    worker.on('message', this.#onPackets);
    worker.on('error', (error) => this.#log.error(`a worker of the DNS server failed: ${error.message}`, { error }));
    worker.once('exit', () => this.#ended());
    // The sockets keep the process alive, and nothing else of it.
    worker.unref();
    worker.postMessage([...this.sockets]);
    Atomics.add(this.orders, ORDER.given, 1);
  }

  #ended(): void {
    this.#worker = undefined;
    if (this.#closed) return;
    this.#onDeath();
    // It may have died between handing something over and saying so.
    this.#onPackets();
    const wait = performance.now() - this.#startedAt < QUICK_DEATH_MS ? QUICK_DEATH_MS : 0;
    this.#timer = setTimeout(() => this.#begin(), wait);
    this.#timer.unref();
  }
}

export interface PoolOptions {
  /** The worker's program. */
  readonly file: URL;
  readonly sorts: Sorts;
  readonly log: Logger;
  /** A packet that no table knows; its memory is good until this returns. */
  readonly onPacket: (packet: RingPacket) => void;
  readonly onDeath: () => void;
}

/** The worker threads of a server. Each reads one socket of every address. */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #seats: Seat[] = [];
  #lastId = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** A number for one more socket. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Packets that came faster than the chain could take them, since the start. */
  get dropped(): number {
    return this.#seats.reduce((sum, { ring }) => sum + ring.dropped, 0);
  }

  get size(): number {
    return this.#seats.length;
  }

  /** Has the sockets read, each by a worker of its own; starts workers where there are too few. False when one does not. */
  async add(sockets: readonly WorkerSocket[]): Promise<boolean> {
    const { file, sorts, log, onDeath } = this.#options;
    const reading = await Promise.all(
      sockets.map((socket, i) => {
        const seat = this.#seats[i] ?? new Seat(file, sorts.reader(), log, (awake) => this.#read(awake), onDeath);
        this.#seats[i] = seat;
        seat.sockets.push(socket);
        return seat.announce();
      }),
    );
    return reading.every(Boolean);
  }

  /** Resolves when nobody reads these sockets any more, and what was read of them is with the chain. */
  async remove(ids: ReadonlySet<number>): Promise<void> {
    await Promise.all(
      this.#seats.map(async (seat) => {
        const left = seat.sockets.filter(({ id }) => !ids.has(id));
        if (left.length === seat.sockets.length) return;
        seat.sockets.splice(0, seat.sockets.length, ...left);
        await seat.announce();
        while (seat.ring.drain(TURN, this.#options.onPacket));
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.close()));
    for (const { ring } of this.#seats) while (ring.drain(TURN, this.#options.onPacket));
  }

  /** Ends a worker as an accident would; for tests. */
  kill(seat: number): void {
    this.#seats[seat]?.kill();
  }

  #read(seat: Seat): void {
    if (seat.ring.drain(TURN, this.#options.onPacket)) setImmediate(() => this.#read(seat));
    else if (!seat.ring.sleep()) this.#read(seat);
  }
}
