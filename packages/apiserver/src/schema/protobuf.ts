import type { KubeObject } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { MESSAGES, PACKAGES, TYPES } from '../generated/protobuf.ts';
import { POINTERS } from './pointers.ts';
import { gvkType, type ObjectType, typeOf } from './types.ts';

/** A message field: what the number on the wire means. */
interface WireField {
  readonly name: string;
  /** Scalar name, or `#N` for message N. */
  readonly type: string;
  readonly shape: 'one' | 'repeated' | 'map';
}

interface Tables {
  readonly names: readonly string[];
  readonly rows: readonly string[];
  readonly types: readonly string[];
  readonly index: ReadonlyMap<string, number>;
}

let tables: Tables | undefined;
const parsed: (ReadonlyMap<number, WireField> | undefined)[] = [];

function load(): Tables {
  if (tables !== undefined) return tables;
  const packages = PACKAGES.split('\n');
  const rows = MESSAGES.split('\n');
  const names = rows.map((row) => {
    const space = row.indexOf(' ');
    return `${packages[Number(row.slice(0, space))]}.${row.slice(space + 1, row.indexOf('\t'))}`;
  });
  tables = { names, rows, types: TYPES.split('\n'), index: new Map(names.map((name, i) => [name, i])) };
  return tables;
}

function fieldsOf(message: number): ReadonlyMap<number, WireField> {
  const known = parsed[message];
  if (known !== undefined) return known;
  const { rows, types } = load();
  const row = rows[message] ?? '';
  const body = row.slice(row.indexOf('\t') + 1);
  const fields = new Map<number, WireField>();
  for (const text of body === '' ? [] : body.split(',')) {
    const [number = '', name = '', id = ''] = text.split(' ');
    const type = types[Number(id)] ?? '';
    const shape = type[0] === '[' ? 'repeated' : type[0] === '{' ? 'map' : 'one';
    fields.set(Number(number), { name, type: shape === 'one' ? type : type.slice(1), shape });
  }
  parsed[message] = fields;
  return fields;
}

const bad = (why: string): WeftError =>
  new WeftError({ code: 'BAD_PROTOBUF', message: `the body is not a Kubernetes protobuf message: ${why}` });

/** Reads the wire format (https://protobuf.dev/programming-guides/encoding/). */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw bad('it ends inside a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw bad('a number is longer than ten bytes');
  }

  take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) throw bad('it ends inside a field');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Field number, and the value: a number for wire types 0, 1 and 5, bytes for 2. */
  field(): { number: number; wire: number; value: bigint | Buffer } {
    const tag = Number(this.varint());
    const wire = tag & 7;
    const number = tag >>> 3;
    if (wire === 0) return { number, wire, value: this.varint() };
    if (wire === 1) return { number, wire, value: this.take(8) };
    if (wire === 2) return { number, wire, value: this.take(Number(this.varint())) };
    if (wire === 5) return { number, wire, value: this.take(4) };
    throw bad(`wire type ${wire}`);
  }
}

const asBytes = (value: bigint | Buffer): Buffer => {
  if (typeof value === 'bigint') throw bad('a number where bytes belong');
  return value;
};

function scalar(type: string, wire: number, value: bigint | Buffer): unknown {
  switch (type) {
    case 'string':
      return asBytes(value).toString('utf8');
    case 'bytes':
      return asBytes(value).toString('base64');
    case 'bool':
      return value !== 0n;
    case 'double':
      return asBytes(value).readDoubleLE(0);
    case 'float':
      return asBytes(value).readFloatLE(0);
    default:
      if (typeof value !== 'bigint') throw bad(`wire type ${wire} for ${type}`);
      return Number(BigInt.asIntN(64, value));
  }
}

/** Fields of a message whose meaning Kubernetes defines itself (it has a MarshalJSON of its own). */
function simpleFields(bytes: Buffer): Map<number, bigint | Buffer> {
  const fields = new Map<number, bigint | Buffer>();
  const reader = new Reader(bytes);
  while (!reader.done) {
    const { number, value } = reader.field();
    fields.set(number, value);
  }
  return fields;
}

const integer = (value: bigint | Buffer | undefined): number =>
  typeof value === 'bigint' ? Number(BigInt.asIntN(64, value)) : 0;
const text = (value: bigint | Buffer | undefined): string => (Buffer.isBuffer(value) ? value.toString('utf8') : '');

function timeText(bytes: Buffer, micro: boolean): string | undefined {
  const fields = simpleFields(bytes);
  if (fields.size === 0) return undefined;
  const seconds = integer(fields.get(1));
  const date = new Date(seconds * 1000).toISOString().slice(0, 19);
  if (!micro) return `${date}Z`;
  const micros = Math.floor(integer(fields.get(2)) / 1000);
  return `${date}.${String(micros).padStart(6, '0')}Z`;
}

function json(bytes: bigint | Buffer | undefined): unknown {
  const raw = text(bytes);
  if (raw === '') return undefined;
  try {
    return JSON.parse(raw);
  } catch {
    throw bad('an embedded object is not JSON');
  }
}

/** Messages that JSON shows as something other than an object with their fields. */
const SPECIAL: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  'k8s.io.apimachinery.pkg.api.resource.Quantity': (bytes) => text(simpleFields(bytes).get(1)) || '0',
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': (bytes) => {
    const fields = simpleFields(bytes);
    return integer(fields.get(1)) === 1
      ? text(fields.get(3))
      : Number(BigInt.asIntN(32, BigInt(integer(fields.get(2)))));
  },
  'k8s.io.apimachinery.pkg.apis.meta.v1.Time': (bytes) => timeText(bytes, false),
  'k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime': (bytes) => timeText(bytes, true),
  'k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1': (bytes) => json(simpleFields(bytes).get(1)),
  'k8s.io.apimachinery.pkg.runtime.RawExtension': (bytes) => json(simpleFields(bytes).get(1)),
};

function messageValue(message: number, bytes: Buffer): unknown {
  const name = load().names[message] ?? '';
  const special = SPECIAL[name];
  if (special !== undefined) return special(bytes);
  const schema = typeOf(name.replace(/^k8s\.io\./, 'io.k8s.'));
  const value = decodeMessage(message, bytes, schema);
  // Named list types (ExtraValue) are a message with the one field `items`, and a plain list in JSON.
  if (schema === undefined && name.endsWith('.ExtraValue')) return value.items ?? [];
  return value;
}

function valueOf(type: string, wire: number, value: bigint | Buffer): unknown {
  return type[0] === '#' ? messageValue(Number(type.slice(1)), asBytes(value)) : scalar(type, wire, value);
}

function isZero(value: unknown): boolean {
  return value === '' || value === 0 || value === false || value === undefined;
}

function mapEntry(type: string, bytes: Buffer): [string, unknown] {
  let key = '';
  let value: unknown = type === 'string' || type === 'bytes' ? '' : type[0] === '#' ? {} : 0;
  const reader = new Reader(bytes);
  while (!reader.done) {
    const field = reader.field();
    if (field.number === 1) key = asBytes(field.value).toString('utf8');
    else if (field.number === 2) value = valueOf(type, field.wire, field.value);
  }
  return [key, value];
}

function repeated(type: string, wire: number, value: bigint | Buffer, into: unknown[]): void {
  const packed = wire === 2 && ['int32', 'int64', 'bool'].includes(type);
  if (!packed) {
    into.push(valueOf(type, wire, value));
    return;
  }
  const reader = new Reader(asBytes(value));
  while (!reader.done) into.push(scalar(type, 0, reader.varint()));
}

function decodeMessage(message: number, bytes: Buffer, schema: ObjectType | undefined): Record<string, unknown> {
  const fields = fieldsOf(message);
  const out: Record<string, unknown> = {};
  const reader = new Reader(bytes);
  while (!reader.done) {
    const { number, wire, value } = reader.field();
    const field = fields.get(number);
    if (field === undefined) continue; // a field of a newer release
    const { name, type, shape } = field;
    if (shape === 'repeated') {
      const list = (out[name] ??= []) as unknown[];
      repeated(type, wire, value, list);
    } else if (shape === 'map') {
      const map = (out[name] ??= {}) as Record<string, unknown>;
      const [key, item] = mapEntry(type, asBytes(value));
      Object.defineProperty(map, key, { value: item, enumerable: true, configurable: true, writable: true });
    } else {
      const one = valueOf(type, wire, value);
      // Go embeds (volumeSource, handler) are messages on the wire and nothing in JSON: the schema lacks their name.
      if (type[0] === '#' && schema?.fields !== undefined && !schema.fields.has(name)) Object.assign(out, one);
      else if (!isZero(one) || (one !== undefined && one !== '' && keepsZero(schema, name))) out[name] = one;
    }
  }
  return out;
}

function keepsZero(schema: ObjectType | undefined, name: string): boolean {
  return POINTERS.has(name) || schema?.fields?.get(name)?.required === true;
}

const MAGIC = Buffer.from('k8s\0', 'latin1');

/**
 * Decodes a body of type `application/vnd.kubernetes.protobuf`: four magic bytes and a runtime.Unknown, whose TypeMeta
 * names the kind of the raw bytes inside (k8s.io/apimachinery/pkg/runtime/serializer/protobuf).
 *
 * Throws WeftError `BAD_PROTOBUF` when the body is something else or of a kind without a binary form.
 */
export function decodeProtobuf(body: Buffer): KubeObject {
  if (body.length < 4 || !body.subarray(0, 4).equals(MAGIC)) throw bad('it does not begin with k8s\\0');
  const unknown = simpleFields(body.subarray(4));
  const typeMeta = unknown.get(1);
  const meta = Buffer.isBuffer(typeMeta) ? simpleFields(typeMeta) : new Map<number, bigint | Buffer>();
  const apiVersion = text(meta.get(1));
  const kind = text(meta.get(2));
  const raw = unknown.get(2);
  const contentType = text(unknown.get(4));
  if (contentType === 'application/json' || contentType === 'text/json') {
    return { apiVersion, kind, ...(json(raw) as KubeObject) };
  }
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  const name = gvkType(group, apiVersion.slice(slash + 1), kind);
  const message = name === undefined ? undefined : load().index.get(name.replace(/^io\.k8s\./, 'k8s.io.'));
  if (message === undefined) throw bad(`no binary form of ${apiVersion} ${kind} is known`);
  const value = messageValue(message, Buffer.isBuffer(raw) ? raw : Buffer.alloc(0)) as Record<string, unknown>;
  const metadata = (value.metadata ?? {}) as KubeObject['metadata'];
  return { apiVersion, kind, ...value, metadata };
}
