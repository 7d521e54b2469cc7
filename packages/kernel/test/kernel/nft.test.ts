import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Element,
  type Expr,
  expr as x,
  KernelError,
  Nft,
  NftBatch,
  type NetNs,
  type SetSpec,
  values as v,
} from '../../src/index.ts';
import { inside, json, Namespaces } from './netns-fixture.ts';

const family = 'inet';
const table = 't';
const namespaces = new Namespaces();
let ns: NetNs;
let nft: Nft;

beforeEach(async () => {
  ns = namespaces.make();
  nft = Nft.open(ns);
  const b = new NftBatch();
  b.addTable({ family, name: table });
  b.addChain({ family, table, name: 'c' });
  await nft.commit(b);
});

afterEach(() => {
  nft.close();
  namespaces.close();
});

async function commit(build: (b: NftBatch) => void, options = {}): Promise<void> {
  const b = new NftBatch();
  build(b);
  await nft.commit(b, options);
}

async function failure(promise: Promise<unknown>): Promise<KernelError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof KernelError)) throw new Error(`expected a KernelError, got ${String(error)}`);
  return error;
}

/** Elements of a set as `nft -j` lists them. */
function listed(name: string): unknown[] {
  const { nftables } = json<{
    nftables: { set?: { name: string; elem?: unknown[] }; map?: { name: string; elem?: unknown[] } }[];
  }>(ns, 'nft', '-j', 'list', 'table', family, table);
  for (const item of nftables) {
    const object = item.set ?? item.map;
    if (object?.name === name) return object.elem ?? [];
  }
  throw new Error(`no set ${name}`);
}

const text = (value: unknown): string => JSON.stringify(value);
const byKey = (a: Element, b: Element): number => Buffer.compare(a.key, b.key);

describe('sets', () => {
  test('ranges of addresses and ports', async () => {
    const nets: SetSpec = {
      family,
      table,
      name: 'nets',
      key: 'ipv4_addr',
      flags: { interval: true },
      comment: 'allowed',
    };
    const ports: SetSpec = {
      family,
      table,
      name: 'ports',
      key: 'inet_service',
      data: 'mark',
      flags: { interval: true },
    };
    const elements: Element[] = [
      { key: v.ip4('10.0.0.0'), keyEnd: v.ip4('10.0.255.255') },
      { key: v.ip4('192.0.2.7'), keyEnd: v.ip4('192.0.2.7'), comment: 'one' },
      { key: v.ip4('255.255.255.0'), keyEnd: v.ip4('255.255.255.255') },
    ];
    await commit((b) => {
      b.addSet(nets);
      b.addSet(ports);
      b.addElements(nets, elements);
      b.addElements(ports, [{ key: v.u16be(80), keyEnd: v.u16be(90), data: v.u32ne(5) }]);
    });
    expect(await nft.listElements(nets)).toEqual(elements);
    expect(await nft.listElements({ family, table, name: 'ports' })).toEqual([
      { key: v.u16be(80), keyEnd: v.u16be(90), data: v.u32ne(5) },
    ]);
    expect(text(listed('nets'))).toBe(
      text([
        { prefix: { addr: '10.0.0.0', len: 16 } },
        { elem: { val: '192.0.2.7', comment: 'one' } },
        { prefix: { addr: '255.255.255.0', len: 24 } },
      ]),
    );
    expect(text(listed('ports'))).toBe(text([[{ range: [80, 90] }, 5]]));
    await commit((b) => b.delElements(nets, [elements[0] as Element]));
    expect(await nft.listElements(nets)).toEqual(elements.slice(1));
    expect((await nft.listSets({ family, name: table })).find((s) => s.name === 'nets')).toMatchObject({
      comment: 'allowed',
      flags: { interval: true },
    });
  });

  test('ranges in a concatenation', async () => {
    const set: SetSpec = {
      family,
      table,
      name: 'ranges',
      key: ['ipv4_addr', 'inet_proto', 'inet_service'],
      data: 'verdict',
      flags: { interval: true },
    };
    const element: Element = {
      key: v.fields(v.ip4('10.1.0.0'), v.proto('tcp'), v.u16be(100)),
      keyEnd: v.fields(v.ip4('10.1.0.255'), v.proto('tcp'), v.u16be(200)),
      data: { jump: 'c' },
    };
    await commit((b) => {
      b.addSet(set);
      b.addElements(set, [element]);
    });
    expect(await nft.listElements(set)).toEqual([element]);
    expect(text(listed('ranges'))).toContain(
      '{"concat":[{"prefix":{"addr":"10.1.0.0","len":24}},"tcp",{"range":[100,200]}]}',
    );
    await commit((b) => b.delElements(set, [element]));
    expect(await nft.listElements(set)).toEqual([]);
  });

  test('timeouts, comments, interface names, IPv6', async () => {
    const set: SetSpec = { family, table, name: 'live', key: 'ipv6_addr', flags: { timeout: true }, timeout: 60_000 };
    const names: SetSpec = { family, table, name: 'names', key: 'ifname' };
    await commit((b) => {
      b.addSet(set);
      b.addSet(names);
      b.addElements(set, [
        { key: v.ip6('fd00::1'), timeout: 3_600_000, comment: 'an hour' },
        { key: v.ip6('fd00::2') },
      ]);
      b.addElements(names, [{ key: v.ifname('eth0') }]);
    });
    const got = (await nft.listElements(set)).sort(byKey);
    expect(got.map((e) => [e.timeout, e.comment])).toEqual([
      [3_600_000, 'an hour'],
      // The default of the set is not listed with the element; what is left of it is.
      [undefined, undefined],
    ]);
    expect(got[0]?.expires).toBeGreaterThan(60_000);
    expect(got[1]?.expires).toBeLessThanOrEqual(60_000);
    expect(text(listed('names'))).toBe(text(['eth0']));
    expect(text(listed('live'))).toContain('"timeout":3600');
    await commit((b) => b.flushSet(set));
    expect(await nft.listElements(set)).toEqual([]);
  });

  test('a cold load of 100,000 elements is one transaction', async () => {
    const set: SetSpec = { family, table, name: 'big', key: ['classid', 'mark'], data: ['ipv4_addr', 'inet_service'] };
    const before = await nft.generation();
    await commit((b) => {
      b.addSet(set);
      b.addElements(
        set,
        Array.from({ length: 100_000 }, (_, i) => ({
          key: v.fields(v.u32ne(i), v.u32ne(0)),
          data: v.fields(v.u32be(0x0a000000 + i), v.u16be(80)),
        })),
      );
    });
    expect(await nft.generation()).toBe(before + 1);
    expect(await nft.listElements(set)).toHaveLength(100_000);
  });
});

describe('transactions', () => {
  const set: SetSpec = { family, table, name: 's', key: ['ipv4_addr', 'inet_service'], data: 'classid' };
  const key = (last: number, port: number): Uint8Array => v.fields(v.ip4(`10.0.0.${last}`), v.u16be(port));

  test('a refused batch changes nothing and every refusal names its object', async () => {
    await commit((b) => {
      b.addSet(set);
      b.addElements(set, [{ key: key(1, 80), data: v.u32ne(1) }]);
    });
    const before = await nft.generation();
    const error = await failure(
      commit((b) => {
        b.addChain({ family, table, name: 'new' });
        b.addElements(set, [
          { key: key(2, 80), data: v.u32ne(1) },
          { key: key(1, 80), data: v.u32ne(2) },
        ]);
        b.delChain({ family, table, name: 'absent' });
        b.addRule({ family, table, chain: 'nowhere', exprs: [], comment: 'lost' });
      }),
    );
    expect(error.errors.map((e) => [e.code, e.operation, e.object])).toEqual([
      ['EEXIST', 'add elements to nft set', 'inet t s { 10.0.0.1 . 80 }'],
      ['ENOENT', 'delete nft chain', 'inet t absent'],
      ['ENOENT', 'add nft rule to', 'inet t nowhere ("lost")'],
    ]);
    expect(error.message).toContain('and 2 more');
    expect(error.hint).toMatch(/delete it in the same batch/);
    expect(await nft.generation()).toBe(before);
    expect((await nft.listChains({ family, name: table })).map((c) => c.name)).toEqual(['c']);
    expect(await nft.listElements(set)).toHaveLength(1);
  });

  test('delete and add of one key in one batch replaces it', async () => {
    await commit((b) => {
      b.addSet(set);
      b.addElements(set, [{ key: key(1, 80), data: v.u32ne(1) }]);
    });
    await commit((b) => {
      b.delElements(set, [{ key: key(1, 80) }]);
      b.addElements(set, [{ key: key(1, 80), data: v.u32ne(2) }]);
    });
    expect((await nft.listElements(set)).map((e) => e.data)).toEqual([v.u32ne(2)]);
    const missing = await failure(commit((b) => b.delElements(set, [{ key: key(9, 80) }])));
    expect(missing).toMatchObject({ code: 'ENOENT', object: 'inet t s { 10.0.0.9 . 80 }' });
  });

  test('the generation check refuses what was built on old knowledge', async () => {
    const genid = await nft.generation();
    await commit((b) => b.addChain({ family, table, name: 'mine' }), { genid });
    const stale = await failure(commit((b) => b.addChain({ family, table, name: 'late' }), { genid }));
    expect(stale).toMatchObject({ code: 'ERESTART' });
    expect(stale.hint).toMatch(/another program changed/);
    expect((await nft.listChains({ family, name: table })).map((c) => c.name)).toEqual(['c', 'mine']);
  });

  test('rules can be placed, replaced and deleted; chains flushed; tables destroyed', async () => {
    const rule = (comment: string) => ({ family, table, chain: 'c', exprs: [x.counter()], comment }) as const;
    await commit((b) => {
      b.addRule(rule('b'));
      b.addRule(rule('d'));
      b.insertRule(rule('a'));
    });
    const names = async (): Promise<(string | undefined)[]> =>
      (await nft.listRules({ family, name: table }, 'c')).map((r) => r.comment);
    expect(await names()).toEqual(['a', 'b', 'd']);
    const handle = async (comment: string): Promise<bigint> =>
      (await nft.listRules({ family, name: table })).find((r) => r.comment === comment)?.handle ?? 0n;
    const after = await handle('b');
    await commit((b) => b.addRule({ ...rule('c'), position: after }));
    expect(await names()).toEqual(['a', 'b', 'c', 'd']);
    const first = await handle('a');
    await commit((b) => b.replaceRule({ ...rule('A'), handle: first }));
    const last = await handle('d');
    await commit((b) => b.delRule({ family, table, chain: 'c', handle: last }));
    expect(await names()).toEqual(['A', 'b', 'c']);
    await commit((b) => b.flushChain({ family, table, name: 'c' }));
    expect(await names()).toEqual([]);
    await commit((b) => {
      b.destroyTable({ family, name: table });
      b.destroyTable({ family: 'ip', name: 'never-was' });
    });
    expect(await nft.listTables()).toEqual([]);
    await commit(() => {});
  });
});

describe('expressions in the kernel', () => {
  test('nft prints them as they were meant, and they are listed as they were written', async () => {
    const r = x.reg32;
    const drop = x.verdict('drop');
    const rules: [readonly Expr[], string][] = [
      [[x.meta('iifname', r(0)), x.cmp('eq', r(0), v.ifname('eth0')), drop], 'iifname "eth0" drop'],
      [[x.meta('iifname', r(0)), x.cmp('neq', r(0), v.ifnamePrefix('cali')), drop], 'iifname != "cali*" drop'],
      [
        [
          x.ct('state', r(0)),
          x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(6) }),
          x.cmp('neq', r(0), v.u32ne(0)),
          x.verdict('accept'),
        ],
        'ct state established,related accept',
      ],
      [
        [
          x.meta('nfproto', r(0)),
          x.cmp('eq', r(0), v.u8(2)),
          x.payload(x.header.ip.saddr, r(0)),
          x.range(r(0), v.ip4('10.0.0.1'), v.ip4('10.0.0.9')),
          drop,
        ],
        'ip saddr 10.0.0.1-10.0.0.9 drop',
      ],
      [
        [
          x.meta('nfproto', r(0)),
          x.cmp('eq', r(0), v.u8(2)),
          x.payload(x.header.ip.daddr, r(0)),
          x.notInRange(r(0), v.ip4('10.0.0.1'), v.ip4('10.0.0.9')),
          drop,
        ],
        'ip daddr != 10.0.0.1-10.0.0.9 drop',
      ],
      [
        [x.fib({ result: 'type', flags: ['daddr'], dreg: r(0) }), x.cmp('eq', r(0), v.u32ne(v.RTN.local)), drop],
        'fib daddr type local drop',
      ],
      [[x.limit({ rate: 5, per: 60, burst: 7 }), drop], 'limit rate 5/minute burst 7 packets drop'],
      [[x.log({ prefix: 'seen', group: 3 })], 'log prefix "seen" group 3'],
      [
        [x.meta('l4proto', r(0)), x.cmp('eq', r(0), v.proto('tcp')), x.reject({ with: 'tcp reset' })],
        'meta l4proto tcp reject with tcp reset',
      ],
      [[x.reject({ with: 'icmpx', code: 3 })], 'reject with icmpx admin-prohibited'],
      [[x.immediate(r(0), v.u32ne(0x10)), x.metaSet('mark', r(0))], 'meta mark set 0x00000010'],
      [
        [x.symhash({ dreg: r(0), modulus: 3, offset: 1 }), x.metaSet('mark', r(0))],
        'meta mark set symhash mod 3 offset 1',
      ],
      [
        [
          x.meta('nfproto', r(0)),
          x.cmp('eq', r(0), v.u8(2)),
          x.payload(x.header.ip.saddr, r(1)),
          x.jhash({ sreg: r(1), len: 4, dreg: r(0), modulus: 8, seed: 77 }),
          x.metaSet('mark', r(0)),
        ],
        'meta mark set jhash ip saddr mod 8 seed 0x4d',
      ],
      [[x.numgen({ mode: 'inc', modulus: 4, dreg: r(0) }), x.metaSet('mark', r(0))], 'meta mark set numgen inc mod 4'],
      [[x.immediate(r(0), v.u32ne(1)), x.ctSet('mark', r(0))], 'ct mark set 0x00000001'],
      [[x.socket({ key: 'transparent', dreg: r(0) }), x.cmp('eq', r(0), v.u8(1)), drop], 'socket transparent 1 drop'],
      [
        [x.meta('mark', r(0)), x.cmp('eq', r(0), v.u32ne(9)), x.verdict({ jump: 'other' })],
        'meta mark 0x00000009 jump other',
      ],
    ];
    await commit((b) => {
      b.addChain({ family, table, name: 'other' });
      b.addChain({ family, table, name: 'in', hook: { hook: 'input', type: 'filter', priority: 0 }, policy: 'drop' });
      for (const [exprs] of rules) b.addRule({ family, table, chain: 'in', exprs });
    });
    const printed = inside(ns, 'nft', 'list', 'chain', family, table, 'in')
      .split('\n')
      .map((line) => line.trim());
    for (const [, line] of rules) expect(printed).toContain(line);
    expect(printed).toContain('type filter hook input priority filter; policy drop;');
    const got = await nft.listRules({ family, name: table }, 'in');
    rules.forEach(([exprs], i) => {
      // The kernel adds defaults (log thresholds, offsets); all that was asked must be there.
      expect(got[i]?.exprs).toMatchObject(exprs);
    });
  });
});
