import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { ask, question, short } from '../support/dig.ts';

const running: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

interface Posted {
  readonly method: string;
  readonly url: string;
  readonly body: unknown[];
}

/** A collector that takes what it gets. */
async function collector(status = 202): Promise<{ posted: Posted[]; port: number }> {
  const posted: Posted[] = [];
  const server = createServer((incoming: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as unknown[];
      posted.push({ method: incoming.method ?? '', url: incoming.url ?? '', body });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  running.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { posted, port: (server.address() as AddressInfo).port };
}

async function serve(text: string): Promise<{ dns: DnsServer; port: number }> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'] });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

const HOSTS = 'hosts /dev/null {\n 10.0.0.1 a.test\n }';

it('zipkin gets the query with its plugins below it', async () => {
  const { posted, port: at } = await collector();
  const { port } = await serve(
    `.:0 {\n metadata\n errors\n trace 127.0.0.1:${at} {\n zipkin_max_batch_interval 1ms\n service shop\n }\n ${HOSTS}\n}`,
  );
  expect(short(await ask(port, 'a.test'))).toBe('NOERROR | A 10.0.0.1');
  await expect.poll(() => posted.length, { timeout: 10_000 }).toBe(1);
  const { method, url, body } = posted[0] as Posted;
  expect([method, url]).toEqual(['POST', '/api/v2/spans']);
  const [top, errors, hosts] = body as Record<string, unknown>[];
  expect(body).toHaveLength(3);
  expect(top).toMatchObject({
    name: 'servedns',
    kind: 'SERVER',
    localEndpoint: { serviceName: 'shop' },
    tags: {
      'coredns.io/name': 'a.test.',
      'coredns.io/type': 'A',
      'coredns.io/rcode': 'NOERROR',
      'coredns.io/proto': 'udp',
      'coredns.io/remote': '127.0.0.1',
    },
  });
  expect(errors).toMatchObject({ name: 'errors', traceId: top?.['traceId'], parentId: top?.['id'] });
  expect(hosts).toMatchObject({ name: 'hosts', parentId: errors?.['id'] });
  expect(top?.['duration']).toBeGreaterThanOrEqual(hosts?.['duration'] as number);
});

it('every, and failures', async () => {
  const { posted, port: at } = await collector();
  const { port } = await serve(
    `.:0 {\n trace 127.0.0.1:${at} {\n zipkin_max_batch_interval 1ms\n every 3\n }\n forward . 127.0.0.1:1\n}`,
  );
  for (let i = 0; i < 6; i++) await ask(port, `${i}.test`);
  await expect.poll(() => posted.flatMap(({ body }) => body), { timeout: 10_000 }).toHaveLength(4);
  const spans = posted.flatMap(({ body }) => body) as { tags: Record<string, string> }[];
  expect(spans.map(({ tags }) => tags['coredns.io/name']).filter(Boolean)).toEqual(['2.test.', '5.test.']);
  expect(spans[0]?.tags).toMatchObject({ error: 'true', 'coredns.io/rcode': 'SERVFAIL' });
  // An upstream that refuses is tried until it counts as down.
}, 30_000);

it('datadog gets traces with numbers for ids', async () => {
  const { posted, port: at } = await collector(200);
  const { port } = await serve(
    `.:0 {\n trace datadog 127.0.0.1:${at} {\n zipkin_max_batch_interval 1ms\n datadog_analytics_rate 0.5\n }\n ${HOSTS}\n}`,
  );
  await ask(port, 'a.test');
  await expect.poll(() => posted.length, { timeout: 10_000 }).toBe(1);
  expect(posted[0]).toMatchObject({ method: 'PUT', url: '/v0.3/traces' });
  const [[top, child]] = (posted[0] as Posted).body as [[Record<string, unknown>, Record<string, unknown>]];
  expect(top).toMatchObject({
    name: 'servedns',
    service: 'coredns',
    type: 'dns',
    parent_id: 0,
    error: 0,
    meta: { 'coredns.io@name': 'a.test.' },
    metrics: { '_dd1.sr.eausr': 0.5 },
  });
  expect(child).toMatchObject({ name: 'hosts', parent_id: top['span_id'], trace_id: top['trace_id'] });
});

it.each([
  ['below it', '', { parentId: '00000000000000aa' }],
  ['in its place', 'client_server', { id: '00000000000000aa', shared: true }],
])('a client over HTTPS that names a trace gets the span %s', async (_, option, expected) => {
  const { posted, port: at } = await collector();
  const { port } = await serve(
    `https://.:0 {\n trace 127.0.0.1:${at} {\n zipkin_max_batch_interval 1ms\n ${option}\n }\n ${HOSTS}\n}`,
  );
  const post = (b3: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const sent = request({ port, host: '127.0.0.1', path: '/dns-query', method: 'POST', headers: { b3 } }, (got) => {
        got.resume();
        got.on('end', resolve);
      });
      sent.on('error', reject);
      sent.end(question('a.test', 'A'));
    });
  await post('0');
  await post('00000000000000bb-00000000000000aa-1');
  await expect.poll(() => posted.length, { timeout: 10_000 }).toBe(1);
  expect(posted[0]?.body[0]).toMatchObject({ traceId: '00000000000000bb', ...expected });
});

it('a collector that is away costs no query, and spans do not pile up', async () => {
  const { port, dns } = await serve(
    `.:0 {\n trace 127.0.0.1:1 {\n zipkin_max_batch_interval 1ms\n zipkin_max_backlog_size 5\n }\n ${HOSTS}\n}`,
  );
  for (let i = 0; i < 20; i++) expect(short(await ask(port, 'a.test'))).toBe('NOERROR | A 10.0.0.1');
  await dns.close();
});

it.each([
  ['trace jaeger localhost:1', "tracing endpoint type 'jaeger' is not supported"],
  ['trace a b c', "Wrong argument count or unexpected line ending after 'trace'"],
  ['trace {\n every x\n }', 'strconv.ParseUint: parsing "x": invalid syntax'],
  ['trace {\n client_server maybe\n }', 'strconv.ParseBool: parsing "maybe": invalid syntax'],
  ['trace {\n datadog_analytics_rate 2\n }', 'must be between 0 and 1'],
  ['trace {\n zipkin_max_batch_interval 3x\n }', 'time: invalid duration "3x"'],
  ['trace {\n nosuch\n }', "unknown property 'nosuch'"],
])('%j is refused', (text, message) => {
  expect(checkCorefile(`. {\n ${text}\n whoami\n}`)).toMatchObject([{ message: expect.stringContaining(message) }]);
});
