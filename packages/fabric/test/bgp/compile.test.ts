import { describe, expect, it } from 'vitest';
import type { BGPConfiguration, BGPFilterRule, BGPPeer, IPPool } from '@weft/kube';
import { type BgpNode, type BgpService, type BgpWorld, compileSpeaker } from '../../src/bgp/compile/index.ts';
import {
  parseAsNumber,
  parseCommunity,
  parsePeerAddress,
  parseSeconds,
  routerIdOf,
} from '../../src/bgp/compile/values.ts';
import { applyFilter } from '../../src/bgp/rib/filter.ts';

function node(number: number, change: Partial<BgpNode> = {}): BgpNode {
  return {
    name: `n${number}`,
    ip: { 4: `10.0.0.${number}` },
    podCidrs: [`10.244.${number}.0/24`],
    created: '',
    labels: {},
    ...change,
  };
}

function world(change: Partial<BgpWorld> = {}): BgpWorld {
  return {
    self: node(1),
    nodes: [node(1), node(2), node(3)],
    contested: () => false,
    blocksOf: () => [],
    pools: [],
    configurations: [],
    peers: [],
    filters: [],
    services: [],
    secret: () => undefined,
    ...change,
  };
}

const configuration = (spec: BGPConfiguration['spec'], name = 'default'): BGPConfiguration => ({
  metadata: { name },
  ...(spec === undefined ? {} : { spec }),
});
const bgpPeer = (name: string, spec: BGPPeer['spec']): BGPPeer => ({
  metadata: { name },
  ...(spec === undefined ? {} : { spec }),
});
const pool = (cidr: string, disableBGPExport = false): IPPool => ({
  metadata: { name: cidr },
  spec: { cidr, disableBGPExport },
});

/** `name address/AS` of each peer. */
function peers(change: Partial<BgpWorld>): string[] {
  return compileSpeaker(world(change)).config.peers.map((p) => `${p.name} ${p.address}/${p.as}`);
}

function routes(change: Partial<BgpWorld>): string[] {
  return compileSpeaker(world(change)).config.routes.map((r) => r.prefix);
}

const messages = (change: Partial<BgpWorld>): string[] =>
  compileSpeaker(world(change)).problems.map((p) => `${p.kind} ${p.name} ${p.message}`);

describe('the mesh', () => {
  it('makes every node a peer of every other, in the families that both have', () => {
    expect(peers({})).toEqual(['n2 10.0.0.2/64512', 'n3 10.0.0.3/64512']);
    const dual = (n: number): BgpNode => node(n, { ip: { 4: `10.0.0.${n}`, 6: `fd00::${n}` } });
    expect(peers({ self: dual(1), nodes: [dual(1), dual(2), node(3)] })).toEqual([
      'n2 10.0.0.2/64512',
      'n2/v6 fd00::2/64512',
      'n3 10.0.0.3/64512',
    ]);
    const { config } = compileSpeaker(world());
    expect(config).toMatchObject({ as: 64512, routerId: '10.0.0.1', port: 179 });
    expect(config.peers[0]).toMatchObject({
      source: '10.0.0.1',
      families: [4],
      passive: true,
      nextHop: 'auto',
      restartTime: 120,
      client: false,
    });
    expect(compileSpeaker(world({ self: node(3) })).config.peers.map((p) => p.passive)).toEqual([false, false]);
  });

  it('is off when it is told to, and leaves reflectors out', () => {
    expect(peers({ configurations: [configuration({ nodeToNodeMeshEnabled: false })] })).toEqual([]);
    expect(peers({ nodes: [node(1), node(2, { clusterId: '244.0.0.1' }), node(3)] })).toEqual(['n3 10.0.0.3/64512']);
    expect(peers({ self: node(1, { clusterId: '244.0.0.1' }) })).toEqual([]);
  });

  it('takes AS numbers, port, password and restart time from the configuration, and AS numbers from annotations', () => {
    const spec = {
      asNumber: '1.10',
      listenPort: 1790,
      bindMode: 'NodeIP',
      nodeMeshPassword: { secretKeyRef: { name: 's', key: 'k' } },
      nodeMeshMaxRestartTime: '1m30s',
    };
    const change = {
      configurations: [configuration(spec)],
      nodes: [node(1), node(2, { asNumber: '65001' })],
      secret: () => 'x',
    };
    const { config, problems } = compileSpeaker(world(change));
    expect(problems).toEqual([]);
    expect(config).toMatchObject({ as: 65546, port: 1790, listen: ['10.0.0.1'] });
    expect(config.peers).toMatchObject([{ as: 65001, localAs: 65546, port: 1790, password: 'x', restartTime: 90 }]);
    // Without its password no session is tried.
    expect(peers({ ...change, secret: () => undefined })).toEqual([]);
    expect(messages({ ...change, secret: () => undefined })).toEqual([
      'BGPConfiguration default spec.nodeMeshPassword: Secret s has no key k',
    ]);
    const own = configuration({ listenPort: 1791 }, 'node.n1');
    expect(compileSpeaker(world({ ...change, configurations: [...change.configurations, own] })).config.port).toBe(
      1791,
    );
  });
});

describe('peers of their own', () => {
  const off = configuration({ nodeToNodeMeshEnabled: false });

  it('are those of all nodes, of one, or of some', () => {
    const list = [
      bgpPeer('all', { peerIP: '10.9.0.1', asNumber: 65001 }),
      bgpPeer('mine', { node: 'n1', peerIP: '10.9.0.2:1790', asNumber: 65002 }),
      bgpPeer('other', { node: 'n2', peerIP: '10.9.0.3', asNumber: 65003 }),
      bgpPeer('rack', { nodeSelector: 'rack == "a"', peerIP: '10.9.0.4', asNumber: 65004 }),
    ];
    expect(peers({ configurations: [off], peers: list })).toEqual(['all 10.9.0.1/65001', 'mine 10.9.0.2/65002']);
    const self = node(1, { labels: { rack: 'a' } });
    expect(peers({ configurations: [off], peers: list, self })).toContain('rack 10.9.0.4/65004');
  });

  it('may be nodes by their labels, which have us in turn', () => {
    const reflector = node(2, { labels: { rr: 'true' }, clusterId: '244.0.0.1' });
    const nodes = [node(1), reflector, node(3)];
    const list = [bgpPeer('rr', { nodeSelector: '!has(rr)', peerSelector: 'has(rr)' })];
    expect(peers({ configurations: [off], peers: list, nodes })).toEqual(['n2 10.0.0.2/64512']);
    const { config } = compileSpeaker(world({ configurations: [off], peers: list, nodes, self: reflector }));
    expect(config.clusterId).toBe('244.0.0.1');
    expect(config.peers).toMatchObject([
      { name: 'n1', client: true },
      { name: 'n3', client: true },
    ]);
    const manual = [bgpPeer('rr', { nodeSelector: '!has(rr)', peerSelector: 'has(rr)', reversePeering: 'Manual' })];
    expect(peers({ configurations: [off], peers: manual, nodes, self: reflector })).toEqual([]);
    const twin = node(3, { labels: { rr: 'true' }, clusterId: '244.0.0.1' });
    const both = [bgpPeer('rr', { peerSelector: 'has(rr)' })];
    const made = compileSpeaker(
      world({ configurations: [off], peers: both, nodes: [node(1), reflector, twin], self: reflector }),
    );
    expect(made.config.peers.find((p) => p.name === 'n3')).toMatchObject({ client: false });
  });

  it('take precedence over the mesh', () => {
    const list = [bgpPeer('two', { peerIP: '10.0.0.2', asNumber: 64512, maxRestartTime: '10s' })];
    expect(compileSpeaker(world({ peers: list })).config.peers).toMatchObject([
      { name: 'two', restartTime: 10 },
      { name: 'n3' },
    ]);
  });

  it('say how they are to be spoken to', () => {
    const spec = {
      peerIP: '10.9.0.1',
      asNumber: 65001,
      keepOriginalNextHop: true,
      password: { secretKeyRef: { name: 's', key: 'k' } },
      sourceAddress: 'None',
      numAllowedLocalASNumbers: 2,
      ttlSecurity: 1,
      localASNumber: 65099,
    };
    const [peer] = compileSpeaker(world({ configurations: [off], peers: [bgpPeer('p', spec)], secret: () => 'x' }))
      .config.peers;
    expect(peer).toMatchObject({ nextHop: 'keep', password: 'x', allowOwnAs: 2, ttlSecurity: 1, localAs: 65099 });
    expect(peer?.source).toBeUndefined();
  });

  it.each<[string, BGPPeer['spec'], RegExp]>([
    ['an address', { peerIP: 'router', asNumber: 1 }, /spec.peerIP: "router" is not an IP address/],
    ['an AS number', { peerIP: '10.9.0.1', asNumber: 0 }, /spec.asNumber: 0 is not an AS number/],
    ['a selector', { nodeSelector: 'rack = "a"', peerIP: '10.9.0.1', asNumber: 1 }, /spec.nodeSelector: /],
    ['a filter', { peerIP: '10.9.0.1', asNumber: 1, filters: ['f'] }, /spec.filters: there is no BGPFilter f/],
    [
      'a password',
      { peerIP: '10.9.0.1', asNumber: 1, password: { secretKeyRef: { name: 's', key: 'k' } } },
      /Secret s has no key k/,
    ],
    ['a family', { peerIP: 'fd00::9', asNumber: 1 }, /has no IPv6 address to speak to fd00::9/],
  ])('without %s are told of, and the rest works', (_name, spec, message) => {
    const change = {
      peers: [bgpPeer('bad', spec), bgpPeer('good', { peerIP: '10.9.0.8', asNumber: 65001 })],
      configurations: [off],
    };
    expect(messages(change)).toEqual([expect.stringMatching(message)]);
    expect(peers(change)).toEqual(['good 10.9.0.8/65001']);
  });
});

describe('what is announced', () => {
  const service = (change: Partial<BgpService>): BgpService => ({
    namespace: 'default',
    name: 's',
    clusterIPs: ['10.96.0.5'],
    externalIPs: ['192.0.2.5'],
    loadBalancerIPs: ['198.51.100.5'],
    local: false,
    here: false,
    ...change,
  });
  const spec = {
    serviceClusterIPs: [{ cidr: '10.96.0.0/16' }],
    serviceExternalIPs: [{ cidr: '192.0.2.0/24' }],
    serviceLoadBalancerIPs: [{ cidr: '198.51.100.0/24' }],
  };
  const whole = ['10.244.1.0/24', '10.96.0.0/16', '192.0.2.0/24', '198.51.100.0/24'];

  it('is the pod CIDR and blocks, except those of pools that are not exported', () => {
    const blocksOf = (name: string) =>
      name === 'n1'
        ? ['10.77.0.0/26', '10.78.0.0/26'].map((cidr) => ({ cidr, kind: 'IPAMBlock' as const, name: cidr }))
        : [];
    expect(routes({ blocksOf, pools: [pool('10.77.0.0/16'), pool('10.78.0.0/16', true)] })).toEqual([
      '10.244.1.0/24',
      '10.77.0.0/26',
    ]);
  });

  it('is blocks of Services, and their addresses where only nodes with endpoints may have their traffic', () => {
    const configurations = [configuration(spec)];
    expect(routes({ configurations, services: [service({})] })).toEqual(whole);
    expect(routes({ configurations, services: [service({ local: true })] })).toEqual(whole);
    const here = routes({ configurations, services: [service({ local: true, here: true })] });
    expect(here).toEqual([...whole.slice(0, 2), '10.96.0.5/32', whole[2], '192.0.2.5/32', whole[3], '198.51.100.5/32']);
    expect(
      routes({ configurations, services: [service({ local: true, here: true, externalIPs: ['203.0.113.1'] })] }),
    ).not.toContain('203.0.113.1/32');
    const { config } = compileSpeaker(world({ configurations, services: [service({ local: true, here: true })] }));
    expect(config.routes.find((r) => r.prefix === '10.96.0.5/32')?.cause).toMatchObject({
      kind: 'Service',
      namespace: 'default',
      name: 's',
    });
  });

  it('is each address of a load balancer when they are not to be aggregated', () => {
    const configurations = [configuration({ ...spec, serviceLoadBalancerAggregation: 'Disabled' })];
    expect(routes({ configurations, services: [service({})] })).toEqual([...whole.slice(0, 3), '198.51.100.5/32']);
  });

  it('is nothing of Services on nodes that are excluded', () => {
    const self = node(1, { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } });
    expect(routes({ configurations: [configuration(spec)], self })).toEqual(['10.244.1.0/24']);
  });

  const told = (change: Partial<BgpWorld>, prefix: string, remote: boolean) =>
    applyFilter(compileSpeaker(world(change)).config.peers[0]!.export, {
      prefix,
      remote,
      attributes: { origin: 'igp', asPath: [] },
    });

  it('is of others only what belongs to pods and Services', () => {
    const change = { pools: [pool('10.77.0.0/16'), pool('10.78.0.0/16', true)], configurations: [configuration(spec)] };
    expect(told(change, '10.244.2.0/24', true)).toBeDefined();
    expect(told(change, '10.77.3.0/26', true)).toBeDefined();
    expect(told(change, '10.96.0.7/32', true)).toBeDefined();
    expect(told(change, '10.78.3.0/26', true)).toBeUndefined();
    expect(told(change, '0.0.0.0/0', true)).toBeUndefined();
    expect(told(change, '10.33.0.0/26', false)).toBeDefined();
  });

  it('carries the communities of prefix advertisements', () => {
    const communities = [{ name: 'edge', value: '64512:7' }];
    const prefixAdvertisements = [{ cidr: '10.244.0.0/16', communities: ['edge', '1:2:3', 'what'] }, { cidr: 'x' }];
    const change = { configurations: [configuration({ communities, prefixAdvertisements })] };
    expect(told(change, '10.244.1.0/24', false)).toMatchObject({
      communities: [64512 * 65536 + 7],
      largeCommunities: [[1, 2, 3]],
    });
    expect(told(change, '10.77.0.0/26', false)).not.toHaveProperty('communities');
    expect(messages(change)).toEqual([
      'BGPConfiguration default spec.prefixAdvertisements[0].communities: "what" is not a community',
      'BGPConfiguration default spec.prefixAdvertisements[1].cidr: "x" is not a CIDR block',
    ]);
  });

  it('refuses from a node what an older one has', () => {
    const { config } = compileSpeaker(world({ contested: (name) => name === 'n2' }));
    const input = { prefix: '10.244.2.0/25', remote: true, attributes: { origin: 'igp' as const, asPath: [] } };
    expect(applyFilter(config.peers[0]!.import, input)).toBeUndefined();
    expect(applyFilter(config.peers[1]!.import, input)).toBeDefined();
  });
});

describe('filters', () => {
  const withRules = (rules: Record<string, BGPFilterRule[]>, as = 65001): Partial<BgpWorld> => ({
    configurations: [configuration({ nodeToNodeMeshEnabled: false })],
    filters: [{ metadata: { name: 'f' }, spec: rules }],
    peers: [bgpPeer('p', { peerIP: '10.9.0.1', asNumber: as, filters: ['f'] })],
  });
  const decide = (change: Partial<BgpWorld>, direction: 'import' | 'export', prefix: string, remote = true) =>
    applyFilter(compileSpeaker(world(change)).config.peers[0]![direction], {
      prefix,
      remote,
      attributes: { origin: 'igp', asPath: [] },
    });

  it('decide in order, each family by its own rules', () => {
    const change = withRules({
      importV4: [
        { action: 'Accept', cidr: '10.1.0.0/16', matchOperator: 'In', prefixLength: { min: 24, max: 32 } },
        { action: 'Reject', cidr: '10.0.0.0/8', matchOperator: 'In' },
      ],
      exportV4: [{ action: 'Reject', cidr: '10.244.1.0/24', matchOperator: 'Equal' }],
    });
    expect(decide(change, 'import', '10.1.2.0/24')).toBeDefined();
    expect(decide(change, 'import', '10.1.0.0/16')).toBeUndefined();
    expect(decide(change, 'import', 'fd00::/64')).toBeDefined();
    expect(decide(change, 'export', '10.244.1.0/24', false)).toBeUndefined();
    expect(messages(change)).toEqual([]);
  });

  it('may be meant for one kind of peers, and change routes', () => {
    const rules = {
      exportV4: [
        { action: 'Accept', peerType: 'iBGP' },
        { action: 'Accept', operations: [{ addCommunity: { value: '1:2' } }, { prependASPath: { prefix: [7, 7] } }] },
      ],
    };
    expect(decide(withRules(rules), 'export', '10.1.0.0/24')).toMatchObject({
      communities: [65538],
      asPath: [{ ases: [7, 7] }],
    });
    expect(decide(withRules(rules, 64512), 'export', '10.1.0.0/24')).not.toHaveProperty('communities');
  });

  it.each<[BGPFilterRule, RegExp]>([
    [{ action: 'Drop' }, /spec.importV4\[0\].action: "Drop"/],
    [{ action: 'Accept', cidr: 'fd00::/8', matchOperator: 'In' }, /cidr: "fd00::\/8" is not an IPv4 block/],
    [{ action: 'Accept', cidr: '10.0.0.0/8' }, /matchOperator: ""/],
    [{ action: 'Accept', interface: 'eth0' }, /interface: /],
  ])('that cannot be used are told of', (rule, message) => {
    expect(messages(withRules({ importV4: [rule] }))).toEqual([expect.stringMatching(message)]);
  });
});

describe('values', () => {
  it('are read in all their notations', () => {
    expect([64512, '64512', '1.10', 4_294_967_295].map(parseAsNumber)).toEqual([64512, 64512, 65546, 4_294_967_295]);
    expect([0, -1, 'x', '1.70000', '', undefined, '1.2.3', 4_294_967_296].map(parseAsNumber)).toEqual(
      Array(8).fill(undefined),
    );
    expect(['1:2', '1:2:3', '65536:1', '1', 'x:1'].map(parseCommunity)).toEqual([
      65538,
      [1, 2, 3],
      undefined,
      undefined,
      undefined,
    ]);
    expect(['120s', '2m', '1h0m1s', '', 'soon'].map(parseSeconds)).toEqual([120, 120, 3601, undefined, undefined]);
    expect(['10.0.0.1', '10.0.0.1:17', '[fd00::1]:17', 'fd00::1'].map(parsePeerAddress)).toEqual([
      { address: '10.0.0.1' },
      { address: '10.0.0.1', port: 17 },
      { address: 'fd00::1', port: 17 },
      { address: 'fd00::1' },
    ]);
  });

  it('make a router id for nodes without an IPv4 address, the same every time', () => {
    const only6 = node(1, { ip: { 6: 'fd00::1' } });
    expect(routerIdOf(only6)).toMatch(/^(?!0|22[4-9]|2[3-5])\d+\.\d+\.\d+\.\d+$/);
    expect(routerIdOf(only6)).toBe(routerIdOf(only6));
    expect(routerIdOf(only6)).not.toBe(routerIdOf(node(2, { ip: { 6: 'fd00::2' } })));
  });
});
