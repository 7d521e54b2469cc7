import { closeSync, readFileSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { ENOENT } from '../errno.ts';
import { keyAndValueTypes } from './btf.ts';
import { address, attribute, bpf, CMD, objectName, tryBpf } from './call.ts';

const TYPE = {
  hash: 1,
  array: 2,
  percpu_hash: 5,
  percpu_array: 6,
  lru_hash: 9,
  lpm_trie: 11,
  sk_storage: 24,
} as const;

export interface MapSpec {
  readonly type: keyof typeof TYPE;
  /** For people who look with bpftool; 15 characters are kept. */
  readonly name: string;
  /** Bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Take memory for entries when they are made. For hashes; LPM tries always do. */
  readonly noPreallocation?: boolean;
}

const NO_PREALLOC = 1;
/** Update only what is not there (`BPF_NOEXIST`) or only what is (`BPF_EXIST`). */
const UPDATE = { any: 0, absent: 1, present: 2 } as const;

let possible: number | undefined;

/** CPUs that the machine may have: per-CPU maps hold a value for each. */
export function possibleCpus(): number {
  possible ??= readFileSync('/sys/devices/system/cpu/possible', 'latin1')
    .trim()
    .split(',')
    .reduce((sum, range) => {
      const [first, last = first] = range.split('-').map(Number);
      return sum + (last as number) - (first as number) + 1;
    }, 0);
  return possible;
}

/** A BPF map. Keys and values are bytes in the machine's order, of exactly the sizes it was made with. */
export class BpfMap {
  readonly spec: MapSpec;
  readonly fd: number;

  private constructor(spec: MapSpec, fd: number) {
    this.spec = spec;
    this.fd = fd;
  }

  /**
   * `sk_storage` is a value beside each socket, which goes with it: keys are descriptors of sockets (4 bytes), values whole
   * words, and `maxEntries` is 0.
   *
   * @throws KernelError EPERM without the right to
   */
  static create(spec: MapSpec): BpfMap {
    // The kernel takes such maps only with types of their keys and values.
    const types = spec.type === 'sk_storage' ? keyAndValueTypes(spec.valueSize) : undefined;
    try {
      return new BpfMap(spec, BpfMap.#create(spec, types));
    } finally {
      if (types !== undefined) closeSync(types.fd);
    }
  }

  /** Opens a map that was pinned; `spec` is what it was made with. */
  static open(path: string, spec: MapSpec): BpfMap {
    const name = Buffer.from(`${path}\0`);
    return new BpfMap(spec, bpf(CMD.OBJ_GET, attribute(16, [[0, 8, address(name)]]), 'open pinned BPF map', path));
  }

  /** Keeps it beyond this process; `path` lies in a bpffs. */
  pin(path: string): void {
    const name = Buffer.from(`${path}\0`);
    const attr = attribute(16, [
      [0, 8, address(name)],
      [8, 4, this.fd],
    ]);
    bpf(CMD.OBJ_PIN, attr, 'pin BPF map to', path);
  }

  static #create(spec: MapSpec, types: ReturnType<typeof keyAndValueTypes> | undefined): number {
    const lazy = spec.noPreallocation === true || spec.type === 'lpm_trie' || spec.type === 'sk_storage';
    const attr = attribute(64, [
      [0, 4, TYPE[spec.type]],
      [4, 4, spec.keySize],
      [8, 4, spec.valueSize],
      [12, 4, spec.maxEntries],
      [16, 4, lazy ? NO_PREALLOC : 0],
      [48, 4, types?.fd ?? 0],
      [52, 4, types?.key ?? 0],
      [56, 4, types?.value ?? 0],
    ]);
    objectName(spec.name).copy(attr, 28);
    return bpf(CMD.MAP_CREATE, attr, 'add BPF map', spec.name);
  }

  /** Bytes of one value as calls exchange it: per-CPU maps give one after the other, each rounded up to 8. */
  get #valueBytes(): number {
    const { type, valueSize } = this.spec;
    return type.startsWith('percpu') ? Math.ceil(valueSize / 8) * 8 * possibleCpus() : valueSize;
  }

  /** The value of a key; undefined when it is not there. */
  get(key: Uint8Array): Buffer | undefined {
    const value = Buffer.alloc(this.#valueBytes);
    const { result, errno } = tryBpf(CMD.MAP_LOOKUP_ELEM, this.#element(key, value, 0));
    if (result === 0) return value;
    if (errno === ENOENT) return undefined;
    throw this.#failed(errno, 'read');
  }

  set(key: Uint8Array, value: Uint8Array, when: keyof typeof UPDATE = 'any'): void {
    const { result, errno } = tryBpf(CMD.MAP_UPDATE_ELEM, this.#element(key, value, UPDATE[when]));
    if (result !== 0) throw this.#failed(errno, 'update');
  }

  /** False when the key was not there. */
  delete(key: Uint8Array): boolean {
    const { result, errno } = tryBpf(CMD.MAP_DELETE_ELEM, this.#element(key, undefined, 0));
    if (result === 0) return true;
    if (errno === ENOENT) return false;
    throw this.#failed(errno, 'delete from');
  }

  /** Sets many entries in one call; `keys` and `values` lie one after the other. */
  setMany(keys: Uint8Array, values: Uint8Array, count: number): void {
    this.#check(keys, this.spec.keySize * count, 'keys');
    this.#check(values, this.#valueBytes * count, 'values');
    if (count === 0) return;
    const attr = this.#batch(undefined, Buffer.alloc(8), keys, values, count);
    bpf(CMD.MAP_UPDATE_BATCH, attr, 'update BPF map', this.spec.name);
  }

  /** Takes up to `limit` entries out of a hash. */
  take(limit: number): { readonly key: Buffer; readonly value: Buffer }[] {
    const keys = Buffer.alloc(this.spec.keySize * limit);
    const values = Buffer.alloc(this.#valueBytes * limit);
    // Room for the kernel's place to go on: a bucket number, or a key.
    const place = Buffer.alloc(Math.max(8, this.spec.keySize));
    const attr = this.#batch(undefined, place, keys, values, limit);
    const { result, errno } = tryBpf(CMD.MAP_LOOKUP_AND_DELETE_BATCH, attr);
    // ENOENT says that nothing is left behind these.
    if (result !== 0 && errno !== ENOENT) throw this.#failed(errno, 'read');
    const count = attr.readUInt32LE(32);
    return Array.from({ length: count }, (_, i) => ({
      key: keys.subarray(i * this.spec.keySize, (i + 1) * this.spec.keySize),
      value: values.subarray(i * this.#valueBytes, (i + 1) * this.#valueBytes),
    }));
  }

  /** The keys, in the kernel's order. */
  *keys(): IterableIterator<Buffer> {
    let key: Buffer | undefined;
    for (;;) {
      const next = Buffer.alloc(this.spec.keySize);
      const attr = attribute(32, [
        [0, 4, this.fd],
        [8, 8, key === undefined ? 0 : address(key)],
        [16, 8, address(next)],
      ]);
      const { result, errno } = tryBpf(CMD.MAP_GET_NEXT_KEY, attr);
      if (result !== 0 && errno === ENOENT) return;
      if (result !== 0) throw this.#failed(errno, 'list');
      yield next;
      key = next;
    }
  }

  close(): void {
    closeSync(this.fd);
  }

  #element(key: Uint8Array, value: Uint8Array | undefined, flags: number): Buffer {
    this.#check(key, this.spec.keySize, 'key');
    if (value !== undefined) this.#check(value, this.#valueBytes, 'value');
    return attribute(32, [
      [0, 4, this.fd],
      [8, 8, address(key)],
      [16, 8, value === undefined ? 0 : address(value)],
      [24, 8, flags],
    ]);
  }

  #batch(from: Buffer | undefined, to: Buffer, keys: Uint8Array, values: Uint8Array, count: number): Buffer {
    return attribute(56, [
      [0, 8, from === undefined ? 0 : address(from)],
      [8, 8, address(to)],
      [16, 8, address(keys)],
      [24, 8, address(values)],
      [32, 4, count],
      [36, 4, this.fd],
    ]);
  }

  // The kernel trusts the sizes: a short buffer would be read beyond its end.
  #check(bytes: Uint8Array, size: number, what: string): void {
    if (bytes.length !== size) {
      throw new RangeError(`BPF map ${this.spec.name}: ${what} of ${bytes.length} bytes instead of ${size}`);
    }
  }

  #failed(errno: number, operation: string): KernelError {
    return new KernelError({ errno, operation: `${operation} BPF map`, object: this.spec.name });
  }
}
