import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, deployment, pod, type Parsed, TestServer } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const PODS = '/api/v1/namespaces/default/pods';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer().start();
});
afterAll(() => server.stop());

describe('create', () => {
  it('fills in what the server knows', async () => {
    const { code, body } = await server.post(MAPS, configMap('c1'));
    expect(code).toBe(201);
    expect(body).toMatchObject({ kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: 'c1', namespace: 'default' } });
    expect(body.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(body.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Number(body.metadata.resourceVersion)).toBeGreaterThan(0);
  });

  it('answers as Kubernetes does when the name is taken', async () => {
    await server.post(MAPS, configMap('taken'));
    const { code, body } = await server.post(MAPS, configMap('taken'));
    expect(code).toBe(409);
    expect(body).toMatchObject({
      kind: 'Status',
      status: 'Failure',
      reason: 'AlreadyExists',
      message: 'configmaps "taken" already exists',
      details: { name: 'taken', kind: 'configmaps' },
      code: 409,
    });
  });

  it('names what is generated', async () => {
    const { body } = await server.post(MAPS, { ...configMap(''), metadata: { generateName: 'g-' } });
    expect(body.metadata.name).toMatch(/^g-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });

  it.each([
    [
      'a missing name',
      { ...configMap(''), metadata: {} },
      422,
      'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    ],
    [
      'a bad name',
      configMap('Bad_Name'),
      422,
      /^ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of/,
    ],
    [
      'another namespace',
      { ...configMap('x'), metadata: { name: 'x', namespace: 'other' } },
      400,
      'the namespace of the provided object does not match the namespace sent on the request',
    ],
    [
      'another version',
      { ...configMap('x'), apiVersion: 'v2' },
      400,
      'the API version in the data (v2) does not match the expected API version (v1)',
    ],
    [
      'a version of its own',
      { ...configMap('x'), metadata: { name: 'x', resourceVersion: '5' } },
      400,
      'resourceVersion should not be set on objects to be created',
    ],
    [
      'a value of the wrong type',
      { ...configMap('x'), data: { a: 5 } },
      400,
      /^ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go/,
    ],
    [
      'a bad label',
      configMap('x', {}, { a: 'b c' }),
      422,
      /^ConfigMap "x" is invalid: metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of/,
    ],
  ])('refuses %s', async (_what, object, code, message) => {
    const answer = await server.post(MAPS, object);
    expect(answer.code).toBe(code);
    expect(answer.body.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  it('lists every fault of one object as a cause', async () => {
    const { body } = await server.post(MAPS, configMap('Bad', {}, { a: 'b c' }));
    expect(body.details.causes.map((c: Parsed) => c.field)).toEqual(['metadata.name', 'metadata.labels']);
    expect(body.details.causes[0]?.reason).toBe('FieldValueInvalid');
    expect(body.message).toMatch(/^ConfigMap "Bad" is invalid: \[metadata.name: .*, metadata.labels: .*\]$/);
  });

  it('needs the namespace', async () => {
    const { code, body } = await server.post('/api/v1/namespaces/nowhere/configmaps', configMap('x'));
    expect(code).toBe(404);
    expect(body.message).toBe('namespaces "nowhere" not found');
  });

  it('keeps nothing of a dry run', async () => {
    const { code, body } = await server.post(`${MAPS}?dryRun=All`, configMap('dry'));
    expect(code).toBe(201);
    expect(body.metadata.name).toBe('dry');
    expect((await server.get(`${MAPS}/dry`)).code).toBe(404);
  });

  it('refuses unknown and doubled fields when asked to be strict, and else warns', async () => {
    const text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"strict"},"data":{"a":"b","a":"c"},"foo":1}';
    const strict = await server.post(`${MAPS}?fieldValidation=Strict`, text);
    expect(strict.code).toBe(400);
    expect(strict.body.message).toBe(
      'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "foo", duplicate field "data.a"',
    );
    const warned = await server.post(`${MAPS}?fieldValidation=Warn`, text);
    expect(warned.code).toBe(201);
    expect(warned.headers.warning).toBe('299 - "unknown field \\"foo\\"", 299 - "duplicate field \\"data.a\\""');
    expect(warned.body.foo).toBeUndefined();
  });

  it('takes YAML, and refuses what it does not know', async () => {
    const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata:\n  a: "1"\n';
    expect((await server.post(MAPS, yaml, { 'Content-Type': 'application/yaml' })).body.data).toEqual({ a: '1' });
    const { code, body } = await server.post(MAPS, yaml, { 'Content-Type': 'text/plain' });
    expect([code, body.reason]).toEqual([415, 'UnsupportedMediaType']);
  });

  it('refuses a body that is not JSON, and one that is too large', async () => {
    expect((await server.post(MAPS, '{"a":')).body.message).toMatch(/^couldn't get version\/kind; json parse error/);
    const { code, body } = await server.post(MAPS, configMap('huge', { x: 'x'.repeat(3.5 * 1024 * 1024) }));
    expect([code, body.reason]).toEqual([413, 'RequestEntityTooLarge']);
    expect((await server.get(`${MAPS}/c1`)).code).toBe(200);
  });
});

describe('update', () => {
  it.each([
    ['PUT', MAPS],
    ['PATCH', MAPS],
    ['POST', `${MAPS}/named`],
    ['OPTIONS', MAPS],
    ['TRACE', `${MAPS}/named`],
  ])('does not allow %s of %s', async (method, path) => {
    const { code, body } = await server.call(method, path, configMap('named'));
    expect([code, body.reason]).toEqual([405, 'MethodNotAllowed']);
    expect((await server.get(`${MAPS}/named`)).code).toBe(404);
  });

  it('refuses a version that is not the last one', async () => {
    const { body } = await server.post(MAPS, configMap('u1'));
    expect((await server.put(`${MAPS}/u1`, { ...body, data: { a: '1' } })).code).toBe(200);
    const { code, body: status } = await server.put(`${MAPS}/u1`, { ...body, data: { a: '2' } });
    expect(code).toBe(409);
    expect(status.message).toBe(
      'Operation cannot be fulfilled on configmaps "u1": the object has been modified; please apply your changes to the latest version and try again',
    );
    expect((await server.get(`${MAPS}/u1`)).body.data).toEqual({ a: '1' });
  });

  it('does nothing when nothing changes', async () => {
    const { body } = await server.post(MAPS, configMap('u2', { a: '1' }));
    const again = await server.put(`${MAPS}/u2`, configMap('u2', { a: '1' }));
    expect(again.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion);
  });

  it('keeps what belongs to the server', async () => {
    const { body } = await server.post(MAPS, configMap('u3'));
    const changed = await server.put(`${MAPS}/u3`, {
      ...configMap('u3', { a: '1' }),
      metadata: {
        name: 'u3',
        creationTimestamp: '2000-01-01T00:00:00Z',
        generation: 99,
        deletionTimestamp: '2000-01-01T00:00:00Z',
      },
    });
    expect(changed.body.metadata).toMatchObject({
      uid: body.metadata.uid,
      creationTimestamp: body.metadata.creationTimestamp,
    });
    expect(changed.body.metadata.deletionTimestamp).toBeUndefined();
    expect(changed.body.metadata.generation).toBeUndefined();
    const { code, body: status } = await server.put(`${MAPS}/u3`, {
      ...configMap('u3'),
      metadata: { name: 'u3', uid: 'other' },
    });
    expect([code, status.reason]).toEqual([409, 'Conflict']);
    expect(status.message).toContain('Precondition failed: UID in precondition: other, UID in object meta: ');
  });

  it('counts generations of the spec only, and keeps the status to its subresource', async () => {
    const { body } = await server.post(DEPLOYMENTS, deployment('g1'));
    expect(body.metadata.generation).toBe(1);
    const labelled = await server.patch(`${DEPLOYMENTS}/g1`, { metadata: { labels: { x: 'y' } } });
    expect(labelled.body.metadata.generation).toBe(1);
    const scaled = await server.patch(`${DEPLOYMENTS}/g1`, { spec: { replicas: 5 }, status: { replicas: 9 } });
    expect(scaled.body.metadata.generation).toBe(2);
    expect(scaled.body.status?.replicas).toBeUndefined();
    const status = await server.patch(`${DEPLOYMENTS}/g1/status`, { spec: { replicas: 7 }, status: { replicas: 3 } });
    expect(status.body).toMatchObject({ metadata: { generation: 2 }, spec: { replicas: 5 }, status: { replicas: 3 } });
  });

  it('refuses a name that is not the one of the URL', async () => {
    await server.post(MAPS, configMap('u4'));
    const { code, body } = await server.put(`${MAPS}/u4`, configMap('other'));
    expect([code, body.message]).toEqual([
      400,
      'the name of the object (other) does not match the name on the URL (u4)',
    ]);
  });
});

describe('delete', () => {
  it('answers with the uid of what is gone', async () => {
    const { body } = await server.post(MAPS, configMap('d1'));
    const { code, body: status } = await server.delete(`${MAPS}/d1`);
    expect(code).toBe(200);
    expect(status).toMatchObject({
      status: 'Success',
      details: { name: 'd1', kind: 'configmaps', uid: body.metadata.uid },
    });
    const gone = await server.delete(`${MAPS}/d1`);
    expect([gone.code, gone.body.message]).toEqual([404, 'configmaps "d1" not found']);
  });

  it('waits for finalizers, and takes no new ones', async () => {
    await server.post(MAPS, { ...configMap('d2'), metadata: { name: 'd2', finalizers: ['weft.test/hold'] } });
    const marked = await server.delete(`${MAPS}/d2`);
    expect(marked.body.metadata.deletionTimestamp).toBeDefined();
    const added = await server.patch(`${MAPS}/d2`, { metadata: { finalizers: ['weft.test/hold', 'weft.test/more'] } });
    expect(added.code).toBe(422);
    expect(added.body.message).toContain(
      'no new finalizers can be added if the object is being deleted, found new finalizers []string{"weft.test/more"}',
    );
    expect((await server.get(`${MAPS}/d2`)).code).toBe(200);
    await server.patch(`${MAPS}/d2`, { metadata: { finalizers: null } });
    expect((await server.get(`${MAPS}/d2`)).code).toBe(404);
  });

  it.each([
    ['Foreground', ['foregroundDeletion']],
    ['Orphan', ['orphan']],
  ])('leaves a finalizer for the garbage collector with %s', async (propagationPolicy, finalizers) => {
    const name = `d-${propagationPolicy.toLowerCase()}`;
    await server.post(DEPLOYMENTS, deployment(name));
    const { body } = await server.delete(`${DEPLOYMENTS}/${name}`, { propagationPolicy });
    expect(body.metadata.finalizers).toEqual(finalizers);
    expect(body.metadata.deletionTimestamp).toBeDefined();
  });

  it('gives a running pod its grace period, and a later request may only shorten it', async () => {
    await server.post(PODS, pod('p1', 'n1'));
    const first = await server.delete(`${PODS}/p1`);
    expect(first.body.metadata.deletionGracePeriodSeconds).toBe(30);
    const second = await server.delete(`${PODS}/p1`, { gracePeriodSeconds: 5 });
    expect(second.body.metadata.deletionGracePeriodSeconds).toBe(5);
    const third = await server.delete(`${PODS}/p1`, { gracePeriodSeconds: 60 });
    expect(third.body.metadata.deletionGracePeriodSeconds).toBe(5);
    const last = await server.delete(`${PODS}/p1`, { gracePeriodSeconds: 0 });
    expect(last.body.status).toBe('Success');
    expect((await server.get(`${PODS}/p1`)).code).toBe(404);
  });

  it('checks preconditions', async () => {
    await server.post(MAPS, configMap('d3'));
    const { code, body } = await server.delete(`${MAPS}/d3`, { preconditions: { uid: 'other' } });
    expect(code).toBe(409);
    expect(body.message).toMatch(
      /^Operation cannot be fulfilled on configmaps "d3": the UID in the precondition \(other\) does not match the UID in record/,
    );
    expect((await server.get(`${MAPS}/d3`)).code).toBe(200);
  });

  it('deletes a collection by selector', async () => {
    for (const name of ['dc1', 'dc2']) await server.post(MAPS, configMap(name, {}, { batch: 'x' }));
    await server.post(MAPS, configMap('dc3', {}, { batch: 'y' }));
    const { code, body } = await server.delete(`${MAPS}?labelSelector=batch%3Dx`);
    expect([code, body.items.map((o: Parsed) => o.metadata.name)]).toEqual([200, ['dc1', 'dc2']]);
    expect((await server.get(`${MAPS}?labelSelector=batch`)).body.items.map((o: Parsed) => o.metadata.name)).toEqual([
      'dc3',
    ]);
  });
});

describe('namespaces', () => {
  it('come with a ServiceAccount and the CA, and take everything with them', async () => {
    await server.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'gone' } });
    const inside = '/api/v1/namespaces/gone';
    const account = async (): Promise<number> => (await server.get(`${inside}/serviceaccounts/default`)).code;
    while ((await account()) !== 200) await new Promise((resolve) => setImmediate(resolve));
    expect((await server.get(`${inside}/configmaps/kube-root-ca.crt`)).body.data['ca.crt']).toContain(
      'BEGIN CERTIFICATE',
    );
    await server.post(`${inside}/configmaps`, {
      ...configMap('held'),
      metadata: { name: 'held', finalizers: ['weft.test/hold'] },
    });
    const marked = await server.delete(inside);
    expect(marked.body.status.phase).toBe('Terminating');
    const refused = await server.post(`${inside}/configmaps`, configMap('late'));
    expect(refused.code).toBe(403);
    expect(refused.body.message).toBe(
      'configmaps "late" is forbidden: unable to create new content in namespace gone because it is being terminated',
    );
    expect(refused.body.details.causes[0]?.reason).toBe('NamespaceTerminating');
    while ((await server.get(`${inside}/serviceaccounts/default`)).code !== 404)
      await new Promise((r) => setImmediate(r));
    let condition = '';
    while (condition === '') {
      condition = (await server.get(inside)).body.status.conditions?.map((c: Parsed) => c.message).join('; ') ?? '';
    }
    expect(condition).toContain('configmaps. has 1 resource instances');
    expect(condition).toContain('weft.test/hold in 1 resource instances');
    await server.patch(`${inside}/configmaps/held`, { metadata: { finalizers: null } });
    while ((await server.get(inside)).code !== 404) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});

describe('defaults of a cluster', () => {
  it('has its namespaces and the Service kubernetes with its endpoint', async () => {
    const { body } = await server.get('/api/v1/namespaces');
    expect(body.items.map((n: Parsed) => n.metadata.name)).toEqual(
      expect.arrayContaining(['default', 'kube-node-lease', 'kube-public', 'kube-system']),
    );
    const service = await server.get('/api/v1/namespaces/default/services/kubernetes');
    expect(service.body.spec).toMatchObject({ clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] });
    const endpoints = await server.get('/api/v1/namespaces/default/endpoints/kubernetes');
    expect(endpoints.body.subsets[0]?.addresses).toEqual([{ ip: '192.0.2.1' }]);
    const slice = await server.get('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes');
    expect(slice.body).toMatchObject({ addressType: 'IPv4', endpoints: [{ addresses: ['192.0.2.1'] }] });
  });

  it.each([
    '/api/v1/namespaces/default/services/kubernetes',
    '/api/v1/namespaces/default/endpoints/kubernetes',
    '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes',
    '/api/v1/namespaces/kube-node-lease',
  ])('makes anew what somebody deletes: %s', async (path) => {
    const { spec, subsets, endpoints, metadata } = (await server.get(path)).body;
    expect((await server.delete(path)).code).toBe(200);
    let again = await server.get(path);
    while (again.code !== 200 || again.body.metadata.uid === metadata.uid) again = await server.get(path);
    expect([again.body.spec, again.body.subsets, again.body.endpoints]).toEqual([spec, subsets, endpoints]);
  });

  it('brings the endpoint of the Service kubernetes back to its address', async () => {
    const path = '/api/v1/namespaces/default/endpoints/kubernetes';
    await server.patch(path, { subsets: null });
    while ((await server.get(path)).body.subsets === undefined) await new Promise((resolve) => setImmediate(resolve));
  });

  it('is the same after a restart', async () => {
    const before = await server.get('/api/v1/namespaces/default/services/kubernetes');
    await server.restart();
    const after = await server.get('/api/v1/namespaces/default/services/kubernetes');
    expect(after.body).toEqual(before.body);
  });
});
