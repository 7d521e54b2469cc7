import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IPPool } from '@weft/kube';
import {
  formatIp,
  formatPrefix,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixesOverlap,
} from '@weft/net';
import { silentLogger } from '@weft/plan';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Ipam } from '../../src/ipam/ipam.ts';
import { AddressPool } from '../../src/ipam/pool.ts';
import { rangeOfSubnet, rangeSetSize } from '../../src/ipam/range.ts';
import { poolsAsked, readPodWish } from '../../src/pools/annotations.ts';
import { blockName, freeBlock, rangesOfBlock } from '../../src/pools/blocks.ts';
import { type AddressView, type AddressWish, chooseAddresses, setOfAddress } from '../../src/pools/choose.ts';
import { type IpPool, readPools } from '../../src/pools/pool.ts';

const prefix = (text: string): Prefix => parsePrefix(text) as Prefix;
const ip = (text: string): Ip => parseIp(text) as Ip;
const object = (
  name: string,
  cidr: string,
  spec: Partial<IPPool['spec']> = {},
  created = '2024-01-01T00:00:00Z',
): IPPool => ({
  metadata: { name, creationTimestamp: created },
  spec: { cidr, ...spec },
});
const pools = (...objects: IPPool[]): readonly IpPool[] => readPools(objects).pools;
const CALICO = 'cni.projectcalico.org';

describe('pools', () => {
  it('are read with the defaults and the older names of fields', () => {
    const [a, b, c] = pools(
      object('a', '10.1.0.0/16'),
      object('b', 'fd00:1::/64', { 'nat-outgoing': true, ipip: { enabled: true } }),
      object('c', '10.2.0.0/28', { disabled: true, assignmentMode: 'Manual', namespaceSelector: 'has(a)' }),
    );
    expect(a).toMatchObject({ cidr: '10.1.0.0/16', blockSize: 26, enabled: true, automatic: true, forSome: false });
    expect(b).toMatchObject({ family: 6, blockSize: 122, natOutgoing: true, ipipMode: 'Always', vxlanMode: 'Never' });
    expect(c).toMatchObject({ blockSize: 28, enabled: false, automatic: false, forSome: true });
    expect(pools(object('lb', '10.3.0.0/24', { allowedUses: ['LoadBalancer'] }))[0]?.enabled).toBe(false);
  });

  it('that cannot be used are named, and the rest serve', () => {
    const { pools: good, problems } = readPools([
      object('late', '10.1.128.0/17', {}, '2024-02-01T00:00:00Z'),
      object('early', '10.1.0.0/16'),
      object('text', '10.1'),
      object('size', '10.4.0.0/24', { blockSize: 33 }),
      object('small', '10.5.0.0/28', { blockSize: 26 }),
      object('selector', '10.6.0.0/24', { nodeSelector: 'zone =' }),
      object('both', '10.7.0.0/24'),
      object('both', '10.7.0.0/24'),
    ]);
    expect(good.map((p) => p.name)).toEqual(['both', 'early']);
    expect(problems.map((p) => `${p.pool}: ${p.message}`).sort()).toEqual([
      'late: spec.cidr: 10.1.128.0/17 overlaps 10.1.0.0/16 of pool early',
      'selector: spec.nodeSelector: unexpected "="',
      'size: spec.blockSize: 33 is not between 20 and 32',
      'small: spec.blockSize: blocks of /26 do not fit 10.5.0.0/28',
      'text: spec.cidr: "10.1" is not a CIDR block',
    ]);
  });
});

describe('annotations', () => {
  it('are read as Calico writes them', () => {
    const wish = readPodWish({
      [`${CALICO}/ipAddrs`]: '["10.1.0.9", "fd00::9"]',
      [`${CALICO}/hwAddr`]: '1C:0C:0A:C0:FF:EE',
    });
    expect(wish.ipAddrs.map((a) => formatIp(a))).toEqual(['10.1.0.9', 'fd00::9']);
    expect(wish.mac).toBe('1c:0c:0a:c0:ff:ee');
  });

  it.each([
    [{ ipAddrs: '10.1.0.9' }, /annotation cni\.projectcalico\.org\/ipAddrs: not a JSON list of texts/],
    [{ ipAddrs: '[1]' }, /not a JSON list of texts/],
    [{ ipAddrs: '["10.1.0.999"]' }, /"10\.1\.0\.999" is not an IP address/],
    [{ ipAddrs: '["10.1.0.1","10.1.0.2"]' }, /more than one IPv4 address/],
    [{ ipAddrs: '["10.1.0.1"]', ipAddrsNoIpam: '["10.1.0.2"]' }, /cannot be used together/],
    [{ hwAddr: 'zz' }, /hwAddr: "zz" is not a MAC address/],
    [{ hwAddr: '01:00:5e:00:00:01' }, /not a MAC address of one interface/],
  ])('%o are refused by name', (texts, message) => {
    const annotations = Object.fromEntries(Object.entries(texts).map(([key, value]) => [`${CALICO}/${key}`, value]));
    expect(() => readPodWish(annotations)).toThrow(message);
  });

  it('of the pod go before those of the namespace, and those before the configuration', () => {
    const key = `${CALICO}/ipv4pools`;
    const asked = (pod: object, namespace: object): readonly string[] | undefined =>
      poolsAsked(4, { ...pod }, { ...namespace }, ['conf'])?.names;
    expect(asked({ [key]: '["pod"]' }, { [key]: '["ns"]' })).toEqual(['pod']);
    expect(asked({}, { [key]: '["ns"]' })).toEqual(['ns']);
    expect(asked({}, {})).toEqual(['conf']);
    expect(poolsAsked(4, {}, {}, undefined)).toBeUndefined();
  });
});

describe('blocks', () => {
  it('are named so that a second one cannot exist', () => {
    expect(blockName('10.244.3.0/26')).toBe('10-244-3-0-26');
    expect(blockName(prefix('fd00:10::40/122'))).toBe('fd00-10--40-122');
  });

  it('leave out what is reserved', () => {
    const ranges = rangesOfBlock(prefix('10.1.0.0/28'), [
      prefix('10.1.0.0/32'),
      prefix('10.1.0.4/30'),
      prefix('10.1.0.5/32'),
    ]);
    expect(ranges.map((r) => [r.first, r.last])).toEqual([
      [1n, 3n],
      [8n, 15n],
    ]);
    expect(rangesOfBlock(prefix('10.1.0.0/28'), [prefix('10.0.0.0/8')])).toEqual([]);
    expect(rangeSetSize({ family: 4, ranges: rangesOfBlock(prefix('10.1.0.0/28')) })).toBe(16n);
  });

  it('are free until all are taken, lie in no other node range, and come from the own one first', () => {
    const [pool] = pools(object('p', '10.1.0.0/24', { blockSize: 28 }));
    const taken = new Set<string>();
    const choice = {
      taken,
      foreign: [prefix('10.1.0.64/26')],
      own: [prefix('10.1.0.128/26')],
      reserved: [prefix('10.1.0.0/28')],
    };
    const found: string[] = [];
    for (;;) {
      const block = freeBlock(pool!, 'n1', choice);
      if (block === undefined) break;
      found.push(formatPrefix(block));
      taken.add(formatPrefix(block));
    }
    expect(found.slice(0, 4)).toEqual(['10.1.0.128/28', '10.1.0.144/28', '10.1.0.160/28', '10.1.0.176/28']);
    expect(found).toHaveLength(16 - 4 - 1);
    expect(new Set(found).size).toBe(found.length);
  });
});

describe('where addresses come from', () => {
  const view = (change: Partial<AddressView> = {}): AddressView => ({
    node: 'n1',
    nodeLabels: { zone: 'a' },
    pools: [],
    reserved: [],
    podCidrs: [
      { node: 'n1', prefix: prefix('10.244.1.0/24') },
      { node: 'n2', prefix: prefix('10.244.2.0/24') },
    ],
    blocks: new Map(),
    borrowed: [],
    ...change,
  });
  const range = rangeOfSubnet('10.244.1.0/24');
  const wish = (pod: Record<string, string> = {}, change: Partial<AddressWish> = {}): AddressWish => ({
    wish: readPodWish(pod),
    pod,
    namespace: { annotations: {}, labels: { team: 'x' } },
    ranges: [{ family: 4, ranges: [range] }],
    configured: {},
    exact: [],
    ...change,
  });
  const sources = (v: AddressView, w: AddressWish): string[] =>
    chooseAddresses(v, w).flatMap((choice) =>
      'exact' in choice
        ? [`${formatIp(choice.exact)} ${choice.place.at}`]
        : choice.sources.map((s) => `${s.pool?.name ?? 'cidr'}${s.set === undefined ? '' : `:${rangeSetSize(s.set)}`}`),
    );

  it('is the pod CIDR, then pools for all; before both, pools made for the namespace', () => {
    const some = pools(
      object('all', '10.1.0.0/24'),
      object('mine', '10.2.0.0/24', { namespaceSelector: "team == 'x'" }),
      object('theirs', '10.3.0.0/24', { namespaceSelector: "team == 'y'" }),
      object('elsewhere', '10.4.0.0/24', { nodeSelector: "zone == 'b'" }),
      object('byhand', '10.5.0.0/24', { assignmentMode: 'Manual' }),
      object('off', '10.6.0.0/24', { disabled: true }),
      object('v6', 'fd00::/64'),
    );
    const blocks = new Map([
      ['10.1.0.0/26', 'n1'],
      ['10.1.0.64/26', 'n2'],
      ['10.1.0.128/26', undefined],
    ]);
    expect(sources(view({ pools: some, blocks }), wish())).toEqual(['mine', 'cidr:253', 'all:64']);
    expect(
      sources(view({ pools: some, blocks }), wish({ [`${CALICO}/ipv4pools`]: '["byhand","10.3.0.0/24"]' })),
    ).toEqual(['byhand', 'theirs']);
    // Without a pod CIDR there is an address of every family that has a pool.
    expect(sources(view({ pools: some, podCidrs: [] }), wish({}, { ranges: [] }))).toEqual(['mine', 'all', 'v6']);
    expect(sources(view({ pools: some }), wish({ [`${CALICO}/ipv6pools`]: '["v6"]' }))).toEqual([
      'mine',
      'cidr:253',
      'all',
      'v6',
    ]);
  });

  it('is the pool when it covers the pod CIDR', () => {
    const blocks = new Map([['10.244.1.0/26', 'n1']]);
    expect(sources(view({ pools: pools(object('p', '10.244.0.0/16')), blocks }), wish())).toEqual(['p:64']);
    const off = view({ pools: pools(object('p', '10.244.0.0/16', { disabled: true })) });
    expect(() => sources(off, wish())).toThrow('no enabled pool gives IPv4 addresses to this node');
  });

  it('is told for every address that is asked for by name', () => {
    const v = view({
      pools: pools(object('p', '10.1.0.0/24'), object('off', '10.6.0.0/24', { disabled: true })),
      blocks: new Map([
        ['10.1.0.0/26', 'n1'],
        ['10.1.0.64/26', 'n2'],
      ]),
      borrowed: ['10.1.0.70'],
    });
    const at = (address: string): string[] => sources(v, wish({ [`${CALICO}/ipAddrs`]: `["${address}"]` }));
    expect(at('10.1.0.5')).toEqual(['10.1.0.5 here']);
    expect(at('10.1.0.65')).toEqual(['10.1.0.65 elsewhere']);
    expect(at('10.1.0.70')).toEqual(['10.1.0.70 here']);
    expect(at('10.1.0.200')).toEqual(['10.1.0.200 nowhere']);
    expect(at('10.244.1.9')).toEqual(['10.244.1.9 here']);
    expect(at('10.244.2.9')).toEqual(['10.244.2.9 elsewhere']);
    for (const outside of ['10.9.0.1', '10.6.0.1', '10.244.1.0', '10.244.1.1']) {
      expect(() => at(outside), outside).toThrow(`requested IP address ${outside} is in no enabled pool`);
    }
  });

  it('is an error that names the annotation and the pools there are', () => {
    const v = view({ pools: pools(object('p', '10.1.0.0/24'), object('off', '10.6.0.0/24', { disabled: true })) });
    const ask = (name: string) => () => sources(v, wish({ [`${CALICO}/ipv4pools`]: `["${name}"]` }));
    expect(ask('x')).toThrow('annotation cni.projectcalico.org/ipv4pools of the pod: pool "x" does not exist');
    expect(ask('off')).toThrow('pool "off" is disabled');
    const none = view({ podCidrs: [], pools: [] });
    expect(() => sources(none, wish({}, { ranges: [] }))).toThrow(
      'node n1 has no pod CIDR, and no enabled pool selects',
    );
  });
});

describe('an address that is kept for somebody', () => {
  it('is given to nobody else, whatever happens', () => {
    const step = fc.record({
      do: fc.constantFrom('take', 'exact', 'free', 'hold', 'unhold'),
      at: fc.nat(15),
      who: fc.constantFrom('a', 'b'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const pool = new AddressPool({ reuseDelayMs: 3 });
        const sets = ['10.0.0.0/29', '10.0.0.8/29'].map((text) => ({
          family: 4 as const,
          ranges: rangesOfBlock(prefix(text)),
        }));
        const used = new Map<string, string>();
        const held = new Map<string, string>();
        steps.forEach(({ do: action, at, who }, now) => {
          const address = `10.0.0.${at}`;
          const attempt = (wanted?: Ip): void => {
            const owner = `o${now}`;
            try {
              const { address: got } = pool.takeFirst(sets, owner, now, wanted, who);
              expect(used.has(got)).toBe(false);
              if (held.has(got)) expect([wanted === undefined, held.get(got)]).toEqual([false, who]);
              used.set(got, owner);
            } catch (error) {
              if (error instanceof Error && error.name === 'AssertionError') throw error;
              if (wanted === undefined) expect(new Set([...used.keys(), ...held.keys()]).size).toBe(16);
              else expect(used.has(address) || (held.has(address) && held.get(address) !== who)).toBe(true);
            }
          };
          if (action === 'take') attempt();
          else if (action === 'exact') attempt(ip(address));
          else if (action === 'free') {
            pool.release(address, used.get(address) ?? '', now);
            used.delete(address);
          } else if (action === 'hold') {
            pool.hold(address, who);
            held.set(address, who);
          } else {
            pool.unhold(address, now);
            held.delete(address);
          }
        });
      }),
    );
  });
});

describe('holds on disk', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'weft-pools-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('do not undo an allocation when somebody cannot follow it', () => {
    const ipam = new Ipam({ stateDir: dir, stamp: { boot: 'b', netns: '1' }, log: silentLogger });
    ipam.onChange(() => {
      throw new Error('the disk is full');
    });
    const request = { network: 'n', ifname: 'eth0', kind: 'address' } as const;
    const sets = [{ family: 4 as const, ranges: rangesOfBlock(prefix('10.0.0.0/31')) }];
    const first = ipam.reserveFrom({ ...request, containerId: 'a' }, [{ sets }]).allocation.addresses;
    const second = ipam.reserveFrom({ ...request, containerId: 'b' }, [{ sets }]).allocation.addresses;
    expect([...first, ...second].sort()).toEqual(['10.0.0.0', '10.0.0.1']);
    ipam.close();
  });

  it('survive a crash, and end when they are ended', () => {
    const open = (): Ipam => new Ipam({ stateDir: dir, stamp: { boot: 'b', netns: '1' }, log: silentLogger });
    const set = setOfAddress(ip('10.0.0.4'));
    const take = (ipam: Ipam, id: string, holder?: string): void => {
      const request = { network: 'n', containerId: id, ifname: 'eth0', kind: 'address' } as const;
      ipam.reserveFrom(request, [{ sets: [set], exact: ip('10.0.0.4'), ...(holder === undefined ? {} : { holder }) }]);
    };
    const first = open();
    first.hold('10.0.0.4', 'node n2');
    first.close();
    const second = open();
    expect(() => take(second, 'a')).toThrow('requested IP address 10.0.0.4 is kept for node n2');
    take(second, 'b', 'node n2');
    expect(second.ownerOf('10.0.0.4')?.containerId).toBe('b');
    second.unhold('10.0.0.4');
    second.close();
    const third = open();
    expect(third.holds().size).toBe(0);
    expect(() => take(third, 'c')).toThrow('10.0.0.4 is in use by n/b/eth0');
    third.close();
  });
});

describe('blocks of several nodes', () => {
  it('never overlap each other or pod CIDRs of others, whoever claims when', () => {
    const claim = fc.record({ node: fc.nat(3), drop: fc.boolean() });
    fc.assert(
      fc.property(fc.array(claim, { maxLength: 60 }), (claims) => {
        const [pool] = pools(object('p', '10.0.0.0/24', { blockSize: 28 }));
        const cidrs = [0, 1].map((i) => ({ node: i, cidr: prefix(`10.0.0.${i * 32}/27`) }));
        const taken = new Map<string, number>();
        for (const { node, drop } of claims) {
          const mine = [...taken].find(([, owner]) => owner === node);
          if (drop && mine !== undefined) {
            taken.delete(mine[0]);
            continue;
          }
          const block = freeBlock(pool!, `n${node}`, {
            taken: new Set(taken.keys()),
            foreign: cidrs.filter((c) => c.node !== node).map((c) => c.cidr),
            own: cidrs.filter((c) => c.node === node).map((c) => c.cidr),
            reserved: [],
          });
          if (block === undefined) continue;
          expect(prefixContains(pool!.prefix, block.ip)).toBe(true);
          for (const other of taken.keys()) expect(prefixesOverlap(prefix(other), block)).toBe(false);
          for (const c of cidrs) if (c.node !== node) expect(prefixesOverlap(c.cidr, block)).toBe(false);
          taken.set(formatPrefix(block), node);
        }
      }),
    );
  });
});
