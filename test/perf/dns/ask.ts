import { libc } from '../../../packages/dns/src/server/libc.ts';
import { socketName } from '../../../packages/dns/src/server/batch.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;

/** A client that sends one query and waits for its answer in the kernel: what a resolver in C does. */
export class BlockingClient {
  readonly #fd: number;
  readonly #answer = Buffer.alloc(4096);
  readonly #recv: (fd: number, buffer: Uint8Array, length: number, flags: number) => number;

  constructor(port: number) {
    const calls = libc();
    if (calls === undefined) throw new Error('no FFI');
    this.#fd = calls.socket(AF_INET, SOCK_DGRAM, 0);
    const name = socketName(Uint8Array.of(127, 0, 0, 1), port);
    calls.connect(this.#fd, name, name.length);
    const self = calls.koffi.load(null);
    this.#recv = self.func('recv', 'int', ['int', 'void *', 'size_t', 'int']) as never;
    this.#send = self.func('send', 'int', ['int', 'void *', 'size_t', 'int']) as never;
  }

  readonly #send: (fd: number, buffer: Uint8Array, length: number, flags: number) => number;

  ask(packet: Uint8Array): Buffer {
    this.#send(this.#fd, packet, packet.length, 0);
    return this.#answer.subarray(0, Math.max(0, this.#recv(this.#fd, this.#answer, this.#answer.length, 0)));
  }

  close(): void {
    libc()?.close(this.#fd);
  }
}

export function packetOf(name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

/**
 * Latencies in µs, sorted, of `count` queries of which one is sent every `everyUs`. A client that the system has stopped for
 * a while goes on from there: what it missed says nothing of the server.
 */
export function latencies(port: number, packets: readonly Buffer[], count: number, everyUs: number): number[] {
  const client = new BlockingClient(port);
  const out: number[] = [];
  for (let i = 0; i < 500; i++) client.ask(packets[i % packets.length] as Buffer);
  let due = performance.now();
  for (let i = 0; i < count; i++) {
    due = Math.max(due + everyUs / 1000, performance.now());
    while (performance.now() < due);
    const sent = performance.now();
    client.ask(packets[i % packets.length] as Buffer);
    out.push((performance.now() - sent) * 1000);
  }
  client.close();
  return out.sort((a, b) => a - b);
}

/** Milliseconds of a clock that all processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Asks without pause until the answer ends in other bytes than the one before. Returns when that was, in ms. */
export function untilChanged(client: BlockingClient, packet: Buffer, before: Buffer): { at: number; tail: Buffer } {
  for (;;) {
    const tail = Buffer.from(client.ask(packet).subarray(-4));
    if (!tail.equals(before)) return { at: monotonicMs(), tail };
  }
}
