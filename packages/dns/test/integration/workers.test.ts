import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '@weft/plan';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Fast } from '../../src/fast/fast.ts';
import { type DnsOptions, type DnsServer, startDns } from '../../src/index.ts';
import { DnsMetrics } from '../../src/server/metrics.ts';
import { decodeMessage, TYPE } from '../../src/wire/index.ts';
import { type AskOptions, exchangeUdp, question } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';
import { startSite } from '../support/site.ts';
import { always, TestUpstream } from '../support/upstream.ts';
import { buildWorker } from '../support/worker-file.ts';

const Z = 'cluster.local';
const WEB = `web.demo.svc.${Z}`;

let worker: Awaited<ReturnType<typeof buildWorker>>;
const upstream = new TestUpstream(always(7, 600));
const running: (() => Promise<void> | void)[] = [];
beforeAll(async () => {
  worker = await buildWorker();
  await upstream.start();
});
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});
afterAll(async () => {
  worker.remove();
  await upstream.stop();
});

function cluster(): FakeApi {
  const api = new FakeApi();
  const ports = [{ name: 'http', port: 80 }];
  api.put('namespaces', namespace('demo'));
  api.put('services', service('demo/web', { clusterIPs: ['10.96.0.5', 'fd00::5'], ports }));
  api.put('services', service('demo/big', { ports }));
  const endpoints = (n: number) => Array.from({ length: n }, (_, i) => ({ ip: `10.244.0.${i}`, hostname: `p-${i}` }));
  api.put('endpointslices', slice('demo/web', endpoints(2), ports), slice('demo/big', endpoints(100), ports));
  return api;
}

const corefile = (more = ''): string => `.:0 {
    prometheus localhost:0
    kubernetes ${Z} in-addr.arpa {
        fallthrough in-addr.arpa
    }
    cache 300
    forward . ${upstream.address}
    ${more}
}`;

async function serve(options: Partial<DnsOptions> = {}): Promise<{ dns: DnsServer; port: number; api: FakeApi }> {
  const api = cluster();
  const dns = await startDns({
    corefile: { text: corefile() },
    hosts: ['127.0.0.1'],
    kube: api,
    fast: { workers: 2, workerFile: worker.file },
    ...options,
  });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number, api };
}

/** Lines of the metrics that count queries, without those that depend on time. */
function counted(dns: DnsServer): string[] {
  const lines = dns.renderMetrics().split('\n');
  return lines
    .filter(
      (line) =>
        /^coredns_(dns|cache)_/.test(line) &&
        !/_(bucket|sum)\{.*seconds|duration_seconds_(bucket|sum)|cache_entries/.test(line),
    )
    .sort(); // prettier-ignore
}

/** An answer without what depends on the second it was made in: ages, and serials. */
function timeless(bytes: Buffer | undefined): string {
  const { answers, authority, additional } = decodeMessage(bytes as Buffer);
  const records = [answers, authority, additional].map((list) =>
    list.map(({ name, type, rdata }) => {
      const data = Buffer.from(rdata);
      if (type === TYPE.SOA) data.fill(0, data.length - 20, data.length - 16);
      return [Buffer.from(name ?? []).toString('latin1'), type, data.toString('hex')];
    }),
  );
  return JSON.stringify([bytes?.length, bytes?.subarray(0, 12).toString('hex'), records]);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}

const QUESTIONS: [string, string, AskOptions?][] = [
  [WEB, 'A'],
  [WEB.toUpperCase(), 'A'],
  [WEB, 'AAAA', { edns: { udpSize: 1232 } }],
  [WEB, 'SRV'],
  [`_http._tcp.${WEB}`, 'SRV'],
  [WEB, 'TXT', { edns: { udpSize: 4096, flags: 0x8000 } }],
  [`big.demo.svc.${Z}`, 'A'],
  [`big.demo.svc.${Z}`, 'A', { edns: { udpSize: 4096 } }],
  [`p-3.big.demo.svc.${Z}`, 'A'],
  [`www.example.org.demo.svc.${Z}`, 'A'],
  [`Www.Example.org.SVC.${Z}`, 'AAAA'],
  [`gone.${Z}`, 'MX', { edns: { udpSize: 512, options: Uint8Array.of(0, 10, 0, 2, 1, 2) } }],
  ['5.0.96.10.in-addr.arpa', 'PTR'],
  [Z, 'SOA'],
  [`version.${Z}`, 'A', { class: 3 }],
  ['www.example.org', 'A'],
  ['WWW.example.org', 'A'],
  ['www.example.org', 'A', { edns: { udpSize: 1232, flags: 0x8000 } }],
];

describe.each([
  ['workers', {}],
  ['the main thread in batches', { fast: { workers: 0 } }],
  ['dgram', { dgramOnly: true }],
] as [string, Partial<DnsOptions>][])('UDP read by %s', (_name, options) => {
  it('answers and counts as the plugins alone do', async () => {
    const fast = await serve(options);
    const plain = await serve({ fast: false });
    for (let round = 0; round < 4; round++) {
      for (const [name, type, how] of QUESTIONS) {
        const packet = question(name, type, how);
        const [one, other] = [await exchangeUdp(fast.port, packet), await exchangeUdp(plain.port, packet)];
        expect(timeless(one), `${name} ${type}`).toBe(timeless(other));
      }
    }
    // A worker counts the time of an answer after sending it.
    await until(() => counted(fast.dns).join() === counted(plain.dns).join());
  });

  it('a changed Service is answered as it is now', async () => {
    const { port, api } = await serve(options);
    for (let i = 1; i < 20; i++) {
      const ip = Buffer.of(10, 96, 1, i);
      api.put('services', service('demo/web', { clusterIPs: [ip.join('.')], ports: [] }));
      await until(async () => (await exchangeUdp(port, question(WEB, 'A')))?.subarray(-4).equals(ip) === true);
      expect((await exchangeUdp(port, question(WEB, 'A')))?.subarray(-4)).toEqual(ip);
    }
  });
});

describe('workers', () => {
  it('answer from a hosts file as it is now', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-hosts-'));
    running.push(() => rmSync(folder, { recursive: true }));
    const file = path.join(folder, 'hosts');
    writeFileSync(file, '10.0.0.1 node.test');
    const { port } = await serve({ corefile: { text: `.:0 {\n hosts ${file} {\n reload 20ms\n }\n}` } });
    const ask = async () => (await exchangeUdp(port, question('node.test', 'A')))?.subarray(-4).join('.');
    for (let i = 0; i < 3; i++) expect(await ask()).toBe('10.0.0.1');
    writeFileSync(file, '10.0.0.20 node.test');
    await until(async () => (await ask()) === '10.0.0.20');
  });

  it('let who looks at the queries see them all', async () => {
    const { dns, port } = await serve();
    const ask = () => exchangeUdp(port, question(WEB, 'A'));
    for (let i = 0; i < 3; i++) await ask();
    let seen = 0;
    const stop = dns.watch({ finished: () => void (seen += 1) });
    for (let i = 0; i < 5; i++) await ask();
    stop();
    await ask();
    expect(seen).toBe(5);
  });

  it('serve IPv6, and every address of a block', async () => {
    const { dns } = await serve({ hosts: ['127.0.0.1', '::1', '127.0.0.2'] });
    for (const { host, port } of dns.addresses) {
      for (let i = 0; i < 3; i++) {
        const answer = await exchangeUdp(port, question(WEB, 'A'), host);
        expect(decodeMessage(answer as Buffer).answers.length, host).toBe(1);
      }
    }
    await until(() => counted(dns).some((line) => /family="2".*type="A"\} 3/.test(line)));
  });

  /** Keeps eight queries under way on every socket; `stop` gives how many were asked once all are answered. */
  async function lanes(port: number, sockets: number): Promise<{ stop(): Promise<number> }> {
    const asked = question(WEB, 'A');
    let asking = true;
    const done: Promise<number>[] = [];
    for (let n = 0; n < sockets; n++) {
      const socket = createSocket('udp4');
      running.push(() => void socket.close());
      await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve));
      let [sent, answers] = [0, 0];
      const send = (): void => {
        sent += 1;
        socket.send(asked);
      };
      done.push(
        new Promise((resolve) => {
          // A lost query ends its lane, and the socket is never done.
          socket.on('message', () => {
            answers += 1;
            if (asking) send();
            else if (answers === sent) resolve(sent);
          });
        }),
      );
      for (let i = 0; i < 8; i++) send();
    }
    return {
      stop: async () => {
        asking = false;
        return (await Promise.all(done)).reduce((a, b) => a + b);
      },
    };
  }

  it('no query is lost while the configuration is replaced', async () => {
    const { dns, port } = await serve();
    const load = await lanes(port, 1);
    for (let i = 0; i < 5; i++) await dns.reload();
    expect(await load.stop()).toBeGreaterThanOrEqual(8);
  });

  it('no query is lost while one server replaces another', async () => {
    let before = await serve({ share: true });
    const { port } = before;
    const load = await lanes(port, 4);
    for (let i = 0; i < 3; i++) {
      const after = await serve({ share: true, corefile: { text: corefile().replace(':0', `:${port}`) } });
      await before.dns.close({ lameduck: true });
      before = after;
    }
    expect(await load.stop()).toBeGreaterThanOrEqual(32);
  });

  it('no packet stops one', async () => {
    const { dns, port } = await serve();
    const good = Buffer.from(question(WEB, 'A', { edns: { udpSize: 1232 } }));
    const socket = createSocket('udp4');
    running.push(() => void socket.close());
    let random = 1;
    const next = (n: number): number => {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      return (random >>> 8) % n;
    };
    for (let i = 0; i < 3000; i++) {
      const bad = i % 3 === 0 ? Buffer.from(Array.from({ length: next(600) }, () => next(256))) : Buffer.from(good);
      if (i % 3 !== 0 && bad.length > 0) for (let j = 0; j <= next(4); j++) bad[next(bad.length)] = next(256);
      socket.send(i % 3 === 1 ? bad.subarray(0, next(bad.length + 1)) : bad, port, '127.0.0.1');
      if (i % 200 === 0) await exchangeUdp(port, good);
    }
    expect(decodeMessage((await exchangeUdp(port, good)) as Buffer).answers.length).toBe(1);
    expect(dns.renderMetrics()).not.toMatch(/weft_dns_worker_deaths_total [1-9]/);
  });

  it('that die are replaced, and their counts stay', async () => {
    const api = cluster();
    const clock = { now: () => Date.now() };
    const started = await startSite(corefile(), api, clock);
    const fast = new Fast({ workers: 1, workerFile: worker.file }, started.metrics, clock, silentLogger);
    const here = fast.path('here');
    here.follow(started.site);
    const group = await fast.open('127.0.0.1', 0, here, {
      count: undefined,
      share: false,
      receiveBuffer: 65536,
      respond: (packet, context) => here.chain(started.site, packet, context),
    });
    running.push(
      () => started.stop(),
      () => fast.close(),
      () => group?.close(),
    );
    const ask = (): Promise<Buffer | undefined> => exchangeUdp(group?.port ?? 0, question(WEB, 'A'));
    for (let i = 0; i < 4; i++) await ask();
    fast.killWorker(0);
    await until(() => /deaths_total 1/.test(started.metrics.render()));
    // Asked while there is no worker: answered by the next one.
    for (let i = 0; i < 4; i++) expect(decodeMessage((await ask()) as Buffer).rcode).toBe(0);
    const total = `coredns_dns_requests_total{server="dns://:0",zone=".",view="",proto="udp",family="1",type="A"} 8`;
    expect(started.metrics.render()).toContain(total);
  });

  it('are not there without their program', async () => {
    const fast = new Fast({}, new DnsMetrics(), { now: () => 0 }, silentLogger);
    const started = await startSite(corefile(), cluster(), { now: () => 0 });
    running.push(
      () => started.stop(),
      () => fast.close(),
    ); // prettier-ignore
    const here = fast.path('here');
    const options = { count: undefined, share: false, receiveBuffer: 65536, respond: () => 0 };
    expect(await fast.open('127.0.0.1', 0, here, options)).toBeUndefined();
  });
});
