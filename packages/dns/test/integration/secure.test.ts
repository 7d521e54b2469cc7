import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { type ClientHttp2Session, connect as h2connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type DnsOptions, type DnsServer, startDns } from '../../src/index.ts';
import { decodeMessage } from '../../src/wire/index.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { ask, exchangeTcp, question, short } from '../support/dig.ts';

const run = promisify(execFile);
let files: Certificates;
beforeAll(() => {
  files = makeCertificates();
});
afterAll(() => files.remove());
const running: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

const HOSTS = 'hosts /dev/null {\n 10.0.0.1 a.example.org\n ttl 300\n}';
const WEB = 'a.example.org';

async function serve(text: string, options: Partial<DnsOptions> = {}): Promise<{ dns: DnsServer; port: number }> {
  const named = text.replace(/\b(?:cert|key|ca)\.pem\b/g, (name) => files.path(name));
  const dns = await startDns({ corefile: { text: named }, hosts: ['127.0.0.1'], ...options });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

const dot = (tls = 'tls cert.pem key.pem', more = ''): string => `tls://.:0 {\n ${tls}\n ${more}\n ${HOSTS}\n}`;
const doh = (tls = 'tls cert.pem key.pem', more = ''): string => `https://.:0 {\n ${tls}\n ${more}\n ${HOSTS}\n}`;

function framed(packet: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(packet.length);
  return Buffer.concat([length, packet]);
}

/** Sends queries over TLS and gives the answers in order of arrival; rejects when the connection ends before. */
async function askTls(
  port: number,
  packets: readonly Uint8Array[],
  options: ConnectionOptions = {},
  count = packets.length,
): Promise<Buffer[]> {
  const socket = tlsConnect({ port, host: options.host ?? '127.0.0.1', ca: files.read('ca.pem'), ...options });
  running.push(() => void socket.destroy());
  for (const packet of packets) socket.write(framed(packet));
  return readFrames(socket, count);
}

function readFrames(socket: TLSSocket | ReturnType<typeof tcpConnect>, count: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    let buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        const length = buffer.readUInt16BE(0);
        out.push(buffer.subarray(2, 2 + length));
        buffer = buffer.subarray(2 + length);
      }
      if (out.length >= count) resolve(out);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${out.length} answers`)));
  });
}

describe('DNS over TLS', () => {
  it('answers pipelined queries, over IPv4 and IPv6', async () => {
    for (const host of ['127.0.0.1', '::1']) {
      const { port } = await serve(dot(), { hosts: [host] });
      const answers = await askTls(port, [question(WEB, 'A'), question('b.example.org', 'A')], { host });
      expect(answers.map((bytes) => short(decodeMessage(bytes))).sort()).toEqual(['NOERROR | A 10.0.0.1', 'SERVFAIL']);
    }
  });

  it('kdig and openssl accept it', async () => {
    const { port } = await serve(dot());
    const args = ['@127.0.0.1', '-p', String(port), `+tls-ca=${files.path('ca.pem')}`, '+tls-hostname=localhost'];
    const { stdout } = await run('kdig', [...args, '+short', WEB]);
    expect(stdout).toBe('10.0.0.1\n');
  });

  it('takes no TLS 1.1', async () => {
    const { port } = await serve(dot());
    const old: ConnectionOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(askTls(port, [question(WEB, 'A')], old)).rejects.toThrow();
  });

  it('without certificates it is plain TCP, and a warning says so', async () => {
    const lines: string[] = [];
    const log = {
      debug: () => {},
      info: () => {},
      warn: (line: string) => void lines.push(line),
      error: () => {},
      child: () => log,
    };
    const { port } = await serve(dot(''), { log });
    const [answer] = await exchangeTcp(port, [question(WEB, 'A')]);
    expect(short(decodeMessage(answer as Buffer))).toBe('NOERROR | A 10.0.0.1');
    expect(lines).toEqual(['Corefile:1 - tls:// without the plugin tls is served in the clear']);
  });

  const stranger: ConnectionOptions = {};
  it.each([
    ['nocert', 'yes', 'yes', 'yes'],
    ['request', 'yes', 'yes', 'yes'],
    ['require', 'no', 'yes', 'yes'],
    ['verify_if_given', 'yes', 'no', 'yes'],
    ['require_and_verify', 'no', 'no', 'yes'],
  ])('client_auth %s: nobody %s, a stranger %s, a client of the CA %s', async (mode, ...expected) => {
    const others = makeCertificates();
    running.push(() => others.remove());
    const { port } = await serve(dot(`tls cert.pem key.pem ca.pem {\n client_auth ${mode}\n }`));
    const clients = [
      stranger,
      { cert: others.read('client.pem'), key: others.read('client-key.pem') },
      { cert: files.read('client.pem'), key: files.read('client-key.pem') },
    ];
    const got: string[] = [];
    for (const client of clients) {
      got.push(
        await askTls(port, [question(WEB, 'A')], client).then(
          () => 'yes',
          () => 'no',
        ),
      );
    }
    expect(got).toEqual(expected);
  });

  it('hands zones over (RFC 9103)', async () => {
    const zone = files.path('db.example.org');
    writeFileSync(
      zone,
      'example.org. 60 IN SOA ns.example.org. admin.example.org. 7 60 60 60 60\nwww 60 IN A 10.9.9.9\n',
    );
    const { port } = await serve(
      `tls://example.org:0 {\n tls cert.pem key.pem\n transfer {\n to *\n }\n file ${zone}\n}`,
    );
    const args = ['@127.0.0.1', '-p', String(port), '+tls', '+noall', '+answer', '-t', 'AXFR', 'example.org'];
    const { stdout } = await run('kdig', args);
    expect(stdout.split('\n').filter((line) => / SOA |\tSOA\t|\tA\t/.test(line))).toHaveLength(3);
  });

  it('keylog is written', async () => {
    const log = files.path('keys.log');
    const { port } = await serve(dot(`tls cert.pem key.pem {\n keylog ${log}\n }`));
    await askTls(port, [question(WEB, 'A')]);
    expect(readFileSync(log, 'utf8')).toMatch(/^SERVER_HANDSHAKE_TRAFFIC_SECRET /);
  });

  it('new certificates come with a reload, and old connections stay', async () => {
    const path = files.path('Corefile');
    const others = makeCertificates();
    running.push(() => others.remove());
    const corefile = (from: Certificates): string =>
      dot(`tls ${from.path('cert.pem')} ${from.path('key.pem')}`, 'nsid x');
    writeFileSync(path, corefile(files));
    const { dns, port } = await serve('', { corefile: { path } });
    const socket = tlsConnect({ port, host: '127.0.0.1', ca: files.read('ca.pem') });
    running.push(() => void socket.destroy());
    await once(socket, 'secureConnect');
    writeFileSync(path, corefile(others));
    await dns.reload();
    const fresh = (): Promise<Buffer[]> => askTls(port, [question(WEB, 'A')], { ca: others.read('ca.pem') });
    await expect
      .poll(() =>
        fresh().then(
          () => 'served',
          () => 'refused',
        ),
      )
      .toBe('served');
    const frames = readFrames(socket, 1);
    socket.write(framed(question(WEB, 'A')));
    expect(await frames).toHaveLength(1);
    writeFileSync(path, dot('tls /nowhere/cert.pem /nowhere/key.pem'));
    await expect(dns.reload()).rejects.toThrow('could not load TLS cert');
    expect(await fresh()).toHaveLength(1);
  });
});

describe('timeouts', () => {
  it.each(['read', 'idle'])(
    '%s: a connection that asks nothing is closed, whatever it sends byte by byte',
    async (which) => {
      const { port } = await serve(`.:0 {\n timeouts {\n read 1h\n idle 1h\n ${which} 1s\n }\n ${HOSTS}\n}`);
      const socket = tcpConnect({ port, host: '127.0.0.1' });
      // Not events.once, which fails when the end is a reset.
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => {});
      if (which === 'idle') {
        socket.write(framed(question(WEB, 'A')));
        await once(socket, 'data');
      }
      // The beginning of a query of 65,535 bytes.
      const timer = setInterval(() => socket.write('\xff', 'latin1'), 200);
      running.push(() => clearInterval(timer));
      const started = performance.now();
      await closed;
      // The timers of a machine may be early by a little, but not by a fifth.
      expect(performance.now() - started).toBeGreaterThan(800);
    },
  );

  it('an empty message ends a connection', async () => {
    const { port } = await serve(`.:0 {\n ${HOSTS}\n}`);
    const socket = tcpConnect({ port, host: '127.0.0.1' });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('\0\0');
    await closed;
  });

  it('a client that takes nothing is cut off', async () => {
    const many = Array.from({ length: 200 }, (_, i) => `10.0.1.${i} many.test`).join('\n ');
    const { port } = await serve(`.:0 {\n timeouts {\n write 1s\n idle 1h\n }\n hosts /dev/null {\n ${many}\n }\n}`);
    const socket = tcpConnect({ port, host: '127.0.0.1' });
    running.push(() => void socket.destroy());
    socket.pause();
    const gone = new Promise<void>((resolve) => socket.once('error', () => resolve()));
    // More answers than the sockets between can hold.
    const queries = Buffer.concat(Array.from({ length: 4000 }, () => framed(question('many.test', 'A'))));
    socket.write(queries);
    const timer = setInterval(() => socket.write(framed(question('many.test', 'A'))), 100);
    running.push(() => clearInterval(timer));
    await gone;
  });

  it('maxtcpqueries ends a connection after its answers', async () => {
    const { port } = await serve(`.:0 {\n timeouts {\n maxtcpqueries 2\n }\n ${HOSTS}\n}`);
    const socket = tcpConnect({ port, host: '127.0.0.1' });
    const closed = once(socket, 'close');
    const frames = readFrames(socket, 2);
    for (let i = 0; i < 3; i++) socket.write(framed(question(WEB, 'A')));
    expect(await frames).toHaveLength(2);
    await closed;
  });
});

interface Got {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Buffer;
}

function h2(port: number, host = '127.0.0.1'): ClientHttp2Session {
  const session = h2connect(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, { ca: files.read('ca.pem') });
  session.on('error', () => {});
  running.push(() => session.destroy());
  return session;
}

function over2(session: ClientHttp2Session, method: string, path: string, body?: Uint8Array): Promise<Got> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': method, ':path': path });
    let headers: Record<string, unknown> = {};
    const chunks: Buffer[] = [];
    stream.on('response', (given) => {
      headers = given;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('close', () => {
      const status = Number(headers[':status']);
      if (status > 0) resolve({ status, headers, body: Buffer.concat(chunks) });
      else reject(new Error('closed without an answer'));
    });
    stream.on('error', reject);
    stream.end(body);
  });
}

function over1(port: number, method: string, path: string, body?: Uint8Array, clear = false): Promise<Got> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, method, path, ca: files.read('ca.pem'), agent: false };
    const request = (clear ? httpRequest : httpsRequest)(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

const get = (packet: Uint8Array): string => `/dns-query?dns=${Buffer.from(packet).toString('base64url')}`;

describe('DNS over HTTPS', () => {
  it('GET and POST over HTTP/2 and HTTP/1.1, IPv4 and IPv6', async () => {
    const { dns, port } = await serve(doh());
    const session = h2(port);
    const packet = question(WEB, 'A');
    const answers = [
      await over2(session, 'GET', get(packet)),
      await over2(session, 'POST', '/dns-query', packet),
      await over1(port, 'GET', get(packet)),
      await over1(port, 'POST', '/dns-query', packet),
    ];
    for (const { status, headers, body } of answers) {
      expect([status, headers['content-type'], headers['cache-control'], headers['content-length']]).toEqual([
        200,
        'application/dns-message',
        'max-age=300',
        String(body.length),
      ]);
      expect(short(decodeMessage(body))).toBe('NOERROR | A 10.0.0.1');
    }
    expect(dns.renderMetrics()).toContain(
      'coredns_dns_https_responses_total{server="https://127.0.0.1:0",status="200"} 4',
    );
    const { port: port6 } = await serve(doh(), { hosts: ['::1'] });
    expect((await over2(h2(port6, '::1'), 'POST', '/dns-query', packet)).status).toBe(200);
  });

  it.each<[string, string, string, Uint8Array | undefined, number, string]>([
    ['another path', 'GET', '/', undefined, 404, '\n'],
    ['no query', 'GET', '/dns-query', undefined, 400, 'invalid request\n'],
    ['two queries', 'GET', `${get(question(WEB, 'A'))}&dns=AAAA`, undefined, 400, 'invalid request\n'],
    ['padding', 'GET', `${get(question(WEB, 'A'))}=`, undefined, 400, 'invalid request\n'],
    [
      'a response',
      'POST',
      '/dns-query',
      Uint8Array.from(question(WEB, 'A')).fill(0x80, 2, 3),
      400,
      'invalid request\n',
    ],
    ['another method', 'PUT', '/dns-query', question(WEB, 'A'), 400, 'invalid request\n'],
    ['half a query', 'POST', '/dns-query', question(WEB, 'A').subarray(0, 20), 400, 'invalid request\n'],
    ['too much', 'POST', '/dns-query', new Uint8Array(70_000), 400, 'invalid request\n'],
  ])('%s is refused', async (_, method, path, body, status, text) => {
    const { port } = await serve(doh());
    for (const got of [await over2(h2(port), method, path, body), await over1(port, method, path, body)])
      expect([got.status, got.body.toString()]).toEqual([status, text]);
  });

  it('says how long an answer may be kept', async () => {
    const { port } = await serve(`https://.:0 {\n tls cert.pem key.pem\n any\n ${HOSTS}\n}`);
    const ages: unknown[] = [];
    for (const [name, type] of [
      [WEB, 'A'],
      ['nowhere.example.org', 'A'],
    ] as const)
      ages.push((await over2(h2(port), 'POST', '/dns-query', question(name, type))).headers['cache-control']);
    expect(ages).toEqual(['max-age=300', 'max-age=5']);
  });

  it('kdig, dig and curl', async () => {
    const { port } = await serve(doh());
    const ca = files.path('ca.pem');
    const kdig = [
      '@127.0.0.1',
      '-p',
      String(port),
      '+https',
      `+tls-ca=${ca}`,
      '+tls-hostname=localhost',
      '+short',
      WEB,
    ];
    expect((await run('kdig', kdig)).stdout).toBe('10.0.0.1\n');
    const dig = ['@127.0.0.1', '-p', String(port), '+https', '+short', WEB];
    expect((await run('dig', dig)).stdout).toBe('10.0.0.1\n');
    const url = `https://localhost:${port}${get(question(WEB, 'A'))}`;
    const { stdout } = await run('curl', [
      '-s',
      '--cacert',
      ca,
      '-o',
      '/dev/null',
      '-w',
      '%{http_version} %{http_code}',
      url,
    ]);
    expect(stdout).toBe('2 200');
  });

  it('client_auth holds for HTTP/2 and HTTP/1.1', async () => {
    const { port } = await serve(doh('tls cert.pem key.pem ca.pem {\n client_auth require\n }'));
    await expect(over1(port, 'POST', '/dns-query', question(WEB, 'A'))).rejects.toThrow();
    await expect(over2(h2(port), 'POST', '/dns-query', question(WEB, 'A'))).rejects.toThrow();
  });

  it('without certificates it is plain HTTP', async () => {
    const { port } = await serve(doh(''));
    expect((await over1(port, 'POST', '/dns-query', question(WEB, 'A'), true)).status).toBe(200);
  });

  it('max_connections bounds the connections, and a silent one is closed', async () => {
    const { port } = await serve(
      doh(undefined, 'https {\n max_connections 1\n }\n timeouts {\n read 1s\n idle 1s\n }'),
    );
    const first = h2(port);
    await once(first, 'connect');
    await expect(over1(port, 'POST', '/dns-query', question(WEB, 'A'))).rejects.toThrow();
    await once(first, 'close');
    expect((await over1(port, 'POST', '/dns-query', question(WEB, 'A'))).status).toBe(200);
  });
});

it('one block serves several transports, with metrics of each', async () => {
  const { dns } = await serve(
    `.:0 tls://.:0 https://.:0 {\n tls cert.pem key.pem\n prometheus 127.0.0.1:0\n ${HOSTS}\n}`,
  );
  const port = Object.fromEntries(dns.addresses.map((address) => [address.transport, address.port])) as Record<
    string,
    number
  >;
  await ask(port.dns as number, WEB);
  await askTls(port.tls as number, [question(WEB, 'A')]);
  await over2(h2(port.https as number), 'POST', '/dns-query', question(WEB, 'A'));
  const counted = [
    ...dns.renderMetrics().matchAll(/^coredns_dns_requests_total\{server="(\w+):.*proto="(\w+)".*\} 1$/gm),
  ];
  expect(counted.map(([, transport, proto]) => `${transport} ${proto}`)).toEqual(['dns udp', 'tls tcp', 'https tcp']);
});

it('multisocket opens several UDP sockets', async () => {
  const { port } = await serve(`.:0 {\n multisocket 4\n ${HOSTS}\n}`);
  const sockets = readFileSync('/proc/self/net/udp', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} `));
  expect(sockets).toHaveLength(4);
  for (let i = 0; i < 16; i++) expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.0.0.1');
});
