import { hostname } from 'node:os';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { FLAG, type Message, nameFromText, nameToText, rdata, record, TYPE } from '../../src/wire/index.ts';
import { ask, exchangeUdp, question, rrText, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service } from '../support/objects.ts';
import { TestUpstream, type UpstreamAnswer } from '../support/upstream.ts';

const running: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

async function serve(text: string): Promise<{ dns: DnsServer; port: number }> {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  api.put('services', service('default/web', { clusterIPs: ['10.96.0.5'], ports: [{ name: 'http', port: 80 }] }));
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], kube: api });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

/** A server whose answers depend on the name asked, with a record of what it was asked. */
async function upstream(answer: (name: string, type: number) => UpstreamAnswer | undefined): Promise<TestUpstream> {
  const server = await new TestUpstream((query) => answer(nameToText(query.qname), query.type)).start();
  running.push(() => server.stop());
  return server;
}

const address = (last: number): UpstreamAnswer => ({
  answers: [record(undefined, TYPE.A, 60, rdata.a(0x0a000000 + last))],
});
const texts = (message: Message): string[] => message.answers.map(rrText);
const KUBERNETES = 'kubernetes cluster.local';
const WEB = 'web.default.svc.cluster.local.';

describe('any', () => {
  it('answers ANY with one record, also where a table answers', async () => {
    const { port } = await serve(`.:0 {\n any\n ${KUBERNETES}\n}`);
    const message = await ask(port, WEB, 'ANY');
    expect(texts(message)).toEqual([expect.stringMatching(/^web\.default\.svc\.cluster\.local\. 8482 HINFO /)]);
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.5');
  });
});

describe('local', () => {
  it('keeps names of this machine', async () => {
    const up = await upstream(() => address(1));
    const { port } = await serve(`.:0 {\n local\n forward . ${up.address}\n}`);
    const cases: [string, string, string][] = [
      ['localhost.', 'A', 'NOERROR | A 127.0.0.1'],
      ['LocalHost.', 'AAAA', 'NOERROR | AAAA ::1'],
      ['a.localhost.', 'A', 'NOERROR | A 127.0.0.1'],
      ['localhost.example.org.', 'A', 'NOERROR | A 127.0.0.1'],
      ['localhost.', 'MX', 'NOERROR'],
      ['localhost.', 'NS', 'NOERROR | NS localhost.'],
      ['1.0.0.127.in-addr.arpa.', 'PTR', 'NOERROR | PTR localhost.'],
      ['2.0.0.127.in-addr.arpa.', 'PTR', 'NXDOMAIN'],
      ['127.in-addr.arpa.', 'A', 'NOERROR'],
      ['mylocalhost.', 'A', 'NOERROR | A 10.0.0.1'],
      ['localhosts.example.org.', 'A', 'NOERROR | A 10.0.0.1'],
    ];
    for (const [name, type, expected] of cases)
      expect(short(await ask(port, name, type)), `${name} ${type}`).toBe(expected);
    expect((await ask(port, 'localhost.', 'MX')).authority.map(rrText)).toEqual(['localhost. 604800 SOA localhost.']);
    expect((await ask(port, '9.0.0.127.in-addr.arpa.', 'PTR')).authority.map(rrText)).toEqual([
      '127.in-addr.arpa. 604800 SOA localhost.',
    ]);
    expect(up.asked).toHaveLength(2);
  });
});

describe('acl', () => {
  it('blocks, filters, drops and lets pass, the first policy that matches', async () => {
    const { port } = await serve(
      [
        '.:0 {',
        ' acl blocked.org {\n  block\n }',
        ' acl filtered.org {\n  allow type AAAA\n  filter net 127.0.0.0/8\n }',
        ' acl dropped.org {\n  drop type A\n }',
        ' acl other.org {\n  allow net 10.0.0.0/8\n  block net 192.0.2.0/24 fd00::/8\n }',
        ' whoami',
        '}',
      ].join('\n'),
    );
    expect(short(await ask(port, 'a.blocked.org'))).toBe('REFUSED');
    expect(short(await ask(port, 'a.filtered.org'))).toBe('NOERROR');
    expect((await ask(port, 'a.filtered.org')).additional).toEqual([]);
    expect((await ask(port, 'a.filtered.org', 'AAAA')).additional.length).toBeGreaterThan(0);
    expect(await exchangeUdp(port, question('a.dropped.org', 'A'), '127.0.0.1', 200)).toBeUndefined();
    expect((await ask(port, 'a.dropped.org', 'TXT')).additional.length).toBeGreaterThan(0);
    expect((await ask(port, 'a.other.org')).additional.length).toBeGreaterThan(0);
  });

  it('reads networks from a file', async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'weft-acl-'));
    running.push(() => rmSync(directory, { recursive: true }));
    const file = path.join(directory, 'networks');
    writeFileSync(file, '# ours\n127.0.0.1 # this one\n\n10.0.0.0/8\n');
    const { port } = await serve(`.:0 {\n acl {\n  block file ${file}\n }\n whoami\n}`);
    expect(short(await ask(port, 'a.org'))).toBe('REFUSED');
  });

  it.each([
    ['deny', "unexpected token 'deny'; expect 'allow', 'block', 'filter', 'drop'"],
    ['block host 10.0.0.1', "unexpected token 'host'; expect 'type | net | file'"],
    ['block type', "no token specified in 'type' section"],
    ['block type NOPE', "unexpected token 'NOPE'; expect legal QTYPE"],
    ['block net 10.0.0.0/40', "illegal CIDR notation '10.0.0.0/40'"],
    ['block file /does/not/exist', 'unable to load networks from local file'],
  ])('%s is refused', (line, message) => {
    expect(checkCorefile(`. {\n acl {\n  ${line}\n }\n whoami\n}`)[0]?.message).toContain(message);
  });
});

describe('minimal, header and nsid', () => {
  const referral: UpstreamAnswer = {
    answers: [record(undefined, TYPE.A, 60, rdata.a(0x0a000001))],
    authority: [record(nameFromText('org.'), TYPE.NS, 60, nameFromText('ns.org.'))],
    additional: [record(nameFromText('ns.org.'), TYPE.A, 60, rdata.a(0x0a000002))],
  };

  it('leaves out what was not asked, of answers only', async () => {
    const up = await upstream((name) => (name === 'no.org.' ? { ...referral, answers: [] } : referral));
    const { port } = await serve(`.:0 {\n minimal\n forward . ${up.address}\n}`);
    const full = await ask(port, 'a.org');
    expect([full.answers.length, full.authority.length, full.additional.length]).toEqual([1, 0, 0]);
    const none = await ask(port, 'no.org');
    expect([none.answers.length, none.authority.length]).toEqual([0, 1]);
  });

  it('sets and clears flags', async () => {
    const up = await upstream(() => ({ ...referral, flags: 0x0400 }));
    const { port } = await serve(
      `.:0 {\n header {\n  response set ra\n  response clear aa rd\n }\n forward . ${up.address}\n}`,
    );
    const { flags } = await ask(port, 'a.org');
    expect([flags & FLAG.RA, flags & FLAG.AA, flags & FLAG.RD]).toEqual([FLAG.RA, 0, 0]);
    for (const [line, message] of [
      ['response', "Wrong argument count or unexpected line ending after 'response'"],
      ['response flip aa', 'unknown flag action=flip, should be set or clear'],
      ['response set', 'invalid length for flags, at least one should be provided'],
      ['response set zz', 'unknown/unsupported flag=zz'],
      ['both set aa', 'unknown flag selector=both, should be query or response'],
    ]) {
      expect(checkCorefile(`. {\n header {\n  ${line}\n }\n whoami\n}`)[0]?.message, line).toContain(message);
    }
  });

  it('says which server it is, to who asks', async () => {
    const { port } = await serve(`.:0 {\n nsid dns-1\n ${KUBERNETES}\n}`);
    const options = Uint8Array.of(0, 3, 0, 0);
    const asked = await ask(port, WEB, 'A', { edns: { udpSize: 1232, options } });
    expect(Buffer.from(asked.opt?.options ?? []).toString('latin1')).toBe('\0\x03\0\x05dns-1');
    expect((await ask(port, WEB, 'A', { edns: { udpSize: 1232 } })).opt?.options.length).toBe(0);
    expect(short(asked)).toBe('NOERROR | A 10.96.0.5');
  });
});

describe('bufsize', () => {
  it('limits answers and what upstreams are asked for', async () => {
    const many = { answers: Array.from({ length: 60 }, (_, i) => record(undefined, TYPE.A, 60, rdata.a(i))) };
    const sizes: (number | undefined)[] = [];
    const server = await new TestUpstream((query) => {
      sizes.push(query.edns?.udpSize);
      return many;
    }).start();
    running.push(() => server.stop());
    const { port } = await serve(`.:0 {\n bufsize 600\n forward . ${server.address}\n}`);
    const message = await ask(port, 'a.org', 'A', { edns: { udpSize: 4096 } });
    expect((message.flags & FLAG.TC) !== 0).toBe(true);
    expect(message.opt?.udpSize).toBe(600);
    expect(sizes[0]).toBe(600);
    for (const [size, error] of [
      ['100', 'buffer size must be within 512 - 4096'],
      ['x', 'strconv.Atoi'],
    ]) {
      expect(checkCorefile(`. {\n bufsize ${size}\n whoami\n}`)[0]?.message).toContain(error);
    }
  });
});

describe('cancel', () => {
  it('gives up after its time', async () => {
    const up = await upstream(() => undefined);
    const { port } = await serve(`.:0 {\n cancel 50ms\n forward . ${up.address}\n}`);
    expect(short(await ask(port, 'a.org'))).toBe('SERVFAIL');
    expect(checkCorefile('. {\n cancel 0s\n whoami\n}')[0]?.message).toContain('invalid timeout: 0s');
    expect(checkCorefile('. {\n cancel soon\n whoami\n}')[0]?.message).toContain('invalid duration: "soon"');
  });
});

describe('chaos', () => {
  it('says who it is in class CH, and nothing else', async () => {
    const { port } = await serve(`.:0 {\n chaos 1.0 "Ann Other" Bob\n ${KUBERNETES}\n}`);
    const ch = async (name: string): Promise<string> => short(await ask(port, name, 'TXT', { class: 3 }));
    expect(await ch('version.bind.')).toBe('NOERROR | TXT "1.0"');
    expect(await ch('VERSION.server.')).toBe('NOERROR | TXT "1.0"');
    expect(await ch('authors.bind.')).toBe('NOERROR | TXT "Ann Other" | TXT "Bob"');
    expect(await ch('id.server.')).toBe(`NOERROR | TXT "${hostname()}"`);
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.5');
  });
});

describe('rewrite', () => {
  const cases: [rule: string, asked: string, type: string, expected: string[], upstream: string][] = [
    ['name a.org b.org', 'A.org.', 'A', ['A.org. 60 A 10.0.0.1'], 'b.org. 1 udp'],
    ['name exact a.org b.org', 'a.org.', 'A', ['a.org. 60 A 10.0.0.1'], 'b.org. 1 udp'],
    ['name suffix .a.org .b.org answer auto', 'x.a.org.', 'A', ['x.a.org. 60 A 10.0.0.1'], 'x.b.org. 1 udp'],
    ['name prefix a- b-', 'a-x.org.', 'A', ['b-x.org. 60 A 10.0.0.1'], 'b-x.org. 1 udp'],
    ['name prefix a- b- answer auto', 'a-x.org.', 'A', ['a-x.org. 60 A 10.0.0.1'], 'b-x.org. 1 udp'],
    ['name substring mid end answer auto', 'a.mid.org.', 'A', ['a.mid.org. 60 A 10.0.0.1'], 'a.end.org. 1 udp'],
    [
      'name regex (.*)-(us-west-1)\\.a\\.org {1}.service.{2}.b answer name (.*)\\.service\\.(us-west-1)\\.b {1}-{2}.a.org',
      'ftp-us-west-1.a.org.',
      'A',
      ['ftp-us-west-1.a.org. 60 A 10.0.0.1'],
      'ftp.service.us-west-1.b. 1 udp',
    ],
    ['type A AAAA', 'a.org.', 'A', [], 'a.org. 28 udp'],
    ['ttl exact a.org 5', 'a.org.', 'A', ['a.org. 5 A 10.0.0.1'], 'a.org. 1 udp'],
    ['ttl suffix org 100-', 'a.org.', 'A', ['a.org. 100 A 10.0.0.1'], 'a.org. 1 udp'],
    ['ttl regex (.*) -30', 'a.org.', 'A', ['a.org. 30 A 10.0.0.1'], 'a.org. 1 udp'],
    ['name other.org b.org', 'a.org.', 'A', ['a.org. 60 A 10.0.0.1'], 'a.org. 1 udp'],
  ];
  it.each(cases)('%s', async (rule, asked, type, expected, sent) => {
    const up = await upstream((_, t) => (t === TYPE.A ? address(1) : {}));
    const { port } = await serve(`.:0 {\n rewrite ${rule}\n forward . ${up.address}\n}`);
    const message = await ask(port, asked, type);
    // The question is always the client's own, to the letter.
    expect(nameToText(message.question?.name as Uint8Array)).toBe(asked);
    expect(texts(message).map((t) => t.replace(/^@/, asked))).toEqual(expected);
    expect(up.asked).toEqual([sent]);
  });

  it('changes aliases and names inside of records back', async () => {
    const up = await upstream((name) => ({
      answers: [
        record(undefined, TYPE.CNAME, 60, nameFromText(`real.${name}`)),
        record(nameFromText(`real.${name}`), TYPE.A, 60, rdata.a(0x0a000001)),
      ],
    }));
    const { port } = await serve(
      `.:0 {\n rewrite name suffix .a.org .b.org answer auto answer value (.*)\\.b\\.org\\. {1}.a.org.\n forward . ${up.address}\n}`,
    );
    expect(texts(await ask(port, 'x.a.org.'))).toEqual([
      'x.a.org. 60 CNAME real.x.a.org.',
      'real.x.a.org. 60 A 10.0.0.1',
    ]);
  });

  it.each([
    ['edns0 local set 0xffee abc', '', 'ffee0003616263'],
    ['edns0 local set 0xffee 0x0102', 'ffee000101', 'ffee00020102'],
    ['edns0 local append 0xffee abc', 'ffee000101', 'ffee000101'],
    ['edns0 local replace 0xffee abc', '', ''],
    ['edns0 local replace 0xffee abc revert', 'ffee000101', 'ffee0003616263'],
    ['edns0 local unset 0xffee', 'ffef0000ffee000101', 'ffef0000'],
    ['edns0 local set 65518 {client_ip}', '', 'ffee00047f000001'],
    ['edns0 local set 65518 {qtype}', '', 'ffee00020001'],
    ['edns0 local set 65518 {protocol}', '', 'ffee0003756470'],
    ['edns0 nsid set', '', '00030000'],
    ['edns0 subnet set 20 64', '', '0008000700011400' + '7f0000'],
    ['edns0 subnet unset', '0008000500012000' + '7f', ''],
  ])('%s', async (rule, options, expected) => {
    const seen: string[] = [];
    const server = await new TestUpstream((query) => {
      seen.push(Buffer.from(query.edns?.options ?? []).toString('hex'));
      return address(1);
    }).start();
    running.push(() => server.stop());
    const { port } = await serve(`.:0 {\n rewrite ${rule}\n forward . ${server.address}\n}`);
    const edns = options === '' ? {} : { edns: { udpSize: 1232, options: Buffer.from(options, 'hex') } };
    const message = await ask(port, 'a.org.', 'A', edns);
    expect(texts(message)).toEqual(['a.org. 60 A 10.0.0.1']);
    expect(seen).toEqual([expected]);
    // Who sent no EDNS gets none.
    expect(message.opt === undefined).toBe(options === '');
  });

  it('goes on with continue, stops with stop, and undoes in reverse', async () => {
    const up = await upstream(() => address(1));
    const { port } = await serve(
      `.:0 {\n rewrite continue {\n  name a.org b.org\n  ttl exact b.org 7\n }\n rewrite name b.org c.org\n rewrite name c.org d.org\n forward . ${up.address}\n}`,
    );
    expect(texts(await ask(port, 'a.org.'))).toEqual(['a.org. 7 A 10.0.0.1']);
    expect(up.asked).toEqual(['c.org. 1 udp']);
  });

  it('changes codes, and what a table of this server answers', async () => {
    const { port } = await serve(
      `.:0 {\n rewrite rcode suffix cluster.local NXDOMAIN REFUSED\n rewrite name suffix .lan .default.svc.cluster.local answer auto\n ${KUBERNETES}\n}`,
    );
    expect(short(await ask(port, 'nope.default.svc.cluster.local'))).toBe('REFUSED');
    const { port: other } = await serve(
      `.:0 {\n rewrite name suffix .lan .default.svc.cluster.local answer auto\n ${KUBERNETES}\n}`,
    );
    expect(texts(await ask(other, 'web.lan.'))).toEqual(['web.lan. 5 A 10.96.0.5']);
  });

  it.each([
    ['name a.org', 'too few arguments for a name rule'],
    ['name a.org b.org c.org', 'exceeded the number of arguments for a exact rule'],
    ['name regex ( b.org', 'invalid regex pattern in a name rule'],
    ['name regex a b answer auto', '"answer auto" cannot be used with a regex rule'],
    ['type A', 'type rules must have exactly two arguments'],
    ['type A NOPE', 'invalid type "NOPE"'],
    ['ttl a.org 9-5', "invalid TTL range '9-5'"],
    ['ttl a.org x', "invalid TTL 'x'"],
    ['rcode a.org NXDOMAIN NOPE', "invalid rcode 'NOPE'"],
    ['answer name a b', 'response rewrites must begin with a name rule'],
    ['nothing a b', 'invalid rule type "nothing"'],
    ['cname a.org', 'too few (1) arguments for a cname rule'],
    ['cname some a.org b.org', 'unknown cname rewrite type: some'],
    ['cname regex ( b.org', 'invalid regex pattern'],
    ['edns0 local', 'too few arguments for an EDNS0 rule'],
    ['edns0 local flip 1 a', 'invalid action: "flip"'],
    ['edns0 local set 99999 a', 'invalid EDNS0 option code'],
    ['edns0 local set 1 0xabc', 'invalid EDNS0 data'],
    ['edns0 local set 1 {what}', 'unsupported variable name'],
    ['edns0 local set 1', 'take 2 more arguments'],
    ['edns0 subnet set 33 128', 'invalid subnet length "33"'],
    ['edns0 cookie set', 'invalid rule type "cookie"'],
  ])('%s is refused', (rule, message) => {
    expect(checkCorefile(`. {\n rewrite ${rule}\n whoami\n}`)[0]?.message).toContain(message);
  });
});

describe('rewrite cname', () => {
  const ZONE = [
    ' template IN A alias.org {',
    '  answer "{{ .Name }} 60 IN CNAME old.cdn.org."',
    ' }',
    ' hosts /dev/null {',
    '  10.0.0.1 old.cdn.org',
    '  10.0.0.2 new.cdn.org',
    '  10.0.0.3 old.eu.net',
    '  fallthrough',
    ' }',
  ].join('\n');

  it.each([
    ['old.cdn.org new.cdn.org', 'CNAME new.cdn.org. | A 10.0.0.2'],
    ['exact OLD.cdn.org. new.cdn.org.', 'CNAME new.cdn.org. | A 10.0.0.2'],
    ['prefix old. new.', 'CNAME new.cdn.org. | A 10.0.0.2'],
    ['suffix .cdn.org. .eu.net.', 'CNAME old.eu.net. | A 10.0.0.3'],
    ['suffix .cdn.org .eu.net.', 'CNAME old.cdn.org. | A 10.0.0.1'],
    ['substring old new', 'CNAME new.cdn.org. | A 10.0.0.2'],
    ['regex (.*)\\.cdn\\.org\\. {1}.eu.net.', 'CNAME old.eu.net. | A 10.0.0.3'],
    ['other.org new.cdn.org', 'CNAME old.cdn.org. | A 10.0.0.1'],
    ['old.cdn.org nowhere.org', 'CNAME nowhere.org.'],
  ])('%s', async (rule, expected) => {
    const { port } = await serve(`.:0 {\n rewrite cname ${rule}\n${ZONE}\n}`);
    const { answers } = await ask(port, 'www.alias.org');
    expect(answers.map((rr) => rrText(rr).split(' ').slice(2).join(' ')).join(' | ')).toBe(expected);
  });
});

describe('template', () => {
  const EXAMPLE = [
    ' template IN A example.org {',
    '  match ^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)[.]example[.]org[.]$',
    '  answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"',
    '  fallthrough',
    ' }',
    ' template IN MX example.org {',
    '  answer "{{ .Name }} 60 IN MX 10 {{ .Name }}"',
    '  additional "{{ .Name }} 60 IN A 203.0.113.8"',
    ' }',
    ' template ANY ANY invalid {',
    '  rcode NXDOMAIN',
    '  authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"',
    ' }',
    ' template IN TXT words.org {',
    '  match (.*)-(.*)\\.words\\.org\\.',
    '  answer "{{ .Name }} 5 IN TXT \\"{{ if eq (index .Match 1) `a` }}first{{ else }}{{ index .Match 2 | printf `%03s` }}{{ end }} from {{ .Remote }}\\""',
    ' }',
    ' whoami',
  ].join('\n');

  it('makes records from names', async () => {
    const { port } = await serve(`.:0 {\n${EXAMPLE}\n}`);
    expect(texts(await ask(port, 'ip-10-1-2-3.Example.org.'))).toEqual(['ip-10-1-2-3.example.org. 60 A 10.1.2.3']);
    // What is no address fails where the record is read.
    expect(short(await ask(port, 'ip-999-1-2-3.example.org.'))).toBe('SERVFAIL');
    // Falls through to whoami.
    expect((await ask(port, 'other.example.org.')).additional.length).toBeGreaterThan(0);
    const mail = await ask(port, 'example.org.', 'MX');
    expect([mail.answers.length, mail.additional.map(rrText)]).toEqual([1, ['example.org. 60 A 203.0.113.8']]);
    expect(mail.flags & FLAG.AA).not.toBe(0);
    const gone = await ask(port, 'a.invalid.', 'TXT');
    expect([short(gone), gone.authority.map(rrText)]).toEqual(['NXDOMAIN', ['invalid. 60 SOA ns.invalid.']]);
    expect(short(await ask(port, 'a-b.words.org.', 'TXT'))).toBe('NOERROR | TXT "first from 127.0.0.1"');
    expect(short(await ask(port, 'b-7.words.org.', 'TXT'))).toBe('NOERROR | TXT "007 from 127.0.0.1"');
    expect(short(await ask(port, 'nothing.words.org.', 'TXT'))).toBe('SERVFAIL');
  });

  it('variables, conditions and extended errors', async () => {
    const { dns, port } = await serve(
      [
        '.:0 {',
        ' template IN A test {',
        '  match ^n(?P<number>[0-9]+)[.]',
        '  var n int(group("number"))',
        '  var twice n * 2',
        '  expr n % 2 == 0',
        '  expr twice < 250',
        '  answer "{{ .Name }} 60 IN A 10.0.0.{{ .Var.twice }}"',
        '  fallthrough',
        ' }',
        ' template IN A test {',
        '  match ^broken[.]',
        '  expr 1 < name()',
        '  fallthrough',
        ' }',
        ' template IN ANY test {',
        '  match ^odd[.]',
        '  rcode NXDOMAIN',
        '  ederror 21 "not for you"',
        '  fallthrough',
        ' }',
        ' template IN A test {',
        '  match ^alias[.]',
        '  answer "{{ .Name }} 60 IN CNAME n2.test."',
        '  fallthrough',
        ' }',
        ' template IN A test {',
        '  match ^none[.]',
        ' }',
        '}',
      ].join('\n'),
    );
    expect(short(await ask(port, 'n6.test'))).toBe('NOERROR | A 10.0.0.12');
    // Nothing has matched, and the last template lets nothing through.
    expect(short(await ask(port, 'n7.test'))).toBe('SERVFAIL');
    expect(short(await ask(port, 'n126.test'))).toBe('SERVFAIL');
    expect(short(await ask(port, 'broken.test'))).toBe('SERVFAIL');
    expect(short(await ask(port, 'none.test'))).toBe('NOERROR');
    expect(short(await ask(port, 'alias.test'))).toBe('NOERROR | A 10.0.0.4 | CNAME n2.test.');
    const odd = await ask(port, 'odd.test', 'A', { edns: { udpSize: 1232 } });
    expect(short(odd)).toBe('NXDOMAIN');
    expect(Buffer.from(odd.opt?.options ?? [])).toEqual(Buffer.from('\x00\x0f\x00\x0d\x00\x15not for you', 'latin1'));
    expect((await ask(port, 'odd.test')).opt).toBeUndefined();
    expect(dns.renderMetrics()).toContain(
      'coredns_template_matches_total{server="dns://127.0.0.1:0",zone="test.",view="",class="IN",type="A"}',
    );
  });

  it.each([
    ['template IN', "unexpected line ending after 'template'"],
    ['template XX A {\n answer "x A 1.2.3.4"\n}', 'invalid query class XX'],
    ['template IN XX {\n answer "x A 1.2.3.4"\n}', 'invalid RR class XX'],
    ['template IN A {\n match (\n answer "x A 1.2.3.4"\n}', 'could not parse regex'],
    ['template IN A {\n answer "{{ .Name "\n}', 'could not compile template'],
    ['template IN A {\n answer "{{ nothing .Name }}"\n}', 'function "nothing" not defined'],
    ['template IN A {\n rcode WHAT\n}', 'unknown rcode WHAT'],
    ['template IN A {\n ederror x\n}', 'error parsing extended DNS error code x'],
    ['template IN A {\n ederror 1 a b\n}', "unexpected line ending after 'ederror'"],
    ['template IN A {\n var 1 2\n}', 'invalid variable name "1"'],
    ['template IN A {\n var name 2\n}', 'variable name "name" is reserved'],
    ['template IN A {\n var len 2\n}', 'variable name "len" is reserved'],
    ['template IN A {\n var a nosuch()\n}', 'could not compile expression: a, unknown name nosuch'],
    ['template IN A {\n expr b\n}', 'could not compile expression: unknown name b'],
    ['template IN A {\n nosuch\n}', "unknown property 'nosuch'"],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n whoami\n}`)[0]?.message).toContain(message);
  });
});
