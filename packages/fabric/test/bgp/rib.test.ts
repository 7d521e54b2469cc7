import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { parsePrefix } from '@weft/net';
import { decodeMessage, type PathAttributes, type UpdateMessage } from '../../src/bgp/codec/index.ts';
import { type Candidate, decide } from '../../src/bgp/rib/decision.ts';
import { exportRoute } from '../../src/bgp/rib/export.ts';
import { ACCEPT_ALL, applyFilter, type Filter, type FilterRule } from '../../src/bgp/rib/filter.ts';
import { Outgoing } from '../../src/bgp/rib/outgoing.ts';
import { Rib } from '../../src/bgp/rib/rib.ts';
import type { RibPeer, RibRoute, RibSelf } from '../../src/bgp/rib/types.ts';

const SELF: RibSelf = { as: 64512, routerId: '10.0.0.1' };

function peer(name: string, change: Partial<RibPeer> = {}): RibPeer {
  return {
    name,
    address: '10.0.0.2',
    as: 64512,
    internal: (change.as ?? 64512) === 64512,
    routerId: '10.0.0.2',
    client: false,
    allowOwnAs: 0,
    maxPrefixes: 1000,
    localAddress: { 4: '10.0.0.1' },
    nextHop: 'auto',
    import: ACCEPT_ALL,
    export: ACCEPT_ALL,
    ...change,
  };
}

const path = (...ases: number[]): PathAttributes['asPath'] => (ases.length === 0 ? [] : [{ kind: 'sequence', ases }]);

function attributes(change: Partial<PathAttributes> = {}): PathAttributes {
  return { origin: 'igp', asPath: [], ...change };
}

function route(change: Partial<RibRoute> = {}, attrs: Partial<PathAttributes> = {}): RibRoute {
  return { prefix: '10.1.0.0/24', family: 4, nextHop: '10.0.0.2', attributes: attributes(attrs), ...change };
}

function announce(
  prefixes: readonly string[],
  attrs: Partial<PathAttributes> = {},
  nextHop = '10.0.0.2',
): UpdateMessage {
  return {
    type: 'update',
    reach: [{ family: 4, nextHop, prefixes }],
    unreach: [],
    attributes: attributes(attrs),
    faults: [],
  };
}

const withdraw = (...prefixes: string[]): UpdateMessage => ({
  type: 'update',
  reach: [],
  unreach: [{ family: 4, prefixes }],
  faults: [],
});

describe('the decision', () => {
  const from = (
    name: string,
    attrs: Partial<PathAttributes>,
    change: Partial<RibPeer> = {},
    nextHop = `hop ${name}`,
  ): Candidate => ({
    route: route({ peer: name, nextHop }, attrs),
    peer: peer(name, { as: attrs.asPath?.[0]?.ases[0] ?? 64512, ...change }),
  });

  it.each<[string, Candidate, Candidate]>([
    ['our own', { route: route(), peer: undefined }, from('b', { localPref: 900 })],
    ['the higher LOCAL_PREF', from('a', { localPref: 200, asPath: path(1, 2, 3) }), from('b', { asPath: path(1) })],
    ['the shorter path', from('a', { asPath: path(1) }), from('b', { asPath: path(2, 3) })],
    ['the better origin', from('a', { origin: 'igp' }), from('b', { origin: 'incomplete' })],
    ['the lower metric of one AS', from('a', { asPath: path(1), med: 5 }), from('b', { asPath: path(1), med: 9 })],
    [
      'another AS before ours',
      from('a', { asPath: path(1), med: 50 }),
      from('b', { asPath: path(2) }, { internal: true, as: 64512 }),
    ],
    ['the lower router id', from('a', {}, { routerId: '10.0.0.3' }), from('b', {}, { routerId: '10.0.0.20' })],
    ['the lower originator', from('a', { originatorId: '1.1.1.1' }), from('b', { originatorId: '1.1.1.2' })],
    [
      'the shorter cluster list',
      from('a', { clusterList: ['1.1.1.1'] }),
      from('b', { clusterList: ['1.1.1.1', '2.2.2.2'] }),
    ],
    ['the lower address', from('a', {}, { address: '10.0.0.3' }), from('b', {}, { address: '10.0.0.20' })],
  ])('prefers %s', (_name, better, worse) => {
    expect(decide([better, worse])[0]).toBe(better);
    expect(decide([worse, better])[0]).toBe(better);
  });

  it('spreads over routes that are as good, each next hop once', () => {
    const equal = [from('a', {}), from('b', {}), from('c', {}, {}, 'hop a'), from('d', { localPref: 50 })];
    expect(decide(equal).map((c) => c.route.nextHop)).toEqual(['hop a', 'hop b']);
  });

  test('does not depend on the order of arrival', () => {
    const candidate = fc.record({
      first: fc.integer({ min: 1, max: 2 }),
      more: fc.integer({ min: 0, max: 1 }),
      med: fc.integer({ min: 0, max: 2 }),
      internal: fc.boolean(),
      id: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(candidate, { minLength: 1, maxLength: 6 }), fc.infiniteStream(fc.nat()), (list, order) => {
        const all = list.map((c, i) =>
          from(
            String(i),
            { asPath: path(c.first, ...Array.from({ length: c.more }, () => 9)), med: c.med },
            { internal: c.internal, routerId: `10.0.0.${c.id}`, address: `10.1.0.${i}` },
          ),
        );
        const shuffled = all.map((c) => [order.next().value, c] as const).sort((a, b) => a[0]! - b[0]!);
        const one = decide(all).map((c) => c.peer?.name);
        expect(decide(shuffled.map(([, c]) => c)).map((c) => c.peer?.name)).toEqual(one);
      }),
    );
  });
});

describe('filters', () => {
  const accepts = (rule: Partial<FilterRule>, prefix: string, otherwise: Filter['otherwise'] = 'Reject'): boolean =>
    applyFilter(
      { rules: [{ action: 'Accept', ...rule }], otherwise },
      { prefix, attributes: attributes(), remote: false },
    ) !== undefined;
  const cidr = parsePrefix('10.0.0.0/8')!;

  it.each<[FilterRule['operator'], string, boolean]>([
    ['Equal', '10.0.0.0/8', true],
    ['Equal', '10.0.0.0/16', false],
    ['NotEqual', '10.0.0.0/16', true],
    ['NotEqual', '10.0.0.0/8', false],
    ['In', '10.9.0.0/16', true],
    ['In', '10.0.0.0/8', true],
    ['In', '0.0.0.0/0', false],
    ['NotIn', '11.0.0.0/8', true],
    ['NotIn', '10.1.0.0/16', false],
    ['NotIn', 'fd00::/8', false],
  ])('%s 10.0.0.0/8: %s is %s', (operator, prefix, expected) => {
    expect(accepts({ cidr, operator }, prefix)).toBe(expected);
  });

  it('knows lengths, sources, communities and paths', () => {
    expect(accepts({ length: { min: 24, max: 26 } }, '10.0.0.0/24')).toBe(true);
    expect(accepts({ length: { min: 24, max: 26 } }, '10.0.0.0/27')).toBe(false);
    expect(accepts({ remoteOnly: true }, '10.0.0.0/24')).toBe(false);
    const filter: Filter = { rules: [{ action: 'Reject', communities: [5], asPathPrefix: [1] }], otherwise: 'Accept' };
    const input = { prefix: '10.0.0.0/24', remote: true };
    expect(
      applyFilter(filter, { ...input, attributes: attributes({ communities: [5, 6], asPath: path(1, 2) }) }),
    ).toBeUndefined();
    expect(
      applyFilter(filter, { ...input, attributes: attributes({ communities: [6], asPath: path(1, 2) }) }),
    ).toBeDefined();
    expect(
      applyFilter(filter, { ...input, attributes: attributes({ communities: [5], asPath: path(2) }) }),
    ).toBeDefined();
  });

  it('changes what it accepts, and goes on where it is told to', () => {
    const filter: Filter = {
      rules: [
        { action: 'Accept', set: { communities: [1] }, proceed: true },
        { action: 'Accept', set: { communities: [1, 2], localPref: 7, prependAs: [9] } },
        { action: 'Reject' },
      ],
      otherwise: 'Reject',
    };
    expect(
      applyFilter(filter, { prefix: '10.0.0.0/24', attributes: attributes({ asPath: path(3) }), remote: true }),
    ).toMatchObject({
      communities: [1, 2],
      localPref: 7,
      asPath: [
        { kind: 'sequence', ases: [9] },
        { kind: 'sequence', ases: [3] },
      ],
    });
  });
});

describe('what peers are told', () => {
  const own: Candidate = {
    route: { prefix: '10.1.0.0/24', family: 4, attributes: attributes({ med: 4 }) },
    peer: undefined,
  };
  const inner = peer('inner', { address: '10.0.0.3', routerId: '10.0.0.3' });
  const outer = peer('outer', { as: 65000, address: '10.9.0.1' });
  const learned = (from: RibPeer, attrs: Partial<PathAttributes> = {}): Candidate => ({
    route: route({ peer: from.name }, attrs),
    peer: from,
  });

  it('gives our own routes our address, and other ASes our AS without what is internal', () => {
    expect(exportRoute(SELF, own, inner)).toEqual({
      nextHop: '10.0.0.1',
      attributes: { origin: 'igp', asPath: [], med: 4, localPref: 100 },
    });
    expect(exportRoute(SELF, own, outer)).toEqual({
      nextHop: '10.0.0.1',
      attributes: { origin: 'igp', asPath: path(64512), med: 4 },
    });
    const got = exportRoute(
      SELF,
      learned(inner, { localPref: 5, med: 3, originatorId: '1.1.1.1', clusterList: ['2.2.2.2'] }),
      outer,
    );
    expect(got).toEqual({ nextHop: '10.0.0.1', attributes: { origin: 'igp', asPath: path(64512) } });
  });

  it('tells nothing back, and nothing from inside to inside unless it reflects', () => {
    const other = peer('other', { address: '10.0.0.4' });
    expect(exportRoute(SELF, learned(inner), inner)).toBeUndefined();
    expect(exportRoute(SELF, learned(inner), other)).toBeUndefined();
    const reflector = { ...SELF, clusterId: '9.9.9.9' };
    expect(exportRoute(reflector, learned(inner), other)).toBeUndefined();
    const client = { ...inner, client: true };
    const reflected = exportRoute(reflector, learned(client, { clusterList: ['8.8.8.8'] }), other);
    expect(reflected).toMatchObject({
      nextHop: '10.0.0.2',
      attributes: { originatorId: '10.0.0.3', clusterList: ['9.9.9.9', '8.8.8.8'] },
    });
    expect(exportRoute(reflector, learned(other), client)).toBeDefined();
  });

  it('keeps or sets next hops as it is told', () => {
    const from = peer('from', { as: 65001, address: '10.0.0.9' });
    expect(exportRoute(SELF, learned(from), outer)?.nextHop).toBe('10.0.0.1');
    expect(exportRoute(SELF, learned(from), { ...outer, nextHop: 'keep' })?.nextHop).toBe('10.0.0.2');
    expect(exportRoute(SELF, learned(from), { ...inner, nextHop: 'self' })?.nextHop).toBe('10.0.0.1');
    expect(exportRoute(SELF, learned(from), { ...inner, address: '10.0.0.2' })).toBeUndefined();
  });

  it('heeds well-known communities and filters', () => {
    const tagged = (community: number): Candidate =>
      learned(peer('x', { as: 65001, address: '10.0.0.9' }), { communities: [community] });
    expect(exportRoute(SELF, tagged(0xffffff01), outer)).toBeUndefined();
    expect(exportRoute(SELF, tagged(0xffffff01), inner)).toBeDefined();
    expect(exportRoute(SELF, tagged(0xffffff02), inner)).toBeUndefined();
    expect(exportRoute(SELF, own, { ...outer, export: { rules: [], otherwise: 'Reject' } })).toBeUndefined();
  });
});

describe('the table', () => {
  function table(...peers: RibPeer[]): Rib {
    const rib = new Rib(SELF);
    for (const one of peers) rib.setPeer(one);
    return rib;
  }

  it('takes, replaces and withdraws routes, and says which changed', () => {
    const rib = table(peer('a'), peer('b', { address: '10.0.0.3', routerId: '10.0.0.3' }));
    rib.update('a', announce(['10.1.0.0/24', '10.2.0.0/24']));
    expect(rib.settle()).toEqual(['10.1.0.0/24', '10.2.0.0/24']);
    rib.update('b', announce(['10.1.0.0/24'], { localPref: 50 }, '10.0.0.3'));
    expect(rib.settle()).toEqual([]);
    rib.update('a', withdraw('10.1.0.0/24', '10.7.0.0/24'));
    expect(rib.settle()).toEqual(['10.1.0.0/24']);
    expect(rib.best('10.1.0.0/24')[0]?.peer?.name).toBe('b');
    rib.removePeer('b');
    expect(rib.settle()).toEqual(['10.1.0.0/24']);
    expect(rib.size).toBe(1);
  });

  it.each<[string, Partial<PathAttributes>, string | undefined]>([
    ['its own AS', { asPath: path(1, 64512) }, 'AS 64512 is in its path'],
    ['itself as originator', { originatorId: '10.0.0.1' }, 'we are its originator'],
    ['its own cluster', { clusterList: ['9.9.9.9'] }, 'cluster 9.9.9.9 has reflected it'],
  ])('uses no route with %s', (_name, attrs, why) => {
    const rib = new Rib({ ...SELF, clusterId: '9.9.9.9' });
    rib.setPeer(peer('a'));
    rib.update('a', announce(['10.1.0.0/24'], attrs));
    expect(rib.settle()).toEqual([]);
    expect(rib.received('a')[0]?.rejected).toBe(why);
    expect(rib.count('a')).toEqual({ received: 1, accepted: 0 });
    if (attrs.asPath === undefined) return;
    rib.setPeer(peer('a', { allowOwnAs: 1 }));
    expect(rib.settle()).toEqual(['10.1.0.0/24']);
  });

  it('uses no next hop of its own', () => {
    const rib = table(peer('a'));
    rib.update('a', announce(['10.1.0.0/24'], {}, '10.0.0.1'));
    expect(rib.settle()).toEqual([]);
  });

  it('judges again what it has when a filter changes', () => {
    const rib = table(peer('a', { import: { rules: [], otherwise: 'Reject' } }));
    rib.update('a', announce(['10.1.0.0/24']));
    expect(rib.settle()).toEqual([]);
    rib.setPeer(peer('a'));
    expect(rib.settle()).toEqual(['10.1.0.0/24']);
  });

  it('keeps routes through a restart, and drops those that are not confirmed', () => {
    const rib = table(peer('a'));
    rib.update('a', announce(['10.1.0.0/24', '10.2.0.0/24']));
    rib.settle();
    rib.retain('a', [4]);
    expect(rib.settle()).toEqual([]);
    expect(rib.stale('a')).toBe(2);
    rib.update('a', announce(['10.1.0.0/24']));
    rib.clear('a', { stale: true });
    expect(rib.settle()).toContain('10.2.0.0/24');
    expect([...rib.prefixes()]).toEqual(['10.1.0.0/24']);
    rib.retain('a', [6]);
    rib.settle();
    expect(rib.size).toBe(0);
  });

  it('says when a peer sends more than it may', () => {
    const rib = table(peer('a', { maxPrefixes: 1 }));
    expect(rib.update('a', announce(['10.1.0.0/24']))).toBe(true);
    expect(rib.update('a', announce(['10.2.0.0/24']))).toBe(false);
  });

  it('prefers its own routes and gives them up', () => {
    const rib = table(peer('a'));
    rib.update('a', announce(['10.1.0.0/24']));
    const own: RibRoute = { prefix: '10.1.0.0/24', family: 4, attributes: attributes() };
    rib.setOwn([own]);
    rib.settle();
    expect(rib.best('10.1.0.0/24')[0]?.peer).toBeUndefined();
    rib.setOwn([{ ...own }]);
    expect(rib.settle()).toEqual([]);
    rib.setOwn([]);
    rib.settle();
    expect(rib.best('10.1.0.0/24')[0]?.peer?.name).toBe('a');
  });
});

describe('what is sent', () => {
  /** Prefixes that messages announce and withdraw. */
  function told(messages: readonly Uint8Array[]): { on: string[]; off: string[] } {
    const updates = messages.map((m) => decodeMessage(m, { as4: true, internal: true }) as UpdateMessage);
    return {
      on: updates.flatMap((u) => u.reach.flatMap((r) => r.prefixes)),
      off: updates.flatMap((u) => u.unreach.flatMap((r) => r.prefixes)),
    };
  }
  const own = (prefix: string): RibRoute => ({ prefix, family: 4, attributes: attributes() });

  it('sends the last state of each prefix once', () => {
    const rib = new Rib(SELF);
    rib.setPeer(peer('to'));
    const out = new Outgoing('to', [4], true);
    const settle = (routes: string[]): { on: string[]; off: string[] } => {
      rib.setOwn(routes.map(own));
      out.touch(rib.settle());
      return told(out.take(rib, 1000));
    };
    expect(settle(['10.1.0.0/24', '10.2.0.0/24'])).toEqual({ on: ['10.1.0.0/24', '10.2.0.0/24'], off: [] });
    expect(settle(['10.1.0.0/24', '10.2.0.0/24'])).toEqual({ on: [], off: [] });
    expect(settle(['10.2.0.0/24'])).toEqual({ on: [], off: ['10.1.0.0/24'] });
    out.refresh(rib, 4);
    expect(told(out.take(rib, 1000))).toEqual({ on: ['10.2.0.0/24'], off: [] });
    expect(out.size).toBe(1);
    // Came and went while the peer did not read: nothing is sent.
    rib.setOwn([own('10.2.0.0/24'), own('10.3.0.0/24')]);
    out.touch(rib.settle());
    rib.setOwn([own('10.2.0.0/24')]);
    out.touch(rib.settle());
    expect(out.take(rib, 1000)).toEqual([]);
  });

  it('packs 10,000 routes into few messages', () => {
    const rib = new Rib(SELF);
    rib.setPeer(peer('to'));
    const out = new Outgoing('to', [4], true);
    rib.setOwn(Array.from({ length: 10_000 }, (_, i) => own(`10.${i >> 8}.${i & 255}.0/24`)));
    out.touch(rib.settle());
    const messages = out.take(rib, 20_000);
    expect(messages.length).toBeLessThan(12);
    expect(told(messages).on).toHaveLength(10_000);
  });

  it('withdraws what it cannot put into a message', () => {
    const rib = new Rib(SELF);
    rib.setPeer(peer('to'));
    const out = new Outgoing('to', [4], true);
    rib.setOwn([own('10.1.0.0/24')]);
    out.touch(rib.settle());
    out.take(rib, 10);
    const communities = Array.from({ length: 1100 }, (_, i) => i);
    rib.setOwn([{ ...own('10.1.0.0/24'), attributes: attributes({ communities }) }]);
    out.touch(rib.settle());
    expect(told(out.take(rib, 10))).toEqual({ on: [], off: ['10.1.0.0/24'] });
  });
});
