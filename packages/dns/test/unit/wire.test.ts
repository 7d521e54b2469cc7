import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLASS,
  decodeMessage,
  encodeQuery,
  encodeReply,
  FLAG,
  isRejected,
  keyFromText,
  nameFromText,
  nameKey,
  nameToText,
  parseQuery,
  type Query,
  RCODE,
  type Rr,
  rdata,
  readName,
  record,
  TYPE,
  WireError,
} from '../../src/wire/index.ts';

const label = fc.uint8Array({ minLength: 1, maxLength: 20 });
const name = fc.array(label, { maxLength: 8 }).map((labels) => {
  const bytes: number[] = [];
  for (const part of labels) bytes.push(part.length, ...part);
  return Uint8Array.from([...bytes, 0]);
});
const udp = { size: 65535, fragment: Number.POSITIVE_INFINITY };

const rr: fc.Arbitrary<Rr> = fc
  .record({
    owner: fc.option(name, { nil: undefined }),
    ttl: fc.nat(0x7fffffff),
    target: name,
    target2: name,
    number: fc.nat(65535),
    bytes: fc.uint8Array({ maxLength: 40 }),
    kind: fc.constantFrom('a', 'aaaa', 'cname', 'mx', 'srv', 'soa', 'other'),
  })
  .map(({ owner, ttl, target, target2, number, bytes, kind }) => {
    switch (kind) {
      case 'a':
        return record(owner, TYPE.A, ttl, rdata.a(number));
      case 'aaaa':
        return record(owner, TYPE.AAAA, ttl, new Uint8Array(16).fill(number & 255));
      case 'cname':
        return record(owner, TYPE.CNAME, ttl, target);
      case 'mx':
        return record(owner, TYPE.MX, ttl, rdata.mx(number, target));
      case 'srv':
        return record(owner, TYPE.SRV, ttl, rdata.srv(0, 1, number, target));
      case 'soa':
        return record(
          owner,
          TYPE.SOA,
          ttl,
          rdata.soa({ mname: target, rname: target2, serial: number, refresh: 1, retry: 2, expire: 3, minimum: 4 }),
        );
      default:
        return record(owner, 4000, ttl, bytes);
    }
  });

function query(qname: Uint8Array, options: Partial<Parameters<typeof encodeQuery>[0]> = {}): Query {
  const parsed = parseQuery(
    encodeQuery({ id: 7, flags: FLAG.RD, name: qname, type: TYPE.A, class: CLASS.IN, ...options }),
  );
  if (isRejected(parsed)) throw new Error('rejected');
  return parsed;
}

function answer(answers: readonly Rr[], rest: { authority?: readonly Rr[]; additional?: readonly Rr[] } = {}) {
  return { rcode: 0, flags: FLAG.AA, answers, authority: [], additional: [], ...rest };
}

describe('names', () => {
  it('text and wire are inverse', () => {
    fc.assert(
      fc.property(name, (wire) => {
        expect(nameFromText(nameToText(wire))).toEqual(wire);
      }),
    );
  });

  it('keys ignore the case of ASCII letters and nothing else', () => {
    expect(keyFromText('WWW.Example.ORG')).toBe(keyFromText('www.example.org.'));
    // A length byte of 65 to 90 is no letter: labels that long cannot exist, but 65 bytes of text may look so.
    expect(nameKey(Uint8Array.of(1, 0x5b, 0))).not.toBe(nameKey(Uint8Array.of(1, 0x7b, 0)));
  });

  it.each([
    ['a'.repeat(64), 'label of more than 63 bytes'],
    ['a..b', 'empty label'],
    [`${'a'.repeat(60)}.`.repeat(5), 'name of more than 255 bytes'],
    ['a\\', 'name ends in an escape'],
  ])('refuses %j', (text, message) => {
    expect(() => nameFromText(text)).toThrow(message);
  });

  it.each([
    ['a pointer to itself', [0xc0, 0x00], 0],
    ['a pointer forwards', [0xc0, 0x02, 0x00], 0],
    ['two pointers in a circle', [0xc0, 0x02, 0xc0, 0x00], 2],
    ['a label past the end', [5, 1, 2], 0],
    ['a reserved label type', [0x80, 0], 0],
    ['a pointer cut in half', [0xc0], 0],
  ])('refuses %s', (_, bytes, at) => {
    expect(() => readName(Uint8Array.from(bytes), at)).toThrow(WireError);
  });

  it('refuses a name that grows beyond 255 bytes by pointers', () => {
    const bytes: number[] = [];
    for (let i = 0; i < 5; i++) bytes.push(60, ...Array<number>(60).fill(97));
    bytes.push(0);
    expect(() => readName(Uint8Array.from(bytes), 0)).toThrow('255');
  });
});

describe('encodeReply', () => {
  const sections = fc.record({
    answers: fc.array(rr, { maxLength: 6 }),
    authority: fc.array(rr, { maxLength: 3 }),
    additional: fc.array(rr, { maxLength: 3 }),
  });

  function expanded(records: readonly Rr[], qname: Uint8Array): Rr[] {
    return records.map((one) => ({ ...one, name: one.name ?? qname }));
  }

  it('says the same plain and compressed', () => {
    fc.assert(
      fc.property(name, sections, (qname, content) => {
        const q = query(qname);
        const reply = { ...answer(content.answers), ...content };
        const plain = decodeMessage(encodeReply(q, reply, udp));
        const compressed = decodeMessage(encodeReply(q, reply, { size: 65535, fragment: 0 }));
        expect(plain.answers).toEqual(expanded(content.answers, qname));
        expect(plain.authority).toEqual(expanded(content.authority, qname));
        expect(plain.additional).toEqual(expanded(content.additional, qname));
        expect({ ...compressed }).toEqual({ ...plain });
      }),
    );
  });

  it('never exceeds the size, and keeps whole records from the front', () => {
    fc.assert(
      fc.property(name, sections, fc.integer({ min: 512, max: 700 }), fc.boolean(), (qname, content, size, edns) => {
        const options = edns ? { udpSize: size, flags: 0, options: new Uint8Array() } : undefined;
        const q = query(qname, { edns: options });
        const reply = { ...answer(content.answers), ...content };
        const bytes = encodeReply(q, reply, { size, fragment: 1480 });
        expect(bytes.length).toBeLessThanOrEqual(size);
        const decoded = decodeMessage(bytes);
        const all = expanded([...content.answers, ...content.authority, ...content.additional], qname);
        const kept = [...decoded.answers, ...decoded.authority, ...decoded.additional];
        expect(kept).toEqual(all.slice(0, kept.length));
        expect((decoded.flags & FLAG.TC) !== 0).toBe(kept.length < all.length);
        expect(decoded.opt !== undefined).toBe(edns);
      }),
    );
  });

  it('does not compress what fits', () => {
    const qname = nameFromText('web.demo.svc.cluster.local');
    const bytes = encodeReply(query(qname), answer([record(undefined, TYPE.A, 5, rdata.a(1))]), udp);
    expect(bytes.length).toBe(12 + qname.length + 4 + qname.length + 10 + 4);
  });

  it('truncates a hundred addresses to 512 bytes as CoreDNS does', () => {
    // 30 bytes of name: 12 + 34 + 29 * 16 = 510.
    const qname = nameFromText('big.demo99.svc.cluster.local.');
    expect(qname.length).toBe(30);
    const records = Array.from({ length: 100 }, (_, i) => record(undefined, TYPE.A, 5, rdata.a(i)));
    const bytes = encodeReply(query(qname), answer(records), { size: 512, fragment: 1480 });
    const decoded = decodeMessage(bytes);
    expect([bytes.length, decoded.answers.length, (decoded.flags & FLAG.TC) !== 0]).toEqual([510, 29, true]);
    const edns = { udpSize: 1232, flags: 0, options: new Uint8Array() };
    const larger = decodeMessage(encodeReply(query(qname, { edns }), answer(records), { size: 1232, fragment: 1480 }));
    expect(larger.answers.length).toBe(73);
    const all = encodeReply(query(qname, { edns: { ...edns, udpSize: 4096 } }), answer(records), {
      size: 4096,
      fragment: 1480,
    });
    expect([all.length, decodeMessage(all).answers.length]).toEqual([1657, 100]);
  });

  it('keeps the case of the question and mirrors RD and CD', () => {
    const qname = nameFromText('WeB.demo.');
    const q = query(qname, { flags: FLAG.RD | FLAG.CD | FLAG.AD });
    const decoded = decodeMessage(encodeReply(q, answer([record(undefined, TYPE.A, 5, rdata.a(1))]), udp));
    expect(decoded.answers[0]?.name).toEqual(qname);
    expect(decoded.flags).toBe(FLAG.QR | FLAG.AA | FLAG.RD | FLAG.CD);
  });

  it('echoes the EDNS options a server may echo, and no others', () => {
    const cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    const subnet = [0, 8, 0, 4, 0, 1, 0, 0];
    const edns = { udpSize: 4096, flags: 0x8000, options: Uint8Array.from([...subnet, ...cookie]) };
    const decoded = decodeMessage(encodeReply(query(nameFromText('a.'), { edns }), answer([]), udp));
    expect(decoded.opt).toEqual({ udpSize: 4096, flags: 0x8000, options: Uint8Array.from(cookie) });
  });

  it('splits an extended response code', () => {
    const edns = { udpSize: 512, flags: 0, options: new Uint8Array() };
    const q = query(nameFromText('a.'), { edns });
    expect(decodeMessage(encodeReply(q, { ...answer([]), rcode: RCODE.BADVERS }, udp)).rcode).toBe(RCODE.BADVERS);
  });

  it('replaces every TTL', () => {
    const records = [record(undefined, TYPE.A, 300, rdata.a(1)), record(undefined, TYPE.A, 20, rdata.a(2))];
    const decoded = decodeMessage(encodeReply(query(nameFromText('a.')), { ...answer(records), ttl: 7 }, udp));
    expect(decoded.answers.map(({ ttl }) => ttl)).toEqual([7, 7]);
  });
});

describe('parseQuery', () => {
  const good = encodeQuery({ id: 0x1234, flags: FLAG.RD, name: nameFromText('a.b.'), type: TYPE.A, class: CLASS.IN });
  const patched = (at: number, ...bytes: number[]): Uint8Array => {
    const copy = Uint8Array.from(good);
    copy.set(bytes, at);
    return copy;
  };
  const replyOf = (packet: Uint8Array): string => {
    const parsed = parseQuery(packet);
    if (!isRejected(parsed)) return 'answered';
    return parsed.drop ? 'dropped' : Buffer.from(parsed.reply).toString('hex');
  };

  it.each([
    ['a response', patched(2, 0x80), 'dropped'],
    ['eleven bytes', good.subarray(0, 11), 'dropped'],
    ['no question', patched(5, 0), '123481010000000000000000'],
    ['two questions', patched(5, 2), '123481010000000000000000'],
    ['a label past the end', patched(12, 63), '123481010000000000000000'],
    ['a pointer in the question', patched(12, 0xc0, 0x0c), '123481010000000000000000'],
    ['a question cut short', good.subarray(0, good.length - 1), '123481010000000000000000'],
    ['UPDATE', patched(2, 0x28), '1234a8040000000000000000'],
    ['STATUS with RD', patched(2, 0x11), '123491040000000000000000'],
    ['NOTIFY', patched(2, 0x20), 'answered'],
    ['an answer that is announced but not there', patched(7, 1), 'answered'],
    ['two announced answers', patched(7, 2), '123481010000000000000000'],
    ['three announced additional records', patched(11, 3), '123481010000000000000000'],
    ['bytes after the question', Uint8Array.from([...good, 1, 2, 3]), 'answered'],
    [
      'an additional record that is no record',
      Uint8Array.from([...patched(11, 1), 1, 2, 3]),
      '123481010000000000000000',
    ],
  ])('%s', (_, packet, expected) => {
    expect(replyOf(packet)).toBe(expected);
  });

  it('reads EDNS', () => {
    const edns = { udpSize: 1232, flags: 0x8000, options: Uint8Array.of(0, 10, 0, 1, 9) };
    expect(query(nameFromText('a.'), { edns }).edns).toEqual({ ...edns, version: 0 });
  });

  it('finds key and labels', () => {
    const q = query(nameFromText('Web.Demo.svc.'));
    expect(q.labels.map((at) => q.key.slice(at + 1, at + 1 + q.key.charCodeAt(at)))).toEqual(['web', 'demo', 'svc']);
  });

  it('never throws and never answers with more than a header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (packet) => {
        const parsed = parseQuery(packet);
        if (isRejected(parsed) && !parsed.drop) expect(parsed.reply.length).toBe(12);
      }),
      { numRuns: 2000 },
    );
  });

  it('survives any damage to a real query', () => {
    const edns = { udpSize: 1232, flags: 0, options: Uint8Array.of(0, 10, 0, 1, 9) };
    const base = encodeQuery({
      id: 1,
      flags: 0,
      name: nameFromText('web.demo.svc.cluster.local'),
      type: 1,
      class: 1,
      edns,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(20),
        (damage, cut) => {
          const packet = Uint8Array.from(base.subarray(0, base.length - cut));
          for (const [at, value] of damage) if (at < packet.length) packet[at] = value;
          const parsed = parseQuery(packet);
          if (!isRejected(parsed)) encodeReply(parsed, answer([]), { size: 512, fragment: 1480 });
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('decodeMessage', () => {
  it('refuses garbage with WireError only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          decodeMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
