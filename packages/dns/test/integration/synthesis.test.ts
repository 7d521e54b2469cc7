import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { nameFromText, nameToText, RCODE, rdata, record, TYPE } from '../../src/wire/index.ts';
import { ask, rrText, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, pod, service } from '../support/objects.ts';
import { TestUpstream, type UpstreamAnswer } from '../support/upstream.ts';

const running: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

async function serve(text: string, host = '127.0.0.1'): Promise<{ dns: DnsServer; port: number }> {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  api.put('namespaces', namespace('other'));
  api.put('services', service('default/web', { clusterIPs: ['10.96.0.5'], ports: [{ port: 80 }] }));
  api.put('services', service('other/db', { clusterIPs: ['10.96.0.6'], ports: [{ port: 80 }] }));
  api.put('pods', pod('default/client', '127.0.0.1'));
  const dns = await startDns({ corefile: { text }, hosts: [host], kube: api });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

async function upstream(answer: (name: string, type: number) => UpstreamAnswer): Promise<TestUpstream> {
  const server = await new TestUpstream((query) => answer(nameToText(query.qname), query.type)).start();
  running.push(() => server.stop());
  return server;
}

const soa = record(
  nameFromText('org.'),
  TYPE.SOA,
  900,
  rdata.soa({
    mname: nameFromText('ns.org.'),
    rname: nameFromText('h.org.'),
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum: 30,
  }),
);

/** `both` has both families, `no` does not exist, `bad` fails for AAAA, everything else has IPv4 only. */
const world = (name: string, type: number): UpstreamAnswer => {
  if (name === 'no.org.') return { rcode: RCODE.NXDOMAIN, authority: [soa] };
  if (type === TYPE.A) {
    if (name !== 'alias.org.') return { answers: [record(undefined, TYPE.A, 60, rdata.a(0xc0000221))] };
    const answers = [
      record(undefined, TYPE.CNAME, 60, nameFromText('v4.org.')),
      record(nameFromText('v4.org.'), TYPE.A, 10, rdata.a(0xc0000221)),
    ];
    return { answers };
  }
  if (name === 'bad.org.') return { rcode: RCODE.SERVFAIL };
  if (name === 'both.org.') return { answers: [record(undefined, TYPE.AAAA, 60, new Uint8Array(16).fill(0xfd))] };
  return { authority: name === 'plain.org.' ? [] : [soa] };
};

describe('dns64', () => {
  it('makes addresses for names that have none, for who has IPv6', async () => {
    const up = await upstream(world);
    const { port } = await serve(`.:0 {\n dns64 {\n  allow_ipv4\n }\n forward . ${up.address}\n}`);
    const texts = async (name: string): Promise<string[]> => (await ask(port, name, 'AAAA')).answers.map(rrText);
    // The TTL is the smaller one of the address and the negative answer.
    expect(await texts('v4.org.')).toEqual(['v4.org. 30 AAAA 64:ff9b::c000:221']);
    expect(await texts('plain.org.')).toEqual(['plain.org. 60 AAAA 64:ff9b::c000:221']);
    expect(await texts('alias.org.')).toEqual(['alias.org. 60 CNAME v4.org.', 'v4.org. 10 AAAA 64:ff9b::c000:221']);
    expect(await texts('bad.org.')).toEqual(['bad.org. 60 AAAA 64:ff9b::c000:221']);
    expect(await texts('both.org.')).toEqual([expect.stringContaining('AAAA fdfd:')]);
    expect((await ask(port, 'no.org.', 'AAAA')).rcode).toBe(RCODE.NXDOMAIN);
    expect(short(await ask(port, 'v4.org.', 'A'))).toBe('NOERROR | A 192.0.2.33');
    expect(short(await ask(port, 'v4.org.', 'MX'))).toBe('NOERROR');
  });

  it('leaves queries over IPv4 alone, unless told', async () => {
    const up = await upstream(world);
    const { port } = await serve(`.:0 {\n dns64\n forward . ${up.address}\n}`);
    expect(short(await ask(port, 'v4.org.', 'AAAA'))).toBe('NOERROR');
    const { port: six } = await serve(`.:0 {\n dns64\n forward . ${up.address}\n}`, '::1');
    expect(short(await ask(six, 'v4.org.', 'AAAA', { host: '::1' }))).toBe('NOERROR | AAAA 64:ff9b::c000:221');
  });

  // The examples of RFC 6052 section 2.4.
  it.each([
    ['2001:db8::/32', '2001:db8:c000:221::'],
    ['2001:db8:100::/40', '2001:db8:1c0:2:21::'],
    ['2001:db8:122::/48', '2001:db8:122:c000:2:2100::'],
    ['2001:db8:122:300::/56', '2001:db8:122:3c0:0:221::'],
    ['2001:db8:122:344::/64', '2001:db8:122:344:c0:2:2100:0'],
    ['2001:db8:122:344::/96', '2001:db8:122:344::c000:221'],
  ])('prefix %s', async (prefix, expected) => {
    const up = await upstream(world);
    const block = `{\n  prefix ${prefix}\n  allow_ipv4\n  translate_all\n }`;
    const { port } = await serve(`.:0 {\n dns64 ${block}\n forward . ${up.address}\n}`);
    expect(short(await ask(port, 'both.org.', 'AAAA'))).toBe(`NOERROR | AAAA ${expected}`);
  });

  it.each([
    ['dns64 10.0.0.0/8', 'is not an IPv6 prefix'],
    ['dns64 64:ff9b::/95', 'invalid prefix: length 95'],
    ['dns64 64:ff9b::/96 64:ff9b::/96', 'Wrong argument count'],
    ['dns64 {\n prefix\n}', 'Wrong argument count'],
    ['dns64 {\n other\n}', "unknown property 'other'"],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n whoami\n}`)[0]?.message).toContain(message);
  });
});

describe('autopath', () => {
  const real = (name: string): UpstreamAnswer =>
    name.toLowerCase() === 'real.org.'
      ? { answers: [record(undefined, TYPE.A, 60, rdata.a(0x01020304))] }
      : { rcode: RCODE.NXDOMAIN, authority: [soa] };

  it('walks the path of the pod that asks', async () => {
    const up = await upstream(real);
    const { port } = await serve(
      `.:0 {\n autopath @kubernetes\n kubernetes cluster.local {\n  pods verified\n }\n forward . ${up.address}\n}`,
    );
    const texts = async (name: string): Promise<string[]> => (await ask(port, name)).answers.map(rrText);
    const first = '.default.svc.cluster.local.';
    expect(await texts(`Real.org${first}`)).toEqual([
      `Real.org${first} 60 CNAME Real.org.`,
      expect.stringMatching(/^real\.org\. 60 A 1\.2\.3\.4$/i),
    ]);
    expect(await texts(`db.other${first}`)).toEqual([
      `db.other${first} 5 CNAME db.other.svc.cluster.local.`,
      'db.other.svc.cluster.local. 5 A 10.96.0.6',
    ]);
    expect(await texts(`web${first}`)).toEqual([`web${first} 5 A 10.96.0.5`]);
    // One that exists nowhere gets the first answer, from the cluster's zone.
    const none = await ask(port, `nope.org${first}`);
    expect([none.rcode, none.authority.map(rrText)]).toEqual([
      RCODE.NXDOMAIN,
      ['cluster.local. 5 SOA ns.dns.cluster.local.'],
    ]);
    // Names that the client did not make with the first domain of its path are what they are.
    expect(short(await ask(port, 'real.org.other.svc.cluster.local.'))).toBe('NXDOMAIN');
    expect(short(await ask(port, 'default.svc.cluster.local.'))).toBe('NOERROR');
    expect(short(await ask(port, 'real.org.'))).toBe('NOERROR | A 1.2.3.4');
  });

  it('leaves clients alone that are no pods', async () => {
    const up = await upstream(real);
    const { port } = await serve(
      `.:0 {\n autopath @kubernetes\n kubernetes cluster.local {\n  pods verified\n  namespaces other\n }\n forward . ${up.address}\n}`,
    );
    expect(short(await ask(port, 'real.org.default.svc.cluster.local.'))).toBe('NXDOMAIN');
  });

  it('walks the path of a file, in its zones', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-autopath-'));
    running.push(() => rmSync(folder, { recursive: true }));
    writeFileSync(path.join(folder, 'resolv.conf'), 'nameserver 10.0.0.1\nsearch a.lan b.lan\n');
    const up = await upstream(real);
    const { port } = await serve(`.:0 {\n autopath a.lan ${folder}/resolv.conf\n forward . ${up.address}\n}`);
    expect(short(await ask(port, 'real.org.a.lan.'))).toBe('NOERROR | A 1.2.3.4 | CNAME real.org.');
    expect(up.asked).toEqual(['real.org.a.lan. 1 udp', 'real.org.b.lan. 1 udp', 'real.org. 1 udp']);
    expect(short(await ask(port, 'real.org.b.lan.'))).toBe('NXDOMAIN');
  });

  it.each([
    ['autopath', "unexpected line ending after 'autopath'"],
    ['autopath /does/not/exist', 'failed to parse "/does/not/exist"'],
    ['autopath @kubernetes', 'no plugin of this block gives search paths: @kubernetes'],
    ['autopath @whoami', 'no plugin of this block gives search paths: @whoami'],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n whoami\n}`)[0]?.message).toContain(message);
  });
});
