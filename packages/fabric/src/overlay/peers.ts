import { type Family, parsePrefix } from '@weft/net';

const DESTINATION = { 4: 16, 6: 24 } as const;

/** The address of `bytes` at an offset, of which only the first bits count, as a key. */
function keyOf(bytes: Uint8Array, at: number, family: Family, length: number): string | number {
  if (family === 4) {
    const value =
      (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>>
      0;
    return length === 0 ? 0 : (value >>> (32 - length)) >>> 0;
  }
  let text = '';
  for (let i = 0; i < length; i += 8) {
    const byte = bytes[at + (i >> 3)] ?? 0;
    text += String.fromCharCode(length - i >= 8 ? byte : byte >> (8 - (length - i)));
  }
  return text;
}

/** Which peer a packet is for, by the longest block that its destination is in. */
export class PeerTable<T> {
  /** By family, then by length from the longest to the shortest. */
  readonly #tables: Readonly<Record<Family, Map<number, Map<string | number, T>>>> = { 4: new Map(), 6: new Map() };
  readonly #lengths: Record<Family, number[]> = { 4: [], 6: [] };

  set(cidr: string, peer: T): void {
    const prefix = parsePrefix(cidr);
    if (prefix === undefined) return;
    const { family, bytes } = prefix.ip;
    let table = this.#tables[family].get(prefix.length);
    if (table === undefined) {
      table = new Map();
      this.#tables[family].set(prefix.length, table);
      this.#lengths[family] = [...this.#tables[family].keys()].sort((a, b) => b - a);
    }
    table.set(keyOf(bytes, 0, family, prefix.length), peer);
  }

  delete(cidr: string): void {
    const prefix = parsePrefix(cidr);
    if (prefix === undefined) return;
    const { family, bytes } = prefix.ip;
    const table = this.#tables[family].get(prefix.length);
    table?.delete(keyOf(bytes, 0, family, prefix.length));
    if (table?.size !== 0) return;
    this.#tables[family].delete(prefix.length);
    this.#lengths[family] = this.#lengths[family].filter((length) => length !== prefix.length);
  }

  /** Peer of an IP packet's destination; undefined where there is none, and for what is no IP packet. */
  find(packet: Uint8Array, length: number): T | undefined {
    const version = (packet[0] ?? 0) >> 4;
    if ((version !== 4 && version !== 6) || length < (version === 4 ? 20 : 40)) return undefined;
    for (const bits of this.#lengths[version]) {
      const key = keyOf(packet, DESTINATION[version], version, bits);
      const peer = this.#tables[version].get(bits)?.get(key);
      if (peer !== undefined) return peer;
    }
    return undefined;
  }
}
