// Every example of the plugins' READMEs as a server. The test moves into a network namespace of its own, with all its sockets.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { silentLogger } from '@weft/plan';
import koffi from 'koffi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDns } from '../../src/index.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { exchangeUdp, question } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace } from '../support/objects.ts';

const CLONE_NEWNET = 0x40000000;
const folder = new URL('../../src/plugins/', import.meta.url);
const plugins = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const examples = plugins.flatMap(({ name }) =>
  [...readFileSync(new URL(`${name}/README.md`, folder), 'utf8').matchAll(/```corefile\n(.*?)```/gs)].map(
    ([, text], i) => ({ name, number: i + 1, text: text as string }),
  ),
);

describe('examples of READMEs', () => {
  let files: Certificates;
  beforeAll(() => {
    // Only this thread moves, and it is the one that opens sockets.
    expect(koffi.load(null).func('unshare', 'int', ['int'])(CLONE_NEWNET)).toBe(0);
    for (const link of ['lo', 'eth0']) {
      if (link !== 'lo') execFileSync('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'peer0']);
      execFileSync('ip', ['link', 'set', link, 'up']);
    }
    // Addresses that examples bind to.
    for (const address of ['10.0.0.1/24', '169.254.20.10/32', '192.0.2.53/24', '10.96.0.10/32']) {
      execFileSync('ip', ['address', 'add', address, 'dev', 'eth0']);
    }
    files = makeCertificates();
  });
  afterAll(() => files.remove());

  it.each(examples)('$name, example $number', async ({ text }) => {
    const api = new FakeApi();
    api.put('namespaces', namespace('demo'));
    const server = await startDns({
      corefile: { text: text.replace(/\b(?:cert|key|ca)\.pem\b/g, (file) => files.path(file)) },
      kube: api,
      env: {},
      log: silentLogger,
      onFatal: (error) => {
        throw error;
      },
    });
    try {
      expect(server.addresses.length).toBeGreaterThan(0);
      for (const { transport, host, port } of server.addresses) {
        if (transport !== 'dns') continue;
        // Upstreams are not there: that is an answer too.
        const to = host === '' ? '127.0.0.1' : host;
        const reply = await exchangeUdp(port, question('www.example.org', 'A'), to, 8000);
        expect(reply?.length, `${to}:${port}`).toBeGreaterThan(11);
      }
    } finally {
      await server.close();
    }
  });
});
