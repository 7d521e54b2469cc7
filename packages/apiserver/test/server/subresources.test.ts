import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deployment, type Parsed, pod, TestServer } from '../support/server.ts';

const PODS = '/api/v1/namespaces/default/pods';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer().start();
});
afterAll(() => server.stop());

describe('scale', () => {
  it('reads and sets the replicas', async () => {
    await server.post(DEPLOYMENTS, deployment('s1', 2));
    const { body } = await server.get(`${DEPLOYMENTS}/s1/scale`);
    expect(body).toMatchObject({
      kind: 'Scale',
      apiVersion: 'autoscaling/v1',
      metadata: { name: 's1', namespace: 'default' },
      spec: { replicas: 2 },
      status: { replicas: 0, selector: 'app=s1' },
    });
    expect((await server.patch(`${DEPLOYMENTS}/s1/scale`, { spec: { replicas: 4 } })).body.spec.replicas).toBe(4);
    expect(
      (await server.put(`${DEPLOYMENTS}/s1/scale`, { ...body, metadata: { name: 's1' }, spec: { replicas: 6 } })).body
        .spec.replicas,
    ).toBe(6);
    expect((await server.get(`${DEPLOYMENTS}/s1`)).body.spec.replicas).toBe(6);
    const stale = await server.put(`${DEPLOYMENTS}/s1/scale`, body);
    expect([stale.code, stale.body.reason]).toEqual([409, 'Conflict']);
    const table = await server.get(`${DEPLOYMENTS}/s1/scale`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    expect(table.body.columnDefinitions.map((c: Parsed) => c.name)).toEqual(['Name', 'Desired', 'Available', 'Age']);
    expect(table.body.rows[0].cells.slice(0, 3)).toEqual(['s1', 6, 0]);
    const negative = await server.patch(`${DEPLOYMENTS}/s1/scale`, { spec: { replicas: -1 } });
    expect([negative.code, negative.body.message]).toEqual([
      422,
      'Scale.autoscaling "s1" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    ]);
  });
});

describe('binding', () => {
  const binding = (name: string, node: string): object => ({
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name },
    target: { apiVersion: 'v1', kind: 'Node', name: node },
  });

  it('assigns a pod to a node, once', async () => {
    await server.post(PODS, pod('b1'));
    const { code, body } = await server.post(`${PODS}/b1/binding`, binding('b1', 'n1'));
    expect([code, body.status]).toEqual([201, 'Success']);
    const bound = await server.get(`${PODS}/b1`);
    expect(bound.body.spec.nodeName).toBe('n1');
    expect(bound.body.status.conditions).toMatchObject([{ type: 'PodScheduled', status: 'True' }]);
    const again = await server.post(`${PODS}/b1/binding`, binding('b1', 'n2'));
    expect([again.code, again.body.message]).toEqual([
      409,
      'Operation cannot be fulfilled on pods/binding "b1": pod b1 is already assigned to node "n1"',
    ]);
    await server.post(PODS, pod('b2'));
    expect((await server.post('/api/v1/namespaces/default/bindings', binding('b2', 'n2'))).code).toBe(201);
  });
});

describe('eviction', () => {
  const eviction = (name: string): object => ({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name } });
  const running = async (name: string): Promise<void> => {
    await server.post(PODS, { ...pod(name, 'n1'), metadata: { name, labels: { app: 'guarded' } } });
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await server.patch(`${PODS}/${name}/status`, { status });
  };

  it('deletes a pod that nothing guards', async () => {
    await server.post(PODS, pod('e0', 'n1'));
    expect((await server.post(`${PODS}/e0/eviction`, eviction('e0'))).code).toBe(201);
    expect((await server.get(`${PODS}/e0`)).body.metadata.deletionTimestamp).toBeDefined();
  });

  it('honours a disruption budget', async () => {
    await running('e1');
    await running('e2');
    await server.post('/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'guard' },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'guarded' } } },
    });
    expect((await server.post(`${PODS}/e1/eviction`, eviction('e1'))).code).toBe(201);
    const refused = await server.post(`${PODS}/e2/eviction`, eviction('e2'));
    expect([refused.code, refused.body.message]).toEqual([
      429,
      "Cannot evict pod as it would violate the pod's disruption budget.",
    ]);
    expect(refused.body.details.causes[0].message).toBe(
      'The disruption budget guard needs 1 healthy pods and has 1 currently',
    );
  });
});

describe('events', () => {
  it('are one resource in two groups', async () => {
    const created = await server.post('/apis/events.k8s.io/v1/namespaces/default/events', {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'ev1' },
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'weft.test/x',
      reportingInstance: 'x-1',
      action: 'Test',
      reason: 'Tested',
      regarding: { kind: 'Pod', namespace: 'default', name: 'b1' },
      note: 'hello',
      type: 'Normal',
    });
    expect(created.code).toBe(201);
    expect(created.body).toMatchObject({ apiVersion: 'events.k8s.io/v1', note: 'hello', regarding: { name: 'b1' } });
    const core = await server.get('/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Db1');
    expect(core.body.items).toMatchObject([
      { message: 'hello', involvedObject: { name: 'b1' }, reportingComponent: 'weft.test/x' },
    ]);
    const other = await server.get('/apis/events.k8s.io/v1/namespaces/default/events/ev1');
    expect(other.body.note).toBe('hello');
    expect(other.body.message).toBeUndefined();
  });
});

describe('autoscalers', () => {
  it('are stored as v2 and shown as v1', async () => {
    const { code, body } = await server.post('/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers', {
      apiVersion: 'autoscaling/v1',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'h1' },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
        maxReplicas: 5,
        targetCPUUtilizationPercentage: 70,
      },
    });
    expect([code, body.spec.targetCPUUtilizationPercentage]).toEqual([201, 70]);
    const v2 = await server.get('/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h1');
    expect(v2.body.apiVersion).toBe('autoscaling/v2');
    expect(v2.body.spec.metrics).toEqual([
      { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } },
    ]);
  });
});

describe('reviews', () => {
  it('allow everything to everyone who is known', async () => {
    const { code, body } = await server.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'create', resource: 'pods' } },
    });
    expect([code, body.status.allowed]).toEqual([201, true]);
    const who = await server.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'SelfSubjectReview',
    });
    expect(who.body.status.userInfo).toEqual({
      username: 'system:admin',
      groups: ['system:masters', 'system:authenticated'],
    });
  });

  it('want exactly one kind of attributes', async () => {
    const { code } = await server.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: {},
    });
    expect(code).toBe(422);
  });
});

describe('methods', () => {
  it('that a resource does not have are refused by name', async () => {
    const { code, body } = await server.delete('/api/v1/namespaces');
    expect([code, body.reason]).toEqual([405, 'MethodNotAllowed']);
    expect((await server.get('/api/v1/nothing')).body.message).toBe('the server could not find the requested resource');
    expect((await server.get('/nowhere')).code).toBe(404);
  });

  it('that need a connection of their own say so', async () => {
    const { code, body } = await server.get(`${PODS}/b1/exec?command=ls`);
    expect([code, body.message]).toEqual([400, 'Upgrade request required']);
    expect((await server.get(`${PODS}/b1/log`)).code).toBe(501);
    expect((await server.get(`${PODS}/none/log`)).body.message).toBe('pods "none" not found');
  });
});

describe('discovery', () => {
  const AGGREGATED = (v: string): string =>
    `application/json;g=apidiscovery.k8s.io;v=${v};as=APIGroupDiscoveryList,application/json`;

  it.each(['v2', 'v2beta1'])('is aggregated in %s and says so in its content type', async (version) => {
    const { body, headers } = await server.get('/apis', { accept: AGGREGATED(version) });
    expect(headers['content-type']).toBe(
      `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    );
    expect(body).toMatchObject({ kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}` });
    const apps = body.items.find((g: Parsed) => g.metadata.name === 'apps');
    const deployments = apps.versions[0].resources.find((r: Parsed) => r.resource === 'deployments');
    expect(deployments).toMatchObject({
      responseKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      scope: 'Namespaced',
      singularResource: 'deployment',
      shortNames: ['deploy'],
    });
    expect(deployments.subresources.map((s: Parsed) => s.subresource).sort()).toEqual(['scale', 'status']);
  });

  it('is there in the old form too', async () => {
    expect((await server.get('/api')).body).toMatchObject({ kind: 'APIVersions', versions: ['v1'] });
    expect((await server.get('/apis')).body.kind).toBe('APIGroupList');
    const { body } = await server.get('/api/v1');
    expect(body.resources.map((r: Parsed) => r.name)).toEqual(
      expect.arrayContaining(['pods', 'pods/log', 'pods/exec', 'services']),
    );
    expect((await server.get('/apis/apps')).body.preferredVersion).toEqual({ groupVersion: 'apps/v1', version: 'v1' });
  });

  it('gives OpenAPI with a hash that makes it cacheable for ever', async () => {
    const index = await server.get('/openapi/v3');
    const url: string = index.body.paths['apis/apps/v1'].serverRelativeURL;
    const document = await server.get(url);
    expect(document.headers['cache-control']).toContain('immutable');
    expect(document.body.components.schemas['io.k8s.api.apps.v1.Deployment']).toBeDefined();
    const again = await server.get(url, { 'If-None-Match': document.headers.etag as string });
    expect(again.code).toBe(304);
    expect((await server.get('/openapi/v2')).code).toBe(404);
  });

  it('answers health, version and metrics', async () => {
    for (const path of ['/healthz', '/livez', '/readyz']) expect((await server.get(path)).text).toBe('ok');
    expect((await server.get('/readyz?verbose')).text).toContain('[+]ping ok');
    expect((await server.get('/version')).body.gitVersion).toMatch(/^v1\.33\.\d+\+weft$/);
    await server.get('/apis/made.up/v1/inventions');
    const { text } = await server.get('/metrics');
    expect(text).toContain('apiserver_request_total{');
    expect(text).not.toContain('inventions');
    expect(text).toContain('apiserver_request_duration_seconds_bucket{');
  });
});
