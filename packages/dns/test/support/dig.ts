import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { formatIp } from '@weft/net';
import {
  decodeMessage,
  encodeQuery,
  FLAG,
  type Message,
  nameFromText,
  nameToText,
  type Rr,
  rcodeName,
  TYPE,
  typeName,
  typeNumber,
} from '../../src/wire/index.ts';

export interface AskOptions {
  readonly tcp?: boolean;
  readonly edns?: { udpSize: number; flags?: number; options?: Uint8Array };
  readonly flags?: number;
  readonly class?: number;
  readonly host?: string;
}

/** Sends one packet over UDP and waits for one; undefined when none comes in `ms`. */
export function exchangeUdp(
  port: number,
  packet: Uint8Array,
  host = '127.0.0.1',
  ms = 3000,
): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const done = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done(undefined), ms);
    socket.once('error', reject);
    socket.once('message', (answer) => done(answer));
    socket.send(packet, port, host);
  });
}

export function exchangeTcp(port: number, packets: readonly Uint8Array[], host = '127.0.0.1'): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    let buffer = Buffer.alloc(0);
    const socket = connect({ port, host });
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        const length = buffer.readUInt16BE(0);
        out.push(Buffer.from(buffer.subarray(2, 2 + length)));
        buffer = buffer.subarray(2 + length);
      }
      if (out.length < packets.length) return;
      socket.destroy();
      resolve(out);
    });
    for (const packet of packets) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(packet.length);
      socket.write(Buffer.concat([length, packet]));
    }
  });
}

export function question(name: string, type: string, options: AskOptions = {}): Uint8Array {
  return encodeQuery({
    id: 4711,
    flags: options.flags ?? FLAG.RD,
    name: nameFromText(name),
    type: typeNumber(type) ?? 1,
    class: options.class ?? 1,
    edns:
      options.edns === undefined
        ? undefined
        : {
            udpSize: options.edns.udpSize,
            flags: options.edns.flags ?? 0,
            options: options.edns.options ?? new Uint8Array(),
          },
  });
}

/** Asks a server on loopback and decodes the answer. */
export async function ask(port: number, name: string, type = 'A', options: AskOptions = {}): Promise<Message> {
  const packet = question(name, type, options);
  const answer =
    options.tcp === true
      ? (await exchangeTcp(port, [packet], options.host))[0]
      : await exchangeUdp(port, packet, options.host);
  if (answer === undefined) throw new Error(`no answer for ${name} ${type}`);
  return decodeMessage(answer);
}

function dataText(rr: Rr): string {
  const view = new DataView(rr.rdata.buffer, rr.rdata.byteOffset, rr.rdata.byteLength);
  switch (rr.type) {
    case TYPE.A:
    case TYPE.AAAA:
      return formatIp(rr.rdata);
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.NS:
      return nameToText(rr.rdata);
    case TYPE.SRV:
      return `${view.getUint16(0)} ${view.getUint16(2)} ${view.getUint16(4)} ${nameToText(rr.rdata, 6)}`;
    case TYPE.TXT:
      return JSON.stringify(Buffer.from(rr.rdata.subarray(1)).toString());
    case TYPE.SOA:
      return nameToText(rr.rdata);
    default:
      return Buffer.from(rr.rdata).toString('hex');
  }
}

/** `name ttl TYPE data`. */
export function rrText(rr: Rr): string {
  return `${rr.name === undefined ? '@' : nameToText(rr.name)} ${rr.ttl} ${typeName(rr.type)} ${dataText(rr)}`;
}

/** `NOERROR: data, data`: the short form that tables of expected answers are written in. */
export function short(message: Message): string {
  const records = message.answers.map((rr) => `${typeName(rr.type)} ${dataText(rr)}`).sort();
  return [rcodeName(message.rcode), ...records].join(' | ');
}
