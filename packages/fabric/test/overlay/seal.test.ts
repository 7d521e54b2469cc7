import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Opener, SEAL_BYTES, Sealer } from '../../src/overlay/seal.ts';

const KEY = Buffer.alloc(32, 1);
const OTHER = Buffer.alloc(32, 2);

function sealed(sealer: Sealer, packet: Uint8Array): Uint8Array {
  const out = new Uint8Array(packet.length + SEAL_BYTES);
  return out.subarray(0, sealer.seal(packet, packet.length, out));
}

describe('sealed packets', () => {
  it('are opened as they were by who has the key, whichever of its keys it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 1500 }), (packet) => {
        const datagram = sealed(new Sealer(KEY), packet);
        expect(new Opener([OTHER, KEY]).open(datagram, datagram.length)).toEqual(Buffer.from(packet));
        expect(new Opener([OTHER]).open(datagram, datagram.length)).toBeUndefined();
      }),
    );
  });

  it('are refused when any bit was changed or bytes are missing', () => {
    const datagram = sealed(new Sealer(KEY), randomBytes(40));
    fc.assert(
      fc.property(fc.nat(datagram.length * 8 - 1), (bit) => {
        const changed = Uint8Array.from(datagram);
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(new Opener([KEY]).open(changed, changed.length)).toBeUndefined();
      }),
    );
    for (let length = 0; length < datagram.length; length++)
      expect(new Opener([KEY]).open(datagram, length)).toBeUndefined();
  });

  it('are opened once each, in any order within the window', () => {
    const sealer = new Sealer(KEY);
    const datagrams = Array.from({ length: 2000 }, (_, i) => sealed(sealer, Uint8Array.of(i & 255, i >> 8)));
    const opener = new Opener([KEY]);
    const open = (i: number) => opener.open(datagrams[i] as Uint8Array, datagrams[i]?.length ?? 0);
    for (const i of [0, 5, 3, 4, 1]) {
      expect(open(i)).toBeDefined();
      expect(open(i)).toBeUndefined();
    }
    expect(open(1999)).toBeDefined();
    expect(open(999)).toBeDefined();
    // Too late: whether it has come is not known any more.
    expect(open(2)).toBeUndefined();
  });

  it('of a sender that has begun anew are opened too, with nonces of their own', () => {
    const opener = new Opener([KEY]);
    const packet = Buffer.from('packet');
    const [a, b] = [sealed(new Sealer(KEY), packet), sealed(new Sealer(KEY), packet)];
    expect(Buffer.from(a).equals(b)).toBe(false);
    expect(opener.open(a, a.length)).toEqual(packet);
    expect(opener.open(b, b.length)).toEqual(packet);
  });

  it('never fail worse than by nothing, whatever comes', () => {
    const opener = new Opener([KEY]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(opener.open(bytes, bytes.length)).toBeUndefined();
      }),
    );
  });
});
