import { type Family, formatIp, formatPrefix, parsePrefix } from '@weft/net';
import fc from 'fast-check';
import type { Capabilities, LargeCommunity, OpenMessage, PathAttributes } from '../../src/bgp/codec/index.ts';

export const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 0, max: 0xffff });
export const as = fc.oneof(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 1, max: 0xffff_ffff }));
export const ip4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatIp);
export const routerId = fc.integer({ min: 1, max: 0xffff_ffff }).map((n) => formatIp(bytesOf(n)));
const family: fc.Arbitrary<Family> = fc.constantFrom(4, 6);

function bytesOf(n: number): Uint8Array {
  return Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
}

export function prefixes(of: Family, maxLength = 40): fc.Arbitrary<string[]> {
  const bytes = of === 4 ? 4 : 16;
  const one = fc
    .tuple(fc.uint8Array({ minLength: bytes, maxLength: bytes }), fc.integer({ min: 0, max: bytes * 8 }))
    .map(([ip, length]) => formatPrefix(parsePrefix(`${formatIp(ip)}/${length}`)!));
  return fc.uniqueArray(one, { minLength: 1, maxLength });
}

const optional = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined });

/** Drops the fields that are undefined: what is absent on the wire is absent in the value. */
function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}

const segment = fc.record({
  kind: fc.constantFrom('sequence' as const, 'set' as const),
  ases: fc.array(as, { minLength: 1, maxLength: 20 }),
});

export const attributes: fc.Arbitrary<PathAttributes> = fc
  .record({
    origin: fc.constantFrom('igp' as const, 'egp' as const, 'incomplete' as const),
    asPath: fc.array(segment, { maxLength: 4 }),
    med: optional(u32),
    localPref: u32,
    atomicAggregate: optional(fc.constant(true as const)),
    aggregator: optional(fc.record({ as, routerId: ip4 })),
    communities: optional(fc.array(u32, { minLength: 1, maxLength: 8 })),
    largeCommunities: optional(
      fc.array(
        fc.tuple(u32, u32, u32).map((c): LargeCommunity => c),
        { minLength: 1, maxLength: 4 },
      ),
    ),
    originatorId: optional(ip4),
    clusterList: optional(fc.array(ip4, { minLength: 1, maxLength: 4 })),
    unknown: optional(
      fc
        .uniqueArray(fc.integer({ min: 100, max: 200 }), { minLength: 1, maxLength: 3 })
        .chain((types) =>
          fc.tuple(...types.map((type) => fc.uint8Array({ maxLength: 300 }).map((value) => ({ type, value })))),
        ),
    ),
  })
  .map((a) => defined(a) as PathAttributes);

export const capabilities: fc.Arbitrary<Capabilities> = fc
  .record({
    families: fc.uniqueArray(family, { minLength: 1, maxLength: 2 }),
    as4: optional(as),
    routeRefresh: fc.boolean(),
    gracefulRestart: optional(
      fc.record({
        restarting: fc.boolean(),
        time: fc.integer({ min: 0, max: 4095 }),
        families: fc.uniqueArray(fc.record({ family, forwarding: fc.boolean() }), { selector: (f) => f.family }),
      }),
    ),
  })
  .map((c) => defined(c) as Capabilities);

export const open: fc.Arbitrary<OpenMessage> = fc
  .record({ capabilities, small: fc.integer({ min: 1, max: 0xffff }), holdTime: u16, routerId })
  .filter(({ holdTime }) => holdTime !== 1 && holdTime !== 2)
  .map(({ capabilities: c, small, holdTime, routerId: id }) => ({
    type: 'open',
    as: c.as4 ?? small,
    holdTime,
    routerId: id,
    capabilities: c,
  }));
