import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeFlow, encodeTuple, peekProto } from '../src/conntrack/flow.ts';
import { ip4, ip6, u16, u32, u8 } from './arbitraries.ts';
import { message } from './codec.ts';

test('what finds a flow is read back as it was written', () => {
  const ends = (ip: fc.Arbitrary<string>) => fc.record({ src: ip, dst: ip, sport: u16, dport: u16 });
  const tuple = fc.oneof(fc.tuple(fc.constant(4 as const), ends(ip4)), fc.tuple(fc.constant(6 as const), ends(ip6)));
  fc.assert(
    fc.property(tuple, u8, u32, fc.integer({ min: 1, max: 0xffff }), ([family, e], proto, id, zone) => {
      const icmp = proto === 1 || proto === 58;
      const flow = icmp ? { ...e, dport: 0, icmpType: 8, icmpCode: 0 } : e;
      const m = message((w) => encodeTuple(w, { family, proto, ...flow, zone }, id));
      expect(decodeFlow(m)).toMatchObject({ family, proto, orig: flow, id, zone });
      expect(peekProto(m)).toBe(proto);
    }),
  );
});
