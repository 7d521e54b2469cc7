import type { LogFields, Logger } from '@weft/plan';
import { afterEach, describe, expect, it } from 'vitest';
import { checkCorefile, type DnsOptions, type DnsServer, startDns } from '../../src/index.ts';
import { ask, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, pod, service } from '../support/objects.ts';

const running: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0)) await stop();
});

async function serve(text: string, options: Partial<DnsOptions> = {}): Promise<{ dns: DnsServer; port: number }> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], ...options });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

function memoryLog(): { log: Logger; lines: string[]; fields: (LogFields | undefined)[] } {
  const lines: string[] = [];
  const fields: (LogFields | undefined)[] = [];
  const log: Logger = {
    debug: () => {},
    info: (message, more) => {
      lines.push(message);
      fields.push(more);
    },
    warn: () => {},
    error: () => {},
    child: () => log,
  };
  return { log, lines, fields };
}

const hosts = (ip: string): string => `hosts /dev/null {\n ${ip} a.test b.test\n }`;

describe('view', () => {
  it('the first block that takes a query answers it; the last takes the rest', async () => {
    const { dns, port } = await serve(
      `.:0 {\n view big {\n expr bufsize() > 2000\n }\n prometheus 127.0.0.1:0\n ${hosts('10.0.0.1')}\n}\n` +
        `.:0 {\n view aaaa {\n expr type() == 'AAAA'\n expr name() startsWith 'b.'\n }\n ${hosts('::2')}\n}\n` +
        `.:0 {\n ${hosts('10.0.0.3')}\n}\n`,
    );
    expect(short(await ask(port, 'a.test'))).toBe('NOERROR | A 10.0.0.3');
    expect(short(await ask(port, 'a.test', 'A', { edns: { udpSize: 4096 } }))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'b.test', 'AAAA'))).toBe('NOERROR | AAAA ::2');
    expect(short(await ask(port, 'a.test', 'AAAA'))).toBe('NOERROR');
    expect(dns.renderMetrics()).toContain(
      'coredns_dns_requests_total{server="dns://127.0.0.1:0",zone=".",view="big",proto="udp",family="1",type="A"} 1',
    );
  });

  it('what no block of a zone takes goes to the shorter zone, and then is refused', async () => {
    const { port } = await serve(
      `a.test:0 {\n view tcp {\n expr proto() == 'tcp'\n }\n ${hosts('10.0.0.1')}\n}\n` +
        `test:0 {\n view a {\n expr type() == 'A'\n }\n ${hosts('10.0.0.2')}\n}\n`,
    );
    expect(short(await ask(port, 'a.test', 'A', { tcp: true }))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'a.test'))).toBe('NOERROR | A 10.0.0.2');
    expect(short(await ask(port, 'a.test', 'MX'))).toBe('REFUSED');
  });

  it('an expression that cannot be carried out is not true', async () => {
    const { port } = await serve(`.:0 {\n view odd {\n expr incidr(client_ip(), 'x')\n }\n ${hosts('10.0.0.1')}\n}\n`);
    expect(short(await ask(port, 'a.test'))).toBe('REFUSED');
  });

  it('knows where a query arrived', async () => {
    const { port } = await serve(
      `.:0 {\n view here {\n expr server_ip() == '127.0.0.1' && int(server_port()) > 0 && port() != '0'\n }\n ${hosts('10.0.0.1')}\n}\n`,
    );
    expect(short(await ask(port, 'a.test'))).toBe('NOERROR | A 10.0.0.1');
    expect(short(await ask(port, 'a.test', 'A', { tcp: true }))).toBe('NOERROR | A 10.0.0.1');
  });

  it.each([
    ['.:5 {\n whoami\n}\n.:5 {\n whoami\n}', 'cannot serve dns://.:5 - it is already defined'],
    ['.:5 {\n view a {\n expr true\n }\n whoami\n}\n.:5 {\n whoami\n}', undefined],
    ['.:5 {\n whoami\n}\n.:5 {\n view a {\n expr true\n }\n whoami\n}', undefined],
    [
      '.:5 {\n bind 127.0.0.1\n whoami\n}\n.:5 {\n whoami\n}',
      'cannot serve dns://.:5 - zone overlap listener capacity with dns://.:5 on 127.0.0.1',
    ],
    ['.:5 {\n bind 127.0.0.1\n whoami\n}\n.:5 {\n bind 127.0.0.2\n whoami\n}', undefined],
    [
      '.:5 {\n bind 127.0.0.1\n whoami\n}\n.:5 {\n bind 127.0.0.1\n whoami\n}',
      'cannot serve dns://.:5 on 127.0.0.1 - it is already defined',
    ],
    ['.:5 {\n view a b\n}', "Wrong argument count or unexpected line ending after 'b'"],
    ['.:5 {\n view a {\n expr nosuch()\n }\n}', 'plugin/view: Corefile:3 - Error during parsing: unknown name nosuch'],
    ['.:5 {\n view a {\n so\n }\n}', "unknown property 'so'"],
  ])('%j', (text, message) => {
    const errors = checkCorefile(text).filter(({ severity }) => severity === 'error');
    if (message === undefined) expect(errors).toEqual([]);
    else expect(errors).toMatchObject([{ message: expect.stringContaining(message) }]);
  });
});

describe('metadata', () => {
  it('tells log, template and rewrite what kubernetes and view know', async () => {
    const api = new FakeApi();
    api.put('namespaces', namespace('default'));
    api.put('services', service('default/web', { clusterIPs: ['10.96.0.5'] }));
    const client = { ...pod('default/client', '127.0.0.1') };
    (client.metadata as Record<string, unknown>)['labels'] = { app: 'shop' };
    api.put('pods', client);
    const { log, lines } = memoryLog();
    const format = '{/kubernetes/client-label/app} {/kubernetes/service} {/view/name} {/no/such} {local} {name}';
    const { port } = await serve(
      `.:0 {\n metadata\n view all {\n expr metadata('kubernetes/namespace') == 'default' || name() == 'txt.test.'\n }\n` +
        ` log . "${format}"\n kubernetes cluster.local {\n pods verified\n }\n autopath @kubernetes\n` +
        ` template IN TXT test {\n answer "{{ .Name }} 60 IN TXT \\"{{ .Meta \`kubernetes/client-pod-name\` }}\\""\n }\n}`,
      { kube: api, log },
    );
    expect(short(await ask(port, 'web.default.svc.cluster.local'))).toBe('NOERROR | A 10.96.0.5');
    expect(short(await ask(port, 'txt.test', 'TXT'))).toBe('NOERROR | TXT "client"');
    expect(short(await ask(port, 'web.other.svc.cluster.local'))).toBe('REFUSED');
    expect(lines.filter((line) => line.startsWith('shop'))).toEqual([
      'shop web all - 127.0.0.1 web.default.svc.cluster.local.',
      'shop - all - 127.0.0.1 txt.test.',
    ]);
  });

  it('log says what kind of answer it was', async () => {
    const { log, lines } = memoryLog();
    const { port } = await serve('.:0 {\n metadata\n log . "is {/log/type} {/log/class}"\n whoami\n}', { log });
    await ask(port, 'a.test');
    expect(lines).toContain('is NOERROR success');
  });

  it('without the plugin nobody knows anything', async () => {
    const { log, lines } = memoryLog();
    const { port } = await serve(`.:0 {\n log . "m {/view/name}"\n view v {\n expr true\n }\n whoami\n}`, { log });
    await ask(port, 'a.test');
    expect(lines).toContain('m -');
  });
});

it('debug lets debug messages through, and only then', async () => {
  const { log, lines, fields } = memoryLog();
  const text = '.:0 {\n debug\n prometheus 127.0.0.1:0\n whoami\n}';
  await serve(text, { log });
  const at = lines.findIndex((line) => line.startsWith('plugin/prometheus: serving metrics'));
  expect(fields[at]).toEqual({ level: 'debug' });
  const other = memoryLog();
  await serve('.:0 {\n prometheus 127.0.0.1:0\n whoami\n}', { log: other.log });
  expect(other.lines.filter((line) => line.startsWith('plugin/prometheus'))).toEqual([]);
});
