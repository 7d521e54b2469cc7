import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConfigMap, Informer, KubeClient, resources } from '../src/index.ts';
import { answer } from './support/fake-api.ts';

let dir: string;
let server: Server;
let url: string;
const pem = (name: string): Buffer => readFileSync(join(dir, name));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'weft-tls-'));
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test-ca', '-days', '2');
  for (const [name, subject] of [
    ['server', '/CN=api'],
    ['client', '/O=system:masters/CN=admin'],
  ] as const) {
    openssl('req', '-new', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
    writeFileSync(join(dir, `${name}.ext`), 'subjectAltName=IP:127.0.0.1,DNS:api.test');
    const ca = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...ca);
  }
  const tls = { key: pem('server.key'), cert: pem('server.crt'), ca: pem('ca.crt'), requestCert: true };
  server = createServer({ ...tls, rejectUnauthorized: false }, (req, res) => {
    const socket = req.socket as TLSSocket;
    if (req.url?.includes('watch=true')) {
      res.writeHead(200, { 'content-type': 'application/json' });
      const object = { metadata: { name: 'a', namespace: 'd', resourceVersion: '1' } };
      const metadata = { resourceVersion: '1', annotations: { 'k8s.io/initial-events-end': 'true' } };
      for (const event of [
        { type: 'ADDED', object },
        { type: 'BOOKMARK', object: { metadata } },
      ]) {
        res.write(`${JSON.stringify(event)}\n`);
      }
      return;
    }
    const user = socket.authorized ? socket.getPeerCertificate().subject.CN : 'anonymous';
    answer(res, 200, { metadata: { name: user, annotations: { sni: socket.servername || '' } } });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

async function whoAmI(transport: Record<string, unknown>): Promise<ConfigMap> {
  const client = new KubeClient({ transport: { kind: 'http', url, ...transport } });
  try {
    return await client.get<ConfigMap>(resources.configmaps, 'd', 'x');
  } finally {
    client.close();
  }
}

describe('HTTPS', () => {
  it('shows the client certificate and checks the server against the CA', async () => {
    const me = await whoAmI({ ca: pem('ca.crt'), cert: pem('client.crt'), key: pem('client.key') });
    expect(me.metadata.name).toBe('admin');
    expect((await whoAmI({ ca: pem('ca.crt') })).metadata.name).toBe('anonymous');
    await expect(whoAmI({})).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
    expect((await whoAmI({ insecureSkipTlsVerify: true })).metadata.name).toBe('anonymous');
  });

  it('asks for and checks another server name when told', async () => {
    const named = await whoAmI({ ca: pem('ca.crt'), serverName: 'api.test' });
    expect(named.metadata.annotations?.['sni']).toBe('api.test');
    await expect(whoAmI({ ca: pem('ca.crt'), serverName: 'other.test' })).rejects.toThrow('ERR_TLS_CERT_ALTNAME');
  });

  it('carries watches', async () => {
    const client = new KubeClient({ transport: { kind: 'http', url, ca: pem('ca.crt') } });
    const controller = new AbortController();
    const informer = new Informer({ client, type: resources.configmaps });
    informer.start(controller.signal);
    await informer.synced;
    // Inferred: a ConfigMap, without naming the type.
    const data: Record<string, string> | undefined = informer.get('d/a')?.data;
    expect(data).toBeUndefined();
    expect(informer.size).toBe(1);
    controller.abort();
    await informer.stopped();
    client.close();
  });
});
