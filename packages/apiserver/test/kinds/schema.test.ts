import { describe, expect, it } from 'vitest';
import { checkFields, gvkType, openapiV3, openapiV3Index, resources, typeOf } from '../../src/schema/index.ts';

const typeName = (group: string, version: string, kind: string): string => {
  const name = gvkType(group, version, kind);
  if (name === undefined) throw new Error(`no type for ${kind}`);
  return name;
};
const deployment = typeName('apps', 'v1', 'Deployment');

describe('resources', () => {
  it('has the short names that people type', () => {
    const byShort = new Map(resources.flatMap((r) => r.shortNames.map((s) => [s, r.plural] as const)));
    for (const [short, plural] of Object.entries({
      po: 'pods',
      svc: 'services',
      ep: 'endpoints',
      deploy: 'deployments',
      rs: 'replicasets',
      ds: 'daemonsets',
      sts: 'statefulsets',
      no: 'nodes',
      ns: 'namespaces',
      cm: 'configmaps',
      sa: 'serviceaccounts',
      ing: 'ingresses',
      netpol: 'networkpolicies',
      pvc: 'persistentvolumeclaims',
      cj: 'cronjobs',
      crd: 'customresourcedefinitions',
    })) {
      expect(byShort.get(short)).toBe(plural);
    }
  });

  it('names the subresources with the kind of their body', () => {
    const pods = resources.find((r) => r.plural === 'pods');
    expect(pods?.subresources.map((s) => s.name)).toEqual([
      'attach',
      'binding',
      'ephemeralcontainers',
      'eviction',
      'exec',
      'log',
      'portforward',
      'proxy',
      'resize',
      'status',
    ]);
    expect(pods?.subresources.find((s) => s.name === 'eviction')).toEqual({
      name: 'eviction',
      kind: 'Eviction',
      group: 'policy',
      version: 'v1',
      verbs: ['create'],
    });
    const scale = resources.find((r) => r.plural === 'deployments')?.subresources.find((s) => s.name === 'scale');
    expect(scale).toMatchObject({
      kind: 'Scale',
      group: 'autoscaling',
      version: 'v1',
      verbs: ['get', 'patch', 'update'],
    });
  });

  it('has the category all, and cluster scope where it belongs', () => {
    expect(resources.filter((r) => r.categories.includes('all')).map((r) => r.plural)).toContain('services');
    expect(resources.filter((r) => !r.namespaced).map((r) => r.plural)).toEqual(
      expect.arrayContaining(['nodes', 'namespaces', 'ingressclasses', 'servicecidrs', 'clusterroles']),
    );
    expect(resources.find((r) => r.plural === 'tokenreviews')?.verbs).toEqual(['create']);
  });

  it('has a type for every kind that can be read or written', () => {
    for (const r of resources) expect(gvkType(r.group, r.version, r.kind), r.kind).toBeDefined();
    expect(gvkType('example.com', 'v1', 'Thing')).toBeUndefined();
  });
});

describe('checkFields', () => {
  it('names unknown fields by their full path', () => {
    const body = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'x', labels: { any: 'thing' } },
      foo: 1,
      spec: { template: { spec: { containers: [{ name: 'a' }, { imag: 'x' }], nodeSelector: { any: 'x' } } } },
    };
    expect(checkFields(deployment, body, 'Strict').unknown).toEqual([
      'unknown field "foo"',
      'unknown field "spec.template.spec.containers[1].imag"',
    ]);
    expect(checkFields(deployment, body, 'Ignore').unknown).toEqual([]);
  });

  it.each([
    [
      { spec: { replicas: 'x' } },
      'json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
    ],
    [
      { spec: { replicas: 1.5 } },
      'json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32',
    ],
    [
      { spec: { replicas: 2 ** 31 } },
      'json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32',
    ],
    [
      { spec: { paused: 'true' } },
      'json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool',
    ],
    [
      { spec: { selector: [] } },
      'json: cannot unmarshal array into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector',
    ],
    [
      { metadata: { labels: { a: 1 } } },
      'json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string',
    ],
    [
      { spec: { template: { spec: { containers: [{ env: [{ name: 'a', value: 3 }] }] } } } },
      'json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string',
    ],
    [
      { spec: { template: { spec: { containers: {} } } } },
      'json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container',
    ],
    [
      { spec: { template: { spec: { containers: [{ resources: { limits: { cpu: 'one' } } }] } } } },
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
  ])('words %j as Go does', (body, message) => {
    expect(checkFields(deployment, body, 'Strict').typeErrors).toEqual([message]);
  });

  it('takes null for anything, numbers for quantities, and either form of a port', () => {
    const service = typeName('', 'v1', 'Service');
    const body = {
      spec: {
        selector: null,
        ports: [
          { port: 80, targetPort: 'http' },
          { port: 81, targetPort: 81 },
        ],
      },
    };
    expect(checkFields(service, body, 'Strict')).toEqual({ unknown: [], typeErrors: [] });
    const limits = {
      spec: { template: { spec: { containers: [{ resources: { limits: { cpu: 1, memory: '1.5Gi' } } }] } } },
    };
    expect(checkFields(deployment, limits, 'Strict').typeErrors).toEqual([]);
  });

  it('refuses bytes that are not base64, and times that are none', () => {
    const secret = typeName('', 'v1', 'Secret');
    expect(checkFields(secret, { data: { a: 'aGVsbG8=', b: 'a*' } }, 'Strict').typeErrors).toEqual([
      'illegal base64 data at input byte 0',
    ]);
    const body = { metadata: { creationTimestamp: 'yesterday' } };
    expect(checkFields(secret, body, 'Strict').typeErrors).toEqual([
      'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
    ]);
  });
});

describe('types', () => {
  it('knows how lists merge', () => {
    const podSpec = typeOf('io.k8s.api.core.v1.PodSpec');
    expect(podSpec?.fields?.get('containers')).toEqual({
      expr: { kind: 'array', of: { kind: 'ref', type: 'io.k8s.api.core.v1.Container' } },
      required: true,
      list: 'map',
      keys: ['name'],
      mergeKey: 'name',
      strategy: 'merge',
    });
    expect(podSpec?.fields?.get('volumes')?.strategy).toBe('merge,retainKeys');
    const ports = typeOf('io.k8s.api.core.v1.ServiceSpec')?.fields?.get('ports');
    expect(ports).toMatchObject({ list: 'map', keys: ['port', 'protocol'], mergeKey: 'port', strategy: 'merge' });
    expect(typeOf('io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector')?.atomic).toBe(true);
  });
});

interface Document {
  paths: Record<string, Record<string, Record<string, unknown>>>;
  components: { schemas: Record<string, { description?: string; properties?: Record<string, unknown> }> };
}

describe('openapiV3', () => {
  it('has a document for every entry of the index, without dangling references', () => {
    for (const path of Object.keys(openapiV3Index().paths)) {
      const text = openapiV3(path)?.toString() ?? '';
      const { components } = JSON.parse(text) as Document;
      for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
        expect(components.schemas[name], `${path} ${name}`).toBeDefined();
      }
    }
    expect(openapiV3('apis/example.com/v1')).toBeUndefined();
  });

  it('offers fieldValidation on PATCH, which kubectl looks for', () => {
    const { paths } = JSON.parse(openapiV3('apis/apps/v1')?.toString() ?? '') as Document;
    const patch = paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']?.patch;
    expect(patch?.['x-kubernetes-group-version-kind']).toEqual({ group: 'apps', version: 'v1', kind: 'Deployment' });
    expect(patch?.['x-kubernetes-action']).toBe('patch');
    const parameters = (patch?.parameters ?? []) as { name: string }[];
    expect(parameters.map((p) => p.name)).toContain('fieldValidation');
  });

  it('describes the kinds of the network', () => {
    const documents = ['api/v1', 'apis/networking.k8s.io/v1', 'apis/discovery.k8s.io/v1'].map(
      (path) => JSON.parse(openapiV3(path)?.toString() ?? '') as Document,
    );
    const schemas = Object.assign(
      {},
      ...documents.map((d) => d.components.schemas),
    ) as Document['components']['schemas'];
    for (const kind of ['Service', 'Endpoints', 'EndpointSlice', 'Ingress', 'NetworkPolicy', 'Pod']) {
      const entry = Object.entries(schemas).find(([name]) => name.endsWith(`.${kind}`));
      expect(entry?.[1].description, kind).toBeTruthy();
    }
  });
});
