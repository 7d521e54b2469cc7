import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from '@weft/plan';
import { afterEach, describe, expect, it } from 'vitest';
import { checkCorefile, defaultCorefile, type DnsOptions, type DnsServer, startDns } from '../../src/index.ts';
import { decodeMessage, FLAG, nameToText } from '../../src/wire/index.ts';
import { ask, exchangeTcp, exchangeUdp, question, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';
import { always, TestUpstream } from '../support/upstream.ts';

const run = promisify(execFile);
const running: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

async function serve(text: string, options: Partial<DnsOptions> = {}): Promise<{ dns: DnsServer; port: number }> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], ...options });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

function memoryLog(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const log: Logger = {
    debug: () => {},
    info: (message) => void lines.push(`info ${message}`),
    warn: (message) => void lines.push(`warn ${message}`),
    error: (message) => void lines.push(`error ${message}`),
    child: () => log,
  };
  return { log, lines };
}

function cluster(endpoints = 3): FakeApi {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  api.put(
    'services',
    service('default/web', { clusterIPs: ['10.96.0.5'], ports: [{ name: 'http', port: 80 }] }),
    service('default/big', { ports: [{ port: 80 }] }),
  );
  const list = Array.from({ length: endpoints }, (_, i) => ({ ip: `10.244.${i >> 8}.${i & 255}` }));
  api.put('endpointslices', slice('default/big', list, [{ port: 80 }]));
  return api;
}

const KUBERNETES = '.:0 {\n kubernetes cluster.local {\n pods insecure\n }\n}';
const NAME = 'web.default.svc.cluster.local';

describe('packets', () => {
  it('malformed ones are dropped or refused with a bare header, and the next is answered', async () => {
    const { port } = await serve(KUBERNETES, { kube: cluster() });
    const good = Buffer.from(question(NAME, 'A'));
    const bad = Buffer.from(good);
    bad[5] = 2;
    expect((await exchangeUdp(port, bad))?.length).toBe(12);
    const response = Buffer.from(good);
    response[2] = 0x80;
    expect(await exchangeUdp(port, response, '127.0.0.1', 50)).toBeUndefined();
    expect(await exchangeUdp(port, good.subarray(0, 5), '127.0.0.1', 50)).toBeUndefined();
    expect(short(await ask(port, NAME))).toBe('NOERROR | A 10.96.0.5');
  });

  it('a plain hit has 86 bytes as CoreDNS gives it', async () => {
    const { port } = await serve(KUBERNETES, { kube: cluster() });
    const name = 'web.default.svc.cluster.local';
    const plain = await exchangeUdp(port, question(name, 'A'));
    expect(plain?.length).toBe(12 + 31 + 4 + 31 + 10 + 4);
  });

  it('classes, EDNS versions and foreign zones', async () => {
    const { port } = await serve('cluster.local:0 {\n kubernetes\n}', { kube: cluster() });
    expect(short(await ask(port, NAME, 'A', { class: 3 }))).toBe('REFUSED');
    expect(short(await ask(port, NAME, 'A', { class: 255 }))).toBe('NOERROR | A 10.96.0.5');
    const foreign = await ask(port, 'example.org');
    expect([short(foreign), foreign.flags & FLAG.AA]).toEqual(['REFUSED', 0]);
    const version1 = Buffer.from(question(NAME, 'A', { edns: { udpSize: 1232 } }));
    version1[version1.length - 5] = 1;
    const answer = decodeMessage((await exchangeUdp(port, version1)) as Buffer);
    expect([short(answer), answer.opt?.udpSize]).toEqual(['BADVERS', 1232]);
  });

  it('a hundred addresses: cut over UDP as the client can take them, whole over TCP', async () => {
    const { port } = await serve(KUBERNETES, { kube: cluster(100) });
    const name = 'big.default.svc.cluster.local';
    const counts: [number, boolean][] = [];
    for (const udpSize of [undefined, 1232, 4096]) {
      const message = await ask(port, name, 'A', udpSize === undefined ? {} : { edns: { udpSize } });
      counts.push([message.answers.length, (message.flags & FLAG.TC) !== 0]);
    }
    // One byte longer than the name of the reference measurement: still 29 and 73 records.
    expect(counts).toEqual([
      [29, true],
      [73, true],
      [100, false],
    ]);
    const [whole] = await exchangeTcp(port, [question(name, 'A')]);
    expect(whole?.length).toBe(12 + 35 + 100 * (31 + 14));
  });

  it('TCP answers several queries of one connection', async () => {
    const { port } = await serve(KUBERNETES, { kube: cluster() });
    const names = [NAME, 'nope.default.svc.cluster.local', '1-2-3-4.default.pod.cluster.local'];
    const answers = await exchangeTcp(
      port,
      names.map((name) => question(name, 'A')),
    );
    expect(answers.map((bytes) => short(decodeMessage(bytes))).sort()).toEqual([
      'NOERROR | A 1.2.3.4',
      'NOERROR | A 10.96.0.5',
      'NXDOMAIN',
    ]);
  });

  it('IPv4 and IPv6 on all addresses', async () => {
    const { port } = await serve(KUBERNETES, { kube: cluster(), hosts: [''] });
    for (const host of ['127.0.0.1', '::1']) {
      expect(short(await ask(port, NAME, 'A', { host }))).toBe('NOERROR | A 10.96.0.5');
      expect(short(await ask(port, NAME, 'A', { host, tcp: true }))).toBe('NOERROR | A 10.96.0.5');
    }
  });
});

describe.each([
  ['in batches', false],
  ['one by one', true],
])('a burst of UDP queries, taken %s', (_, dgramOnly) => {
  /** Sends packets from a few sockets at once and collects what comes back, by message id. */
  async function burst(port: number, packets: readonly Buffer[], host: string): Promise<Map<number, string>> {
    const answers = new Map<number, string>();
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve) => socket.connect(port, host, resolve));
    socket.setRecvBufferSize(4 * 1024 * 1024);
    const done = new Promise<void>((resolve) => {
      socket.on('message', (answer) => {
        answers.set(answer.readUInt16BE(0), answer.subarray(2).toString('hex'));
        if (answers.size === packets.length) resolve();
      });
    });
    for (const packet of packets) socket.send(packet);
    await done;
    socket.close();
    return answers;
  }

  it.each(['127.0.0.1', '::1'])('over %s every query gets its own answer', async (host) => {
    const up = await new TestUpstream(always(9)).start();
    running.push(() => up.stop());
    const text = `.:0 {\n kubernetes cluster.local {\n pods insecure\n }\n forward . ${up.address} {\n force_tcp\n}\n}`;
    const { port } = await serve(text, { kube: cluster(100), hosts: [''], dgramOnly });
    const expected = new Map<number, string>();
    const packets = Array.from({ length: 600 }, (_, i) => {
      // Table, chain, denial, upstream, and an answer too large for a batch.
      const [name, edns] = [
        [`1-2-${i >> 8}-${i & 255}.default.pod.cluster.local`, undefined],
        ['Web.default.svc.cluster.local', undefined],
        [`n${i}.default.svc.cluster.local`, undefined],
        [`host-${i}.org`, undefined],
        ['big.default.svc.cluster.local', { udpSize: 8192 }],
      ][i % 5] as [string, { udpSize: number } | undefined];
      const packet = Buffer.from(question(name, 'A', edns === undefined ? {} : { edns }));
      packet.writeUInt16BE(i, 0);
      expected.set(i, name);
      return packet;
    });
    const answers = await burst(port, packets, host);
    for (const [id, name] of expected) {
      const message = decodeMessage(Buffer.from(`0000${answers.get(id)}`, 'hex'));
      const text = short(message);
      expect(nameToText(message.question?.name as Uint8Array)).toBe(`${name}.`);
      if (id % 5 === 0) expect(text).toBe(`NOERROR | A 1.2.${id >> 8}.${id & 255}`);
      if (id % 5 === 1) expect(text).toBe('NOERROR | A 10.96.0.5');
      if (id % 5 === 2) expect(text).toBe('NXDOMAIN');
      if (id % 5 === 3) expect(text).toBe('NOERROR | A 10.0.0.9');
      if (id % 5 === 4) expect(message.answers).toHaveLength(100);
    }
  });
});

describe('dig', () => {
  it('reads what the default Corefile of a cluster serves', async () => {
    const up = await new TestUpstream(always(1)).start();
    running.push(() => up.stop());
    const text = defaultCorefile({ upstream: up.address, port: 0, health: 'localhost:0', ready: null, metrics: null });
    const { port } = await serve(text, { kube: cluster() });
    const dig = async (...words: string[]): Promise<string> =>
      (await run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', '+timeout=5', ...words])).stdout.trim();
    expect(await dig('+short', NAME)).toBe('10.96.0.5');
    expect(await dig('+short', '+tcp', NAME)).toBe('10.96.0.5');
    expect(await dig('+short', '+search', '+domain=default.svc.cluster.local', 'web')).toBe('10.96.0.5');
    expect(await dig('+short', '-x', '10.96.0.5')).toBe(NAME + '.');
    expect(await dig('+short', 'SRV', `_http._tcp.${NAME}`)).toBe(`0 100 80 ${NAME}.`);
    expect((await dig('+short', '+ignore', 'big.default.svc.cluster.local')).split('\n')).toHaveLength(3);
    expect(await dig('+short', 'www.example.org')).toBe('10.0.0.1');
    expect(await dig('+short', 'TXT', 'dns-version.cluster.local')).toBe('"1.1.0"');
    expect(await dig('nope.default.svc.cluster.local')).toContain('status: NXDOMAIN');
  });
});

describe('server blocks', () => {
  it('the longest zone wins, on every port its own', async () => {
    const { dns } = await serve(
      '.:0 {\n hosts /none {\n 10.0.0.1 a.b.c\n 10.0.0.1 x.c\n}\n}\nb.c:0 {\n hosts /none {\n 10.0.0.2 a.b.c\n}\n}',
    );
    const port = dns.addresses[0]?.port as number;
    expect(dns.addresses).toHaveLength(1);
    expect(short(await ask(port, 'a.b.c'))).toBe('NOERROR | A 10.0.0.2');
    expect(short(await ask(port, 'x.c'))).toBe('NOERROR | A 10.0.0.1');
    // A DS record belongs to the parent.
    expect(short(await ask(port, 'x.b.c', 'DS'))).toBe('SERVFAIL');
  });

  it('a block without plugins refuses', async () => {
    const { port } = await serve('a.org:0 {\n}');
    expect(short(await ask(port, 'a.org'))).toBe('REFUSED');
  });

  it('hosts: lines of the file and of the Corefile, both ways', async () => {
    const { port } = await serve(
      '.:0 {\n hosts /none {\n 10.0.0.1 a.org b.org\n fd00::1 a.org\n ttl 60\n fallthrough c.org\n}\nwhoami\n}',
    );
    expect(short(await ask(port, 'A.org'))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'a.org', 'AAAA'))).toBe('NOERROR | AAAA fd00::1');
    expect(short(await ask(port, 'b.org', 'AAAA'))).toBe('NOERROR');
    expect(short(await ask(port, '1.0.0.10.in-addr.arpa', 'PTR'))).toBe('NOERROR | PTR a.org. | PTR b.org.');
    expect(short(await ask(port, 'nope.org'))).toBe('SERVFAIL');
    expect((await ask(port, 'x.c.org')).additional.length).toBe(2);
  });
});

describe('endpoints', () => {
  const get = async (dns: DnsServer, address: string, path: string): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${dns.httpPorts[address]}${path}`);
    return `${response.status} ${await response.text()}`;
  };

  it('health, ready and metrics', async () => {
    const api = cluster();
    api.silent = true;
    const text =
      '.:0 {\n health 127.0.0.1:0\n ready localhost:0\n prometheus :0\n kubernetes cluster.local {\n startup_timeout 1ms\n }\n}';
    const { dns, port } = await serve(text, { kube: api });
    expect(await get(dns, '127.0.0.1:0', '/health')).toBe('200 OK');
    expect(await get(dns, 'localhost:0', '/ready')).toBe('503 kubernetes');
    expect(await get(dns, 'localhost:0', '/other')).toBe('404 404 page not found\n');
    expect(short(await ask(port, NAME))).toBe('SERVFAIL');
    const metrics = await get(dns, ':0', '/metrics');
    expect(metrics).toContain(
      'coredns_dns_requests_total{server="dns://127.0.0.1:0",zone=".",view="",proto="udp",family="1",type="A"} 1',
    );
    expect(metrics).toContain(
      'coredns_dns_responses_total{server="dns://127.0.0.1:0",zone=".",view="",rcode="SERVFAIL",plugin="kubernetes"} 1',
    );
    expect(metrics).toContain(
      'coredns_plugin_enabled{server="dns://127.0.0.1:0",zone=".",view="",name="kubernetes"} 1',
    );
    expect(metrics).toMatch(
      /coredns_dns_request_duration_seconds_count{server="dns:\/\/127.0.0.1:0",zone=".",view=""} 1/,
    );
    expect(metrics).toContain('weft_informer_objects{informer="dns-services"} 0');
  });

  it('the server asks itself how it is, and counts what it asks the API server', async () => {
    const text =
      '.:0 {\n health 127.0.0.1:0\n prometheus 127.0.0.1:0\n kubernetes cluster.local {\n endpoint https://10.0.0.1:6443\n }\n}';
    const { dns } = await serve(text, { kube: cluster(), version: '1.2.3' });
    await expect
      .poll(() => dns.renderMetrics(), { timeout: 5000 })
      .toMatch(/^coredns_health_request_duration_seconds_count [1-9]/m);
    const metrics = dns.renderMetrics();
    expect(metrics).toContain(
      'coredns_kubernetes_rest_client_requests_total{code="200",method="GET",host="10.0.0.1:6443"} 3',
    );
    expect(metrics).toContain(
      'coredns_kubernetes_rest_client_request_duration_seconds_count{verb="GET",host="10.0.0.1:6443"} 3',
    );
    expect(metrics).toContain(`coredns_build_info{version="1.2.3",revision="",goversion="node ${process.version}"} 1`);
  });

  it('queries that no block is asked about are counted as dropped', async () => {
    const { dns, port } = await serve('a.test:0 {\n prometheus 127.0.0.1:0\n whoami\n}');
    expect(short(await ask(port, 'b.test'))).toBe('REFUSED');
    const metrics = dns.renderMetrics();
    const labels = 'server="dns://127.0.0.1:0",zone="dropped",view=""';
    expect(metrics).toContain(`coredns_dns_requests_total{${labels},proto="udp",family="1",type="A"} 1`);
    expect(metrics).toContain(`coredns_dns_responses_total{${labels},rcode="REFUSED",plugin=""} 1`);
    expect(metrics).not.toContain('coredns_plugin_enabled{server="dns://127.0.0.1:0",zone="dropped"');
  });

  it('stays ready and answers through reloads', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weft-dns-'));
    running.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'Corefile');
    const corefile = (ttl: number): string =>
      `.:0 {\n health 127.0.0.1:0 {\n lameduck 5s\n }\n ready localhost:0\n kubernetes cluster.local {\n ttl ${ttl}\n }\n}`;
    writeFileSync(path, corefile(5));
    const { dns, port } = await serve('', { corefile: { path }, kube: cluster() });
    const seen = new Set<string>();
    let over = false;
    const watching = (async () => {
      while (!over) {
        seen.add(await get(dns, 'localhost:0', '/ready'));
        seen.add(short(await ask(port, NAME)));
      }
    })();
    // Another TTL means another view of the cluster, which has to be read anew.
    for (const ttl of [6, 7, 8]) {
      writeFileSync(path, corefile(ttl));
      await dns.reload();
    }
    over = true;
    await watching;
    expect([...seen].sort()).toEqual(['200 OK', 'NOERROR | A 10.96.0.5']);
  });

  it('says ready once the cluster is known, and keeps answering while it leaves', async () => {
    const text = '.:0 {\n health 127.0.0.1:0 {\n lameduck 100ms\n }\n ready localhost:0\n kubernetes cluster.local\n}';
    const { dns, port } = await serve(text, { kube: cluster() });
    expect(await get(dns, 'localhost:0', '/ready')).toBe('200 OK');
    const closed = dns.close({ lameduck: true });
    expect(await get(dns, 'localhost:0', '/ready')).toBe('503 Shutting down');
    expect(await get(dns, '127.0.0.1:0', '/health')).toBe('200 OK');
    expect(short(await ask(port, NAME))).toBe('NOERROR | A 10.96.0.5');
    await closed;
    expect(await exchangeUdp(port, question(NAME, 'A'), '127.0.0.1', 50).catch(() => undefined)).toBeUndefined();
  });

  it('a new configuration that cannot answer does not take over', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weft-dns-'));
    running.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'Corefile');
    const corefile = (ttl: number): string =>
      `.:0 {\n ready localhost:0\n kubernetes cluster.local {\n startup_timeout 10ms\n ttl ${ttl}\n }\n}`;
    writeFileSync(path, corefile(5));
    const api = cluster();
    const { dns, port } = await serve('', { corefile: { path }, kube: api });
    api.silent = true;
    writeFileSync(path, corefile(6));
    const reloading = dns.reload();
    const failed = expect(reloading).rejects.toThrow('the new configuration is not ready: kubernetes');
    for (let i = 0; i < 5; i++) {
      expect(await get(dns, 'localhost:0', '/ready')).toBe('200 OK');
      expect(short(await ask(port, NAME))).toBe('NOERROR | A 10.96.0.5');
    }
    await dns.close();
    await failed;
  });
});

describe('errors and log', () => {
  it('log one line per failure and per query', async () => {
    const { log, lines } = memoryLog();
    const { port } = await serve('.:0 {\n errors\n log\n forward . 127.0.0.1:1\n}', { log });
    await ask(port, 'A.org', 'AAAA', { edns: { udpSize: 1232, flags: 0x8000 } });
    expect(lines.filter((line) => line.startsWith('error'))).toEqual([
      expect.stringMatching(/^error plugin\/errors: 2 a\.org\. AAAA: udp 127\.0\.0\.1:1: .*ECONNREFUSED/),
    ]);
    expect(lines.filter((line) => line.startsWith('info'))).toEqual([
      expect.stringMatching(
        /^info 127\.0\.0\.1:\d+ - 4711 "AAAA IN A\.org\. udp 34 true 1232" SERVFAIL qr,rd 34 [0-9.e-]+s$/,
      ),
    ]);
  });

  it('equal errors are counted, the first one told when asked for, and the rest at the end', async () => {
    const { log, lines } = memoryLog();
    const text =
      '.:0 {\n errors {\n consolidate 1m "^udp .*ECONNREFUSED" warning show_first\n }\n forward . 127.0.0.1:1\n}';
    const { dns, port } = await serve(text, { log });
    for (let i = 0; i < 3; i++) await ask(port, 'a.org');
    expect(lines).toEqual([expect.stringMatching(/^warn plugin\/errors: 2 a\.org\. A: udp 127/)]);
    await dns.close();
    expect(lines.at(-1)).toBe("warn plugin/errors: 3 errors like '^udp .*ECONNREFUSED' occurred in last 1m0s");
  });

  it.each([
    ['1x a', 'time: invalid duration "1x"'],
    ['1m (', 'error parsing regexp'],
    ['1m a loud', 'unknown option in consolidate: loud'],
    ['1m a info debug', 'multiple log levels specified in consolidate'],
    ['1m a show_first info', 'log level must come before show_first in consolidate'],
    ['1m', "Wrong argument count or unexpected line ending after '1m'"],
  ])('consolidate %s is refused', (words, message) => {
    expect(checkCorefile(`. {\n errors {\n consolidate ${words}\n }\n whoami\n}`)).toMatchObject([
      { message: expect.stringContaining(message) },
    ]);
  });

  it('log only the classes asked for', async () => {
    const { log, lines } = memoryLog();
    const text = '.:0 {\n log . "{name} {rcode}" {\n class denial\n }\n kubernetes cluster.local\n}';
    const { port } = await serve(text, { log, kube: cluster() });
    await ask(port, NAME);
    await ask(port, 'nope.cluster.local');
    expect(lines).toEqual(['info nope.cluster.local. NXDOMAIN']);
  });
});

it('an alias out of the cluster has the TTL that its cached target has left', async () => {
  const up = await new TestUpstream(always(1, 60)).start();
  running.push(() => up.stop());
  const api = cluster();
  api.put('services', service('default/ext', { externalName: 'a.org' }));
  const clock = { time: 1_700_000_000_000, now: () => clock.time };
  const text = `.:0 {\n kubernetes cluster.local\n cache\n forward . ${up.address}\n}`;
  const { port } = await serve(text, { kube: api, clock });
  const ttls = async (): Promise<number[]> =>
    (await ask(port, 'ext.default.svc.cluster.local')).answers.map(({ ttl }) => ttl);
  expect(await ttls()).toEqual([5, 60]);
  clock.time += 20_000;
  expect(await ttls()).toEqual([5, 40]);
  expect(up.asked).toHaveLength(1);
});

describe('loop', () => {
  it('an upstream that leads back stops the server', async () => {
    const free = createSocket('udp4');
    await new Promise<void>((resolve) => free.bind(0, '127.0.0.1', resolve));
    const port = free.address().port;
    await new Promise<void>((resolve) => free.close(() => resolve()));
    const fatal: Error[] = [];
    const { log, lines } = memoryLog();
    const text = `.:${port} {\n loop\n forward . 127.0.0.1:${port}\n}`;
    const { dns } = await serve(text, { log, onFatal: (error) => void fatal.push(error) });
    await expect.poll(() => fatal.length, { timeout: 4000 }).toBe(1);
    expect(fatal[0]?.message).toMatch(
      /^plugin\/loop: Loop \(127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+\) detected for zone "\."\. Query: "HINFO \d+\.\d+\."$/,
    );
    expect(lines.join('\n')).toContain('error plugin/loop: Loop');
    await dns.close();
    expect(dns.fatalError).toBe(fatal[0]);
  });

  it('one that does not is left alone', async () => {
    const up = await new TestUpstream(always(1)).start();
    running.push(() => up.stop());
    const { dns, port } = await serve(`.:0 {\n loop\n forward . ${up.address}\n}`);
    await expect.poll(() => up.asked.length).toBe(1);
    expect(short(await ask(port, 'a.'))).toBe('NOERROR | A 10.0.0.1');
    expect(dns.fatalError).toBeUndefined();
  });
});

describe('reload', () => {
  function corefile(text: string): string {
    const folder = mkdtempSync(join(tmpdir(), 'weft-dns-'));
    running.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'Corefile');
    writeFileSync(path, text);
    return path;
  }
  const hosts = (last: number): string => `.:0 {\n reload 2s 1s\n hosts /none {\n 10.0.0.${last} a.org\n }\n}`;

  it('keeps the socket, takes the new configuration, and keeps the old one when the new is wrong', async () => {
    const path = corefile(hosts(1));
    const { log, lines } = memoryLog();
    const { dns, port } = await serve('', { corefile: { path }, log });
    expect(short(await ask(port, 'a.org'))).toBe('NOERROR | A 10.0.0.1');
    writeFileSync(path, hosts(2));
    await dns.reload();
    expect(dns.addresses[0]?.port).toBe(port);
    expect(short(await ask(port, 'a.org'))).toBe('NOERROR | A 10.0.0.2');
    writeFileSync(path, '.:0 {\n bogus\n}');
    await expect(dns.reload()).rejects.toThrow(`${path}:2 - Error during parsing: Unknown directive 'bogus'`);
    expect(short(await ask(port, 'a.org'))).toBe('NOERROR | A 10.0.0.2');
    expect(dns.renderMetrics()).toContain('coredns_reload_failed_total 1');
    expect(lines.filter((line) => line.includes('reload failed'))).toHaveLength(1);
  });

  it('notices a changed file by itself', async () => {
    const path = corefile(hosts(1));
    const { port } = await serve('', { corefile: { path } });
    writeFileSync(path, hosts(3));
    await expect
      .poll(async () => short(await ask(port, 'a.org')), { timeout: 8000, interval: 100 })
      .toBe('NOERROR | A 10.0.0.3');
  }, 10_000);

  it('does not watch the cluster anew and loses no query', async () => {
    const api = cluster();
    const made: number[] = [];
    const path = corefile(KUBERNETES);
    const { dns, port } = await serve('', { corefile: { path }, kube: () => (made.push(1), api) });
    let asking = true;
    const answers = (async () => {
      let count = 0;
      for (; asking; count++) expect(short(await ask(port, NAME))).toBe('NOERROR | A 10.96.0.5');
      return count;
    })();
    writeFileSync(path, KUBERNETES.replace('}\n}', '}\n cache 30\n}'));
    await dns.reload();
    await dns.reload();
    asking = false;
    expect(await answers).toBeGreaterThan(0);
    expect(made).toHaveLength(1);
  });
});

describe('bad luck', () => {
  it('a taken port is an error that names it', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    running.push(() => new Promise<void>((resolve) => other.close(() => resolve())));
    const { port } = other.address() as { port: number };
    await expect(serve(`.:${port} {\n whoami\n}`)).rejects.toMatchObject({
      code: 'DNS_LISTEN',
      message: expect.stringContaining(`cannot listen on 127.0.0.1:${port}: `),
    });
  });

  it('a wrong Corefile is an error with its place', async () => {
    await expect(serve('.:0 {\n kubernetes cluster.local {\n pods x\n }\n}')).rejects.toMatchObject({
      code: 'COREFILE',
      position: { file: 'Corefile', line: 3 },
    });
  });

  it('a signal stops the server', async () => {
    const controller = new AbortController();
    const { dns, port } = await serve('.:0 {\n whoami\n}', { signal: controller.signal });
    expect(short(await ask(port, 'a.'))).toBe('NOERROR');
    controller.abort();
    await dns.close();
    await expect(
      exchangeUdp(port, question('a.', 'A'), '127.0.0.1', 50).then((answer) => answer === undefined),
    ).resolves.toBe(true);
  });

  it('a TCP client that sends for ever and never reads does not stop the others', async () => {
    const { connect } = await import('node:net');
    const { port } = await serve(KUBERNETES, { kube: cluster(100) });
    const packet = question('big.default.svc.cluster.local', 'A');
    const frame = Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet]);
    const greedy = connect({ port, host: '127.0.0.1' });
    greedy.on('error', () => {});
    greedy.pause();
    const before = process.memoryUsage().arrayBuffers;
    greedy.write(Buffer.concat(Array.from({ length: 20_000 }, () => frame)));
    for (let i = 0; i < 20; i++) expect(short(await ask(port, NAME))).toBe('NOERROR | A 10.96.0.5');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(150 * 1024 * 1024);
    greedy.destroy();
  });
});
