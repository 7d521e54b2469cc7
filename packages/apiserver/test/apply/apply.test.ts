import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, deployment, type Parsed, TestServer } from '../support/server.ts';

const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
const MAPS = '/api/v1/namespaces/default/configmaps';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer().start();
});
afterAll(() => server.stop());

const apply = (path: string, object: object, manager = 'alice', force = false): Promise<Parsed> =>
  server.patch(`${path}?fieldManager=${manager}&force=${force}`, object, 'apply');
const managersOf = (object: Parsed): string[] =>
  (object.metadata.managedFields ?? []).map((m: Parsed) => `${m.manager} ${m.operation}`);
const fieldsOf = (object: Parsed, manager: string): Parsed =>
  object.metadata.managedFields.find((m: Parsed) => m.manager === manager)?.fieldsV1;

describe('server-side apply', () => {
  it('creates, and records what was said and nothing that was filled in', async () => {
    const { code, body } = await apply(`${DEPLOYMENTS}/a1`, deployment('a1'));
    expect(code).toBe(201);
    expect(managersOf(body)).toEqual(['alice Apply']);
    expect(fieldsOf(body, 'alice')).toEqual({
      'f:metadata': { 'f:labels': { 'f:app': {} } },
      'f:spec': {
        'f:replicas': {},
        'f:selector': {},
        'f:template': {
          'f:metadata': { 'f:labels': { 'f:app': {} } },
          'f:spec': {
            'f:containers': {
              'k:{"name":"web"}': {
                '.': {},
                'f:image': {},
                'f:name': {},
                'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } },
              },
            },
          },
        },
      },
    });
  });

  it('changes nothing when nothing changes', async () => {
    const first = await apply(`${DEPLOYMENTS}/a2`, deployment('a2'));
    const second = await apply(`${DEPLOYMENTS}/a2`, deployment('a2'));
    expect(second.code).toBe(200);
    expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
  });

  it('refuses to change what another manager applied, unless forced', async () => {
    await apply(`${DEPLOYMENTS}/a3`, deployment('a3', 2));
    const { code, body } = await apply(`${DEPLOYMENTS}/a3`, deployment('a3', 3), 'bob');
    expect(code).toBe(409);
    expect(body.message).toBe('Apply failed with 1 conflict: conflict with "alice": .spec.replicas');
    expect(body.details.causes).toEqual([
      { reason: 'FieldManagerConflict', message: 'conflict with "alice"', field: '.spec.replicas' },
    ]);
    const forced = await apply(`${DEPLOYMENTS}/a3`, deployment('a3', 3), 'bob', true);
    expect(forced.body.spec.replicas).toBe(3);
    expect(fieldsOf(forced.body, 'alice')['f:spec']['f:replicas']).toBeUndefined();
    expect(fieldsOf(forced.body, 'bob')['f:spec']['f:replicas']).toEqual({});
  });

  it('lets managers share a field that they agree on', async () => {
    await apply(`${DEPLOYMENTS}/a4`, deployment('a4', 2));
    const { code, body } = await apply(`${DEPLOYMENTS}/a4`, deployment('a4', 2), 'bob');
    expect(code).toBe(200);
    expect(managersOf(body)).toEqual(['alice Apply', 'bob Apply']);
  });

  it('removes what a manager no longer applies and nobody else owns', async () => {
    await apply(`${MAPS}/a5`, configMap('a5', { mine: '1', ours: '1' }, { x: 'y' }));
    await apply(`${MAPS}/a5`, configMap('a5', { ours: '1', theirs: '1' }), 'bob');
    const { body } = await apply(`${MAPS}/a5`, configMap('a5', {}));
    expect(body.data).toEqual({ ours: '1', theirs: '1' });
    expect(body.metadata.labels).toBeUndefined();
    expect(managersOf(body)).toEqual(['bob Apply']);
  });

  it('merges list items by their keys, and removes one with what was filled in', async () => {
    const withSidecar = deployment('a6') as Parsed;
    withSidecar.spec.template.spec.containers.push({ name: 'side', image: 'busybox' });
    await apply(`${DEPLOYMENTS}/a6`, withSidecar);
    const other = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'a6' },
      spec: { template: { spec: { containers: [{ name: 'web', env: [{ name: 'A', value: 'b' }] }] } } },
    };
    await apply(`${DEPLOYMENTS}/a6`, other, 'bob');
    const { body } = await apply(`${DEPLOYMENTS}/a6`, deployment('a6'));
    const containers = body.spec.template.spec.containers;
    expect(containers.map((c: Parsed) => c.name)).toEqual(['web']);
    expect(containers[0]).toMatchObject({ image: 'nginx', env: [{ name: 'A', value: 'b' }] });
  });

  it('moves ownership with an update, and reports the updater in the next conflict', async () => {
    await apply(`${DEPLOYMENTS}/a7`, deployment('a7', 2));
    const scaled = await server.patch(`${DEPLOYMENTS}/a7?fieldManager=scaler`, { spec: { replicas: 9 } });
    expect(managersOf(scaled.body)).toEqual(['alice Apply', 'scaler Update']);
    const { body } = await apply(`${DEPLOYMENTS}/a7`, deployment('a7', 2));
    expect(body.message).toBe('Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas');
  });

  it('takes fields that were written before anyone applied for owned', async () => {
    await server.post(MAPS, configMap('a8', { a: '1' }));
    const { code, body } = await apply(`${MAPS}/a8`, configMap('a8', { a: '2' }));
    expect([code, body.message]).toEqual([
      409,
      'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a',
    ]);
  });

  it('keeps the status to its subresource', async () => {
    const { body } = await apply(`${DEPLOYMENTS}/a9`, { ...deployment('a9'), status: { replicas: 7 } });
    expect(body.status?.replicas).toBeUndefined();
    expect(fieldsOf(body, 'alice')['f:status']).toBeUndefined();
    const status = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a9' }, status: { replicas: 7 } };
    const applied = await apply(`${DEPLOYMENTS}/a9/status`, status, 'controller');
    expect(applied.body.status.replicas).toBe(7);
    expect(fieldsOf(applied.body, 'controller')).toEqual({ 'f:status': { 'f:replicas': {} } });
  });

  it('needs a manager, and a schema that has the fields', async () => {
    const nobody = await server.patch(`${MAPS}/a10`, configMap('a10'), 'apply');
    expect([nobody.code, nobody.body.message]).toEqual([
      422,
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    ]);
    const { code, body } = await apply(`${MAPS}/a10`, { ...configMap('a10'), foo: { bar: 1 } });
    expect([code, body.message]).toEqual([
      500,
      'failed to create typed patch object (default/a10; /v1, Kind=ConfigMap): .foo: field not declared in schema',
    ]);
  });

  it('refuses list items that cannot be told apart, and loses none of them', async () => {
    const service = (ports: object[]): object => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'twice' },
      spec: { ports },
    });
    const path = '/api/v1/namespaces/default/services/twice';
    const why = 'failed to create typed patch object (default/twice; /v1, Kind=Service): ';
    const twice = await apply(
      path,
      service([
        { name: 'a', port: 80 },
        { name: 'b', port: 80, protocol: 'TCP' },
        { name: 'c', port: 80, protocol: 'UDP' },
      ]),
    );
    expect([twice.code, twice.body.message]).toEqual([
      500,
      `${why}.spec.ports: duplicate entries for key [port=80,protocol="TCP"]`,
    ]);
    const nameless = await apply(path, service([{ name: 'a' }, { name: 'b' }]));
    expect(nameless.body.message).toBe(
      `${why}errors:${[0, 1].map((i) => `\n  .spec.ports: element ${i}: associative list with keys has an element that omits key field "port" (and doesn't have default value)`).join('')}`,
    );
    expect((await server.get(path)).code).toBe(404);
    expect(
      (
        await apply(
          path,
          service([
            { name: 'a', port: 80 },
            { name: 'c', port: 80, protocol: 'UDP' },
          ]),
        )
      ).code,
    ).toBe(201);
  });

  it('keeps keys that mean something to JavaScript', async () => {
    const data = (more: object): object =>
      JSON.parse(JSON.stringify(configMap('odd')).replace('"data":{}', `"data":${JSON.stringify(more)}`)) as object;
    const odd = (value: string): object => JSON.parse(`{"__proto__":"${value}","constructor":"${value}"}`) as object;
    await apply(`${MAPS}/odd`, data(odd('1')));
    await apply(`${MAPS}/odd`, data({ b: '2' }), 'bob');
    const kept = async (more: object): Promise<unknown> =>
      new Map(Object.entries((await apply(`${MAPS}/odd`, data(more))).body.data as object));
    expect(await kept(odd('3'))).toEqual(new Map(Object.entries({ ...odd('3'), b: '2' })));
    // Marking an object for deletion copies it.
    await server.patch(`${MAPS}/odd`, { metadata: { finalizers: ['weft.test/hold'] } });
    await server.delete(`${MAPS}/odd`);
    expect(Object.keys((await server.get(`${MAPS}/odd`)).body.data as object).sort()).toEqual([
      '__proto__',
      'b',
      'constructor',
    ]);
    expect(await kept({})).toEqual(new Map([['b', '2']]));
    await server.patch(`${MAPS}/odd`, { metadata: { finalizers: null } });
    await server.post('/api/v1/namespaces/default/secrets', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'odd' },
      stringData: odd('1'),
    });
    expect(Object.keys((await server.get('/api/v1/namespaces/default/secrets/odd')).body.data as object)).toHaveLength(
      2,
    );
  });

  it('shows what it would do in a dry run', async () => {
    const { code } = await server.patch(`${MAPS}/a11?fieldManager=x&dryRun=All`, configMap('a11'), 'apply');
    expect(code).toBe(201);
    expect((await server.get(`${MAPS}/a11`)).code).toBe(404);
  });
});

describe('ownership of other writes', () => {
  it('is recorded for those who give their name', async () => {
    const { body } = await server.post(`${MAPS}?fieldManager=kubectl-create`, configMap('o1', { a: '1' }));
    expect(managersOf(body)).toEqual(['kubectl-create Update']);
    expect(fieldsOf(body, 'kubectl-create')).toEqual({ 'f:data': { '.': {}, 'f:a': {} } });
    const patched = await server.patch(`${MAPS}/o1?fieldManager=other`, { data: { a: '2', b: '1' } });
    expect(fieldsOf(patched.body, 'other')).toEqual({ 'f:data': { 'f:a': {}, 'f:b': {} } });
    expect(fieldsOf(patched.body, 'kubectl-create')).toEqual({ 'f:data': {} });
  });

  it('is dropped with an empty list, and not kept for nameless writers of untracked objects', async () => {
    const { body } = await server.post(MAPS, configMap('o2'));
    expect(body.metadata.managedFields).toBeUndefined();
    await server.patch(`${MAPS}/o2?fieldManager=x`, { data: { a: '1' } });
    const reset = await server.patch(`${MAPS}/o2`, { metadata: { managedFields: [] } });
    expect(reset.body.metadata.managedFields).toBeUndefined();
  });
});

describe('patches', () => {
  it('merge: null removes, lists replace', async () => {
    await server.post(MAPS, configMap('m1', { a: '1', b: '2' }));
    expect((await server.patch(`${MAPS}/m1`, { data: { a: null, c: '3' } })).body.data).toEqual({ b: '2', c: '3' });
  });

  it('strategic: items merge by key, and directives work', async () => {
    await server.post(DEPLOYMENTS, deployment('m2'));
    const spec = { template: { spec: { containers: [{ name: 'side', image: 'busybox' }] } } };
    const added = await server.patch(`${DEPLOYMENTS}/m2`, { spec }, 'strategic');
    expect(added.body.spec.template.spec.containers.map((c: Parsed) => c.name).sort()).toEqual(['side', 'web']);
    const removal = { spec: { template: { spec: { containers: [{ name: 'side', $patch: 'delete' }] } } } };
    const removed = await server.patch(`${DEPLOYMENTS}/m2`, removal, 'strategic');
    expect(removed.body.spec.template.spec.containers.map((c: Parsed) => c.name)).toEqual(['web']);
  });

  it('json: all or nothing', async () => {
    await server.post(MAPS, configMap('m3', { a: '1' }));
    const good = [
      { op: 'test', path: '/data/a', value: '1' },
      { op: 'replace', path: '/data/a', value: '2' },
    ];
    expect((await server.patch(`${MAPS}/m3`, good, 'json')).body.data).toEqual({ a: '2' });
    const { code, body } = await server.patch(`${MAPS}/m3`, good, 'json');
    expect([code, body.reason]).toEqual([422, 'Invalid']);
    expect((await server.get(`${MAPS}/m3`)).body.data).toEqual({ a: '2' });
  });

  it('name unknown fields as the API server does', async () => {
    await server.post(DEPLOYMENTS, deployment('m4'));
    const patch = { spec: { foo: 'bar' } };
    const strict = await server.patch(`${DEPLOYMENTS}/m4?fieldValidation=Strict`, patch);
    expect([strict.code, strict.body.message]).toEqual([
      422,
      ' "" is invalid: patch: Invalid value: "map[spec:map[foo:bar]]": strict decoding error: unknown field "spec.foo"',
    ]);
    const warned = await server.patch(`${DEPLOYMENTS}/m4`, patch);
    expect(warned.headers.warning).toBe('299 - "unknown field \\"spec.foo\\""');
    expect(warned.body.spec.foo).toBeUndefined();
  });

  it('refuse other types, and a version that is not the last', async () => {
    await server.post(MAPS, configMap('m5'));
    expect((await server.call('PATCH', `${MAPS}/m5`, {}, { 'Content-Type': 'text/plain' })).code).toBe(415);
    expect((await server.patch(`${MAPS}/m5`, { metadata: { resourceVersion: '1' }, data: { a: '1' } })).code).toBe(409);
    expect((await server.patch(`${MAPS}/nothing`, {})).body.message).toBe('configmaps "nothing" not found');
  });
});
