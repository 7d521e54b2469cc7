import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { messages, NlReader } from '../src/netlink/wire.ts';
import { NftBatch } from '../src/nft/batch.ts';
import { TYPES, typeLength, typeNumber, typeOfNumber } from '../src/nft/constants.ts';
import {
  beginElements,
  decodeElements,
  elementForm,
  formatKey,
  joinRanges,
  putElement,
  type RawElement,
} from '../src/nft/elements.ts';
import * as T from '../src/nft/expr-tables.ts';
import { readExprs } from '../src/nft/expr-decode.ts';
import { putExprs } from '../src/nft/expr-encode.ts';
import * as x from '../src/nft/expr.ts';
import {
  decodeChain,
  decodeRule,
  decodeSet,
  decodeTable,
  encodeChain,
  encodeRule,
  encodeSet,
  encodeTable,
} from '../src/nft/objects.ts';
import type { Expr, NatFlag } from '../src/nft/expr-types.ts';
import type { DataType, Element, SetSpec } from '../src/nft/types.ts';
import * as v from '../src/nft/values.ts';
import { data, name, some, text, u16, u32, u8 } from './arbitraries.ts';
import { message } from './codec.ts';

const register = fc.nat(15).map(x.reg32);
const pick = <A extends string>(list: readonly A[]): fc.Arbitrary<A> => fc.constantFrom(...list);
const comment = fc.string({ minLength: 1, maxLength: 120 }).filter((s) => !s.includes('\0'));
const natFlags = fc
  .uniqueArray(pick(Object.keys(T.NAT_FLAGS) as NatFlag[]), { minLength: 1 })
  .map((list) => (Object.keys(T.NAT_FLAGS) as NatFlag[]).filter((f) => list.includes(f)));
const verdict = fc.oneof(
  pick(['accept', 'drop', 'return', 'continue', 'break'] as const),
  name.map((jump) => ({ jump })),
  name.map((goto) => ({ goto })),
);
const is = <K extends Expr['type']>(type: K): { type: fc.Arbitrary<K> } => ({ type: fc.constant(type) });

/** One arbitrary for each kind of expression. */
const exprs: { [K in Exclude<Expr['type'], 'unknown'>]: fc.Arbitrary<Extract<Expr, { type: K }>> } = {
  meta: fc.record({ ...is('meta'), key: pick(T.META_KEYS), dreg: register }),
  metaSet: fc.record({ ...is('metaSet'), key: pick(T.META_KEYS), sreg: register }),
  payload: fc.record({ ...is('payload'), base: pick(T.BASES), offset: u16, len: u8, dreg: register }),
  payloadSet: fc.record({
    ...is('payloadSet'),
    base: pick(T.BASES),
    offset: u16,
    len: u8,
    sreg: register,
    csumType: fc.nat(2),
    csumOffset: u8,
    csumFlags: fc.nat(1),
  }),
  cmp: fc.record({ ...is('cmp'), op: pick(T.CMP_OPS), sreg: register, data: data() }),
  range: fc.record({ ...is('range'), op: pick(['eq', 'neq'] as const), sreg: register, from: data(), to: data() }),
  bitwise: data().map((mask) => ({ type: 'bitwise' as const, sreg: 1, dreg: 9, mask, xor: Uint8Array.from(mask) })),
  shift: fc.record({
    ...is('shift'),
    sreg: register,
    dreg: register,
    len: fc.constant(4),
    direction: pick(['left', 'right'] as const),
    bits: fc.nat(31),
  }),
  lookup: fc
    .tuple(
      fc.record({ ...is('lookup'), set: name, sreg: register }),
      some({ dreg: register, invert: fc.constant(true) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  immediate: fc.record({ ...is('immediate'), dreg: register, data: data() }),
  verdict: fc.record({ ...is('verdict'), verdict }),
  nat: fc
    .tuple(
      fc.record({ ...is('nat'), kind: pick(['snat', 'dnat'] as const), family: pick(['ip', 'ip6'] as const) }),
      some({
        addrReg: fc.constant(1),
        addrMaxReg: fc.constant(2),
        portReg: fc.constant(9),
        portMaxReg: fc.constant(10),
        flags: natFlags,
      }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  masquerade: some({ flags: natFlags, portReg: fc.constant(9) }).map((a) => ({ type: 'masquerade' as const, ...a })),
  redirect: some({ flags: natFlags, portReg: fc.constant(9) }).map((a) => ({ type: 'redirect' as const, ...a })),
  reject: fc.record({ ...is('reject'), with: pick(T.REJECTS), code: u8 }),
  numgen: fc.record({
    ...is('numgen'),
    mode: pick(['random', 'inc'] as const),
    modulus: u32,
    offset: u32,
    dreg: register,
  }),
  hash: fc
    .tuple(
      fc.record({
        ...is('hash'),
        mode: pick(['jhash', 'symhash'] as const),
        dreg: register,
        modulus: u32,
        offset: u32,
      }),
      some({ seed: u32, sreg: register, len: u8 }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  fib: fc.record({
    ...is('fib'),
    result: pick(['oif', 'oifname', 'type'] as const),
    flags: fc.subarray([...T.FIB_FLAGS]),
    dreg: register,
  }),
  ct: fc
    .tuple(
      fc.record({ ...is('ct'), key: pick(T.CT_KEYS), dreg: register }),
      some({ direction: pick(['original', 'reply'] as const) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  ctSet: fc
    .tuple(
      fc.record({ ...is('ctSet'), key: pick(T.CT_KEYS), sreg: register }),
      some({ direction: pick(['original', 'reply'] as const) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  counter: fc.record({
    ...is('counter'),
    packets: fc.bigInt(0n, 2n ** 64n - 1n),
    bytes: fc.bigInt(0n, 2n ** 64n - 1n),
  }),
  dynset: fc
    .tuple(
      fc.record({ ...is('dynset'), set: name, op: pick(T.DYNSET_OPS), key: register }),
      some({
        data: register,
        timeout: fc.integer({ min: 1, max: 2 ** 45 }),
        invert: fc.constant(true),
        exprs: fc.array(fc.constant({ type: 'counter' as const, packets: 1n, bytes: 2n }), {
          minLength: 1,
          maxLength: 3,
        }),
      }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  limit: fc
    .tuple(
      fc.record({ ...is('limit'), rate: fc.nat(), per: fc.constantFrom(1, 60, 3600), burst: u32 }),
      some({ bytes: fc.constant(true), over: fc.constant(true) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  connlimit: fc
    .tuple(fc.record({ ...is('connlimit'), count: u32 }), some({ over: fc.constant(true) }))
    .map(([a, b]) => ({ ...a, ...b })),
  log: some({ prefix: text, group: u16, snaplen: u32, queueThreshold: u16, level: fc.nat(7), flags: u8 }).map((a) => ({
    type: 'log' as const,
    ...a,
  })),
  notrack: fc.record(is('notrack')),
  byteorder: fc.record({
    ...is('byteorder'),
    op: pick(['ntoh', 'hton'] as const),
    sreg: register,
    dreg: register,
    len: u8,
    size: fc.constantFrom(2 as const, 4 as const, 8 as const),
  }),
  queue: fc
    .tuple(
      fc.record({ ...is('queue'), num: u16, total: u16 }),
      some({ bypass: fc.constant(true), fanout: fc.constant(true) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  tproxy: some({ family: pick(['ip', 'ip6'] as const), addrReg: register, portReg: register }).map((a) => ({
    type: 'tproxy' as const,
    ...a,
  })),
  socket: fc
    .tuple(fc.record({ ...is('socket'), key: pick(T.SOCKET_KEYS), dreg: register }), some({ level: u8 }))
    .map(([a, b]) => ({ ...a, ...b })),
  rt: fc.record({ ...is('rt'), key: pick(T.RT_KEYS), dreg: register }),
  exthdr: fc
    .tuple(
      fc.record({ ...is('exthdr'), op: pick(T.EXTHDR_OPS), header: u8, offset: u32, len: u8 }),
      some({ present: fc.constant(true), dreg: register, sreg: register }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
  dup: some({ addrReg: register, devReg: register }).map((a) => ({ type: 'dup' as const, ...a })),
  fwd: fc
    .tuple(
      fc.record({ ...is('fwd'), devReg: register }),
      some({ addrReg: register, family: pick(['ip', 'ip6'] as const) }),
    )
    .map(([a, b]) => ({ ...a, ...b })),
};

describe('expressions', () => {
  for (const [kind, arbitrary] of Object.entries(exprs)) {
    test(`${kind} is read back as it was written`, () => {
      fc.assert(
        fc.property(fc.array(arbitrary as fc.Arbitrary<Expr>, { minLength: 1, maxLength: 3 }), (list) => {
          const m = message((w) => putExprs(w, 4, list));
          const r = new NlReader(m.bytes, m.start, m.end);
          r.next();
          expect(readExprs(m.bytes, r.nested())).toEqual(list);
        }),
        { numRuns: 60 },
      );
    });
  }

  test('an expression nobody knows survives', () => {
    const unknown: Expr = { type: 'unknown', name: 'osf', data: Uint8Array.of(8, 0, 1, 0, 0, 0, 0, 1) };
    const m = message((w) => putExprs(w, 4, [unknown]));
    const r = new NlReader(m.bytes, m.start, m.end);
    r.next();
    expect(readExprs(m.bytes, r.nested())).toEqual([unknown]);
  });

  test('registers: every fourth small one is a large one', () => {
    expect([0, 1, 3, 4, 5, 8, 12, 15].map(x.reg32)).toEqual([1, 9, 11, 2, 13, 3, 4, 23]);
    expect(() => x.reg32(16)).toThrow(RangeError);
    expect(() => x.reg(5)).toThrow(RangeError);
  });
});

describe('objects', () => {
  test('tables, chains and rules', () => {
    const hook = fc
      .tuple(
        fc.record({
          hook: pick(['prerouting', 'input', 'forward', 'output', 'postrouting'] as const),
          priority: fc.integer({ min: -400, max: 400 }),
          type: pick(['filter', 'nat', 'route'] as const),
        }),
        fc.constantFrom('accept' as const, 'drop' as const),
      )
      .map(([h, policy]) => ({ hook: h, policy }));
    fc.assert(
      fc.property(
        fc.record({ family: pick(['ip', 'ip6', 'inet', 'bridge'] as const), name }),
        some({ comment, dormant: fc.constant(true) }),
        hook,
        fc.array(exprs.meta, { maxLength: 4 }),
        some({ comment }),
        (table, more, base, list, extra) => {
          expect(decodeTable(message((w) => encodeTable(w, { ...table, ...more })))).toMatchObject({
            ...table,
            ...more,
          });
          const chain = { family: table.family, table: table.name, name: 'c', ...base, ...extra };
          expect(decodeChain(message((w) => encodeChain(w, chain)))).toMatchObject(chain);
          const rule = { family: table.family, table: table.name, chain: 'c', exprs: list, ...extra };
          expect(decodeRule(message((w) => encodeRule(w, rule)))).toEqual({ ...rule, handle: 0n });
        },
      ),
    );
  });

  test('a hook the family lacks is refused by name', () => {
    const chain = {
      family: 'arp',
      table: 't',
      name: 'c',
      hook: { hook: 'postrouting', priority: 0, type: 'filter' },
    } as const;
    expect(() => message((w) => encodeChain(w, chain))).toThrow(/arp has no hook postrouting/);
  });

  test('sets', () => {
    const type = pick(Object.keys(TYPES) as DataType[]);
    const types = fc.oneof(type, fc.array(type, { minLength: 2, maxLength: 5 }));
    fc.assert(
      fc.property(
        fc.record({ family: fc.constant('ip' as const), table: name, name, key: types }),
        some({
          data: fc.oneof(types, fc.constant('verdict' as const)),
          timeout: fc.integer({ min: 1, max: 2 ** 40 }),
          gcInterval: fc.integer({ min: 1, max: 2 ** 31 }),
          size: fc.integer({ min: 1, max: 2 ** 31 }),
          counter: fc.constant(true),
          comment,
        }),
        some({ interval: fc.constant(true), dynamic: fc.constant(true), constant: fc.constant(true) }),
        (set, more, flags) => {
          const spec: SetSpec = { ...set, ...more, flags };
          const { anonymous, ...got } = decodeSet(message((w) => encodeSet(w, spec, 1)));
          const expected = { ...flags, ...(more.timeout === undefined ? {} : { timeout: true }) };
          expect(anonymous).toBe(false);
          expect(got).toEqual({
            ...set,
            ...more,
            ...(Object.keys(expected).length > 0 ? { flags: expected } : {}),
            handle: 0n,
            keyLength: typeLength(set.key),
          });
          expect(typeOfNumber(typeNumber(set.key))).toEqual(set.key);
        },
      ),
    );
  });
});

describe('elements', () => {
  const set = { family: 'ip', table: 't', name: 's', key: ['ipv4_addr', 'inet_service'], data: 'mark' } as const;

  function roundTrip(list: readonly Element[], target: SetSpec): RawElement[] {
    const m = message((w) => {
      const mark = beginElements(w, target);
      for (const e of list) putElement(w, e, elementForm(target), false);
      w.endNest(mark);
    });
    const out: RawElement[] = [];
    decodeElements(m, out);
    return out;
  }

  test('keys, data, verdicts, timeouts and comments', () => {
    const element = fc
      .tuple(
        fc.record({ key: data(8) }),
        some({ keyEnd: data(8), data: fc.oneof(data(8), verdict), timeout: fc.nat(2 ** 40), comment }),
      )
      .map(([a, b]) => ({ ...a, ...b }));
    fc.assert(
      fc.property(fc.array(element, { maxLength: 20 }), (list) => {
        expect(roundTrip(list, set)).toEqual(list.map((e) => ({ element: e, end: false })));
      }),
    );
  });

  test('ranges of one field become pairs and come back as ranges', () => {
    const target: SetSpec = { family: 'ip', table: 't', name: 's', key: 'inet_service', flags: { interval: true } };
    const cuts = fc.uniqueArray(u16, { minLength: 2, maxLength: 20 }).map((list) => [...list].sort((a, b) => a - b));
    fc.assert(
      fc.property(cuts, (list) => {
        const ranges: Element[] = [];
        for (let i = 0; i + 1 < list.length; i += 2)
          ranges.push({ key: v.u16be(list[i] as number), keyEnd: v.u16be(list[i + 1] as number) });
        expect(joinRanges(roundTrip(ranges, target))).toEqual(ranges);
      }),
    );
    const all = [{ key: v.u16be(0), keyEnd: v.u16be(65535) }];
    expect(roundTrip(all, target)).toHaveLength(1);
    expect(joinRanges(roundTrip(all, target))).toEqual(all);
    const touching = [
      { key: v.u16be(1), keyEnd: v.u16be(4) },
      { key: v.u16be(5), keyEnd: v.u16be(5) },
    ];
    expect(joinRanges(roundTrip(touching, target))).toEqual(touching);
    // A single port needs no end.
    expect(joinRanges(roundTrip([{ key: v.u16be(7) }], target))).toEqual([{ key: v.u16be(7), keyEnd: v.u16be(7) }]);
  });

  test('long lists are cut into messages that fit, in one batch', () => {
    const batch = new NftBatch();
    const list = Array.from({ length: 20_000 }, (_, i) => ({ key: v.u32be(i), data: v.u32ne(i) }));
    batch.addElements({ family: 'ip', table: 't', name: 's' }, list);
    const { writer } = batch.encoded(7);
    const out: RawElement[] = [];
    const sizes: number[] = [];
    for (const m of messages(writer.bytes, writer.pos)) {
      sizes.push(m.end - m.start);
      if (m.type !== 0x10) decodeElements(m, out);
    }
    expect(Math.max(...sizes)).toBeLessThan(65_536);
    expect(sizes.length).toBe(batch.count + 1);
    expect(out.map((e) => e.element.key)).toEqual(list.map((e) => e.key));
    batch.clear();
    expect(batch.count).toBe(0);
  });

  test('a key is written as people write it', () => {
    const key = v.fields(v.ip4('10.0.0.1'), v.proto('tcp'), v.u16be(80), v.u32ne(0x4000));
    expect(formatKey(key, ['ipv4_addr', 'inet_proto', 'inet_service', 'mark'])).toBe('10.0.0.1 . 6 . 80 . 0x4000');
    expect(formatKey(v.ifname('eth0'), 'ifname')).toBe('eth0');
    expect(formatKey(v.ip6('fd00::1'), 'ipv6_addr')).toBe('fd00::1');
    expect(formatKey(Uint8Array.of(1, 2), undefined)).toBe('0x0102');
  });
});

test('host-order values are what the machine holds', () => {
  fc.assert(
    fc.property(u32, u16, (a, b) => {
      expect(v.u32ne(a)).toEqual(new Uint8Array(Uint32Array.of(a).buffer));
      expect(v.u16ne(b)).toEqual(new Uint8Array(Uint16Array.of(b).buffer));
      expect(v.readU32ne(v.u32ne(a))).toBe(a);
      expect(v.u32be(a)).toEqual(Uint8Array.from(v.u32ne(a)).reverse());
    }),
  );
});
