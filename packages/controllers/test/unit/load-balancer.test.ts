import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EndpointSlice, Namespace, Node, Service } from '@weft/kube';
import { allocate, type Allocation, type Holder, holderOf, statusIps } from '../../src/load-balancer/allocate.ts';
import { announcers, elect } from '../../src/load-balancer/elect.ts';
import { type IPAddressPool, parsePool, type Pool } from '../../src/load-balancer/pool.ts';

function pool(name: string, addresses: string[], more: Partial<NonNullable<IPAddressPool['spec']>> = {}): Pool {
  const read = parsePool({ metadata: { name, namespace: 'metallb-system' }, spec: { addresses, ...more } });
  if (read.problem !== undefined) throw new Error(read.problem);
  return read.pool;
}

interface Init {
  readonly name?: string;
  readonly annotations?: Record<string, string>;
  readonly labels?: Record<string, string>;
  readonly ips?: string[];
  readonly spec?: Partial<Service['spec']>;
}

function lb({ name = 'web', annotations, labels, ips = [], spec }: Init = {}): Service {
  return {
    metadata: {
      name,
      namespace: 'default',
      ...(annotations === undefined ? {} : { annotations }),
      ...(labels === undefined ? {} : { labels }),
    },
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } },
  } as Service;
}

function give(
  service: Service,
  pools: Pool[],
  held: Record<string, Service[]> = {},
  namespace?: Namespace,
): Allocation {
  return allocate(service, { pools, holders: (ip) => (held[ip] ?? []).map(holderOf), namespace });
}

describe('a pool', () => {
  it('is blocks and ranges of both families', () => {
    const { ranges } = pool('p', ['192.0.2.0/30', '192.0.2.10 - 192.0.2.12', 'fd00::1-fd00::3']);
    expect(ranges.map((r) => r.family)).toEqual([4, 4, 6]);
  });

  it.each([
    [['192.0.2.5-192.0.2.1'], 'spec.addresses[0]: "192.0.2.5-192.0.2.1" is neither'],
    [['192.0.2.0/24', 'x'], 'spec.addresses[1]: "x" is neither'],
    [['192.0.2.1-fd00::1'], 'spec.addresses[0]'],
    [[], 'spec.addresses is empty'],
  ])('%j is refused', (addresses, problem) => {
    expect(parsePool({ metadata: { name: 'p' }, spec: { addresses } }).problem).toContain(problem);
  });
});

describe('a Service of type LoadBalancer', () => {
  const p = pool('p', ['192.0.2.1-192.0.2.3']);

  it('gets the first free address, and keeps what it has', () => {
    expect(give(lb(), [p])).toEqual({ ips: ['192.0.2.1'], pool: 'p' });
    expect(give(lb(), [p], { '192.0.2.1': [lb({ name: 'other' })] })).toEqual({ ips: ['192.0.2.2'], pool: 'p' });
    expect(give(lb({ ips: ['192.0.2.3'] }), [p])).toEqual({ ips: ['192.0.2.3'], pool: 'p' });
    // An address of no pool cannot be kept.
    expect(give(lb({ ips: ['198.51.100.1'] }), [p])).toEqual({ ips: ['192.0.2.1'], pool: 'p' });
  });

  it('gets one per family, of one pool', () => {
    const dual = lb({ spec: { clusterIPs: ['fd00:96::1', '10.96.0.1'] } });
    expect(give(dual, [p, pool('six', ['fd00::1-fd00::2']), pool('z', ['198.51.100.1/32', 'fd01::1/128'])])).toEqual({
      ips: ['fd01::1', '198.51.100.1'],
      pool: 'z',
    });
    expect(give(dual, [p]).error).toBe('no available IPs');
  });

  it('gets what it asks for, or is told why not', () => {
    const asks = (ip: string): Service => lb({ annotations: { 'metallb.io/loadBalancerIPs': ip } });
    expect(give(asks('192.0.2.2'), [p])).toEqual({ ips: ['192.0.2.2'], pool: 'p' });
    expect(give(lb({ annotations: { 'metallb.universe.tf/loadBalancerIPs': '192.0.2.2' } }), [p]).ips).toEqual([
      '192.0.2.2',
    ]);
    expect(give(lb({ spec: { loadBalancerIP: '192.0.2.3' } }), [p]).ips).toEqual(['192.0.2.3']);
    expect(give(asks('192.0.2.9'), [p]).error).toBe('192.0.2.9 is not in any pool that is for it');
    expect(give(asks('fd00::1'), [pool('six', ['fd00::/64'])]).error).toContain('family');
    expect(give(asks('nonsense'), [p]).error).toBe('"nonsense" is not an IP address');
    expect(give(asks('192.0.2.2'), [p], { '192.0.2.2': [lb({ name: 'other' })] }).error).toBe(
      '192.0.2.2 cannot be had: Service default/other has it',
    );
    expect(give(lb({ annotations: { 'metallb.io/address-pool': 'q' } }), [p]).error).toContain('unknown pool "q"');
    expect(give(lb(), []).error).toContain('there is no pool');
    expect(give(lb({ spec: { clusterIP: '', clusterIPs: [] } }), [p]).error).toBe('it has no ClusterIP yet');
  });

  it('takes pools in their order, and those of others not at all', () => {
    const mine = pool('mine', ['198.51.100.1/32'], { serviceAllocation: { namespaces: ['default'] } });
    const theirs = pool('a', ['203.0.113.1/32'], { serviceAllocation: { namespaces: ['other'] } });
    const first = pool('z', ['203.0.113.9/32'], { serviceAllocation: { priority: 1 } });
    const manual = pool('0', ['203.0.113.2/32'], { autoAssign: false });
    expect(give(lb(), [p, theirs, mine, first, manual]).ips).toEqual(['198.51.100.1']);
    expect(give(lb(), [p, theirs, first, manual]).ips).toEqual(['203.0.113.9']);
    expect(give(lb(), [theirs, manual]).error).toBe('no available IPs');
    expect(give(lb({ annotations: { 'metallb.io/address-pool': '0' } }), [p, manual]).ips).toEqual(['203.0.113.2']);
    const byLabel = pool('l', ['203.0.113.3/32'], {
      serviceAllocation: { serviceSelectors: [{ matchLabels: { tier: 'web' } }] },
    });
    expect(give(lb({ labels: { tier: 'web' } }), [p, byLabel]).ips).toEqual(['203.0.113.3']);
    const byNamespace = pool('n', ['203.0.113.4/32'], {
      serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: 'a' } }] },
    });
    const namespace = { metadata: { name: 'default', labels: { team: 'a' } } } as Namespace;
    expect(give(lb(), [p, byNamespace], {}, namespace).ips).toEqual(['203.0.113.4']);
    expect(give(lb(), [p, byNamespace]).ips).toEqual(['192.0.2.1']);
  });

  it('leaves out .0 and .255 where a pool says so', () => {
    expect(give(lb(), [pool('p', ['192.0.2.0/30'], { avoidBuggyIPs: true })]).ips).toEqual(['192.0.2.1']);
  });

  it('shares an address by key, with other ports and the same way in', () => {
    const shares = (name: string, port: number, more: Partial<Service['spec']> = {}, key = 'k'): Service =>
      lb({
        name,
        annotations: { 'metallb.io/allow-shared-ip': key, 'metallb.io/loadBalancerIPs': '192.0.2.1' },
        spec: { ports: [{ port }], ...more },
      });
    const held = { '192.0.2.1': [shares('a', 80)] };
    expect(give(shares('b', 443), [p], held).ips).toEqual(['192.0.2.1']);
    expect(give(shares('b', 80), [p], held).error).toContain('has its port TCP/80');
    expect(give(shares('b', 443, {}, 'other'), [p], held).error).toContain('under another key');
    expect(
      give(shares('b', 443, { externalTrafficPolicy: 'Local', selector: { app: 'b' } }), [p], held).error,
    ).toContain('Local policy');
    expect(give(shares('b', 53, { ports: [{ port: 80, protocol: 'UDP' }] }), [p], held).ips).toEqual(['192.0.2.1']);
  });

  it('never gets what another one has, whatever comes and goes', () => {
    const pools = [pool('p', ['192.0.2.1-192.0.2.4']), pool('q', ['198.51.100.1-198.51.100.2'], { autoAssign: false })];
    const act = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      gone: fc.boolean(),
      ask: fc.option(fc.constantFrom('192.0.2.2', '198.51.100.1'), { nil: undefined, freq: 3 }),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        const world = new Map<string, Service>();
        const holders = (ip: string): Holder[] =>
          [...world.values()].filter((s) => statusIps(s).includes(ip)).map(holderOf);
        for (const { name, gone, ask } of acts) {
          const before = world.get(name);
          world.delete(name);
          if (gone) continue;
          const service = lb({
            name,
            ips: before === undefined ? [] : statusIps(before),
            ...(ask === undefined ? {} : { annotations: { 'metallb.io/loadBalancerIPs': ask } }),
          });
          const result = allocate(service, { pools, holders, namespace: undefined });
          world.set(name, lb({ name, ips: [...(result.ips ?? [])] }));
          const all = [...world.values()].flatMap(statusIps);
          expect(new Set(all).size).toBe(all.length);
          // Without a wish, an address is refused only when none is left.
          if (result.error !== undefined && ask === undefined)
            expect(all.filter((ip) => ip.startsWith('192.0.2.'))).toHaveLength(4);
        }
      }),
    );
  });
});

describe('the node that announces', () => {
  const node = (name: string, ready = true, more: object = {}): Node =>
    ({
      metadata: { name, ...more },
      status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    }) as Node;

  const named = (...names: string[]) => announcers(names.map((name) => node(name)));
  const on = (name: string, networks: string) =>
    node(name, true, { annotations: { 'weft.dev/l2-networks': networks } });

  it('is on the network of the address, where nodes say what they are on', () => {
    const nodes = announcers([
      on('a', '192.0.2.0/24,fd00:51::/64'),
      on('b', '198.51.100.0/24'),
      on('c', ''),
      on('d', 'nonsense'),
    ]);
    for (let i = 1; i < 20; i++) {
      expect(elect(`192.0.2.${i}`, lb(), nodes, [])).toBe('a');
      expect(elect(`198.51.100.${i}`, lb(), nodes, [])).toBe('b');
      expect(elect(`fd00:51::${i}`, lb(), nodes, [])).toBe('a');
      expect(elect(`203.0.113.${i}`, lb(), nodes, [])).toBeUndefined();
    }
    expect(elect('203.0.113.1', lb(), [...nodes, ...named('old')], [])).toBe('old');
  });

  it('is ready, and not excluded', () => {
    const nodes = [
      node('a'),
      node('b', false),
      node('c', true, { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } }),
      node('d', true, { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    ];
    expect(announcers(nodes).map((n) => n.name)).toEqual(['a']);
  });

  it('is one with an endpoint, for the Local policy', () => {
    const slices = [
      {
        endpoints: [
          { addresses: [], nodeName: 'b' },
          { addresses: [], nodeName: 'c', conditions: { ready: false } },
        ],
      },
    ] as unknown as EndpointSlice[];
    const local = lb({ spec: { externalTrafficPolicy: 'Local' } });
    for (const ip of ['192.0.2.1', '192.0.2.2', '192.0.2.3'])
      expect(elect(ip, local, named('a', 'b', 'c'), slices)).toBe('b');
    expect(elect('192.0.2.1', local, named('a'), slices)).toBeUndefined();
  });

  it('differs by address, and changes for those of a node that goes only', () => {
    const names = ['a', 'b', 'c', 'd'];
    const ips = Array.from({ length: 200 }, (_, i) => `192.0.2.${i}`);
    const before = new Map(ips.map((ip) => [ip, elect(ip, lb(), named(...names), [])]));
    for (const name of names) expect([...before.values()].filter((n) => n === name).length).toBeGreaterThan(20);
    for (const ip of ips) {
      const after = elect(ip, lb(), named('a', 'b', 'd'), []);
      if (before.get(ip) === 'c') expect(after).not.toBe('c');
      else expect(after).toBe(before.get(ip));
    }
  });
});
