import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyFromText, nameFromText, nameToText, type Rr, type Soa, soaOf, typeNumber } from '../../src/wire/index.ts';
import { parseMaster } from '../../src/zone/master.ts';
import { Zone } from '../../src/zone/zone.ts';
import { rrText } from '../support/dig.ts';

const SOA = '@ SOA ns hostmaster 7 7200 1800 86400 300\n';
const read = (text: string, files: Record<string, string> = {}): Rr[] =>
  parseMaster(text, {
    file: '/zones/db',
    origin: 'example.org.',
    include: (path) => {
      const found = files[path];
      if (found === undefined) throw new Error('no such file');
      return found;
    },
  });

describe('master files', () => {
  it.each<[string, string, string[]]>([
    [
      'owners are inherited',
      'a 5 A 10.0.0.1\n  A 10.0.0.2',
      ['a.example.org. 5 A 10.0.0.1', 'a.example.org. 5 A 10.0.0.2'],
    ],
    ['@ is the origin', '@ 5 IN NS ns', ['example.org. 5 NS ns.example.org.']],
    [
      'TTLs are inherited',
      'a 5 A 10.0.0.1\nb A 10.0.0.2',
      ['a.example.org. 5 A 10.0.0.1', 'b.example.org. 5 A 10.0.0.2'],
    ],
    [
      '$TTL counts for all without',
      '$TTL 1h\na 5 A 10.0.0.1\nb A 10.0.0.2',
      ['a.example.org. 5 A 10.0.0.1', 'b.example.org. 3600 A 10.0.0.2'],
    ],
    [
      '$ORIGIN',
      '$ORIGIN sub\na 5 CNAME b\n$ORIGIN net.\na 5 CNAME b',
      ['a.sub.example.org. 5 CNAME b.sub.example.org.', 'a.net. 5 CNAME b.net.'],
    ],
    [
      'comments and parentheses',
      'a 5 TXT ( "x;y" ; one\n "z" ) ; two\n;three\n',
      ['a.example.org. 5 TXT "x;y\\u0001z"'],
    ],
    [
      'escapes',
      'a\\.b 5 A 10.0.0.1\n\\046c 5 A 10.0.0.2',
      ['a\\.b.example.org. 5 A 10.0.0.1', '\\.c.example.org. 5 A 10.0.0.2'],
    ],
    ['$GENERATE', '$GENERATE 1-3/2 h$ 5 A 10.0.0.$', ['h1.example.org. 5 A 10.0.0.1', 'h3.example.org. 5 A 10.0.0.3']],
    [
      '$GENERATE with modifiers',
      '$GENERATE 9-10 h${1,3,x} 5 CNAME t\\$${-9}',
      ['h00a.example.org. 5 CNAME t\\$0.example.org.', 'h00b.example.org. 5 CNAME t\\$1.example.org.'],
    ],
    ['CRLF', 'a 5 A 10.0.0.1\r\nb 5 A 10.0.0.2\r\n', ['a.example.org. 5 A 10.0.0.1', 'b.example.org. 5 A 10.0.0.2']],
  ])('%s', (_, text, expected) => expect(read(text).map(rrText)).toEqual(expected));

  it('takes the TTL of records without one from the SOA record', () => {
    expect(read(`${SOA}a A 10.0.0.1`).map(rrText)[1]).toBe('a.example.org. 300 A 10.0.0.1');
  });

  it('reads included files, which change nothing after them', () => {
    const files = { '/zones/more': '$ORIGIN x.net.\na 5 A 10.0.0.1' };
    expect(read('$INCLUDE more\nb 5 A 10.0.0.2', files).map(rrText)).toEqual([
      'a.x.net. 5 A 10.0.0.1',
      'b.example.org. 5 A 10.0.0.2',
    ]);
  });

  it.each([
    ['a A', '/zones/db:1: too few fields'],
    ['\n\na A 10.0.0.1 (\n', '/zones/db:3: a parenthesis is not closed'],
    ['a A 10.0.0.1 )', '/zones/db:1: a parenthesis closes that was not opened'],
    ['a TXT "x\n', '/zones/db:1: a quote is not closed'],
    [' A 10.0.0.1', '/zones/db:1: the first record has no owner'],
    ['$WHAT 1', '/zones/db:1: unknown directive $WHAT'],
    ['$TTL', '/zones/db:1: $TTL needs an argument'],
    ['$TTL x', 'is no TTL'],
    ['$INCLUDE none', '/zones/db:1: cannot read /zones/none'],
    ['$INCLUDE self', '$INCLUDE more than 7 deep'],
    ['$GENERATE 1-99999999 a$ A 10.0.0.1', '$GENERATE range 1-99999999'],
    ['$GENERATE 1-2 a${x} A 10.0.0.1', 'bad modifier'],
    [`${'a.'.repeat(121)}b A 10.0.0.1`, 'is no domain name'],
  ])('%j is refused', (text, message) => expect(() => read(text, { '/zones/self': '$INCLUDE self' })).toThrow(message));

  it('never breaks, whatever the text', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('a ', 'A ', '10.0.0.1', '\n', '(', ')', '"', '\\', '$GENERATE 1-2 ', '$TTL ', ';'),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        try {
          read(pieces.join(''));
        } catch (error) {
          expect(error).toMatchObject({ code: 'DNS_ZONE_FILE' });
        }
      }),
    );
  });
});

const ZONE = `$TTL 60
${SOA}@ NS ns
ns A 10.0.0.53
www A 10.0.0.1
alias CNAME www
out CNAME www.example.net.
a.b.ent A 10.0.0.2
*.wild A 10.0.0.3
*.wild MX 5 www
x.wild TXT here
sub NS ns.sub
sub NS ns
sub DS 1 8 2 abcd
ns.sub A 10.0.0.54
mail MX 10 www
tree DNAME other
@ MX 10 mx.example.net.
`;

describe('zones', () => {
  const zone = new Zone(keyFromText('example.org.'), read(ZONE));
  it.each<[string, string, string, string[], string[], string[]]>([
    ['www', 'A', 'success', ['@ 60 A 10.0.0.1'], ['NS'], []],
    ['WWW', 'A', 'success', ['@ 60 A 10.0.0.1'], ['NS'], []],
    ['www', 'AAAA', 'nodata', [], ['SOA'], []],
    ['nope', 'A', 'nxdomain', [], ['SOA'], []],
    ['x.www', 'A', 'nxdomain', [], ['SOA'], []],
    ['b.ent', 'A', 'nodata', [], ['SOA'], []],
    ['ent', 'A', 'nodata', [], ['SOA'], []],
    ['c.ent', 'A', 'nxdomain', [], ['SOA'], []],
    ['q.wild', 'A', 'success', ['@ 60 A 10.0.0.3'], ['NS'], []],
    ['p.q.wild', 'A', 'success', ['@ 60 A 10.0.0.3'], ['NS'], []],
    [
      'q.wild',
      'MX',
      'success',
      ['@ 60 MX 0005037777770765' + '78616d706c65036f726700'],
      ['NS'],
      ['www.example.org. 60 A 10.0.0.1'],
    ],
    ['q.wild', 'TXT', 'nodata', [], ['SOA'], []],
    ['x.wild', 'A', 'nodata', [], ['SOA'], []],
    ['y.x.wild', 'A', 'nxdomain', [], ['SOA'], []],
    ['wild', 'A', 'nodata', [], ['SOA'], []],
    [
      'sub',
      'A',
      'delegation',
      [],
      ['NS', 'NS'],
      ['ns.sub.example.org. 60 A 10.0.0.54', 'ns.example.org. 60 A 10.0.0.53'],
    ],
    [
      'a.sub',
      'A',
      'delegation',
      [],
      ['NS', 'NS'],
      ['ns.sub.example.org. 60 A 10.0.0.54', 'ns.example.org. 60 A 10.0.0.53'],
    ],
    [
      'ns.sub',
      'A',
      'delegation',
      [],
      ['NS', 'NS'],
      ['ns.sub.example.org. 60 A 10.0.0.54', 'ns.example.org. 60 A 10.0.0.53'],
    ],
    ['sub', 'DS', 'success', ['@ 60 DS 00010802abcd'], ['NS'], []],
    [
      'a.sub',
      'DS',
      'delegation',
      [],
      ['NS', 'NS'],
      ['ns.sub.example.org. 60 A 10.0.0.54', 'ns.example.org. 60 A 10.0.0.53'],
    ],
    ['alias', 'A', 'success', ['@ 60 CNAME www.example.org.'], ['NS'], []],
    ['tree', 'A', 'nodata', [], ['SOA'], []],
    [
      'a.tree',
      'A',
      'success',
      ['tree.example.org. 60 DNAME 056f74686572076578616d706c65036f726700', '@ 60 CNAME a.other.example.org.'],
      ['NS'],
      [],
    ],
    ['www', 'ANY', 'success', ['@ 60 A 10.0.0.1'], ['NS'], []],
  ])('%s %s', (name, type, kind, answers, authority, additional) => {
    const found = zone.lookup(nameFromText(`${name}.example.org.`), typeNumber(type) as number);
    expect([
      found.kind,
      found.answers.map(rrText),
      found.authority.map((rr) => rrText(rr).split(' ')[2]),
      found.additional.map(rrText),
    ]).toEqual([kind, answers, authority, additional]);
  });

  it('answers for its apex', () => {
    const apex = nameFromText('example.org.');
    expect(zone.lookup(apex, 6).answers).toEqual([zone.soa]);
    expect(zone.lookup(apex, 2).answers.map(rrText)).toEqual(['@ 60 NS ns.example.org.']);
    expect(zone.lookup(apex, 2).additional.map(rrText)).toEqual(['ns.example.org. 60 A 10.0.0.53']);
    expect((soaOf(zone.soa) as Soa).serial).toBe(7);
    expect(zone.lookup(apex, 1).kind).toBe('nodata');
  });

  it('gives every record once, the SOA record first', () => {
    const all = [...zone.records()].map(rrText);
    expect(all.length).toBe(read(ZONE).length);
    expect(all[0]).toContain(' SOA ');
    expect(all.filter((text) => text.includes(' SOA '))).toHaveLength(1);
  });

  it('leaves out what is outside, and needs a SOA record', () => {
    const more = new Zone(
      keyFromText('example.org.'),
      read(`${ZONE}www.badexample.org. A 10.9.9.9\nwww.example.net. A 10.9.9.9`),
    );
    expect([...more.records()]).toHaveLength([...zone.records()].length);
    expect(() => new Zone(keyFromText('example.org.'), read('a 5 A 10.0.0.1'))).toThrow(
      'zone example.org. has no SOA record',
    );
  });

  it('says that a renamed name is too long', () => {
    const long = new Zone(keyFromText('example.org.'), read(`${ZONE}d DNAME ${'a'.repeat(60)}.${'b'.repeat(60)}`));
    const name = `${'c'.repeat(63)}.${'d'.repeat(63)}.d.example.org.`;
    expect(long.lookup(nameFromText(name), 1).tooLong).toBe(true);
    expect(nameToText(nameFromText(name))).toBe(name);
  });
});
