import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Parsed, TestServer } from '../support/server.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const WIDGETS = '/apis/shop.example.com/v1/namespaces/default/widgets';
const TABLE = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };

const definition: Parsed = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.shop.example.com' },
  spec: {
    group: 'shop.example.com',
    scope: 'Namespaced',
    names: { plural: 'widgets', singular: 'widget', kind: 'Widget', shortNames: ['wd'], categories: ['all'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
        },
        additionalPrinterColumns: [
          { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
          { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                required: ['size'],
                properties: {
                  size: { type: 'integer', minimum: 1, maximum: 9 },
                  color: { type: 'string', enum: ['red', 'blue'], default: 'red' },
                  name: { type: 'string', pattern: '^[a-z]+$', maxLength: 5 },
                  replicas: { type: 'integer', default: 1 },
                  port: { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
                  parts: {
                    type: 'array',
                    maxItems: 3,
                    'x-kubernetes-list-type': 'map',
                    'x-kubernetes-list-map-keys': ['name'],
                    items: {
                      type: 'object',
                      required: ['name'],
                      properties: { name: { type: 'string' }, count: { type: 'integer', default: 1 } },
                    },
                  },
                  free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                },
              },
              status: {
                type: 'object',
                properties: {
                  replicas: { type: 'integer' },
                  conditions: {
                    type: 'array',
                    items: { type: 'object', properties: { type: { type: 'string' }, status: { type: 'string' } } },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

const widget = (name: string, spec: object = { size: 2 }): object => ({
  apiVersion: 'shop.example.com/v1',
  kind: 'Widget',
  metadata: { name },
  spec,
});

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer().start();
  await server.post(DEFINITIONS, definition);
});
afterAll(() => server.stop());

describe('a definition', () => {
  it('is established, and its resource is discovered', async () => {
    let body: Parsed;
    do ({ body } = await server.get(`${DEFINITIONS}/widgets.shop.example.com`));
    while ((body.status.conditions ?? []).length === 0);
    expect(body.status.conditions.map((c: Parsed) => `${c.type}=${c.status}`)).toEqual([
      'NamesAccepted=True',
      'Established=True',
    ]);
    expect(body.status).toMatchObject({ storedVersions: ['v1'], acceptedNames: { kind: 'Widget' } });
    expect(body.metadata.finalizers).toEqual(['customresourcecleanup.apiextensions.k8s.io']);
    const resources = await server.get('/apis/shop.example.com/v1');
    expect(resources.body.resources.map((r: Parsed) => r.name)).toEqual(['widgets', 'widgets/status', 'widgets/scale']);
    const openapi = await server.get(
      (await server.get('/openapi/v3')).body.paths['apis/shop.example.com/v1'].serverRelativeURL,
    );
    expect(openapi.headers['cache-control']).toContain('immutable');
    expect(openapi.body.paths[`/apis/shop.example.com/v1/namespaces/{namespace}/widgets/{name}`].patch).toBeDefined();
  });

  it('is there after a restart', async () => {
    await server.post(WIDGETS, widget('kept'));
    await server.restart();
    expect((await server.get(`${WIDGETS}/kept`)).body.spec.size).toBe(2);
  });

  it('must fit its name', async () => {
    const { code, body } = await server.post(DEFINITIONS, { ...definition, metadata: { name: 'other' } });
    expect(code).toBe(422);
    expect(body.message).toContain('must be spec.names.plural+"."+spec.group');
  });
});

describe('its objects', () => {
  it('are defaulted, pruned, and shown with the columns of the definition', async () => {
    const spec = { size: 3, parts: [{ name: 'a' }], unknown: 1, free: { any: { thing: 1 } }, port: 'http' };
    const { code, body, headers } = await server.post(WIDGETS, widget('w1', spec));
    expect(code).toBe(201);
    expect(body.spec).toEqual({
      size: 3,
      color: 'red',
      replicas: 1,
      parts: [{ name: 'a', count: 1 }],
      free: { any: { thing: 1 } },
      port: 'http',
    });
    expect(body.metadata.generation).toBe(1);
    expect(headers.warning).toBe('299 - "unknown field \\"spec.unknown\\""');
    const status = {
      conditions: [
        { type: 'Other', status: 'False' },
        { type: 'Ready', status: 'True' },
      ],
    };
    await server.patch(`${WIDGETS}/w1/status`, { status });
    const table = await server.get(`${WIDGETS}/w1`, TABLE);
    expect(table.body.columnDefinitions.map((c: Parsed) => c.name)).toEqual(['Name', 'Size', 'Ready', 'Age']);
    expect(table.body.rows[0].cells.slice(0, 3)).toEqual(['w1', 3, 'True']);
  });

  it('are refused when strict, and for unknown fields of metadata too', async () => {
    const { code, body } = await server.post(`${WIDGETS}?fieldValidation=Strict`, {
      ...widget('w2', { size: 1, unknown: 1 }),
      metadata: { name: 'w2', lables: {} },
    });
    expect([code, body.message]).toEqual([
      400,
      'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "metadata.lables", unknown field "spec.unknown"',
    ]);
  });

  it.each([
    [{}, 'spec.size: Required value'],
    [{ size: 'big' }, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'],
    [{ size: 0 }, 'spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1'],
    [{ size: 10 }, 'spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9'],
    [{ size: 1, color: 'green' }, 'spec.color: Unsupported value: "green": supported values: "red", "blue"'],
    [{ size: 1, name: 'A' }, `spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$'`],
    [{ size: 1, name: 'abcdef' }, 'spec.name: Too long: may not be more than 5 bytes'],
    [
      { size: 1, port: true },
      'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
    ],
    [{ size: 1, parts: [{ name: 'a' }, { name: 'a' }] }, 'spec.parts[1]: Duplicate value: {"name":"a"}'],
    [{ size: 1, parts: [{ count: 1 }] }, 'spec.parts[0].name: Required value'],
  ])('are checked by the schema: %j', async (spec, message) => {
    const { code, body } = await server.post(WIDGETS, widget('bad', spec));
    expect([code, body.message]).toEqual([422, `Widget.shop.example.com "bad" is invalid: ${message}`]);
  });

  it('have a status and a scale of their own', async () => {
    await server.post(WIDGETS, widget('w3'));
    const ignored = await server.patch(`${WIDGETS}/w3`, { status: { replicas: 5 } });
    expect(ignored.body.status).toBeUndefined();
    const scaled = await server.patch(`${WIDGETS}/w3/scale`, { spec: { replicas: 4 } });
    expect(scaled.body).toMatchObject({ kind: 'Scale', spec: { replicas: 4 } });
    expect((await server.get(`${WIDGETS}/w3`)).body).toMatchObject({
      spec: { replicas: 4 },
      metadata: { generation: 2 },
    });
  });

  it('are applied by the keys of their lists', async () => {
    const path = `${WIDGETS}/w4`;
    await server.patch(`${path}?fieldManager=a`, widget('w4', { size: 1, parts: [{ name: 'x' }] }), 'apply');
    const { body } = await server.patch(
      `${path}?fieldManager=b`,
      { apiVersion: 'shop.example.com/v1', kind: 'Widget', metadata: { name: 'w4' }, spec: { parts: [{ name: 'y' }] } },
      'apply',
    );
    expect(body.spec.parts.map((p: Parsed) => p.name)).toEqual(['x', 'y']);
    const strategic = await server.patch(path, {}, 'strategic');
    expect(strategic.code).toBe(415);
  });

  it('can be watched', async () => {
    const watch = await server.watch(`${WIDGETS}?watch=true&fieldSelector=metadata.name%3Dw5`);
    await server.post(WIDGETS, widget('w5'));
    expect(await watch.names(1)).toEqual(['ADDED w5']);
    watch.close();
  });
});

describe('versions', () => {
  it('show the same objects under their own names', async () => {
    const two = structuredClone(definition);
    two.metadata.name = 'gears.shop.example.com';
    two.spec.names = { plural: 'gears', kind: 'Gear' };
    const [first] = two.spec.versions;
    two.spec.versions = [
      { ...first, name: 'v1beta1', storage: false },
      { ...first, name: 'v1', storage: true },
    ];
    await server.post(DEFINITIONS, two);
    const gear = { apiVersion: 'shop.example.com/v1beta1', kind: 'Gear', metadata: { name: 'g' }, spec: { size: 1 } };
    const created = await server.post('/apis/shop.example.com/v1beta1/namespaces/default/gears', gear);
    expect(created.body.apiVersion).toBe('shop.example.com/v1beta1');
    const other = await server.get('/apis/shop.example.com/v1/namespaces/default/gears');
    expect(other.body.items.map((g: Parsed) => `${g.apiVersion} ${g.metadata.name}`)).toEqual([
      'shop.example.com/v1 g',
    ]);
    expect((await server.get('/apis/shop.example.com')).body.preferredVersion.version).toBe('v1');
  });
});

describe('deletion of a definition', () => {
  it('waits for its objects, and takes the resource away', async () => {
    await server.patch(`${WIDGETS}/w1`, { metadata: { finalizers: ['weft.test/hold'] } });
    await server.delete(`${DEFINITIONS}/widgets.shop.example.com`);
    const others = async (): Promise<number> => (await server.get(WIDGETS)).body.items.length;
    while ((await others()) > 1) await new Promise((resolve) => setImmediate(resolve));
    await server.patch(`${WIDGETS}/w1`, { metadata: { finalizers: null } });
    const gone = async (): Promise<boolean> =>
      (await server.get(`${DEFINITIONS}/widgets.shop.example.com`)).code === 404;
    while (!(await gone())) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await server.get(WIDGETS)).body.message).toBe('the server could not find the requested resource');
  });
});
