import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inClusterTransport, isStatus, KubeClient, resources, resourceType } from '../src/index.ts';
import { answer, refuse } from './support/fake-api.ts';

interface Seen {
  method: string;
  url: string;
  type: string | undefined;
  auth: string | undefined;
  body: unknown;
}

let dir: string;
let server: Server;
let seen: Seen[];
let reply: (res: ServerResponse, request: Seen, raw: IncomingMessage) => void;
let sockets: number;
let client: KubeClient;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  seen = [];
  sockets = 0;
  reply = (res) => answer(res, 200, { metadata: { name: 'x' } });
  server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (c: Buffer) => chunks.push(c));
    req.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const request = {
        method: req.method ?? '',
        url: req.url ?? '',
        type: req.headers['content-type'],
        auth: req.headers.authorization,
        body: text === '' ? undefined : (JSON.parse(text) as unknown),
      };
      seen.push(request);
      reply(res, request, req);
    });
  });
  server.on('connection', () => sockets++);
  await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve));
  client = new KubeClient({ transport: { kind: 'unix', path: join(dir, 's') } });
});

afterEach(async () => {
  client.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

const lines = (): string[] => seen.map((r) => `${r.method} ${r.url}`);

describe('requests', () => {
  it('go where the API has the resource, over one connection', async () => {
    const gateway = resourceType({
      group: 'gateway.networking.k8s.io',
      version: 'v1',
      plural: 'gateways',
      kind: 'Gateway',
      namespaced: true,
    });
    await client.get(resources.pods, 'default', 'web');
    await client.get(resources.nodes, undefined, 'n1', { resourceVersion: '0' });
    await client.get(gateway, 'a', 'g');
    await client.list(resources.services, undefined, { labelSelector: 'a in (b,c)', limit: 5 });
    await client.list(resources.services, 'kube-system', { fieldSelector: 'metadata.name=x', continue: 'abc' });
    await client.subresource(resources.deployments, 'd', 'web', 'scale', 'PUT', { spec: { replicas: 2 } });
    expect(lines()).toEqual([
      'GET /api/v1/namespaces/default/pods/web',
      'GET /api/v1/nodes/n1?resourceVersion=0',
      'GET /apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/g',
      'GET /api/v1/services?labelSelector=a%20in%20(b%2Cc)&limit=5',
      'GET /api/v1/namespaces/kube-system/services?fieldSelector=metadata.name%3Dx&continue=abc',
      'PUT /apis/apps/v1/namespaces/d/deployments/web/scale',
    ]);
    expect(sockets).toBe(1);
  });

  it('carry what is written', async () => {
    await client.create(resources.configmaps, { metadata: { generateName: 'c-', namespace: 'd' }, data: { a: 'é' } });
    await client.update(resources.namespaces, { metadata: { name: 'ns' } }, { fieldManager: 'weft', dryRun: true });
    await client.updateStatus(resources.nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' } });
    await client.delete(resources.pods, 'd', 'p', { gracePeriodSeconds: 0, uid: 'u', propagationPolicy: 'Orphan' });
    await client.deleteCollection(resources.pods, 'd', { labelSelector: 'a=b' });
    expect(lines()).toEqual([
      'POST /api/v1/namespaces/d/configmaps',
      'PUT /api/v1/namespaces/ns?dryRun=All&fieldManager=weft',
      'PUT /api/v1/nodes/n/status',
      'DELETE /api/v1/namespaces/d/pods/p',
      'DELETE /api/v1/namespaces/d/pods?labelSelector=a%3Db',
    ]);
    expect(seen[0]?.body).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { generateName: 'c-', namespace: 'd' },
      data: { a: 'é' },
    });
    expect(seen[3]?.body).toEqual({
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      propagationPolicy: 'Orphan',
      gracePeriodSeconds: 0,
      preconditions: { uid: 'u' },
    });
  });

  it.each([
    ['merge', 'application/merge-patch+json'],
    ['strategic', 'application/strategic-merge-patch+json'],
    ['json', 'application/json-patch+json'],
    ['apply', 'application/apply-patch+yaml'],
  ] as const)('patch with type %s', async (type, contentType) => {
    await client.patch(resources.pods, 'd', 'p', [], { type, subresource: 'status', force: true });
    expect(seen[0]).toMatchObject({
      method: 'PATCH',
      url: '/api/v1/namespaces/d/pods/p/status?force=true',
      type: contentType,
      body: [],
    });
  });

  it('are refused before they are sent when the namespace or name is missing', async () => {
    expect(() => client.get(resources.pods, undefined, 'p')).toThrow(
      expect.objectContaining({ code: 'OBJECT_NAMESPACE_MISSING' }),
    );
    expect(() => client.get(resources.nodes, undefined, '')).toThrow(
      expect.objectContaining({ code: 'OBJECT_NAME_MISSING' }),
    );
    expect(seen).toEqual([]);
  });
});

describe('answers', () => {
  it('give list items what the list says once', async () => {
    reply = (res) =>
      answer(res, 200, {
        metadata: { resourceVersion: '7', continue: 'more', remainingItemCount: 3 },
        items: [{ metadata: { name: 'a' } }],
      });
    expect(await client.list(resources.deployments)).toEqual({
      items: [{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a' } }],
      resourceVersion: '7',
      continue: 'more',
      remainingItemCount: 3,
    });
    reply = (res) => answer(res, 200, { metadata: {}, items: null });
    expect(await client.list(resources.pods)).toEqual({ items: [], resourceVersion: '' });
  });

  it('become StatusError, whoever refused', async () => {
    reply = (res) => refuse(res, 404, 'NotFound', 'pods "x" not found');
    const missing: unknown = await client.get(resources.pods, 'd', 'x').catch((e: unknown) => e);
    expect(isStatus(missing, 'NotFound')).toBe(true);
    expect(isStatus(missing, 'Conflict')).toBe(false);
    expect(missing).toMatchObject({ code: 'NOT_FOUND', httpCode: 404, message: 'pods "x" not found' });
    reply = (res) => res.writeHead(502).end('bad gateway');
    await expect(client.get(resources.pods, 'd', 'x')).rejects.toMatchObject({
      httpCode: 502,
      reason: 'Unknown',
      message: expect.stringContaining('bad gateway'),
    });
  });

  it('that ask to slow down are waited for', async () => {
    let count = 0;
    reply = (res) => {
      if (++count < 3) answer(res, 429, { kind: 'Status', code: 429 }, { 'retry-after': '0' });
      else answer(res, 200, { metadata: { name: 'x' } });
    };
    await expect(client.get(resources.pods, 'd', 'x')).resolves.toEqual({ metadata: { name: 'x' } });
    reply = (res) => answer(res, 429, { kind: 'Status', code: 429 });
    await expect(client.get(resources.pods, 'd', 'x')).rejects.toMatchObject({ reason: 'TooManyRequests' });
  });

  it('that never come time out', async () => {
    const quick = new KubeClient({ transport: { kind: 'unix', path: join(dir, 's') }, timeoutMs: 20 });
    reply = () => {};
    await expect(quick.get(resources.pods, 'd', 'x')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
    quick.close();
  });

  it('are not waited for after abort', async () => {
    const controller = new AbortController();
    reply = () => controller.abort(new Error('enough'));
    await expect(
      client.create(
        resources.pods,
        { metadata: { namespace: 'd' }, spec: { containers: [] } },
        { signal: controller.signal },
      ),
    ).rejects.toThrow('enough');
    await expect(client.list(resources.pods, 'd', { signal: controller.signal })).rejects.toThrow('enough');
  });
});

describe('connections', () => {
  it('say what cannot be reached', async () => {
    const nowhere = new KubeClient({ transport: { kind: 'unix', path: join(dir, 'none') } });
    await expect(nowhere.list(resources.pods)).rejects.toMatchObject({
      code: 'API_UNREACHABLE',
      message: expect.stringContaining('GET /api/v1/pods'),
    });
    expect(() => new KubeClient({ transport: { kind: 'http', url: 'ftp://x' } })).toThrow('is not the URL');
  });

  it('that the server closed while idle are replaced', async () => {
    await client.get(resources.nodes, undefined, 'a');
    reply = (res, request, raw) => {
      // Only the second request on a kept connection is cut.
      if (seen.length === 2) raw.socket.destroy();
      else answer(res, 200, { metadata: { name: request.url } });
    };
    await expect(client.get(resources.nodes, undefined, 'b')).resolves.toEqual({
      metadata: { name: '/api/v1/nodes/b' },
    });
    expect(sockets).toBe(2);
  });

  it('send the token of a file, and read it again when it is refused', async () => {
    const tcp = createServer((req, res) => {
      if (req.headers.authorization === 'Bearer two') answer(res, 200, { metadata: { name: 'x' } });
      else refuse(res, 401, 'Unauthorized', 'Unauthorized');
    });
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
    const { port } = tcp.address() as { port: number };
    writeFileSync(join(dir, 'ca.crt'), 'CA');
    writeFileSync(join(dir, 'token'), 'one\n');
    const transport = inClusterTransport(dir, {
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String(port),
    });
    expect(transport).toMatchObject({ url: `https://127.0.0.1:${port}`, ca: 'CA' });
    const plain = new KubeClient({ transport: { ...transport, url: `http://127.0.0.1:${port}/` } as typeof transport });
    await expect(plain.get(resources.nodes, undefined, 'x')).rejects.toMatchObject({ reason: 'Unauthorized' });
    writeFileSync(join(dir, 'token'), 'two\n');
    await expect(plain.get(resources.nodes, undefined, 'x')).resolves.toBeDefined();
    plain.close();
    await new Promise((resolve) => tcp.close(resolve));
    expect(() => inClusterTransport(dir, {})).toThrow(expect.objectContaining({ code: 'NOT_IN_CLUSTER' }));
  });
});
