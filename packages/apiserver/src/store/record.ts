import { crc32 } from 'node:zlib';
import { WeftError } from '@weft/plan';

/**
 * One change of the store as it stands in the log.
 *
 * On disk: u32le payload length, u32le CRC-32 of the payload, payload. The payload is: u8 operation, f64le resource
 * version, u16le key length, key (UTF-8), and the object's JSON up to the end (nothing for a deletion and a mark).
 */
export interface LogRecord {
  /** `mark` carries a resource version and no object: where a snapshot or a log begins. */
  readonly op: 'put' | 'delete' | 'mark';
  readonly rv: number;
  /** `group/plural` + NUL + `namespace/name`. */
  readonly key: string;
  readonly json: Buffer;
}

const OPS = ['put', 'delete', 'mark'] as const;
const HEADER = 8;
const FIXED = 1 + 8 + 2;
/** No object comes near it: requests are limited to 3 MB. A length above it is garbage, not a record. */
const MAX_PAYLOAD = 64 * 1024 * 1024;
const NO_JSON = Buffer.alloc(0);

/** Encodes a record. Throws WeftError `STORE_KEY_TOO_LONG` for a key over 65,535 bytes. */
export function encodeRecord(record: LogRecord): Buffer {
  const keyBytes = Buffer.byteLength(record.key);
  if (keyBytes > 0xffff) {
    throw new WeftError({ code: 'STORE_KEY_TOO_LONG', message: `the key of ${record.key.slice(0, 80)}… is too long` });
  }
  const length = FIXED + keyBytes + record.json.length;
  const out = Buffer.allocUnsafe(HEADER + length);
  out.writeUInt32LE(length, 0);
  out.writeUInt8(OPS.indexOf(record.op), HEADER);
  out.writeDoubleLE(record.rv, HEADER + 1);
  out.writeUInt16LE(keyBytes, HEADER + 9);
  out.write(record.key, HEADER + FIXED);
  record.json.copy(out, HEADER + FIXED + keyBytes);
  out.writeUInt32LE(crc32(out.subarray(HEADER)), 4);
  return out;
}

export type Decoded =
  | { readonly kind: 'record'; readonly record: LogRecord; readonly next: number }
  | { readonly kind: 'end' }
  /** Not a record: cut short, or its checksum does not match. `next` is where the following one would begin. */
  | { readonly kind: 'bad'; readonly next: number | undefined };

/** Decodes the record at `offset`. The JSON is a view into `data`. */
export function decodeRecord(data: Buffer, offset: number): Decoded {
  if (offset === data.length) return { kind: 'end' };
  if (offset + HEADER > data.length) return { kind: 'bad', next: undefined };
  const length = data.readUInt32LE(offset);
  if (length < FIXED || length > MAX_PAYLOAD) return { kind: 'bad', next: undefined };
  const next = offset + HEADER + length;
  if (next > data.length) return { kind: 'bad', next: undefined };
  const payload = data.subarray(offset + HEADER, next);
  if (crc32(payload) !== data.readUInt32LE(offset + 4)) return { kind: 'bad', next };
  const op = OPS[payload.readUInt8(0)];
  const rv = payload.readDoubleLE(1);
  const keyEnd = FIXED + payload.readUInt16LE(9);
  if (op === undefined || !Number.isSafeInteger(rv) || keyEnd > payload.length) return { kind: 'bad', next };
  const json = keyEnd === payload.length ? NO_JSON : payload.subarray(keyEnd);
  return { kind: 'record', record: { op, rv, key: payload.toString('utf8', FIXED, keyEnd), json }, next };
}

/**
 * Where the usable part of a log ends. A torn tail (the process or machine died in the middle of a write) is normal;
 * a damaged record with a sound one behind it is not.
 */
export function scanRecords(
  data: Buffer,
  start: number,
  visit: (record: LogRecord) => void,
): { end: number; torn: boolean; damaged: boolean } {
  let offset = start;
  for (;;) {
    const decoded = decodeRecord(data, offset);
    if (decoded.kind === 'end') return { end: offset, torn: false, damaged: false };
    if (decoded.kind === 'bad') {
      const follows = decoded.next !== undefined && decodeRecord(data, decoded.next).kind === 'record';
      return { end: offset, torn: true, damaged: follows };
    }
    visit(decoded.record);
    offset = decoded.next;
  }
}
