import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  encodeReply,
  isRejected,
  nameToText,
  parseQuery,
  type Query,
  type Rr,
  rdata,
  record,
  TYPE,
} from '../../src/wire/index.ts';

export interface UpstreamAnswer {
  readonly rcode?: number;
  readonly flags?: number;
  readonly answers?: readonly Rr[];
  readonly authority?: readonly Rr[];
  readonly additional?: readonly Rr[];
  /** Packet to send instead. */
  readonly raw?: Uint8Array;
  /** Packet to send before the answer (UDP only). */
  readonly before?: Uint8Array;
}

/** Undefined means silence. */
export type Behaviour = (
  query: Query,
  proto: 'udp' | 'tcp',
) => UpstreamAnswer | undefined | Promise<UpstreamAnswer | undefined>;

/** A DNS server on loopback that behaves as told. */
export class TestUpstream {
  behaviour: Behaviour;
  /** What was asked: `name TYPE proto`. Health checks are left out. */
  readonly asked: string[] = [];
  healthChecks = 0;
  readonly #udp: UdpSocket = createSocket('udp4');
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  port = 0;

  constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#udp.on('message', (packet, from) => {
      void this.#answer(packet, 'udp', (bytes) => this.#udp.send(bytes, from.port, from.address));
    });
    this.#tcp = createServer((socket) => {
      this.#connections.add(socket);
      let buffer = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        buffer = Buffer.concat([buffer, chunk]);
        while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
          const length = buffer.readUInt16BE(0);
          const packet = buffer.subarray(2, 2 + length);
          buffer = buffer.subarray(2 + length);
          void this.#answer(packet, 'tcp', (bytes) => {
            const head = Buffer.alloc(2);
            head.writeUInt16BE(bytes.length);
            socket.write(Buffer.concat([head, bytes]));
          });
        }
      });
    });
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    // A port that is free for TCP may be taken for UDP: another one is tried then.
    for (let left = 20; ; left--) {
      await new Promise<void>((resolve) => this.#tcp.listen(0, '127.0.0.1', resolve));
      this.port = (this.#tcp.address() as AddressInfo).port;
      const taken = await bind(this.#udp, this.port);
      if (taken === undefined) return this;
      if (left === 0) throw taken;
      await new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    }
  }

  dropConnections(): void {
    for (const socket of this.#connections) socket.destroy();
    this.#connections.clear();
  }

  async stop(): Promise<void> {
    this.dropConnections();
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
    await new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
  }

  async #answer(packet: Uint8Array, proto: 'udp' | 'tcp', send: (bytes: Uint8Array) => void): Promise<void> {
    const query = parseQuery(packet);
    if (isRejected(query)) return;
    if (query.type === TYPE.NS) this.healthChecks += 1;
    else this.asked.push(`${nameToText(query.qname)} ${query.type} ${proto}`);
    const content = await this.behaviour(query, proto);
    if (content === undefined) return;
    if (content.before !== undefined) send(content.before);
    if (content.raw !== undefined) return send(content.raw);
    const size = proto === 'tcp' ? 65535 : (query.edns?.udpSize ?? 512);
    const { rcode = 0, flags = 0x80, answers = [], authority = [], additional = [] } = content;
    send(encodeReply(query, { rcode, flags, answers, authority, additional }, { size, fragment: 65535 }));
  }
}

function bind(socket: UdpSocket, port: number): Promise<Error | undefined> {
  return new Promise((resolve) => {
    socket.once('error', resolve);
    socket.bind(port, '127.0.0.1', () => {
      socket.off('error', resolve);
      resolve(undefined);
    });
  });
}

/** Answers every A query with this address. */
export function always(last: number, ttl = 60): (query: Query) => UpstreamAnswer {
  return (query) => ({
    answers: query.type === TYPE.A ? [record(undefined, TYPE.A, ttl, rdata.a(0x0a000000 + last))] : [],
  });
}

export const silent: Behaviour = () => undefined;
