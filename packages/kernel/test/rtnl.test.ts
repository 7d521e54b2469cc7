import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeAddress, encodeAddress, SCOPES } from '../src/rtnl/address.ts';
import { decodeEvent } from '../src/rtnl/events.ts';
import { decodeLink, encodeBridgePort, encodeLink, encodeLinkChange, RTM_DELLINK } from '../src/rtnl/link.ts';
import { decodeFdb, decodeNeighbour, encodeFdb, encodeNeighbour } from '../src/rtnl/neigh.ts';
import { decodeRoute, encodeRoute, ROUTE_TYPES } from '../src/rtnl/route.ts';
import { decodeRule, encodeRule } from '../src/rtnl/rule.ts';
import type { LinkSpec, Neighbour, RouteType, Scope } from '../src/rtnl/types.ts';
import { index, ip4, ip6, mac, name, some, text, u16, u32, u8 } from './arbitraries.ts';
import { message } from './codec.ts';

const ip = fc.oneof(ip4, ip6);
const address = fc.oneof(
  fc.tuple(ip4, fc.nat(32)).map(([a, n]) => `${a}/${n}`),
  fc.tuple(ip6, fc.nat(128)).map(([a, n]) => `${a}/${n}`),
);
const sameFamily = (a: string, b: string): boolean => a.includes(':') === b.includes(':');
const flag = fc.boolean();

describe('links', () => {
  const base = fc
    .tuple(
      fc.record({ name, kind: fc.constantFrom('dummy', 'ifb') }),
      some({ mtu: u32, mac, master: index, alias: text, group: u32, txqlen: u32, index, up: flag }),
    )
    .map(([a, b]) => ({ ...a, ...b }));

  test('what is common to all kinds', () => {
    fc.assert(
      fc.property(base, (spec) => {
        const link = decodeLink(message((w) => encodeLink(w, spec)));
        const { up, index: asked, ...same } = spec;
        expect(link).toMatchObject({ ...same, index: asked ?? 0, up: up === true });
      }),
    );
  });

  test('vxlan, bridge, macvlan, vlan, vrf data', () => {
    const vxlan = some({
      id: fc.nat(0xffffff),
      local: ip,
      remote: ip,
      port: u16,
      dev: index,
      learning: flag,
      ttl: u8,
      tos: u8,
      ageing: u32,
      proxy: flag,
      l2miss: flag,
      l3miss: flag,
      udpCsum: flag,
      udpZeroCsum6Tx: flag,
      udpZeroCsum6Rx: flag,
      collectMetadata: flag,
      gbp: fc.constant(true),
      portRange: fc.tuple(u16, u16),
    });
    const bridge = some({
      stp: flag,
      vlanFiltering: flag,
      vlanDefaultPvid: u16,
      mcastSnooping: flag,
      forwardDelay: u32,
      ageingTime: u32,
      priority: u16,
      groupFwdMask: u16,
    });
    fc.assert(
      fc.property(vxlan, bridge, index, u16, u32, (vx, br, parent, id, table) => {
        const read = (spec: Partial<LinkSpec> & { kind: string }) =>
          decodeLink(message((w) => encodeLink(w, { name: 'x', ...spec })));
        expect(read({ kind: 'vxlan', vxlan: vx }).vxlan).toEqual(vx);
        expect(read({ kind: 'bridge', bridge: br }).bridge).toEqual(br);
        expect(read({ kind: 'macvlan', macvlan: { parent, mode: 'private' } })).toMatchObject({
          linkIndex: parent,
          macvlan: { mode: 'private' },
        });
        expect(read({ kind: 'vlan', vlan: { parent, id } })).toMatchObject({ linkIndex: parent, vlan: { id } });
        expect(read({ kind: 'vrf', vrf: { table } }).vrf).toEqual({ table });
      }),
    );
  });

  test('changes and bridge ports', () => {
    const port = some({ hairpin: flag, isolated: flag, learning: flag, flood: flag, neighSuppress: flag, guard: flag });
    fc.assert(
      fc.property(index, some({ mtu: u32, mac, master: u32, alias: text, group: u32, name }), port, (i, change, p) => {
        expect(decodeLink(message((w) => encodeLinkChange(w, i, change)))).toMatchObject({ index: i, ...change });
        expect(decodeLink(message((w) => encodeBridgePort(w, i, p)))).toMatchObject({ portKind: 'bridge', port: p });
      }),
    );
  });

  test('a name the kernel would refuse is refused with the reason', () => {
    for (const bad of ['', '.', '..', 'a b', 'a/b', 'a:b', 'sixteen-bytes-xx'])
      expect(() => message((w) => encodeLink(w, { name: bad, kind: 'veth' }))).toThrow(/not a valid interface name/);
  });

  test('a port that leaves its bridge is not a deleted link', () => {
    const m = message((w) => w.put32(7), RTM_DELLINK);
    expect(decodeEvent(m)).toBeUndefined();
  });
});

test('addresses', () => {
  fc.assert(
    fc.property(
      index,
      address,
      some({
        scope: fc.constantFrom(...(Object.keys(SCOPES) as Scope[])),
        noDad: fc.constant(true),
        noPrefixRoute: fc.constant(true),
        label: name,
      }),
      fc.option(ip, { nil: undefined }),
      (i, a, rest, peer) => {
        const spec = {
          index: i,
          address: a,
          ...rest,
          ...(peer !== undefined && sameFamily(a, peer) && a.split('/')[0] !== peer ? { peer } : {}),
        };
        expect(decodeAddress(message((w) => encodeAddress(w, spec)))).toMatchObject(spec);
      },
    ),
  );
});

test('routes', () => {
  const prefix = fc.oneof(fc.constant('default'), address);
  const hop = fc.record({ oif: index, weight: fc.integer({ min: 1, max: 256 }), via: ip4 });
  fc.assert(
    fc.property(
      prefix,
      fc.constantFrom(4 as const, 6 as const),
      some({
        oif: index,
        table: fc.integer({ min: 1, max: 0xffffffff }),
        protocol: u8,
        scope: fc.constantFrom(...(Object.keys(SCOPES) as Scope[])),
        onlink: fc.constant(true),
        mtu: u32,
        advmss: u32,
        metric: u32,
        type: fc.constantFrom(...(Object.keys(ROUTE_TYPES) as RouteType[])),
        via: ip,
        nexthops: fc.array(hop, { minLength: 1, maxLength: 4 }),
      }),
      (dst, family, rest) => {
        const real = dst === 'default' ? family : dst.includes(':') ? 6 : 4;
        const route = { ...rest, dst, family: real as 4 | 6 };
        const got = decodeRoute(message((w) => encodeRoute(w, route)));
        // IPv6 has no scopes: the kernel reports global.
        const { scope, ...same } = route;
        expect(got).toMatchObject(same);
        if (scope !== undefined) expect(got.scope).toBe(scope);
      },
    ),
  );
});

test('routing rules', () => {
  const action = fc.constantFrom('lookup' as const, 'blackhole' as const, 'unreachable' as const, 'prohibit' as const);
  fc.assert(
    fc.property(
      some({
        priority: u32,
        table: fc.integer({ min: 1, max: 0xffffffff }),
        from: address,
        to: address,
        fwmark: u32,
        fwmask: u32,
        iif: name,
        oif: name,
        tos: fc.integer({ min: 1, max: 255 }),
        ipProto: u8,
        sport: fc.tuple(u16, u16),
        dport: fc.tuple(u16, u16),
        suppressPrefixLength: fc.nat(128),
        invert: fc.constant(true),
        protocol: u8,
        action,
      }).filter((r) => r.from === undefined || r.to === undefined || sameFamily(r.from, r.to)),
      (rule) => {
        expect(decodeRule(message((w) => encodeRule(w, rule)))).toMatchObject(rule);
      },
    ),
  );
});

test('neighbours and forwarding entries', () => {
  const states: Neighbour['state'][] = ['none', 'reachable', 'stale', 'noarp', 'permanent', 'failed'];
  fc.assert(
    fc.property(
      fc.record({ index, address: ip, state: fc.constantFrom(...states) }),
      some({ mac, proxy: fc.constant(true), router: fc.constant(true), externLearn: fc.constant(true), protocol: u8 }),
      fc.record({ index, mac, state: fc.constantFrom('permanent' as const, 'static' as const, 'dynamic' as const) }),
      some({ dst: ip, vni: fc.nat(0xffffff), port: u16, via: index, vlan: fc.nat(4095) }),
      fc.boolean(),
      (n, nRest, e, eRest, master) => {
        const neighbour = { ...n, ...nRest } as Neighbour;
        expect(decodeNeighbour(message((w) => encodeNeighbour(w, neighbour)))).toEqual(neighbour);
        const entry = { ...e, ...eRest, ...(master ? { master: true } : { self: true }) };
        expect(decodeFdb(message((w) => encodeFdb(w, entry)))).toEqual(entry);
      },
    ),
  );
});

test('texts that are no address are refused by name', () => {
  expect(() => message((w) => encodeRoute(w, { dst: '10.0.0.0/33' }))).toThrow(/route destination "10.0.0.0\/33"/);
  expect(() => message((w) => encodeRoute(w, { dst: 'default' }))).toThrow(/family is unknown/);
  expect(() => message((w) => encodeFdb(w, { index: 1, mac: '02:00:00' }))).toThrow(/MAC address "02:00:00"/);
  expect(() => message((w) => encodeAddress(w, { index: 1, address: 'x' }))).toThrow(/interface address "x"/);
});
