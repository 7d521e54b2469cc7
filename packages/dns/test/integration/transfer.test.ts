import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '@weft/plan';
import { fetchZone } from '../../src/client/transfer.ts';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import {
  decodeMessage,
  encodeQuery,
  keyFromText,
  nameFromText,
  rdata,
  recordFromText,
  type Rr,
  type Soa,
  soaOf,
  TYPE,
} from '../../src/wire/index.ts';
import { SecondaryZone } from '../../src/zone/secondary.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';
import { ask, exchangeTcp, exchangeUdp, rrText, short } from '../support/dig.ts';

const running: (() => Promise<void> | void)[] = [];
let folder = '';
let db = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-transfer-'));
  db = path.join(folder, 'db');
});
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
  rmSync(folder, { recursive: true });
});

const zone = (serial: number, rest: string): string =>
  `$TTL 60\n@ SOA ns hostmaster ${serial} 7200 1800 86400 30\n@ NS ns\nns A 10.0.0.53\n${rest}\n`;

async function serve(text: string): Promise<DnsServer> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'] });
  running.push(() => dns.close());
  return dns;
}
const portOf = (dns: DnsServer): number => dns.addresses[0]?.port as number;
const ORIGIN = nameFromText('example.org.');
const fetch = (port: number): Promise<Rr[]> =>
  fetchZone({ host: '127.0.0.1', port }, ORIGIN, new AbortController().signal);

describe('transfer', () => {
  it('hands over a zone of many messages, whole', async () => {
    writeFileSync(db, zone(1, '$GENERATE 1-5000 host-$ A 10.1.${0}.1').replace('10.1.${0}.1', '10.1.0.1'));
    const port = portOf(await serve(`example.org:0 {\n loadbalance\n transfer {\n  to *\n }\n file ${db}\n}`));
    const records = await fetch(port);
    expect(records).toHaveLength(5003);
    expect(new Set(records.map(rrText)).size).toBe(5003);
    expect(records[0]?.type).toBe(TYPE.SOA);
    // Not over UDP, and the SOA record alone to who has the serial already, or asks over UDP.
    expect(short(await ask(port, 'example.org.', 'AXFR'))).toBe('REFUSED');
    expect(short(await ask(port, 'example.org.', 'IXFR'))).toBe('NOERROR | SOA ns.example.org.');
    const query = (serial: number): Uint8Array => {
      const bytes = encodeQuery({ id: 1, flags: 0, name: ORIGIN, type: TYPE.IXFR, class: 1 });
      const soa = rdata.soa({ ...(soaOf(records[0] as Rr) as Soa), serial });
      const out = Buffer.concat([bytes, ORIGIN, Buffer.from([0, 6, 0, 1, 0, 0, 0, 60, 0, soa.length]), soa]);
      out[9] = 1;
      return out;
    };
    const [current] = await exchangeTcp(port, [query(1)]);
    expect(decodeMessage(current as Buffer).answers.map(({ type }) => type)).toEqual([TYPE.SOA]);
    const [old] = await exchangeTcp(port, [query(0)]);
    expect(decodeMessage(old as Buffer).answers.length).toBeGreaterThan(100);
  });

  it('hands over the zone of the cluster', async () => {
    const api = new FakeApi();
    api.put('namespaces', namespace('default'));
    const ports = [{ name: 'http', port: 80 }];
    api.put('services', service('default/web', { clusterIPs: ['10.96.0.5', 'fd00::5'], ports }));
    api.put('services', service('default/db'), service('default/out', { externalName: 'db.test' }));
    api.put('services', service('gone/web', { clusterIPs: ['10.96.0.9'], ports }));
    api.put('endpointslices', slice('default/db', [{ ip: '10.1.1.1', hostname: 'db-0' }], ports));
    const text = 'cluster.local:0 {\n transfer {\n  to *\n }\n kubernetes\n}';
    const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], kube: api });
    running.push(() => dns.close());
    const target = { host: '127.0.0.1', port: portOf(dns) };
    const records = await fetchZone(target, nameFromText('cluster.local.'), new AbortController().signal);
    const texts = records.map(rrText).filter((line) => line.includes('.svc.') || line.includes('TXT'));
    expect(texts.sort()).toEqual([
      '_http._tcp.db.default.svc.cluster.local. 5 SRV 0 100 80 db-0.db.default.svc.cluster.local.',
      '_http._tcp.web.default.svc.cluster.local. 5 SRV 0 50 80 web.default.svc.cluster.local.',
      'db-0.db.default.svc.cluster.local. 5 A 10.1.1.1',
      'db.default.svc.cluster.local. 5 A 10.1.1.1',
      'dns-version.cluster.local. 28800 TXT "1.1.0"',
      'out.default.svc.cluster.local. 5 CNAME db.test.',
      'web.default.svc.cluster.local. 5 A 10.96.0.5',
      'web.default.svc.cluster.local. 5 AAAA fd00::5',
    ]);
    expect(records[0]?.type).toBe(TYPE.SOA);
  });

  it('refuses others, and names that are no zone', async () => {
    writeFileSync(db, zone(1, 'www A 10.0.0.1'));
    const port = portOf(await serve(`example.org:0 {\n transfer {\n  to 192.0.2.1\n }\n file ${db}\n}`));
    await expect(fetch(port)).rejects.toThrow('transfer refused: REFUSED');
    const open = portOf(await serve(`example.org:0 {\n transfer {\n  to *\n }\n file ${db}\n}`));
    expect(short(await ask(open, 'www.example.org.', 'AXFR', { tcp: true }))).toBe('REFUSED');
    expect(short(await ask(open, 'www.example.org.'))).toBe('NOERROR | A 10.0.0.1');
  });

  it.each([
    ['transfer', "'to' is required"],
    ['transfer {\n to example.org\n}', 'not an IP address: "example.org"'],
    ['transfer {\n from 10.0.0.1\n}', "unknown property 'from'"],
    ['secondary', "'transfer from' is required"],
    ['secondary {\n transfer to 10.0.0.1\n}', 'Wrong argument count'],
    ['secondary {\n transfer from nowhere\n}', 'not an IP address: "nowhere"'],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n}`)[0]?.message).toContain(message);
  });
});

describe('secondary', () => {
  it('takes a zone, and takes it again when told', async () => {
    writeFileSync(db, zone(1, 'www A 10.0.0.1'));
    const primary = await serve(`example.org:0 {\n transfer {\n  to *\n }\n file ${db} {\n  reload 10ms\n }\n}`);
    const second = await serve(`example.org:0 {\n secondary {\n  transfer from 127.0.0.1:${portOf(primary)}\n }\n}`);
    const www = async (): Promise<string> => short(await ask(portOf(second), 'www.example.org.'));
    await vi.waitFor(async () => expect(await www()).toBe('NOERROR | A 10.0.0.1'), { timeout: 5000 });
    writeFileSync(db, zone(2, 'www A 10.0.0.222'));
    await vi.waitFor(
      async () => expect(short(await ask(portOf(primary), 'www.example.org.'))).toBe('NOERROR | A 10.0.0.222'),
      { timeout: 5000 },
    );
    expect(await www()).toBe('NOERROR | A 10.0.0.1');
    const notify = encodeQuery({ id: 9, flags: 0x2400, name: ORIGIN, type: TYPE.SOA, class: 1 });
    const answer = await exchangeUdp(portOf(second), notify);
    expect((answer as Buffer).subarray(0, 4).toString('hex')).toBe('0009a400');
    await vi.waitFor(async () => expect(await www()).toBe('NOERROR | A 10.0.0.222'), { timeout: 5000 });
  });

  it('is told by transfer when a file changes', async () => {
    const told: string[] = [];
    const { TestUpstream } = await import('../support/upstream.ts');
    const listener = await new TestUpstream((query) => {
      told.push(`${(query.flags >> 11) & 15} ${query.type}`);
      return { answers: [] };
    }).start();
    running.push(() => listener.stop());
    writeFileSync(db, zone(1, 'www A 10.0.0.1'));
    await serve(`example.org:0 {\n transfer {\n  to ${listener.address}\n }\n file ${db} {\n  reload 10ms\n }\n}`);
    await vi.waitFor(() => expect(told).toEqual(['4 6']), { timeout: 5000 });
    writeFileSync(db, zone(2, 'www A 10.0.0.222'));
    await vi.waitFor(() => expect(told).toEqual(['4 6', '4 6']), { timeout: 5000 });
  });
});

describe('a secondary zone', () => {
  const records = (serial: number): Rr[] => [
    recordFromText(`example.org. 60 SOA ns. hostmaster. ${serial} 100 10 1000 30`),
    recordFromText('www.example.org. 60 A 10.0.0.1'),
  ];
  it('follows the times of its SOA record', async () => {
    vi.useFakeTimers();
    running.push(() => void vi.useRealTimers());
    let serial = 0xffff_fffe;
    let up = true;
    const calls: string[] = [];
    const answer = (what: string): void => {
      calls.push(what);
      if (!up) throw new Error('down');
    };
    const secondary = new SecondaryZone({
      origin: keyFromText('example.org.'),
      primaries: [{ host: '192.0.2.1', port: 53 }],
      log: silentLogger,
      now: () => Date.now(),
      querySoa: async () => {
        answer('soa');
        return soaOf(records(serial)[0] as Rr) as Soa;
      },
      fetchZone: async () => {
        answer('axfr');
        return records(serial);
      },
    });
    running.push(() => secondary.close());
    const serials: (number | undefined)[] = [];
    secondary.follow((zone) => void serials.push(zone?.serial));
    await secondary.check();
    expect(serials).toEqual([undefined, 0xffff_fffe]);
    await vi.advanceTimersByTimeAsync(99_000);
    expect(calls).toEqual(['axfr']);
    await vi.advanceTimersByTimeAsync(1000);
    expect(calls).toEqual(['axfr', 'soa']);
    // Serial numbers wrap around.
    serial = 1;
    await vi.advanceTimersByTimeAsync(100_000);
    expect(serials.at(-1)).toBe(1);
    up = false;
    calls.length = 0;
    await vi.advanceTimersByTimeAsync(100_000);
    expect(calls).toEqual(['soa']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls).toEqual(['soa', 'soa']);
    await vi.advanceTimersByTimeAsync(889_000);
    expect(secondary.zone).toBeDefined();
    await vi.advanceTimersByTimeAsync(2000);
    expect(secondary.zone).toBeUndefined();
    expect(serials.at(-1)).toBeUndefined();
    up = true;
    await vi.advanceTimersByTimeAsync(300_000);
    expect(secondary.zone?.serial).toBe(1);
  });
});
