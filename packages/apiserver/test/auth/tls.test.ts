import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, type Parsed, pod, TestServer } from '../support/server.ts';

const ACCOUNTS = '/api/v1/namespaces/default/serviceaccounts';

let clock: Date | undefined;
let server: TestServer;
beforeAll(async () => {
  server = await new TestServer({
    listen: { host: '127.0.0.1', port: 0 },
    now: () => clock ?? new Date(),
  }).start();
});
afterAll(() => server.stop());

interface Credentials {
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

const https = (
  method: string,
  path: string,
  who: Credentials = {},
  body?: object,
): Promise<{ code: number; body: Parsed }> =>
  new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const req = request(
      `${server.server.url}${path}`,
      {
        method,
        agent: false,
        ca: server.server.caPem,
        ...(who.cert === undefined ? {} : { cert: who.cert, key: who.key }),
        headers: {
          ...(who.token === undefined ? {} : { Authorization: `Bearer ${who.token}` }),
          ...(payload === undefined
            ? {}
            : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) }),
          ...who.headers,
        },
      },
      (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => {
          text += chunk;
        });
        res.on('end', () =>
          resolve({ code: res.statusCode ?? 0, body: text.startsWith('{') ? JSON.parse(text) : text }),
        );
      },
    );
    req.on('error', reject);
    req.end(payload);
  });

const whoAmI = async (who: Credentials): Promise<Parsed> => {
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
  const { code, body } = await https('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', who, review);
  return code === 201 ? body.status.userInfo : code;
};

const newToken = async (account: string, spec: object = {}): Promise<{ code: number; body: Parsed }> =>
  server.post(`${ACCOUNTS}/${account}/token`, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec });

describe('credentials', () => {
  it('are needed for everything but health and version', async () => {
    expect(await https('GET', '/api/v1/namespaces')).toMatchObject({
      code: 401,
      body: { reason: 'Unauthorized', message: 'Unauthorized' },
    });
    expect((await https('GET', '/readyz')).code).toBe(200);
    expect((await https('GET', '/version')).code).toBe(200);
    expect((await https('GET', '/metrics')).code).toBe(401);
  });

  it('are client certificates: CN is the user, O the groups', async () => {
    const bob = await server.server.issueClientCert('bob/builder', ['devs', 'system:nodes']);
    expect(await whoAmI(bob)).toEqual({
      username: 'bob/builder',
      groups: ['devs', 'system:nodes', 'system:authenticated'],
    });
    expect(new X509Certificate(bob.cert).checkIssued(new X509Certificate(server.server.caPem))).toBe(true);
  });

  it('are not certificates of another authority', async () => {
    const other = await new TestServer().start();
    const stranger = await other.server.issueClientCert('system:admin', ['system:masters']);
    await other.stop();
    expect(await whoAmI(stranger)).toBe(401);
  });

  it('let an administrator act as somebody else', async () => {
    const admin = await server.server.issueClientCert('root', ['system:masters']);
    const headers = { 'Impersonate-User': 'jane', 'Impersonate-Group': 'devs' };
    expect(await whoAmI({ ...admin, headers })).toEqual({ username: 'jane', groups: ['devs', 'system:authenticated'] });
  });
});

describe('service-account tokens', () => {
  it('speak for their account', async () => {
    const { code, body } = await newToken('default', { expirationSeconds: 600 });
    expect(code).toBe(201);
    expect(body.spec).toMatchObject({
      audiences: ['https://kubernetes.default.svc.cluster.local'],
      expirationSeconds: 600,
    });
    const user = await whoAmI({ token: body.status.token });
    expect(user.username).toBe('system:serviceaccount:default:default');
    expect(user.groups).toEqual(['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated']);
  });

  it('end with their time, their account, and the pod they are bound to', async () => {
    const { body } = await newToken('default', { expirationSeconds: 600 });
    clock = new Date(Date.now() + 601_000);
    expect(await whoAmI({ token: body.status.token })).toBe(401);
    clock = undefined;

    await server.post(ACCOUNTS, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'brief' } });
    const brief = await newToken('brief');
    await server.delete(`${ACCOUNTS}/brief`);
    expect(await whoAmI({ token: brief.body.status.token })).toBe(401);

    await server.post('/api/v1/namespaces/default/pods', pod('owner'));
    const bound = await newToken('default', { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'owner' } });
    const user = await whoAmI({ token: bound.body.status.token });
    expect(user.extra['authentication.kubernetes.io/pod-name']).toEqual(['owner']);
    await server.delete('/api/v1/namespaces/default/pods/owner', { gracePeriodSeconds: 0 });
    expect(await whoAmI({ token: bound.body.status.token })).toBe(401);
  });

  it('are refused when forged, for another audience, or for too short a time', async () => {
    const { body } = await newToken('default');
    const [header, payload, signature] = (body.status.token as string).split('.');
    const claims = JSON.parse(Buffer.from(payload as string, 'base64url').toString()) as object;
    const forged = Buffer.from(
      JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:default' }),
    ).toString('base64url');
    expect(await whoAmI({ token: `${header}.${forged}.${signature}` })).toBe(401);
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    expect(await whoAmI({ token: `${none}.${payload}.` })).toBe(401);
    const vault = await newToken('default', { audiences: ['vault'] });
    expect(await whoAmI({ token: vault.body.status.token })).toBe(401);
    const short = await newToken('default', { expirationSeconds: 5 });
    expect([short.code, short.body.message]).toEqual([
      422,
      'TokenRequest.authentication.k8s.io "default" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes',
    ]);
  });

  it('are looked at by TokenReview', async () => {
    const { body } = await newToken('default', { audiences: ['vault'] });
    const review = (spec: object): Promise<{ body: Parsed }> =>
      server.post('/apis/authentication.k8s.io/v1/tokenreviews', {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec,
      });
    const good = await review({ token: body.status.token, audiences: ['vault'] });
    expect(good.body.status).toMatchObject({
      authenticated: true,
      audiences: ['vault'],
      user: { username: 'system:serviceaccount:default:default' },
    });
    expect((await review({ token: body.status.token })).body.status.authenticated).toBeUndefined();
    expect((await review({ token: 'x.y.z' })).body.status.error).toBe('invalid bearer token');
  });
});

describe('certificates', () => {
  it('cover the names that pods and users reach the server by, and stay the same', async () => {
    const path = join(server.directory, 'data', 'pki', 'server.crt');
    const before = readFileSync(path, 'utf8');
    const cert = new X509Certificate(before);
    for (const name of ['kubernetes', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local', 'localhost']) {
      expect(cert.checkHost(name)).toBe(name);
    }
    for (const ip of ['10.96.0.1', '127.0.0.1', '192.0.2.1']) expect(cert.checkIP(ip)).toBe(ip);
    await server.restart();
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it('are in the kubeconfig', () => {
    const text = server.server.kubeconfig({ name: 'lab "1"' });
    expect(text).toContain('current-context: "lab \\"1\\""');
    expect(text).toContain(`server: "${server.server.url}"`);
  });
});

describe('a port that is taken', () => {
  it('is named, with a way out', async () => {
    const second = new TestServer({ listen: { host: '127.0.0.1', port: server.server.port as number } });
    await expect(second.start()).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(`127.0.0.1:${server.server.port}`),
      hint: expect.stringContaining('another port'),
    });
    await second.stop();
    // Nothing is left of the attempt: the directory can be used again.
    const third = new TestServer();
    await third.start();
    await third.post('/api/v1/namespaces/default/configmaps', configMap('x'));
    await third.stop();
  });
});
