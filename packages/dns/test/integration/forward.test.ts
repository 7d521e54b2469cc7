import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, startDns } from '../../src/index.ts';
import { FLAG, nameFromText, RCODE, rdata, record, TYPE } from '../../src/wire/index.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { ask, short } from '../support/dig.ts';
import { always, type Behaviour, silent, TestUpstream } from '../support/upstream.ts';

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of running.splice(0).reverse()) await thing.stop();
});

async function upstream(behaviour: Behaviour): Promise<TestUpstream> {
  const server = await new TestUpstream(behaviour).start();
  running.push(server);
  return server;
}

async function serve(lines: string): Promise<{ dns: DnsServer; port: number }> {
  const dns = await startDns({ corefile: { text: `.:0 {\n${lines}\n}` }, hosts: ['127.0.0.1'] });
  running.push({ stop: () => dns.close() });
  return { dns, port: dns.addresses[0]?.port as number };
}

/** A port on which nothing listens. */
async function deadPort(): Promise<number> {
  const server = await new TestUpstream(silent).start();
  await server.stop();
  return server.port;
}

describe('forward', () => {
  it('passes answers on, with the flags of the upstream', async () => {
    const up = await upstream(() => ({
      flags: FLAG.AA | FLAG.RA | FLAG.AD,
      answers: [record(undefined, TYPE.A, 60, rdata.a(0x01020304))],
      authority: [record(nameFromText('org.'), TYPE.NS, 60, nameFromText('ns.org.'))],
    }));
    const { port } = await serve(`forward . ${up.address}`);
    const message = await ask(port, 'Example.org', 'A');
    expect(short(message)).toBe('NOERROR | A 1.2.3.4');
    expect(message.flags).toBe(FLAG.QR | FLAG.AA | FLAG.RD | FLAG.RA | FLAG.AD);
    expect(message.authority).toHaveLength(1);
    expect(up.asked).toEqual(['Example.org. 1 udp']);
  });

  it('asks over the transport that the client used', async () => {
    const up = await upstream(always(1));
    const { port } = await serve(`forward . ${up.address}`);
    await ask(port, 'a.', 'A', { tcp: true });
    expect(up.asked).toEqual(['a. 1 tcp']);
  });

  it('force_tcp asks over TCP, prefer_udp over UDP', async () => {
    const up = await upstream(always(1));
    const forced = await serve(`forward . ${up.address} {\n force_tcp\n}`);
    await ask(forced.port, 'a.');
    const preferred = await serve(`forward . ${up.address} {\n prefer_udp\n}`);
    await ask(preferred.port, 'b.', 'A', { tcp: true });
    expect(up.asked).toEqual(['a. 1 tcp', 'b. 1 udp']);
  });

  it('prefer_udp tries TCP when the answer was cut', async () => {
    const up = await upstream((query, proto) => (proto === 'udp' ? { flags: FLAG.TC } : always(9)(query)));
    const { port } = await serve(`forward . ${up.address} {\n prefer_udp\n}`);
    expect(short(await ask(port, 'a.'))).toBe('NOERROR | A 10.0.0.9');
    expect(up.asked).toEqual(['a. 1 udp', 'a. 1 tcp']);
  });

  it('asks again when a TCP connection was closed while idle', async () => {
    const up = await upstream(always(1));
    const { port } = await serve(`forward . ${up.address} {\n force_tcp\n}`);
    await ask(port, 'a.');
    up.dropConnections();
    expect(short(await ask(port, 'b.'))).toBe('NOERROR | A 10.0.0.1');
  });

  it('sequential asks the first, and the second when the first refuses connections', async () => {
    const dead = await deadPort();
    const one = await upstream(always(1));
    const two = await upstream(always(2));
    const good = await serve(`forward . ${one.address} ${two.address} {\n policy sequential\n}`);
    for (let i = 0; i < 4; i++) expect(short(await ask(good.port, `x${i}.`))).toBe('NOERROR | A 10.0.0.1');
    const bad = await serve(`forward . 127.0.0.1:${dead} ${two.address} {\n policy sequential\n}`);
    for (let i = 0; i < 4; i++) expect(short(await ask(bad.port, `y${i}.`))).toBe('NOERROR | A 10.0.0.2');
  });

  it('round_robin takes turns', async () => {
    const one = await upstream(always(1));
    const two = await upstream(always(2));
    const { port } = await serve(`forward . ${one.address} ${two.address} {\n policy round_robin\n}`);
    const answers: string[] = [];
    for (let i = 0; i < 4; i++) answers.push(short(await ask(port, `x${i}.`)));
    expect(answers).toEqual([
      'NOERROR | A 10.0.0.1',
      'NOERROR | A 10.0.0.2',
      'NOERROR | A 10.0.0.1',
      'NOERROR | A 10.0.0.2',
    ]);
  });

  it('a silent upstream is passed over from the second query on, until it answers a health check', async () => {
    const one = await upstream(silent);
    const two = await upstream(always(2));
    const { port } = await serve(
      `forward . ${one.address} ${two.address} {\n policy sequential\n health_check 10ms\n}`,
    );
    expect(short(await ask(port, 'first.'))).toBe('NOERROR | A 10.0.0.2');
    expect(one.asked).toEqual(['first. 1 udp']);
    for (let i = 0; i < 5; i++) expect(short(await ask(port, `x${i}.`))).toBe('NOERROR | A 10.0.0.2');
    expect(one.asked).toEqual(['first. 1 udp']);
    one.behaviour = always(1);
    await expect.poll(() => one.healthChecks, { timeout: 4000 }).toBeGreaterThan(1);
    await expect.poll(async () => short(await ask(port, 'later.')), { timeout: 4000 }).toBe('NOERROR | A 10.0.0.1');
  });

  it('says SERVFAIL when nobody answers, and counts it', async () => {
    const dead = await deadPort();
    const { port, dns } = await serve(
      `forward . 127.0.0.1:${dead} {\n health_check 10ms\n failfast_all_unhealthy_upstreams\n}`,
    );
    expect(short(await ask(port, 'a.'))).toBe('SERVFAIL');
    await expect
      .poll(() => Number(/healthcheck_failures_total{[^}]*} (\d+)/.exec(dns.renderMetrics())?.[1]), { timeout: 3000 })
      .toBeGreaterThan(2);
    expect(short(await ask(port, 'b.'))).toBe('SERVFAIL');
    expect(dns.renderMetrics()).toMatch(/coredns_forward_healthcheck_broken_total 1/);
  });

  it('says SERVFAIL where the kernel knows no way to the upstream', async () => {
    // Sockets may not send to all hosts unless they say so: connecting fails.
    const { port } = await serve('forward . 255.255.255.255');
    expect(short(await ask(port, 'a.'))).toBe('SERVFAIL');
    expect(short(await ask(port, 'a.'))).toBe('SERVFAIL');
  });

  it('answers FORMERR when the upstream answers another question', async () => {
    const up = await upstream((query) => {
      const wrong = Buffer.alloc(12 + 3 + 4);
      wrong.writeUInt16BE(query.id, 0);
      wrong.writeUInt16BE(0x8180, 2);
      wrong.writeUInt16BE(1, 4);
      wrong.set(nameFromText('x.'), 12);
      wrong.writeUInt16BE(1, 15);
      wrong.writeUInt16BE(1, 17);
      return { raw: wrong };
    });
    const { port } = await serve(`forward . ${up.address}`);
    expect(short(await ask(port, 'a.'))).toBe('FORMERR');
  });

  it('ignores answers that nobody asked for', async () => {
    const up = await upstream((query) => {
      const wrong = Buffer.alloc(12);
      wrong.writeUInt16BE(query.id ^ 1, 0);
      wrong.writeUInt16BE(0x8183, 2);
      return { ...always(3)(query), before: wrong };
    });
    const { port } = await serve(`forward . ${up.address}`);
    expect(short(await ask(port, 'a.'))).toBe('NOERROR | A 10.0.0.3');
  });

  it('except and FROM leave names to others', async () => {
    const up = await upstream(always(1));
    const { port } = await serve(`forward org ${up.address} {\n except no.org\n}\nwhoami`);
    expect(short(await ask(port, 'a.org.'))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'x.no.org.'))).toBe('NOERROR');
    expect(short(await ask(port, 'a.com.'))).toBe('NOERROR');
    expect(up.asked).toEqual(['a.org. 1 udp']);
  });

  it('takes the first forward that is responsible', async () => {
    const one = await upstream(always(1));
    const two = await upstream(always(2));
    const { port } = await serve(`forward a.org ${one.address}\nforward . ${two.address}`);
    expect(short(await ask(port, 'x.a.org.'))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'x.b.org.'))).toBe('NOERROR | A 10.0.0.2');
  });

  it('failover asks another upstream, next the next forward', async () => {
    const refusing = await upstream(() => ({ rcode: RCODE.REFUSED }));
    const missing = await upstream(() => ({ rcode: RCODE.NXDOMAIN }));
    const good = await upstream(always(7));
    const one = await serve(
      `forward . ${refusing.address} ${good.address} {\n policy sequential\n failover REFUSED\n}`,
    );
    expect(short(await ask(one.port, 'a.'))).toBe('NOERROR | A 10.0.0.7');
    const two = await serve(`forward . ${missing.address} {\n next NXDOMAIN\n}\nforward . ${good.address}`);
    expect(short(await ask(two.port, 'a.'))).toBe('NOERROR | A 10.0.0.7');
    const three = await serve(`forward . ${missing.address} {\n next NXDOMAIN\n}`);
    expect(short(await ask(three.port, 'a.'))).toBe('NXDOMAIN');
  });

  /** An upstream that answers when told to. */
  async function held(): Promise<{ up: TestUpstream; release: () => void }> {
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    return { up: await upstream((query) => released.then(() => always(4)(query))), release };
  }

  it('refuses more queries at once than max_concurrent', async () => {
    const { up, release } = await held();
    const { port, dns } = await serve(`forward . ${up.address} {\n max_concurrent 1\n}`);
    const waiting = ask(port, 'slow.');
    await expect.poll(() => up.asked.length).toBe(1);
    expect(short(await ask(port, 'more.'))).toBe('REFUSED');
    expect(dns.renderMetrics()).toMatch(/coredns_forward_max_concurrent_rejects_total 1/);
    release();
    expect(short(await waiting)).toBe('NOERROR | A 10.0.0.4');
  });

  it('sends equal queries that wait at the same time once', async () => {
    const { up, release } = await held();
    const { port, dns } = await serve(`prometheus localhost:0\nforward . ${up.address} {\n max_concurrent 2\n}`);
    const both = [ask(port, 'same.'), ask(port, 'same.')];
    // A third one is refused: so both are waiting.
    await expect.poll(async () => short(await ask(port, 'third.', 'TXT'))).toBe('REFUSED');
    release();
    expect((await Promise.all(both)).map(short)).toEqual(['NOERROR | A 10.0.0.4', 'NOERROR | A 10.0.0.4']);
    expect(up.asked).toEqual(['same. 1 udp']);
    expect(dns.renderMetrics()).toMatch(/coredns_dns_requests_total{[^}]*type="A"} 2/);
  });

  it('an ExternalName outside the zone is looked up by the server itself', async () => {
    const up = await upstream(always(5));
    const { FakeApi } = await import('../support/fake-api.ts');
    const { namespace, service } = await import('../support/objects.ts');
    const api = new FakeApi();
    api.put('namespaces', namespace('demo'));
    api.put('services', service('demo/out', { externalName: 'www.example.org' }));
    const text = `.:0 {\n kubernetes cluster.local\n forward . ${up.address}\n}`;
    const dns = await startDns({ corefile: { text }, kube: api, hosts: ['127.0.0.1'] });
    running.push({ stop: () => dns.close() });
    const port = dns.addresses[0]?.port as number;
    expect(short(await ask(port, 'out.demo.svc.cluster.local'))).toBe('NOERROR | A 10.0.0.5 | CNAME www.example.org.');
  });
});

describe('forward over HTTPS', () => {
  let certificates: Certificates;
  beforeAll(() => {
    certificates = makeCertificates();
  });
  afterAll(() => certificates?.remove());

  async function secure(): Promise<{ dns: DnsServer; port: number }> {
    const text = `https://.:0 {\n tls ${certificates.path('cert.pem')} ${certificates.path('key.pem')}\n hosts {\n 10.0.0.7 a.\n fallthrough\n }\n}`;
    const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'] });
    running.push({ stop: () => dns.close() });
    return { dns, port: dns.addresses[0]?.port as number };
  }

  it.each(['GET', 'POST'])(
    'asks by %s, many queries over one connection, and again when it was closed',
    async (method) => {
      const up = await secure();
      const { port, dns } = await serve(
        `forward . https://127.0.0.1:${up.port} {\n tls ${certificates.path('ca.pem')}\n doh_method ${method}\n}\nprometheus 127.0.0.1:0`,
      );
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port, 'a.')));
      expect(new Set(answers.map(short))).toEqual(new Set(['NOERROR | A 10.0.0.7']));
      expect(short(await ask(port, 'nowhere.'))).toBe('REFUSED');
      const metrics = dns.metrics.render();
      expect(metrics).toMatch(
        /coredns_proxy_conn_cache_misses_total\{proxy_name="forward",to="127\.0\.0\.1:\d+",proto="https"\} 1\n/,
      );
      expect(metrics).toMatch(/coredns_proxy_conn_cache_hits_total\{.*proto="https"\} \d+\n/);
      await up.dns.close();
      expect(short(await ask(port, 'b.'))).toBe('SERVFAIL');
    },
  );

  it('does not trust a certificate that it has no reason to trust', async () => {
    const up = await secure();
    const { port } = await serve(`forward . https://127.0.0.1:${up.port}`);
    expect(short(await ask(port, 'a.'))).toBe('SERVFAIL');
  });
});

describe('forward to a server known by name', () => {
  it('looks its addresses up at the start, at the resolver that was named', async () => {
    const up = await upstream(always(4));
    const resolver = await upstream((query) => ({
      answers: query.type === TYPE.A ? [record(undefined, TYPE.A, 60, rdata.a(0x7f000001))] : [],
    }));
    const { port } = await serve(`forward . dns.example.test:${up.port} {\n resolver ${resolver.address}\n}`);
    expect(resolver.asked[0]).toMatch(/^dns\.example\.test\. /);
    expect(short(await ask(port, 'a.'))).toBe('NOERROR | A 10.0.0.4');
  });

  it('is an error that names it when there are none', async () => {
    const resolver = await upstream(() => ({ rcode: RCODE.NXDOMAIN }));
    await expect(serve(`forward . dns.example.test {\n resolver ${resolver.address}\n}`)).rejects.toThrow(
      'failed to resolve hostname "dns.example.test"',
    );
  });

  it.each([
    ['forward . 10.0.0.1 {\n failover NOERROR\n}', 'NoError cannot be used in failover'],
    ['forward . tls://9.9.9.9%dns.quad9.net {\n tls_servername other\n}', 'both forward'],
    ['forward . /no/such/file', 'not an IP address or file'],
    ['forward . quic://9.9.9.9', 'only dns, tls and https transports'],
    ['forward . https://9.9.9.9 {\n doh_method PUT\n}', "unknown doh_method 'PUT'"],
  ])('%j is refused', async (lines, message) => {
    await expect(serve(lines)).rejects.toThrow(message);
  });
});
