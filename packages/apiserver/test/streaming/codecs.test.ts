import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader, frame } from '../../src/streaming/kubelet.ts';
import { DICTIONARY, HeaderCodec } from '../../src/streaming/spdy-headers.ts';

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return ((b << 16) | a) >>> 0;
}

describe('SPDY headers', () => {
  it('have the dictionary that every SPDY/3 implementation names in its streams', () => {
    expect(DICTIONARY.length).toBe(1423);
    expect(adler32(DICTIONARY)).toBe(0xe3c6a7c2);
  });

  it('survive a connection, block after block', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.dictionary(fc.stringMatching(/^[a-z-]{1,12}$/), fc.string()), { maxLength: 5 }),
        async (blocks) => {
          const out = new HeaderCodec();
          const back = new HeaderCodec();
          try {
            for (const block of blocks) {
              const headers = new Map(Object.entries(block));
              expect(await back.decode(await out.encode(headers))).toEqual(headers);
            }
          } finally {
            out.close();
            back.close();
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('frames of a node', () => {
  it('are found again however the bytes are cut', () => {
    const message = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 40 }));
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 10 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 17 })),
        (messages, sizes) => {
          const bytes = Buffer.concat(messages.map(([channel, payload]) => frame(channel, payload)));
          const seen: [number, number[]][] = [];
          const reader = new FrameReader((channel, payload) => seen.push([channel, [...payload]]));
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value as number;
            reader.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(seen).toEqual(messages.map(([channel, payload]) => [channel, [...payload]]));
        },
      ),
    );
  });
});
