/** Size of `struct nlmsghdr`. */
const NLMSG_HDRLEN = 16;
/** Largest length an attribute can state (16 bits). */
const NLA_MAX = 0xffff;

const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const encoder = new TextEncoder();

/**
 * Writes netlink messages one after the other into a growing buffer. Integers are host order (netlink's own order) unless
 * a method says `be`. Messages and attributes start on 4-byte borders, so header words are stored through typed arrays.
 */
export class NlWriter {
  bytes: Uint8Array;
  /** Where the next byte goes: also the number of bytes written. */
  pos = 0;
  /** Start of every message. */
  readonly starts: number[] = [];
  #u16: Uint16Array;
  #u32: Uint32Array;

  constructor(capacity = 4096) {
    this.bytes = new Uint8Array((capacity + 7) & ~7);
    this.#u16 = new Uint16Array(this.bytes.buffer);
    this.#u32 = new Uint32Array(this.bytes.buffer);
  }

  clear(): void {
    this.pos = 0;
    this.starts.length = 0;
  }

  /** The written bytes (a view, valid until the next write). */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.pos);
  }

  #room(size: number): void {
    if (this.pos + size + 8 <= this.bytes.length) return;
    let capacity = this.bytes.length * 2;
    while (capacity < this.pos + size + 8) capacity *= 2;
    const bytes = new Uint8Array(capacity);
    bytes.set(this.bytes.subarray(0, this.pos));
    this.bytes = bytes;
    this.#u16 = new Uint16Array(bytes.buffer);
    this.#u32 = new Uint32Array(bytes.buffer);
  }

  /** Starts a message; its sequence number is filled in when it is sent. */
  begin(type: number, flags: number): void {
    this.#room(NLMSG_HDRLEN);
    this.starts.push(this.pos);
    const w = this.pos >> 2;
    this.#u32[w] = 0;
    this.#u32[w + 1] = (type | (flags << 16)) >>> 0;
    this.#u32[w + 2] = 0;
    this.#u32[w + 3] = 0;
    this.pos += NLMSG_HDRLEN;
  }

  /** Ends the message started last. */
  end(): void {
    const start = this.starts[this.starts.length - 1] as number;
    this.#u32[start >> 2] = this.pos - start;
  }

  /** Takes the message started last back. */
  drop(): void {
    this.pos = this.starts.pop() as number;
  }

  orFlags(start: number, flags: number): void {
    const at = (start + 6) >> 1;
    this.#u16[at] = (this.#u16[at] as number) | flags;
  }

  setSeq(start: number, seq: number): void {
    this.#u32[(start >> 2) + 2] = seq;
  }

  /** Bytes of the fixed header that follows `nlmsghdr`. */
  put8(a: number, b = 0, c = 0, d = 0): void {
    this.#room(4);
    this.bytes[this.pos] = a;
    this.bytes[this.pos + 1] = b;
    this.bytes[this.pos + 2] = c;
    this.bytes[this.pos + 3] = d;
    this.pos += 4;
  }

  put16(a: number, b: number): void {
    this.#room(4);
    this.#u16[this.pos >> 1] = a;
    this.#u16[(this.pos >> 1) + 1] = b;
    this.pos += 4;
  }

  put32(value: number): void {
    this.#room(4);
    this.#u32[this.pos >> 2] = value;
    this.pos += 4;
  }

  #header(type: number, length: number): void {
    this.#room(((length + 3) & ~3) + 4);
    this.#u32[this.pos >> 2] = ((length + 4) | (type << 16)) >>> 0;
    this.pos += 4;
  }

  /** An attribute of no content: its presence is the value. */
  flag(type: number): void {
    this.#header(type, 0);
  }

  u8(type: number, value: number): void {
    this.#header(type, 1);
    this.#u32[this.pos >> 2] = value & 0xff;
    this.pos += 4;
  }

  u16(type: number, value: number): void {
    this.#header(type, 2);
    this.#u32[this.pos >> 2] = value & 0xffff;
    this.pos += 4;
  }

  u16be(type: number, value: number): void {
    this.u16(type, ((value & 0xff) << 8) | ((value >> 8) & 0xff));
  }

  u32(type: number, value: number): void {
    this.#header(type, 4);
    this.#u32[this.pos >> 2] = value;
    this.pos += 4;
  }

  u32be(type: number, value: number): void {
    this.#header(type, 4);
    const at = this.pos;
    this.bytes[at] = value >>> 24;
    this.bytes[at + 1] = value >>> 16;
    this.bytes[at + 2] = value >>> 8;
    this.bytes[at + 3] = value;
    this.pos += 4;
  }

  u64be(type: number, value: bigint | number): void {
    const v = BigInt(value);
    this.#header(type, 8);
    this.#be32(this.pos, Number(v >> 32n));
    this.#be32(this.pos + 4, Number(v & 0xffffffffn));
    this.pos += 8;
  }

  #be32(at: number, value: number): void {
    this.bytes[at] = value >>> 24;
    this.bytes[at + 1] = value >>> 16;
    this.bytes[at + 2] = value >>> 8;
    this.bytes[at + 3] = value;
  }

  data(type: number, value: Uint8Array): void {
    this.#header(type, value.length);
    this.raw(value);
  }

  /** Zero-terminated text. */
  str(type: number, value: string): void {
    const bytes = encoder.encode(value);
    this.#header(type, bytes.length + 1);
    this.#room(bytes.length + 8);
    this.bytes.set(bytes, this.pos);
    const end = (this.pos + bytes.length + 4) & ~3;
    this.bytes.fill(0, this.pos + bytes.length, end);
    this.pos = end;
  }

  /** Appends bytes, zero-padded to a multiple of 4. */
  raw(value: Uint8Array): void {
    const length = value.length;
    this.#room(length + 4);
    const end = (this.pos + length + 3) & ~3;
    if (end > this.pos) this.#u32[(end >> 2) - 1] = 0;
    if (length <= 16) for (let i = 0; i < length; i++) this.bytes[this.pos + i] = value[i] as number;
    else this.bytes.set(value, this.pos);
    this.pos = end;
  }

  /** Starts a nested attribute; give the returned mark to `endNest`. */
  nest(type: number): number {
    this.#room(4);
    const mark = this.pos;
    this.#u32[mark >> 2] = ((type | NLA_F_NESTED) << 16) >>> 0;
    this.pos += 4;
    return mark;
  }

  endNest(mark: number): void {
    const length = this.pos - mark;
    if (length > NLA_MAX) throw new RangeError(`netlink attribute of ${length} bytes (at most ${NLA_MAX})`);
    this.#u16[mark >> 1] = length;
  }
}

/** Walks the attributes of a message or nest: `while (a.next()) switch (a.type) …`. */
export class NlReader {
  /** Type of the current attribute, flags removed. */
  type = 0;
  /** Offsets of the current attribute's content. */
  at = 0;
  end = 0;
  readonly #bytes: Uint8Array;
  #next: number;
  readonly #limit: number;

  constructor(bytes: Uint8Array, start: number, limit: number) {
    this.#bytes = bytes;
    this.#next = start;
    this.#limit = limit;
  }

  /** Moves to the next attribute; false at the end, or where the bytes are no attribute any more. */
  next(): boolean {
    const at = this.#next;
    if (at + 4 > this.#limit) return false;
    const b = this.#bytes;
    const length = (b[at] as number) | ((b[at + 1] as number) << 8);
    if (length < 4 || at + length > this.#limit) return false;
    this.type = ((b[at + 2] as number) | ((b[at + 3] as number) << 8)) & NLA_TYPE_MASK;
    this.at = at + 4;
    this.end = at + length;
    this.#next = at + ((length + 3) & ~3);
    return true;
  }

  get length(): number {
    return this.end - this.at;
  }

  u8(): number {
    return this.#bytes[this.at] as number;
  }

  u16(): number {
    return (this.#bytes[this.at] as number) | ((this.#bytes[this.at + 1] as number) << 8);
  }

  u16be(): number {
    return ((this.#bytes[this.at] as number) << 8) | (this.#bytes[this.at + 1] as number);
  }

  u32(): number {
    return get32(this.#bytes, this.at);
  }

  s32(): number {
    return get32(this.#bytes, this.at) | 0;
  }

  u32be(): number {
    const b = this.#bytes;
    const at = this.at;
    return (
      (((b[at] as number) << 24) |
        ((b[at + 1] as number) << 16) |
        ((b[at + 2] as number) << 8) |
        (b[at + 3] as number)) >>>
      0
    );
  }

  u64be(): bigint {
    let value = 0n;
    for (let i = 0; i < 8; i++) value = (value << 8n) | BigInt(this.#bytes[this.at + i] as number);
    return value;
  }

  /** Text without its terminator. */
  str(): string {
    let end = this.end;
    while (end > this.at && this.#bytes[end - 1] === 0) end--;
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.at, end - this.at).toString('utf8');
  }

  /** A copy of the content. */
  data(): Uint8Array {
    return this.#bytes.slice(this.at, this.end);
  }

  nested(): NlReader {
    return new NlReader(this.#bytes, this.at, this.end);
  }
}

export function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function get32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** One received message; offsets point into `bytes`, which the next receive overwrites. */
export interface NlMessage {
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  /** Start of the content (after `nlmsghdr`) and end of the message. */
  readonly start: number;
  readonly end: number;
}

/** Splits a datagram into messages. */
export function* messages(bytes: Uint8Array, length: number): Generator<NlMessage> {
  let at = 0;
  while (at + NLMSG_HDRLEN <= length) {
    const size = get32(bytes, at);
    if (size < NLMSG_HDRLEN || at + size > length) return;
    yield {
      bytes,
      type: get16(bytes, at + 4),
      flags: get16(bytes, at + 6),
      seq: get32(bytes, at + 8),
      start: at + NLMSG_HDRLEN,
      end: at + size,
    };
    at += (size + 3) & ~3;
  }
}
