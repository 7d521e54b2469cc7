import { connect } from 'node:net';
import { decodeMessage, encodeQuery, nameKey, rcodeName, type Rr, type Soa, soaOf, TYPE } from '../wire/index.ts';
import { type Target, UdpChannel } from './channel.ts';

/** A zone of more bytes than this is not taken. */
const MAX_BYTES = 512 * 1024 * 1024;
/** A primary that is silent for so long has left. */
const IDLE_MS = 10_000;
const SOA_TIMEOUT_MS = 2000;

/** Asks a primary for the SOA record of a zone. Rejects when it does not answer, or does not have the zone. */
export async function querySoa(target: Target, origin: Uint8Array): Promise<Soa> {
  const channel = new UdpChannel(target);
  try {
    const query = encodeQuery({ id: 0, flags: 0, name: origin, type: TYPE.SOA, class: 1 });
    const message = await channel.exchange(query, SOA_TIMEOUT_MS);
    const rr = message.answers.find(({ type, name }) => type === TYPE.SOA && same(name, origin));
    const soa = rr === undefined ? undefined : soaOf(rr);
    if (soa === undefined) throw new Error(`no SOA record (${rcodeName(message.rcode)})`);
    return soa;
  } finally {
    channel.close();
  }
}

/** Tells a secondary that a zone has changed (RFC 1996). Rejects when it does not answer. */
export async function sendNotify(target: Target, origin: Uint8Array): Promise<void> {
  for (let left = 3; ; left--) {
    const channel = new UdpChannel(target);
    try {
      // Opcode NOTIFY, authoritative.
      await channel.exchange(
        encodeQuery({ id: 0, flags: 0x2400, name: origin, type: TYPE.SOA, class: 1 }),
        SOA_TIMEOUT_MS,
      );
      return;
    } catch (error) {
      if (left <= 1) throw error;
    } finally {
      channel.close();
    }
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && nameKey(a) === nameKey(b);
}

/**
 * Takes a whole zone from a primary (AXFR, RFC 5936): its records, the SOA record first and once. Rejects when the transfer
 * is refused, breaks off, or carries no zone.
 */
export function fetchZone(target: Target, origin: Uint8Array, signal: AbortSignal): Promise<Rr[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port });
    const records: Rr[] = [];
    let buffer: Buffer = Buffer.alloc(0);
    let bytes = 0;
    const finish = (error: Error | undefined): void => {
      signal.removeEventListener('abort', stop);
      socket.destroy();
      if (error === undefined) resolve(records);
      else reject(error);
    };
    const stop = (): void => finish(new Error('stopped'));
    const take = (packet: Buffer): boolean => {
      const message = decodeMessage(packet);
      if (message.id !== ID || (message.flags & 0x8000) === 0) throw new Error('answers something else');
      if (message.rcode !== 0) throw new Error(`transfer refused: ${rcodeName(message.rcode)}`);
      for (const rr of message.answers) {
        if (records.length === 0 && (rr.type !== TYPE.SOA || !same(rr.name, origin))) {
          throw new Error('transfer does not start with the SOA record');
        }
        if (records.length > 0 && rr.type === TYPE.SOA && same(rr.name, origin)) return true;
        records.push(rr);
      }
      if (records.length === 0) throw new Error('transfer without records');
      return false;
    };
    socket.setTimeout(IDLE_MS, () => finish(new Error('transfer: i/o timeout')));
    socket.on('error', (error) => finish(error));
    socket.on('close', () => finish(new Error('transfer broke off')));
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
      try {
        if (bytes > MAX_BYTES) throw new Error(`zone of more than ${MAX_BYTES} bytes`);
        let at = 0;
        while (buffer.length - at >= 2 && buffer.length - at - 2 >= buffer.readUInt16BE(at)) {
          const length = buffer.readUInt16BE(at);
          if (take(buffer.subarray(at + 2, at + 2 + length))) return finish(undefined);
          at += 2 + length;
        }
        buffer = buffer.subarray(at);
      } catch (error) {
        finish(error as Error);
      }
    });
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) return stop();
    const query = encodeQuery({ id: ID, flags: 0, name: origin, type: TYPE.AXFR, class: 1 });
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 0xff]), query]));
  });
}

/** A connection carries one query only. */
const ID = 4711;
