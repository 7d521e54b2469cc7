import { parsePrefix, type Prefix, prefixesOverlap } from '@weft/net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CompileContext, type FabricConfig, resolveConfig } from '../src/backend.ts';
import { backendNames, findBackend } from '../src/backends/index.ts';
import { deviceName, vtepMac } from '../src/backends/vxlan.ts';
import { compilePeer, compileSelf, podMtu } from '../src/compile.ts';
import { NodeTable } from '../src/node-table.ts';
import { type FabricNode, fabricNode } from '../src/nodes.ts';

function node(name: string, ip: FabricNode['ip'], podCidrs: readonly string[], created = ''): FabricNode {
  return { name, ip, podCidrs, created };
}
const SELF = node('n1', { 4: '172.30.0.11' }, ['10.244.1.0/24']);
const PEER = node('n2', { 4: '172.30.0.12' }, ['10.244.2.0/24']);
const FAR = node('n3', { 4: '172.30.1.13' }, ['10.244.3.0/24']);

function context(config: FabricConfig = {}, self = SELF, mtu = 1500): CompileContext {
  const subnets = [parsePrefix('172.30.0.0/24') as Prefix];
  return { config: resolveConfig(config), self, underlay: { name: 'eth0', mtu, subnets } };
}
const values = (compiled: ReturnType<typeof compilePeer>) => [...compiled.plan.values()].map((entry) => entry.value);
const vxlan = findBackend('vxlan');
const hostGw = findBackend('host-gw');
const CLUSTER = { podCidrs: ['10.244.0.0/16'] };

describe('vxlan', () => {
  it('needs a device, its tunnel address and a route that catches what no pod has', () => {
    const { plan, conditions } = compileSelf(vxlan, context(CLUSTER), undefined);
    expect(conditions).toEqual([]);
    expect([...plan.values()].map((entry) => entry.value).filter((e) => !e.type.startsWith('masq'))).toEqual([
      {
        type: 'device',
        kind: 'vxlan',
        name: 'weft.4242',
        vni: 4242,
        port: 8472,
        local: '172.30.0.11',
        mac: vtepMac(SELF, 4242),
        mtu: 1450,
      },
      { type: 'address', device: 'weft.4242', address: '10.244.1.0/32' },
      { type: 'route', kind: 'unreachable', dst: '10.244.1.0/24', metric: 0x7fffffff },
    ]);
  });

  it('reaches a peer by route, neighbour and forwarding entry, each caused by its Node', () => {
    const compiled = compilePeer(vxlan, context(CLUSTER), PEER, undefined);
    const device = 'weft.4242';
    const mac = vtepMac(PEER, 4242);
    expect(values(compiled)).toEqual([
      { type: 'masquerade-set', set: 'direct', cidr: '172.30.0.12/32' },
      { type: 'fdb', device, mac, dst: '172.30.0.12' },
      { type: 'neighbour', device, address: '10.244.2.0', mac },
      { type: 'route', kind: 'unicast', dst: '10.244.2.0/24', via: '10.244.2.0', device },
    ]);
    for (const { cause } of compiled.plan.values()) expect(cause).toMatchObject({ kind: 'Node', name: 'n2' });
  });

  it('routes directly within the subnet when it may', () => {
    const direct = context({ ...CLUSTER, directRouting: true });
    expect(values(compilePeer(vxlan, direct, PEER, undefined)).slice(1)).toEqual([
      { type: 'route', kind: 'unicast', dst: '10.244.2.0/24', via: '172.30.0.12' },
    ]);
    expect(values(compilePeer(vxlan, direct, FAR, undefined)).map((e) => e.type)).toContain('fdb');
  });

  it('carries both families of pods over one family of nodes', () => {
    const dual = { ...PEER, podCidrs: ['10.244.2.0/24', 'fd00:2::/64'] };
    const routes = values(compilePeer(vxlan, context(CLUSTER), dual, undefined)).filter((e) => e.type === 'route');
    expect(routes.map((e) => [e.dst, e.via])).toEqual([
      ['10.244.2.0/24', '10.244.2.0'],
      ['fd00:2::/64', 'fd00:2::'],
    ]);
  });

  it('computes the MTU by the family of the underlay', () => {
    const six = node('n6', { 6: 'fd01::1' }, ['fd00::/64']);
    expect(podMtu(vxlan, resolveConfig({}), context().underlay, SELF)).toBe(1450);
    expect(podMtu(vxlan, resolveConfig({}), context().underlay, six)).toBe(1430);
    expect(podMtu(hostGw, resolveConfig({}), context().underlay, SELF)).toBe(1500);
    expect(podMtu(vxlan, resolveConfig({ mtu: 1400 }), context().underlay, SELF)).toBe(1400);
  });

  it('gives every node a MAC address of its own, the same for all who compute it', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/), fc.integer({ min: 1, max: 0xffffff }), (name, vni) => {
        const mac = vtepMac(node(name, {}, []), vni);
        expect(mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
        expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
        expect(vtepMac(node(name, { 4: '10.0.0.1' }, ['10.0.0.0/24']), vni)).toBe(mac);
        expect(Buffer.byteLength(deviceName(vni))).toBeLessThan(16);
      }),
    );
    expect(vtepMac({ ...PEER, vtepMac: '02:00:00:00:00:07' }, 1)).toBe('02:00:00:00:00:07');
  });
});

describe('host-gw', () => {
  it('is a route and nothing else', () => {
    const { plan } = compileSelf(hostGw, context({ masquerade: false }), undefined);
    expect([...plan.keys()]).toEqual(['unreachable/10.244.1.0/24']);
    expect(values(compilePeer(hostGw, context({ masquerade: false }), PEER, undefined))).toEqual([
      { type: 'route', kind: 'unicast', dst: '10.244.2.0/24', via: '172.30.0.12' },
    ]);
  });

  it('says which node is behind a router', () => {
    const { plan, conditions } = compilePeer(hostGw, context({ masquerade: false }), FAR, undefined);
    expect(plan.size).toBe(0);
    expect(conditions).toMatchObject([{ node: 'n3', reason: 'NotOnLink' }]);
  });

  it('says when a family of pods has no way', () => {
    const dual = { ...PEER, podCidrs: ['10.244.2.0/24', 'fd00:2::/64'] };
    const { plan, conditions } = compilePeer(hostGw, context({ masquerade: false }), dual, undefined);
    expect([...plan.keys()]).toEqual(['route/10.244.2.0/24']);
    expect(conditions[0]?.message).toBe('pods in fd00:2::/64 cannot be routed: the node has no IPv6 InternalIP');
  });
});

describe('masquerading', () => {
  const sets = (compiled: ReturnType<typeof compilePeer>) =>
    [...compiled.plan.keys()].filter((key) => key.startsWith('masquerade/'));

  it('knows the cluster by its CIDRs, and nodes whose pods are outside them by their own', () => {
    expect(sets(compileSelf(vxlan, context(CLUSTER), undefined))).toEqual([
      'masquerade/pods/10.244.0.0/16',
      'masquerade/direct/224.0.0.0/4',
      'masquerade/direct/fe80::/10',
      'masquerade/direct/ff00::/8',
      'masquerade/direct/172.30.0.11/32',
    ]);
    const stray = { ...PEER, podCidrs: ['192.168.7.0/24'] };
    expect(sets(compilePeer(vxlan, context(CLUSTER), stray, undefined))).toContain('masquerade/pods/192.168.7.0/24');
    expect(sets(compilePeer(vxlan, context(), PEER, undefined))).toContain('masquerade/pods/10.244.2.0/24');
  });

  it('never names overlapping blocks twice: the kernel refuses them', () => {
    const config = { ...CLUSTER, nonMasqueradeCidrs: ['172.30.0.0/16', '172.30.5.0/24', '224.0.0.0/8'] };
    expect(sets(compileSelf(vxlan, context(config), undefined))).toEqual([
      'masquerade/pods/10.244.0.0/16',
      'masquerade/direct/224.0.0.0/4',
      'masquerade/direct/fe80::/10',
      'masquerade/direct/ff00::/8',
      'masquerade/direct/172.30.0.0/16',
    ]);
    expect(sets(compilePeer(vxlan, context(config), PEER, undefined))).toEqual([]);
  });

  it('keeps the widest of overlapping blocks, in whatever order they are given', () => {
    const cidr = fc
      .tuple(fc.constantFrom('10.1.0.0', '10.1.2.0', '10.2.0.0', '10.0.0.0'), fc.constantFrom(8, 16, 24))
      .map(([ip, length]) => `${ip}/${length}`);
    fc.assert(
      fc.property(fc.array(cidr, { maxLength: 5 }), fc.array(cidr, { maxLength: 3 }), (direct, cluster) => {
        const config = { podCidrs: cluster, nonMasqueradeCidrs: direct };
        for (const [set, given] of [
          ['direct', direct],
          ['pods', cluster],
        ] as const) {
          const put = sets(compileSelf(vxlan, context(config), undefined))
            .filter((key) => key.startsWith(`masquerade/${set}/`))
            .map((key) => parsePrefix(key.slice(`masquerade/${set}/`.length)) as Prefix);
          expect(put.some((p, i) => put.some((q, j) => i !== j && prefixesOverlap(p, q)))).toBe(false);
          for (const text of given) {
            const wanted = parsePrefix(text) as Prefix;
            expect(put.some((p) => p.length <= wanted.length && prefixesOverlap(p, wanted))).toBe(true);
          }
        }
      }),
    );
  });

  it('names a pod CIDR that reaches beyond the cluster, and leaves the sets whole', () => {
    const wide = { ...PEER, podCidrs: ['10.0.0.0/8'] };
    const compiled = compilePeer(vxlan, context(CLUSTER), wide, undefined);
    expect(sets(compiled).filter((key) => key.includes('/pods/'))).toEqual([]);
    expect(compiled.conditions).toEqual([
      {
        node: 'n2',
        reason: 'InvalidPodCIDR',
        message: "spec.podCIDRs: 10.0.0.0/8 reaches beyond the cluster's 10.244.0.0/16",
      },
    ]);
  });
});

describe('nodes', () => {
  it('are read from Node objects', () => {
    const read = fabricNode({
      metadata: { name: 'n', creationTimestamp: 't', annotations: { 'weft.dev/vtep-mac': '02:AA:00:00:00:01' } },
      spec: { podCIDR: '10.0.0.0/24', podCIDRs: ['10.0.0.0/24', 'fd00::/64'] },
      status: {
        addresses: [
          { type: 'Hostname', address: '10.9.9.9' },
          { type: 'InternalIP', address: 'fd01:0:0::1' },
          { type: 'InternalIP', address: '10.1.0.1' },
          { type: 'InternalIP', address: '10.1.0.2' },
        ],
      },
    });
    expect(read).toEqual({
      name: 'n',
      ip: { 4: '10.1.0.1', 6: 'fd01::1' },
      podCidrs: ['10.0.0.0/24', 'fd00::/64'],
      vtepMac: '02:aa:00:00:00:01',
      created: 't',
    });
  });

  it('without what is needed are named with the reason', () => {
    const reasons = (n: FabricNode) => compilePeer(vxlan, context(), n, undefined).conditions.map((c) => c.reason);
    expect(reasons({ ...PEER, podCidrs: [] })).toEqual(['NoPodCIDR']);
    expect(reasons({ ...PEER, podCidrs: ['x'] })).toEqual(['InvalidPodCIDR']);
    expect(reasons({ ...PEER, ip: {} })).toEqual(['NoInternalIP']);
    expect(reasons({ ...PEER, ip: { 6: 'fd01::1' } })).toEqual(['FamilyMismatch']);
  });

  it('that claim the same are told apart by age, in whatever order they are seen', () => {
    const old = node('b', { 4: '1.0.0.1' }, ['10.0.0.0/24'], '2020-01-01T00:00:00Z');
    const young = node('a', { 4: '1.0.0.2' }, ['10.0.0.0/25'], '2021-01-01T00:00:00Z');
    const twin = node('c', { 4: '1.0.0.1' }, ['10.5.0.0/24'], '2022-01-01T00:00:00Z');
    const arbitrary = fc.shuffledSubarray([old, young, twin], { minLength: 3 });
    fc.assert(
      fc.property(arbitrary, (order) => {
        const table = new NodeTable();
        for (const n of order) table.set(n);
        expect(table.conflict(old)).toBeUndefined();
        expect(table.conflict(young)?.reason).toBe('PodCIDROverlap');
        expect(table.conflict(twin)?.reason).toBe('InternalIPConflict');
        expect([...table.delete('b')].sort()).toEqual(['a', 'b', 'c']);
        expect(table.conflict(young)).toBeUndefined();
      }),
    );
  });

  it('conflict exactly when their claims meet, however large the blocks are', () => {
    const byte = fc.integer({ min: 0, max: 3 });
    const cidr = fc
      .tuple(byte, byte, byte, fc.constantFrom(8, 14, 16, 22, 23, 24, 26))
      .map(([a, b, c, l]) => `${10 + a}.${b}.${c}.0/${l}`);
    fc.assert(
      fc.property(fc.array(cidr, { minLength: 2, maxLength: 12 }), (cidrs) => {
        const table = new NodeTable();
        const nodes = cidrs.map((c, i) => node(`n${i}`, { 4: `172.16.0.${i}` }, [c], String(i).padStart(2, '0')));
        for (const n of [...nodes].reverse()) table.set(n);
        nodes.forEach((n, i) => {
          const expected = nodes
            .slice(0, i)
            .some((m) => prefixesOverlap(parsePrefix(m.podCidrs[0]!)!, parsePrefix(n.podCidrs[0]!)!));
          expect(table.conflict(n) !== undefined).toBe(expected);
        });
      }),
    );
  });

  it('have plans whose keys are their own, however many there are', () => {
    const count = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(count, fc.constantFrom(...backendNames()), fc.boolean(), (n, name, cluster) => {
        const backend = findBackend(name);
        const table = new NodeTable();
        const nodes = Array.from({ length: n }, (_, i) =>
          // Every fifth repeats an earlier one's claims.
          node(`n${i}`, { 4: `172.30.0.${10 + (i % 5 === 4 ? i - 1 : i)}` }, [
            `10.244.${i % 7 === 6 ? i - 1 : i}.0/24`,
          ]),
        );
        for (const peer of nodes) table.set(peer);
        const seen = new Set<string>();
        const ctx = context(cluster ? CLUSTER : {}, nodes[0]);
        nodes.forEach((peer, i) => {
          const conflict = table.conflict(peer);
          const { plan } = i === 0 ? compileSelf(backend, ctx, conflict) : compilePeer(backend, ctx, peer, conflict);
          for (const key of plan.keys()) {
            expect(seen).not.toContain(key);
            seen.add(key);
          }
        });
      }),
    );
  });
});

describe('the configuration', () => {
  it('is refused by name', () => {
    expect(() => findBackend('ipsec')).toThrow('backend "ipsec" is unknown');
    expect(() => resolveConfig({ vni: 0 })).toThrow('fabric: vni: 0 is not between 1 and 16777215');
    expect(() => resolveConfig({ port: 1.5 })).toThrow('port');
    expect(() => resolveConfig({ mtu: 100 })).toThrow('mtu');
  });
});

describe('blocks of pools', () => {
  const block = (cidr: string) => ({ cidr, kind: 'IPAMBlock' as const, name: cidr.replace(/[./]/g, '-') });
  const routes = (compiled: ReturnType<typeof compilePeer>) =>
    values(compiled).flatMap((e) => (e.type === 'route' ? [`${e.dst} ${e.via} ${e.device ?? ''}`.trim()] : []));

  it('lead to their node, and say which object caused them', () => {
    const peer = { ...PEER, blocks: [block('10.77.0.0/26'), block('nonsense')] };
    const tunnel = compilePeer(vxlan, context(CLUSTER), peer, undefined);
    expect(routes(tunnel)).toEqual(['10.244.2.0/24 10.244.2.0 weft.4242', '10.77.0.0/26 10.244.2.0 weft.4242']);
    expect(tunnel.plan.get('route/10.77.0.0/26')?.cause).toEqual({
      kind: 'IPAMBlock',
      name: '10-77-0-0-26',
      field: 'spec',
    });
    expect(routes(compilePeer(hostGw, context(CLUSTER), peer, undefined))).toEqual([
      '10.244.2.0/24 172.30.0.12',
      '10.77.0.0/26 172.30.0.12',
    ]);
  });

  it('need no pod CIDR', () => {
    const peer = { ...node('n2', { 4: '172.30.0.12' }, []), blocks: [block('10.77.0.0/26'), block('fd00::/122')] };
    const { plan, conditions } = compilePeer(vxlan, context(CLUSTER), peer, undefined);
    expect(conditions).toEqual([]);
    const mac = vtepMac(peer, 4242);
    expect(plan.get('neighbour/weft.4242/172.30.0.12')?.value).toMatchObject({ mac });
    expect(plan.get('neighbour/weft.4242/fd00::')?.value).toMatchObject({ mac });
    expect(routes({ plan, conditions })).toEqual(['10.77.0.0/26 172.30.0.12 weft.4242', 'fd00::/122 fd00:: weft.4242']);
    const self = { ...node('n1', { 4: '172.30.0.11' }, []), blocks: [block('10.77.0.64/26')] };
    const own = compileSelf(vxlan, context(CLUSTER, self), undefined);
    expect(own.conditions).toEqual([]);
    expect(own.plan.has('unreachable/10.77.0.64/26')).toBe(true);
  });

  it('are translated as the most specific pool says, in sets that do not overlap', () => {
    const cidr = fc
      .tuple(fc.nat(255), fc.integer({ min: 8, max: 28 }))
      .map(([x, length]) => `10.${x}.${x}.${x % 2 === 0 ? 0 : 128}/${length}`);
    const pools = fc.uniqueArray(fc.record({ name: cidr, cidr, natOutgoing: fc.boolean() }), { maxLength: 5 });
    fc.assert(
      fc.property(pools, (all) => {
        const { plan } = compileSelf(hostGw, { ...context(CLUSTER), pools: all }, undefined);
        const of = (set: string): Prefix[] =>
          [...plan.values()].flatMap(({ value }) =>
            value.type === 'masquerade-set' && value.set === set ? [parsePrefix(value.cidr) as Prefix] : [],
          );
        for (const set of [of('pods'), of('direct')]) {
          for (const a of set) for (const b of set) if (a !== b) expect(prefixesOverlap(a, b)).toBe(false);
        }
        const plain = all.filter((p) => !p.natOutgoing).map((p) => parsePrefix(p.cidr) as Prefix);
        for (const p of plain) {
          expect(of('pods').some((q) => prefixesOverlap(p, q))).toBe(false);
          expect(of('direct').some((q) => prefixesOverlap(p, q))).toBe(true);
        }
      }),
    );
  });
});

describe('l2', () => {
  const l2 = findBackend('l2');

  it('asks on the link for pods of peers, and answers for its own', () => {
    expect(values(compilePeer(l2, context(CLUSTER), PEER, undefined)).slice(1)).toEqual([
      { type: 'route', kind: 'unicast', dst: '10.244.2.0/24', device: 'eth0' },
    ]);
    const self = { ...context(CLUSTER), localPods: ['10.244.1.5', '192.0.2.1', '172.30.0.12'] };
    const proxies = values(compileSelf(l2, self, undefined)).filter((entry) => entry.type === 'proxy');
    expect(proxies).toEqual([{ type: 'proxy', device: 'eth0', address: '10.244.1.5' }]);
  });

  it('names a node that is not on the segment', () => {
    const { conditions } = compilePeer(l2, context(CLUSTER), FAR, undefined);
    expect(conditions).toMatchObject([{ node: 'n3', reason: 'NotOnLink' }]);
  });
});

describe('tunnels with ends in their routes', () => {
  const DUAL = node('n1', { 4: '172.30.0.11', 6: 'fd30::11' }, ['10.244.1.0/24', 'fd00:1::/64']);
  const DUAL_PEER = node('n2', { 4: '172.30.0.12', 6: 'fd30::12' }, ['10.244.2.0/24', 'fd00:2::/64']);
  const ends = { src: '172.30.0.11', dst: '172.30.0.12' };
  const routes = (name: string, self: FabricNode, peer: FabricNode, config: FabricConfig = CLUSTER) =>
    values(compilePeer(findBackend(name), context({ backend: name, ...config }, self), peer, undefined)).flatMap((e) =>
      e.type === 'route' ? [[e.dst, e.device, e.encap]] : [],
    );

  it('need one route per pod CIDR of a peer', () => {
    expect(routes('ipip', SELF, PEER)).toEqual([['10.244.2.0/24', 'weft.ipip', ends]]);
    expect(routes('gre', DUAL, DUAL_PEER)).toEqual([
      ['10.244.2.0/24', 'weft.gre', ends],
      ['fd00:2::/64', 'weft.gre', ends],
    ]);
  });

  it('carry IPv6 pods over IPv6 where IPv4 does not carry them, and the MTU fits both', () => {
    expect(routes('ipip', DUAL, DUAL_PEER)).toEqual([
      ['10.244.2.0/24', 'weft.ipip', ends],
      ['fd00:2::/64', 'weft.ip6tnl', { src: 'fd30::11', dst: 'fd30::12' }],
    ]);
    const mtu = (name: string, self: FabricNode) =>
      podMtu(findBackend(name), resolveConfig({}), context().underlay, self);
    expect([mtu('ipip', SELF), mtu('ipip', DUAL), mtu('gre', DUAL), mtu('geneve', DUAL)]).toEqual([
      1480, 1460, 1476, 1450,
    ]);
    const bare = { ...PEER, podCidrs: ['fd00:2::/64'] };
    expect(compilePeer(findBackend('ipip'), context(CLUSTER), bare, undefined).conditions).toMatchObject([
      { node: 'n2', reason: 'FamilyMismatch' },
    ]);
  });

  it('with frames have neighbours, an identifier and a port of their own', () => {
    const compiled = values(compilePeer(findBackend('geneve'), context(CLUSTER), PEER, undefined));
    expect(compiled.slice(1)).toEqual([
      { type: 'neighbour', device: 'weft.geneve', address: '10.244.2.0', mac: vtepMac(PEER, 4242) },
      {
        type: 'route',
        kind: 'unicast',
        dst: '10.244.2.0/24',
        via: '10.244.2.0',
        device: 'weft.geneve',
        encap: { ...ends, id: 4242 },
      },
    ]);
    expect(resolveConfig({ backend: 'geneve' }).port).toBe(6081);
  });

  it('give way to plain routes within the subnet when they may', () => {
    expect(routes('ipip', SELF, PEER, { ...CLUSTER, directRouting: true })).toEqual([
      ['10.244.2.0/24', undefined, undefined],
    ]);
  });
});
