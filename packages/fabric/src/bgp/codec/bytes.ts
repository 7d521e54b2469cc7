import { formatIp, parseIp } from '@weft/net';

/** Thrown by a reader that is asked for more than there is; callers turn it into the error of what they read. */
export class ShortRead extends RangeError {}

/** Reads big-endian fields of a message; never beyond its end. */
export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  #need(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw new ShortRead(`${count} bytes wanted, ${this.end - at} there`);
    this.at = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.#need(1)] as number;
  }

  u16(): number {
    const at = this.#need(2);
    return ((this.bytes[at] as number) << 8) | (this.bytes[at + 1] as number);
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16();
  }

  /** The next bytes, not copied. */
  take(count: number): Uint8Array {
    const at = this.#need(count);
    return this.bytes.subarray(at, at + count);
  }

  /** A reader of the next bytes only. */
  part(count: number): Reader {
    const at = this.#need(count);
    return new Reader(this.bytes, at, at + count);
  }

  ip4(): string {
    return formatIp(this.take(4));
  }
}

/** Collects big-endian fields. */
export class Writer {
  #bytes: Uint8Array;
  at = 0;

  constructor(size = 256) {
    this.#bytes = new Uint8Array(size);
  }

  #room(count: number): number {
    const at = this.at;
    if (at + count > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, at + count));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.at = at + count;
    return at;
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  put(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  ip(text: string): void {
    const ip = parseIp(text);
    if (ip === undefined) throw new RangeError(`not an IP address: ${text}`);
    this.put(ip.bytes);
  }

  /** Writes a length field of `size` bytes at `at` that covers what follows it. */
  fill(at: number, size: 1 | 2): void {
    const length = this.at - at - size;
    if (size === 2) this.#bytes[at] = length >>> 8;
    this.#bytes[at + size - 1] = length;
  }

  /** What was written; a copy. */
  done(): Uint8Array {
    return this.#bytes.slice(0, this.at);
  }
}
