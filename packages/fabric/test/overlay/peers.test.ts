import { ipBytes, type Prefix, parseIp, parsePrefix, prefixContains } from '@weft/net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerTable } from '../../src/overlay/peers.ts';

/** An IP packet of which only version and destination are filled in. */
function packetTo(address: string): Uint8Array {
  const bytes = ipBytes(address);
  const packet = new Uint8Array(bytes.length === 4 ? 20 : 40);
  packet[0] = bytes.length === 4 ? 0x45 : 0x60;
  packet.set(bytes, packet.length - bytes.length);
  return packet;
}

describe('the peer of a packet', () => {
  it('is the one with the longest block that its destination is in', () => {
    const block = fc.oneof(
      fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
      fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
    );
    fc.assert(
      fc.property(fc.array(block, { maxLength: 8 }), fc.oneof(fc.ipV4(), fc.ipV6()), (blocks, address) => {
        const table = new PeerTable<Prefix>();
        const ip = parseIp(address);
        if (ip === undefined) return;
        const prefixes = [...blocks, [address, 7] as const, [address, ip.family === 4 ? 27 : 61] as const]
          .flatMap(([text, length]) => parsePrefix(`${text}/${length}`) ?? [])
          .filter((prefix, i, all) => all.findIndex((p) => p.length === prefix.length) === i);
        for (const prefix of prefixes) table.set(`${text(prefix)}`, prefix);
        const wanted = prefixes
          .filter((prefix) => prefix.ip.family === ip.family && prefixContains(prefix, ip))
          .sort((a, b) => b.length - a.length)[0];
        const packet = packetTo(address);
        expect(table.find(packet, packet.length)?.length).toBe(wanted?.length);
        for (const prefix of prefixes) table.delete(text(prefix));
        expect(table.find(packet, packet.length)).toBeUndefined();
      }),
    );
    function text(prefix: Prefix): string {
      return `${[...prefix.ip.bytes].length === 4 ? prefix.ip.bytes.join('.') : hex(prefix.ip.bytes)}/${prefix.length}`;
    }
    function hex(bytes: Uint8Array): string {
      return Buffer.from(bytes)
        .toString('hex')
        .replace(/(.{4})(?=.)/g, '$1:');
    }
  });

  it('is nobody for what is no whole IP header', () => {
    const table = new PeerTable<string>();
    table.set('0.0.0.0/0', 'a');
    table.set('::/0', 'b');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 19 }), (bytes) => {
        expect(table.find(bytes, bytes.length)).toBeUndefined();
      }),
    );
    expect(table.find(packetTo('192.0.2.1'), 20)).toBe('a');
    expect(table.find(packetTo('2001:db8::1'), 40)).toBe('b');
  });
});
