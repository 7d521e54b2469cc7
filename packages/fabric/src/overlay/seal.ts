import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Bytes that sealing adds: 8 of the sender's session, 8 of its packet counter, 16 of the AEAD tag (RFC 5116). */
export const SEAL_BYTES = 32;
/** Bytes of a key. */
export const KEY_BYTES = 32;
const HEADER_BYTES = 16;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';
/** Sessions of others that are remembered: a restart of a node begins a new one. */
const SESSIONS = 4096;
/** Packets that may come later than others and are still taken. */
const WINDOW = 1024n;

/** Every session has its own key, so that its counter is a nonce that never comes again (NIST SP 800-38D §8.2). */
function sessionKey(key: Uint8Array, session: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', key, session, 'weft overlay', KEY_BYTES));
}

function nonceOf(header: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.set(header.subarray(8, HEADER_BYTES), 4);
  return nonce;
}

/** Seals packets of one sender. */
export class Sealer {
  readonly #key: Buffer;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #counter = 0n;

  constructor(key: Uint8Array, session: Uint8Array = randomBytes(8)) {
    this.#key = sessionKey(key, session);
    this.#header.set(session);
  }

  /** Writes the sealed packet into `out`, which has `SEAL_BYTES` more room. Returns its length. */
  seal(packet: Uint8Array, length: number, out: Uint8Array): number {
    this.#header.writeBigUInt64BE(++this.#counter, 8);
    const cipher = createCipheriv(CIPHER, this.#key, nonceOf(this.#header));
    cipher.setAAD(this.#header);
    out.set(this.#header);
    out.set(cipher.update(packet.subarray(0, length)), HEADER_BYTES);
    cipher.final();
    out.set(cipher.getAuthTag(), HEADER_BYTES + length);
    return length + SEAL_BYTES;
  }
}

interface Session {
  readonly key: Buffer;
  highest: bigint;
  /** Bit n: counter `highest - n` has come. */
  seen: bigint;
}

/** Opens packets of any sender that has one of the keys; each of them once. */
export class Opener {
  readonly #keys: readonly Uint8Array[];
  readonly #sessions = new Map<string, Session>();

  constructor(keys: readonly Uint8Array[]) {
    this.#keys = keys;
  }

  /** The packet inside; undefined when it was not sealed with a key of ours, was changed, or has come before. */
  open(datagram: Uint8Array, length: number): Uint8Array | undefined {
    if (length < SEAL_BYTES) return undefined;
    const header = Buffer.from(datagram.buffer, datagram.byteOffset, HEADER_BYTES);
    const name = header.toString('latin1', 0, 8);
    const counter = header.readBigUInt64BE(8);
    const known = this.#sessions.get(name);
    if (known !== undefined) {
      const packet = fresh(known, counter) ? decrypt(known.key, header, datagram, length) : undefined;
      if (packet !== undefined) mark(known, counter);
      return packet;
    }
    for (const secret of this.#keys) {
      const key = sessionKey(secret, header.subarray(0, 8));
      const packet = decrypt(key, header, datagram, length);
      if (packet === undefined) continue;
      // Only who has the key gets here: nobody else can make this grow.
      const [oldest] = this.#sessions.keys();
      if (this.#sessions.size >= SESSIONS && oldest !== undefined) this.#sessions.delete(oldest);
      this.#sessions.set(name, { key, highest: counter, seen: 1n });
      return packet;
    }
    return undefined;
  }
}

function fresh(session: Session, counter: bigint): boolean {
  const behind = session.highest - counter;
  return behind < 0n || (behind < WINDOW && (session.seen & (1n << behind)) === 0n);
}

function mark(session: Session, counter: bigint): void {
  const ahead = counter - session.highest;
  if (ahead <= 0n) session.seen |= 1n << -ahead;
  else {
    session.seen = ahead >= WINDOW ? 1n : ((session.seen << ahead) | 1n) & ((1n << WINDOW) - 1n);
    session.highest = counter;
  }
}

function decrypt(key: Buffer, header: Buffer, datagram: Uint8Array, length: number): Uint8Array | undefined {
  const decipher = createDecipheriv(CIPHER, key, nonceOf(header), { authTagLength: TAG_BYTES });
  decipher.setAAD(header);
  decipher.setAuthTag(datagram.subarray(length - TAG_BYTES, length));
  const packet = decipher.update(datagram.subarray(HEADER_BYTES, length - TAG_BYTES));
  try {
    decipher.final();
    return packet;
  } catch {
    return undefined;
  }
}
