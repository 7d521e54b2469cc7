import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Entry, shapeOf } from '../../../src/fast/entry.ts';
import { VARIANT } from '../../../src/fast/memory.ts';
import { planFast } from '../../../src/fast/plan.ts';
import { Question, READ } from '../../../src/fast/question.ts';
import { DROP, MISS, Reader } from '../../../src/fast/reader.ts';
import { createRing, Ring } from '../../../src/fast/ring.ts';
import { Table } from '../../../src/fast/table.ts';
import { type Sort, Sorts, type Tally } from '../../../src/fast/tallies.ts';
import { authoritative, type Handler } from '../../../src/server/handler.ts';
import {
  EDNS_DO,
  encodeQuery,
  isRejected,
  keyFromText,
  labelOffsets,
  nameFromText,
  nameKey,
  parseQuery,
  type Query,
  record,
  TYPE,
} from '../../../src/wire/index.ts';

const SORT: Sort = { zone: 'z', type: 1, rcode: 0, by: 'test', denial: false };

function queryFor(name: string, type: number = TYPE.A): { packet: Buffer; query: Query } {
  const packet = Buffer.from(encodeQuery({ id: 1, flags: 0, name: nameFromText(name), type, class: 1 }));
  const query = parseQuery(packet);
  if (isRejected(query)) throw new Error(name);
  return { packet, query };
}

function entry(name: string, last: number, scopes: readonly string[] = [], more: Partial<Entry> = {}): Entry {
  const { query } = queryFor(name);
  const address = Uint8Array.of(10, last >> 16, (last >> 8) & 255, last & 255);
  const reply = authoritative('test', { answers: [record(undefined, TYPE.A, 5, address)], own: true });
  const shape = shapeOf(query, reply, false);
  if (shape === undefined) throw new Error(name);
  const rest = { type: TYPE.A, variant: VARIANT.any, sort: 0, ttl: 0, storedAt: 0, serial: undefined };
  return { ...shape, ...rest, name: query.qname, scopes, ...more };
}

function reading(table: Table): (name: string) => number | 'miss' {
  const sorts = new Sorts();
  sorts.id(SORT);
  const reader = new Reader(table.memory, sorts.reader());
  const out = Buffer.alloc(4096);
  return (name) => {
    const { packet } = queryFor(name);
    const size = reader.respond(packet, 0, packet.length, out, 0, false, 0);
    reader.took(0);
    if (size === MISS) return 'miss';
    return out.readUIntBE(size - 3, 3);
  };
}

describe('table', () => {
  it('gives what it was given last, and nothing once its scope has changed', () => {
    const table = new Table();
    const read = reading(table);
    table.keep(entry('a.test.', 1, ['one']));
    expect(read('a.test.')).toBe('miss');
    table.enabled = true;
    expect(read('a.test.')).toBe(1);
    table.keep(entry('a.test.', 2, ['one', 'two']));
    table.keep(entry('b.test.', 3, ['three']));
    expect([read('a.test.'), read('b.test.'), read('c.test.')]).toEqual([2, 3, 'miss']);
    table.forget('two');
    expect([read('a.test.'), read('b.test.')]).toEqual(['miss', 3]);
    table.forgetAll();
    expect(read('b.test.')).toBe('miss');
  });

  it('takes any number of answers, and never gives a wrong one', () => {
    const table = new Table();
    table.enabled = true;
    const read = reading(table);
    const nameOf = (i: number): string => `n${String(i).padStart(6, '0')}.some.name.that.takes.room.cluster.local.`;
    const made = entry(nameOf(0), 0);
    let known = 0;
    for (let i = 0; i < 100_000; i++) {
      const body = Buffer.from(made.body);
      body.writeUIntBE(i, body.length - 3, 3);
      table.keep({ ...made, name: nameFromText(nameOf(i)), body });
      if (i % 50 !== 0) continue;
      const back = i - ((i * 7919) % Math.min(i + 1, 20_000));
      const answer = read(nameOf(back));
      if (answer !== 'miss') {
        known += 1;
        expect(answer).toBe(back);
      }
      expect(read(nameOf(i))).toBe(i);
    }
    expect(known).toBeGreaterThan(1000);
  });

  it('denies below closed names what is not known, and nothing else', () => {
    const table = new Table();
    table.enabled = true;
    const name = (text: string) => nameFromText(text);
    table.know([
      { name: name('z.'), exists: true, closed: true, apex: true },
      { name: name('svc.z.'), exists: true, closed: true },
      { name: name('open.z.'), exists: true, closed: false },
      { name: name('other.z.'), exists: true, closed: false, apex: true },
    ]);
    const denies = (text: string): boolean => table.denies(keyFromText(text), labelOffsets(keyFromText(text))) >= 0;
    table.keep(entry('z.', 99, [], { variant: VARIANT.denial }));
    const read = reading(table);
    const expected: [string, boolean][] = [
      ['gone.z.', true],
      ['a.b.gone.z.', true],
      ['x.svc.z.', true],
      ['svc.z.', false],
      ['z.', false],
      ['x.open.z.', false],
      ['x.other.z.', false],
      ['x.y.', false],
    ];
    for (const [text, denied] of expected) {
      expect(denies(text), text).toBe(denied);
      expect(read(text), text).toBe(denied ? 99 : 'miss');
    }
    table.know([{ name: name('gone.z.'), exists: true, closed: false }]);
    expect(read('gone.z.')).toBe('miss');
    table.know([{ name: name('gone.z.'), exists: false, closed: false }]);
    expect(read('gone.z.')).toBe(99);
    // Names that come and go leave no trace that would fill the memory.
    for (let i = 0; i < 40_000; i++) {
      const some = name(`s${i}.svc.z.`);
      table.know([{ name: some, exists: true, closed: false }]);
      table.know([{ name: some, exists: false, closed: false }]);
    }
    expect([read('s5.svc.z.'), read('open.z.'), read('x.open.z.')]).toEqual([99, 'miss', 'miss']);
  });
});

describe('question', () => {
  it('reads of a packet what the codec reads, or leaves it alone', () => {
    const question = new Question(7);
    const label = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !/[.\\]/.test(text));
    const packets = fc
      .record({
        name: fc.array(label, { maxLength: 6 }),
        flags: fc.constantFrom(0, 0x100, 0x120, 0x8000, 0x7800, 0x2800),
        type: fc.nat({ max: 300 }),
        class: fc.constantFrom(1, 1, 1, 3),
        edns: fc.option(
          fc.record({
            udpSize: fc.nat({ max: 65535 }),
            flags: fc.nat({ max: 65535 }),
            options: fc.constantFrom(new Uint8Array(), Uint8Array.of(0, 3, 0, 0)),
          }),
          { nil: undefined },
        ),
        spoil: fc.array(fc.tuple(fc.nat({ max: 80 }), fc.nat({ max: 255 })), { maxLength: 3 }),
        cut: fc.nat({ max: 100 }),
      })
      .map(({ name, spoil, cut, ...query }) => {
        const bytes = Buffer.from(encodeQuery({ id: 5, name: nameFromText(name.join('.')), ...query }));
        if (cut > 60) for (const [at, value] of spoil) if (at < bytes.length) bytes[at] = value;
        return cut > 90 ? bytes.subarray(0, Math.max(0, bytes.length - (cut - 90))) : bytes;
      });
    let queries = 0;
    fc.assert(
      fc.property(packets, (bytes) => {
        const padded = Buffer.concat([Buffer.from('ffff', 'hex'), bytes, Buffer.from('ffff', 'hex')]);
        const read = question.read(padded, 2, bytes.length);
        const parsed = parseQuery(bytes);
        if (read === READ.nothing) expect(parsed).toEqual({ drop: true });
        if (read !== READ.query) return;
        queries += 1;
        if (isRejected(parsed)) throw new Error('rejected by the codec');
        const { edns } = parsed;
        expect({
          flags: question.flags,
          type: question.type,
          length: question.nameLength,
          labels: [...question.starts.subarray(0, question.labels)],
          upper: question.upper,
          edns: question.edns ? [question.udpSize, question.ednsFlags, question.dnssec] : undefined,
        }).toEqual({
          flags: parsed.flags,
          type: parsed.type,
          length: parsed.qname.length,
          labels: parsed.labels,
          upper: nameKey(parsed.qname) !== Buffer.from(parsed.qname).toString('latin1'),
          edns: edns === undefined ? undefined : [edns.udpSize, edns.flags >> 8, (edns.flags & EDNS_DO) !== 0],
        });
      }),
      { numRuns: 3000 },
    );
    expect(queries).toBeGreaterThan(500);
  });

  it('nobody is answered who is not asking', () => {
    const table = new Table();
    table.enabled = true;
    const reader = new Reader(table.memory, new Sorts().reader());
    expect(reader.respond(Buffer.alloc(11), 0, 11, Buffer.alloc(4096), 0, false, 0)).toBe(DROP);
  });
});

describe('plan', () => {
  const handler = (more: Partial<Handler>): Handler => ({
    name: 'x',
    serve: (request, next) => next(request),
    ...more,
  });
  const answers = { scopeOf: () => '', names: () => [], serial: () => 0, onChange: () => () => {} };
  const cached = { peek: () => undefined, onChange: () => () => {} };
  const clear = handler({ transparent: true });

  it('goes as far as plugins say that they do no harm', () => {
    const source = handler({ answers });
    const cache = handler({ cached });
    const shuffle = handler({ spreads: true, adjust: (_, reply) => reply });
    expect(planFast([clear, shuffle, cache, source], [])).toMatchObject({ spread: true, cache: { handler: cache } });
    expect(planFast([handler({}), source], [])).toBeUndefined();
    // One that changes answers by more than the question, or tells nobody how.
    expect(planFast([handler({ adjust: (_, reply) => reply }), source], [])).toBeUndefined();
    expect(planFast([handler({ adjust: (_, reply) => reply, steady: true }), source], [])?.sources.length).toBe(1);
    // Somebody who wants to see every query.
    expect(planFast([clear, source], [{ finished: () => {} }])).toBeUndefined();
    // Answers that are remembered may come to be another's, who does not say so.
    expect(planFast([cache, handler({ owns: () => false })], [])).toBeUndefined();
  });
});

describe('counts', () => {
  it('are told once, whoever counted them', () => {
    const sorts = new Sorts();
    const told: Tally[] = [];
    sorts.observe('z', [{ tally: (tally) => void told.push({ ...tally }) }]);
    const id = sorts.id(SORT) as number;
    const [one, two] = [new Float64Array(sorts.reader()), new Float64Array(sorts.reader())];
    one[id * 64] = 3;
    two[id * 64 + 1] = 2;
    sorts.collect();
    sorts.collect();
    expect(told.map(({ ipv4, ipv6, by }) => ({ ipv4, ipv6, by }))).toEqual([{ ipv4: 3, ipv6: 2, by: 'test' }]);
  });
});

describe('ring', () => {
  it('hands over in order, wakes once, and drops when full', () => {
    const ring = new Ring(createRing());
    const names = Buffer.alloc(28, 7);
    expect(ring.sleep()).toBe(true);
    let taken = 0;
    for (let round = 0; round < 3; round++) {
      let pushed = 0;
      const packet = Buffer.alloc(4);
      while (ring.push(round, packet, 0, 4, names, 0, 16)) {
        pushed += 1;
        packet.writeUInt32LE(pushed);
      }
      ring.drop();
      expect([ring.mustWake(), ring.mustWake()]).toEqual([round === 0, false]);
      let expected = 0;
      ring.drain(5000, ({ socket, address, packet: bytes }) => {
        expect([socket, address.length, bytes.readUInt32LE()]).toEqual([round, 16, expected]);
        expected += 1;
        taken += 1;
      });
      expect(expected).toBe(pushed);
    }
    expect(ring.dropped).toBe(3);
    expect(taken).toBeGreaterThan(1000);
  });
});
