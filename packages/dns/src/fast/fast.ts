import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseIp } from '@weft/net';
import { errorMessage, type Logger } from '@weft/plan';
import {
  type BatchSocket,
  MSG_DONTWAIT,
  NAME,
  openBatchSocket,
  RawContext,
  type Respond,
  socketName,
} from '../server/batch.ts';
import { libc } from '../server/libc.ts';
import type { DnsMetrics } from '../server/metrics.ts';
import type { Clock } from '../server/plugin.ts';
import { replyBytes } from '../wire/index.ts';
import { FastPath } from './fast-path.ts';
import { WorkerPool } from './pool.ts';
import type { RingPacket } from './ring.ts';
import { Sorts } from './tallies.ts';

export interface FastOptions {
  /** Worker threads for UDP; 0 for none. Default: one per core that the process may use. */
  readonly workers?: number;
  /** The workers' program. Default: the one of the build that runs; without it there are no workers. */
  readonly workerFile?: URL;
}

/** UDP sockets of one address that workers read. */
export interface WorkerGroup {
  readonly port: number;
  /** Takes the sockets out of those that share their address, and reads what has arrived. */
  leave(): void;
  /** Reads what has arrived, in this thread. */
  read(): void;
  close(): Promise<void>;
}

interface Reading {
  readonly socket: BatchSocket;
  readonly respond: Respond;
}

/** Longest a worker waits for packets before it looks for orders, milliseconds. */
const WAIT_MS = 50;
const PROGRAM = './dns-worker.mjs';

/** Answers from tables, for all addresses of a server: the tables, the workers that read them, and the counts of both. */
export class Fast {
  readonly #sorts = new Sorts();
  readonly #clock: Clock;
  readonly #paths = new Map<string, FastPath>();
  readonly #log: Logger;
  readonly #workers: number;
  readonly #file: URL | undefined;
  readonly #readings = new Map<number, Reading>();
  readonly #stopMetrics: () => void;
  readonly #deaths: { value: number };
  #pool: WorkerPool | undefined;
  #paused = false;
  #counted: SharedArrayBuffer | undefined;

  constructor(options: FastOptions, metrics: DnsMetrics, clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    this.#file = options.workerFile ?? program();
    this.#workers = this.#file === undefined || libc() === undefined ? 0 : (options.workers ?? availableParallelism());
    this.#deaths = metrics.counter('weft_dns_worker_deaths_total', 'UDP workers that died and were replaced.').cell();
    const dropped = metrics
      .counter('weft_dns_worker_drops_total', 'Queries dropped because they came faster than the plugins could answer.')
      .cell();
    this.#stopMetrics = metrics.beforeRender(() => {
      this.#sorts.collect();
      if (this.#pool !== undefined) dropped.value = this.#pool.dropped;
    });
  }

  /** The table of an address; the same across reloads. */
  path(address: string): FastPath {
    this.#counted ??= this.#sorts.reader();
    let path = this.#paths.get(address);
    if (path === undefined) {
      path = new FastPath(address, this.#sorts, this.#clock, this.#counted);
      path.pause(this.#paused);
      this.#paths.set(address, path);
    }
    return path;
  }

  /** Leaves all queries to the chain, while somebody looks at them. */
  pause(paused: boolean): void {
    this.#paused = paused;
    for (const path of this.#paths.values()) path.pause(paused);
  }

  /** Ends the workers of groups that are closed, and counts for the last time. */
  async close(): Promise<void> {
    await this.#pool?.close();
    for (const path of this.#paths.values()) path.close();
    this.#sorts.collect();
    this.#stopMetrics();
  }

  /**
   * Opens sockets that workers read; undefined where there are no workers. `count`: how many; default one per worker.
   * `share`: others of the same user may be bound there. Throws nothing: what cannot be opened here is tried by others, who
   * say why it cannot.
   */
  async open(
    host: string,
    port: number,
    path: FastPath,
    options: {
      readonly count: number | undefined;
      readonly share: boolean;
      readonly receiveBuffer: number;
      readonly respond: Respond;
    },
  ): Promise<WorkerGroup | undefined> {
    const ip = parseIp(host);
    const count = options.count ?? this.#workers;
    if (ip === undefined || this.#workers === 0 || count === 0) return undefined;
    const sockets = openAll(ip.bytes, port, count, options);
    if (sockets === undefined) return undefined;
    const ids = sockets.map((socket) => {
      const id = this.#workerPool().nextId();
      this.#readings.set(id, { socket, respond: options.respond });
      return id;
    });
    const close = async (): Promise<void> => {
      for (const { fd } of sockets) libc()?.shutdown(fd, 0);
      await this.#pool?.remove(new Set(ids));
      for (const id of ids) this.#readings.delete(id);
      for (const { fd } of sockets) libc()?.close(fd);
    };
    const read = (): void => {
      for (const socket of sockets) {
        socket.drain(options.respond, (bytes, to, address) => sendTo(socket.fd, bytes, to, address));
      }
    };
    try {
      const ipv6 = ip.bytes.length === 16;
      const list = sockets.map(({ fd }, i) => ({ id: ids[i] as number, fd, ipv6, table: path.table.memory }));
      if (!(await this.#workerPool().add(list))) throw new Error('a worker did not start');
    } catch (error) {
      this.#log.warn(`no workers for UDP, one thread does all: ${errorMessage(error)}`, { error });
      await close();
      return undefined;
    }
    return {
      port: portOf((sockets[0] as BatchSocket).fd),
      leave: () => {
        for (const socket of sockets) socket.leave();
      },
      read,
      close,
    };
  }

  /** Ends a worker as an accident would; for tests. */
  killWorker(index: number): void {
    this.#pool?.kill(index);
  }

  #workerPool(): WorkerPool {
    this.#pool ??= new WorkerPool({
      file: this.#file as URL,
      sorts: this.#sorts,
      log: this.#log,
      onPacket: (packet) => this.#answer(packet),
      onDeath: () => {
        this.#deaths.value += 1;
      },
    });
    return this.#pool;
  }

  /** A packet that a worker had no answer for. */
  #answer({ socket: id, address, packet }: RingPacket): void {
    const reading = this.#readings.get(id);
    if (reading === undefined) return;
    const { fd } = reading.socket;
    const context = new RawContext(address, 0);
    const answer = reading.respond(packet, context);
    if (typeof answer === 'number') {
      if (answer > 0) libc()?.sendto(fd, replyBytes, answer, MSG_DONTWAIT, address, address.length);
      return;
    }
    const to = Buffer.from(address);
    void answer.then((bytes) => {
      // The socket may have gone meanwhile, and its descriptor be another's.
      if (this.#readings.has(id) && bytes.length > 0)
        libc()?.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, to, to.length);
    });
  }
}

/** As many sockets at one address, over which the kernel spreads clients. Undefined when they cannot be had. */
function openAll(
  address: Uint8Array,
  port: number,
  count: number,
  { share, receiveBuffer }: { readonly share: boolean; readonly receiveBuffer: number },
): BatchSocket[] | undefined {
  if (!share && port !== 0) {
    // Sockets that share would join those of another server of this user, and take its queries.
    const probe = openBatchSocket(address, port, receiveBuffer);
    if (probe === undefined) return undefined;
    libc()?.close(probe.fd);
  }
  const sockets: BatchSocket[] = [];
  let at = port;
  for (let i = 0; i < count; i++) {
    const socket = openBatchSocket(address, at, receiveBuffer, true, WAIT_MS);
    if (socket === undefined) {
      for (const { fd } of sockets) libc()?.close(fd);
      return undefined;
    }
    sockets.push(socket);
    if (at === 0) at = portOf(socket.fd);
  }
  return sockets;
}

function portOf(fd: number): number {
  const name = Buffer.alloc(NAME);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(NAME);
  libc()?.getsockname(fd, name, length);
  return name.readUInt16BE(2);
}

function sendTo(fd: number, bytes: Uint8Array, port: number, address: string): void {
  const ip = parseIp(address);
  if (ip === undefined) return;
  const name = socketName(ip.bytes, port);
  libc()?.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, name, name.length);
}

/** The workers' program next to the bundle that runs; there is none where the sources run. */
function program(): URL | undefined {
  const file = new URL(PROGRAM, import.meta.url);
  return existsSync(file) ? file : undefined;
}
