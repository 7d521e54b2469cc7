import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  type BgpError,
  decodeMessage,
  encodeAnnouncements,
  encodeEndOfRib,
  encodeMessage,
  encodeWithdrawals,
  MessageStream,
  type PathAttributes,
  type UpdateMessage,
} from '../../src/bgp/codec/index.ts';
import { attributes, ip4, open, prefixes } from './arbitraries.ts';

const INTERNAL = { as4: true, internal: true };

/** Builds a message of hex digits behind a header. */
function message(type: number, hex: string): Uint8Array {
  const body = Buffer.from(hex.replace(/\s/g, ''), 'hex');
  const bytes = Buffer.alloc(19 + body.length, 0xff);
  bytes.writeUInt16BE(bytes.length, 16);
  bytes[18] = type;
  body.copy(bytes, 19);
  return bytes;
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, '0');
}

/** An UPDATE of withdrawn routes, attributes and announced routes, as hex. */
function update(withdrawn: string, attrs: string, nlri: string): Uint8Array {
  const size = (part: string): number => part.replace(/\s/g, '').length / 2;
  return message(2, `${hex(size(withdrawn), 2)}${withdrawn}${hex(size(attrs), 2)}${attrs}${nlri}`);
}

function read(bytes: Uint8Array, context = INTERNAL): UpdateMessage {
  return decodeMessage(bytes, context) as UpdateMessage;
}

/** The NOTIFICATION that a message calls for, as `code/subcode`. */
function notified(bytes: Uint8Array, context = INTERNAL): string {
  try {
    decodeMessage(bytes, context);
  } catch (error) {
    const { code, subcode } = (error as BgpError).notify;
    return `${code}/${subcode}`;
  }
  return 'none';
}

const ORIGIN = '40 01 01 00';
const PATH = '40 02 06 02 01 0000fde8';
const HOP = '40 03 04 c0000201';
const PREF = '40 05 04 00000064';
const GOOD = `${ORIGIN}${PATH}${HOP}${PREF}`;
const NET = '18 0a0102';

describe('messages', () => {
  test('OPEN comes back as it went', () => {
    fc.assert(
      fc.property(open, (value) => {
        expect(decodeMessage(encodeMessage(value), INTERNAL)).toEqual(value);
      }),
    );
  });

  test('announcements come back as they went, however many messages they take', () => {
    const round = fc.record({
      attributes,
      family: fc.constantFrom(4 as const, 6 as const),
      as4: fc.boolean(),
      hop: ip4,
    });
    fc.assert(
      fc.property(round, fc.gen(), ({ attributes: given, family, as4, hop }, gen) => {
        const list = gen(() => prefixes(family, 1000));
        const nextHop = family === 4 ? hop : '2001:db8::1';
        const seen: string[] = [];
        for (const bytes of encodeAnnouncements(family, nextHop, given, list, as4)) {
          expect(bytes.length).toBeLessThanOrEqual(4096);
          const { reach, attributes: got, faults } = read(bytes, { as4, internal: true });
          expect(faults).toEqual([]);
          expect(reach).toHaveLength(1);
          expect(reach[0]).toMatchObject({ family, nextHop });
          const { nextHop: _, ...rest } = got as PathAttributes;
          // A set between two sequences cannot be told from AS4_PATH's merging when a sequence was split.
          if (as4) expect(rest).toEqual(given);
          else expect(rest.asPath.flatMap((s) => s.ases)).toEqual(given.asPath.flatMap((s) => s.ases));
          seen.push(...(reach[0]?.prefixes ?? []));
        }
        expect(seen).toEqual(list);
      }),
      { numRuns: 60 },
    );
  });

  test('withdrawals come back as they went', () => {
    fc.assert(
      fc.property(fc.constantFrom(4 as const, 6 as const), fc.gen(), (family, gen) => {
        const list = gen(() => prefixes(family, 1500));
        const seen = encodeWithdrawals(family, list).flatMap((bytes) => {
          const { reach, unreach } = read(bytes);
          expect(reach).toEqual([]);
          return unreach.flatMap((u) => (u.family === family ? u.prefixes : []));
        });
        expect(seen).toEqual(list);
      }),
      { numRuns: 40 },
    );
  });

  it('marks the end of a family', () => {
    expect(read(encodeEndOfRib(4)).endOfRib).toBe(4);
    expect(read(encodeEndOfRib(6)).endOfRib).toBe(6);
    expect(encodeEndOfRib(4)).toHaveLength(23);
  });

  it('writes what other speakers write', () => {
    // An OPEN as BIRD 2.0.12 sends it: AS 65001, hold time 240, IPv4, route refresh, restart, four octets, others.
    const bird = message(
      1,
      `04 fde9 00f0 0a000001 1e 02 1c
       01 04 00010001  02 00  06 00  40 06 0078 0001 01 80  41 04 0000fde9  46 00  47 00`,
    );
    expect(decodeMessage(bird, INTERNAL)).toEqual({
      type: 'open',
      as: 65001,
      holdTime: 240,
      routerId: '10.0.0.1',
      capabilities: {
        families: [4],
        as4: 65001,
        routeRefresh: true,
        gracefulRestart: { restarting: false, time: 120, families: [{ family: 4, forwarding: true }] },
        unknown: [6, 70, 71],
      },
    });
    const sent = encodeAnnouncements(
      4,
      '192.0.2.1',
      { origin: 'igp', asPath: [], localPref: 100 },
      ['10.1.2.0/24'],
      true,
    );
    expect(Buffer.from(sent[0] as Uint8Array).toString('hex')).toBe(
      `${'ff'.repeat(16)}003402${'0000'}0019${'50010001'}00${'50020000'}${'50030004c0000201'}${'5005000400000064'}180a0102`,
    );
  });

  it('takes a two-octet AS and AS4_PATH for the real path', () => {
    const path = [{ kind: 'sequence' as const, ases: [65001, 4_200_000_000, 3] }];
    const [bytes] = encodeAnnouncements(4, '192.0.2.1', { origin: 'igp', asPath: path }, ['10.0.0.0/8'], false);
    expect(read(bytes as Uint8Array, { as4: false, internal: false }).attributes?.asPath).toEqual(path);
    // A two-octet speaker between put itself in front.
    const between = update(
      '',
      `${ORIGIN} 40 02 0a 02 04 0001 fde9 5ba0 0003 ${HOP} c0 11 0e 02 03 0000fde9 fa56ea00 00000003`,
      NET,
    );
    expect(read(between, { as4: false, internal: false }).attributes?.asPath).toEqual([
      { kind: 'sequence', ases: [1, 65001, 4_200_000_000, 3] },
    ]);
  });
});

describe('errors that end a session', () => {
  it.each([
    ['a marker that is none', Uint8Array.from(message(4, '').map((b, i) => (i === 3 ? 0 : b))), '1/1'],
    ['an unknown type', message(9, ''), '1/3'],
    ['a KEEPALIVE with a body', message(4, '00'), '1/2'],
    ['an OPEN that is too short', message(1, '04'), '1/2'],
    ['version 3', message(1, '03 fde9 00f0 0a000001 00'), '2/1'],
    ['AS 0', message(1, '04 0000 00f0 0a000001 00'), '2/2'],
    ['router id 0.0.0.0', message(1, '04 fde9 00f0 00000000 00'), '2/3'],
    ['a hold time of 1 s', message(1, '04 fde9 0001 0a000001 00'), '2/6'],
    ['an unknown parameter', message(1, '04 fde9 00f0 0a000001 03 01 01 00'), '2/4'],
    ['parameters that are cut off', message(1, '04 fde9 00f0 0a000001 09 02 01 00'), '2/0'],
    ['a list beyond the message', message(2, '0000 00ff'), '3/1'],
    ['a prefix of 33 bits', update('', GOOD, '21 0a010203 04'), '3/10'],
    ['a withdrawn prefix that is cut off', update('20 0a01', '', ''), '3/10'],
    ['an unknown well-known attribute', update('', `${GOOD} 40 63 00`, NET), '3/2'],
    ['two MP_REACH', update('', `${GOOD}${'80 0e 05 0001 50 00 00'.repeat(2)}`, NET), '3/1'],
    ['an MP_REACH with a next hop of 5 bytes', update('', `80 0e 0a 0001 01 05 0102030405 00`, ''), '3/9'],
  ])('%s', (_name, bytes, code) => {
    expect(notified(bytes)).toBe(code);
  });
});

describe('errors that only cost routes or attributes (RFC 7606)', () => {
  it.each([
    ['ORIGIN 7', `40 01 01 07 ${PATH}${HOP}${PREF}`],
    ['ORIGIN of two bytes', `40 01 02 0000 ${PATH}${HOP}${PREF}`],
    ['an AS path that is cut off', `${ORIGIN} 40 02 04 02 02 0001 ${HOP}${PREF}`],
    ['a confederation segment', `${ORIGIN} 40 02 06 03 01 0000fde8 ${HOP}${PREF}`],
    ['a next hop of 5 bytes', `${ORIGIN}${PATH} 40 03 05 c000020100 ${PREF}`],
    ['no next hop', `${ORIGIN}${PATH}${PREF}`],
    ['no LOCAL_PREF inside of an AS', `${ORIGIN}${PATH}${HOP}`],
    ['communities of 3 bytes', `${GOOD} c0 08 03 000000`],
    ['large communities of 4 bytes', `${GOOD} c0 20 04 00000000`],
    ['an optional ORIGIN', `c0 01 01 00 ${PATH}${HOP}${PREF}`],
    ['an attribute beyond the list', `${GOOD} c0 08 ff 00000000`],
  ])('%s: withdrawn', (_name, attrs) => {
    const got = read(update('', attrs, NET));
    expect(got.reach).toEqual([]);
    expect(got.unreach).toEqual([{ family: 4, prefixes: ['10.1.2.0/24'] }]);
    expect(got.faults).not.toEqual([]);
  });

  it.each([
    ['an aggregator of 3 bytes', `${GOOD} c0 07 03 000000`],
    ['a second ORIGIN', `${GOOD}${ORIGIN}`],
    ['ATOMIC_AGGREGATE with a value', `${GOOD} 40 06 01 00`],
    ['AS4_PATH where none is needed', `${GOOD} c0 11 06 02 01 0000fde8`],
  ])('%s: left out', (_name, attrs) => {
    const got = read(update('', attrs, NET));
    expect(got.reach).toEqual([{ family: 4, nextHop: '192.0.2.1', prefixes: ['10.1.2.0/24'] }]);
    expect(got.faults).toHaveLength(1);
  });

  it('takes no LOCAL_PREF, ORIGINATOR_ID or CLUSTER_LIST from another AS', () => {
    const got = read(update('', `${GOOD} 80 09 04 01010101 80 0a 04 02020202`, NET), { as4: true, internal: false });
    expect(got.attributes).toEqual({
      origin: 'igp',
      asPath: [{ kind: 'sequence', ases: [65000] }],
      nextHop: '192.0.2.1',
    });
    expect(got.faults).toHaveLength(3);
  });
});

describe('fuzzing', () => {
  const good = fc.oneof(
    open.map(encodeMessage),
    fc
      .tuple(attributes, prefixes(6))
      .map(([a, list]) => encodeAnnouncements(6, '2001:db8::1', a, list, true)[0] as Uint8Array),
    fc
      .tuple(attributes, prefixes(4))
      .map(([a, list]) => encodeAnnouncements(4, '192.0.2.1', a, list, true)[0] as Uint8Array),
  );
  const contexts = fc.record({ as4: fc.boolean(), internal: fc.boolean() });

  /** Fails for anything but a value or a coded error. */
  function survives(bytes: Uint8Array, context: { as4: boolean; internal: boolean }): void {
    try {
      const got = decodeMessage(bytes, context);
      if (got.type === 'update' && got.reach.length > 0) expect(got.attributes).toBeDefined();
    } catch (error) {
      expect((error as BgpError).name).toBe('BgpError');
    }
  }

  test('bodies of any bytes', () => {
    const body = fc.uint8Array({ maxLength: 400 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 7 }), body, contexts, (type, bytes, context) =>
        survives(message(type, Buffer.from(bytes).toString('hex')), context),
      ),
      { numRuns: 2000 },
    );
  });

  test('messages with bytes changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(good, changes, contexts, (bytes, edits, context) => {
        const broken = bytes.slice();
        for (const [at, value] of edits) broken[19 + (at % (bytes.length - 19))] = value;
        survives(broken, context);
      }),
      { numRuns: 2000 },
    );
  });

  test('a stream cut anywhere gives the same messages', () => {
    fc.assert(
      fc.property(
        fc.array(good, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        (list, cuts) => {
          const all = Buffer.concat(list);
          const ends = [...cuts.map((cut) => cut % all.length), all.length].sort((a, b) => a - b);
          const stream = new MessageStream();
          let at = 0;
          const got = ends.flatMap((end) => {
            const chunk = all.subarray(at, end);
            at = end;
            return [...stream.push(chunk)].map((m) => Buffer.from(m).toString('hex'));
          });
          expect(got).toEqual(list.map((m) => Buffer.from(m).toString('hex')));
        },
      ),
      { numRuns: 100 },
    );
  });
});
