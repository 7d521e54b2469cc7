import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Node } from '@weft/kube';
import { Metrics } from '@weft/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeConflist } from '../src/conflist.ts';
import { healthServer } from '../src/http.ts';
import { podCidrsOf, slimNode } from '../src/nodes.ts';

function get(port: number, target: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, path: target, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      })
      .on('error', reject);
  });
}

describe('health endpoints', () => {
  let server: http.Server;
  let problem: string | undefined;
  let port = 0;

  beforeEach(async () => {
    problem = undefined;
    const metrics = new Metrics();
    metrics.counter('weft_test_total', 'A test.').inc();
    server = healthServer({
      live: [{ name: 'loop', problem: () => undefined }],
      ready: [{ name: 'network', problem: () => problem }],
      metrics,
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

  it('answer as components of Kubernetes do', async () => {
    expect(await get(port, '/readyz')).toEqual({ status: 200, body: 'ok' });
    expect(await get(port, '/livez?verbose')).toEqual({ status: 200, body: '[+]loop ok\nlivez check passed\n' });
    problem = 'node n1 has no spec.podCIDR yet';
    expect(await get(port, '/readyz')).toEqual({
      status: 503,
      body: '[-]network failed: node n1 has no spec.podCIDR yet\nreadyz check failed\n',
    });
    expect((await get(port, '/healthz')).status).toBe(200);
    expect((await get(port, '/other')).status).toBe(404);
  });

  it('show the metrics', async () => {
    expect((await get(port, '/metrics')).body).toContain('weft_test_total 1');
  });
});

describe('the CNI configuration on disk', () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'weft-conflist-'));
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('is written once for one content, and leaves no other file', () => {
    expect(writeConflist(dir, '10-weft.conflist', { name: 'weft' })).toBe(true);
    expect(writeConflist(dir, '10-weft.conflist', { name: 'weft' })).toBe(false);
    expect(writeConflist(dir, '10-weft.conflist', { name: 'other' })).toBe(true);
    expect(readdirSync(dir)).toEqual(['10-weft.conflist']);
    expect(JSON.parse(readFileSync(path.join(dir, '10-weft.conflist'), 'utf8'))).toEqual({ name: 'other' });
  });
});

describe('what is kept of nodes', () => {
  it('is what routes and Services need, and nothing that changes with every heartbeat', () => {
    const node: Node = {
      metadata: { name: 'n1', labels: { zone: 'a' }, managedFields: [], resourceVersion: '7' },
      spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] },
      status: {
        addresses: [{ type: 'InternalIP' as const, address: '10.89.0.11' }],
        conditions: [{ type: 'Ready', status: 'True' as const }],
      },
    };
    const slim = slimNode(node);
    expect(slim.status).toEqual({ addresses: [{ type: 'InternalIP', address: '10.89.0.11' }] });
    expect(slim.metadata).toEqual({ name: 'n1', labels: { zone: 'a' }, resourceVersion: '7' });
    expect(podCidrsOf(slim)).toEqual(['10.244.1.0/24']);
    expect(podCidrsOf(undefined)).toEqual([]);
  });
});
