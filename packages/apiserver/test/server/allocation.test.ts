import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { silentLogger, WeftError } from '@weft/plan';
import type { KubeObject, Service } from '@weft/kube';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createStrategies } from '../../src/kinds/index.ts';
import { type Env, internalCall } from '../../src/registry/context.ts';
import { createObject } from '../../src/registry/create.ts';
import { makeResource, type Resource, ResourceTable } from '../../src/registry/resource.ts';
import { updateObject } from '../../src/registry/update.ts';
import { resources } from '../../src/schema/index.ts';
import { Store } from '../../src/store/store.ts';
import type { AnyObject } from '../../src/store/stored.ts';

let directory: string;
let store: Store;
let env: Env;
let services: Resource;

beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/weft-alloc-`);
  store = new Store({ directory, durability: 'none', log: silentLogger });
  const table = new ResourceTable();
  const strategies = createStrategies({
    serviceCidrs: ['10.96.0.0/24'],
    nodePortRange: [30000, 30100],
    clusterDomain: 'cluster.local',
  });
  for (const api of resources) {
    if (api.group === '' && ['services', 'namespaces'].includes(api.plural)) {
      table.add(makeResource(api, strategies.strategyFor(api), undefined));
    }
  }
  env = { store, table, now: () => new Date(0), log: silentLogger };
  services = table.find('', 'v1', 'services') as Resource;
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } };
  createObject(env, table.find('', 'v1', 'namespaces') as Resource, undefined, namespace as AnyObject, internalCall());
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

function create(name: string, port: object): void {
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { type: 'NodePort', ports: [port] } };
  createObject(env, services, 'default', service as unknown as AnyObject, internalCall());
}
function update(name: string, change: (s: Service) => void): void {
  const edit = (current: AnyObject): AnyObject => {
    change(current as KubeObject as Service);
    return current;
  };
  updateObject(env, services, { namespace: 'default', name, part: 'all', change: edit }, internalCall());
}

it('an update that cannot be stored leaves ports and addresses as they were', () => {
  create('a', { port: 80, nodePort: 30050 });
  const full = vi.spyOn(store, 'commit').mockImplementation(() => {
    throw new WeftError({ code: 'STORE_FULL', message: 'no space' });
  });
  const port = (nodePort: number) => (s: Service) => Object.assign(s.spec.ports?.[0] ?? {}, { nodePort });
  expect(() => update('a', port(30051))).toThrow('no space');
  expect(() =>
    update('a', (s) => {
      Object.assign(s.spec, { type: 'ExternalName', externalName: 'b.example', clusterIP: '', clusterIPs: [] });
      for (const p of s.spec.ports ?? []) delete p.nodePort;
    }),
  ).toThrow('no space');
  full.mockRestore();

  // What the stored Service holds is nobody else's, and what it did not get is free.
  const ip = store.collection('/services').get('default/a')?.object as unknown as Service;
  expect(() => create('b', { port: 80, nodePort: 30050 })).toThrow('provided port is already allocated');
  create('c', { port: 80, nodePort: 30051 });
  expect(() => update('c', (s) => void Object.assign(s.spec, { clusterIP: ip.spec.clusterIP }))).toThrow();
  for (let i = 0; i < 40; i++) create(`more-${i}`, { port: 80 });
  const all = store
    .collection('/services')
    .list()
    .map((s) => (s.object as unknown as Service).spec);
  expect(new Set(all.map((s) => s.clusterIP)).size).toBe(all.length);
  expect(new Set(all.map((s) => s.ports?.[0]?.nodePort)).size).toBe(all.length);
});
