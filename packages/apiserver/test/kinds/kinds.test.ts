import type {
  ConfigMap,
  CustomResourceDefinition,
  EndpointSlice,
  Ingress,
  KubeObject,
  NetworkPolicy,
  Node,
  Secret,
} from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { type Body, Steps } from './helpers.ts';

const steps = new Steps();

function accepted<T extends KubeObject>(id: string, object: Body): T {
  const { obj, errors } = steps.create<T>(id, object);
  expect(errors).toEqual([]);
  return obj;
}
const errorsOf = (id: string, object: Body): string[] => steps.create(id, object).errors;
const changed = <T extends KubeObject>(id: string, old: T, edit: (copy: T) => void): string[] =>
  steps.change(id, old, edit).errors;

describe('ConfigMap', () => {
  const id = '/configmaps';
  it('checks keys and size', () => {
    expect(errorsOf(id, { metadata: { name: 'c' }, data: { 'a/b': '' } })).toEqual([
      "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    ]);
    expect(errorsOf(id, { metadata: { name: 'c' }, data: { a: '1' }, binaryData: { a: '' } })).toEqual([
      'data: Invalid value: "a": duplicate of key present in binaryData',
    ]);
    expect(errorsOf(id, { metadata: { name: 'c' }, data: { a: 'x'.repeat(1024 * 1024 + 1) } })).toEqual([
      '[]: Too long: may not be more than 1048576 bytes',
    ]);
  });

  it('can be frozen', () => {
    const old = accepted<ConfigMap>(id, { metadata: { name: 'c' }, data: { a: '1' }, immutable: true });
    const why = 'Forbidden: field is immutable when `immutable` is set';
    expect(changed(id, old, (c) => Object.assign(c, { data: { a: '2' } }))).toEqual([`data: ${why}`]);
    expect(changed(id, old, (c) => Object.assign(c, { immutable: false }))).toEqual([`immutable: ${why}`]);
    expect(changed(id, old, (c) => Object.assign(c.metadata, { labels: { a: 'b' } }))).toEqual([]);
  });
});

describe('Secret', () => {
  const id = '/secrets';
  it('takes text and gives base64', () => {
    const { obj } = steps.create<Secret>(id, {
      metadata: { name: 's' },
      data: { a: 'eA==' },
      stringData: { a: 'y', b: 'ü' },
    });
    expect(obj).toMatchObject({ type: 'Opaque', data: { a: 'eQ==', b: 'w7w=' } });
    expect(obj).not.toHaveProperty('stringData');
  });

  it('has what its type needs', () => {
    const secret = (type: string, data: Record<string, string> = {}): Body => ({ metadata: { name: 's' }, type, data });
    expect(errorsOf(id, secret('kubernetes.io/tls', { 'tls.crt': '' }))).toEqual(['data[tls.key]: Required value']);
    expect(errorsOf(id, secret('kubernetes.io/dockerconfigjson'))).toEqual(['data[.dockerconfigjson]: Required value']);
    expect(errorsOf(id, secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': 'eA==' }))).toEqual([
      'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": invalid character in JSON',
    ]);
    expect(errorsOf(id, secret('kubernetes.io/service-account-token'))).toEqual([
      'metadata.annotations[kubernetes.io/service-account.name]: Required value',
    ]);
  });

  it('keeps its type', () => {
    const old = accepted<Secret>(id, { metadata: { name: 's' }, type: 'a' });
    expect(changed(id, old, (s) => Object.assign(s, { type: 'b' }))).toEqual([
      'type: Invalid value: "b": field is immutable',
    ]);
  });
});

describe('Namespace', () => {
  it('cannot be deleted when the cluster needs it', () => {
    const remove = (name: string) => () =>
      steps.strategy('/namespaces').validateDelete?.(
        { metadata: { name } },
        {
          get: () => undefined,
          list: () => [],
          now: () => new Date(0),
          dryRun: false,
        },
      );
    expect(remove('kube-system')).toThrow('namespaces "kube-system" is forbidden: this namespace may not be deleted');
    expect(remove('other')()).toEqual([]);
  });
});

describe('Node', () => {
  const id = '/nodes';
  it('keeps its pod range, once it has one', () => {
    const old = accepted<Node>(id, { metadata: { name: 'n' }, spec: { podCIDR: '10.244.1.0/24' } });
    expect(old.spec?.podCIDRs).toEqual(['10.244.1.0/24']);
    for (const spec of [{ podCIDR: '10.244.2.0/24' }, { ...old.spec, podCIDR: '10.244.2.0/24' }]) {
      expect(changed(id, old, (n) => Object.assign(n, { spec }))).toEqual([
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
      ]);
    }
    expect(changed(id, old, (n) => Object.assign(n, { spec: { podCIDRs: ['10.244.2.0/24'] } }))).toEqual([
      'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
    ]);
  });

  it('checks taints', () => {
    expect(errorsOf(id, { metadata: { name: 'n' }, spec: { taints: [{ key: 'a', effect: 'Nothing' }] } })).toEqual([
      'spec.taints[0].effect: Unsupported value: "Nothing": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"',
    ]);
  });
});

describe('Endpoints and EndpointSlice', () => {
  it('need addresses, ports and protocols that exist', () => {
    const subsets = [
      { ports: [{ port: 0 }, { name: 'a', port: 1, protocol: 'X' }] },
      { addresses: [{ ip: '127.0.0.1' }] },
    ];
    expect(errorsOf('/endpoints', { metadata: { name: 'e' }, subsets })).toEqual([
      'subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`',
      'subsets[0].ports[0].name: Required value',
      'subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
      'subsets[0].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
      'subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ]);
  });

  const id = 'discovery.k8s.io/endpointslices';
  const slice = (fields: Record<string, unknown>): Body => ({
    metadata: { name: 's' },
    addressType: 'IPv4',
    endpoints: [],
    ...fields,
  });

  it('fills names and protocols of ports', () => {
    expect(accepted<EndpointSlice>(id, slice({ ports: [{ port: 80 }] })).ports).toEqual([
      { name: '', port: 80, protocol: 'TCP' },
    ]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    [
      'type',
      { addressType: 'IPX' },
      ['addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"'],
    ],
    ['no type', { addressType: '' }, ['addressType: Required value']],
    [
      'too many',
      { endpoints: Array.from({ length: 1001 }, () => ({ addresses: ['10.0.0.1'] })) },
      ['endpoints: Too many: 1001: must have at most 1000 items'],
    ],
    [
      'no address',
      { endpoints: [{ addresses: [] }] },
      ['endpoints[0].addresses: Required value: must contain at least 1 address'],
    ],
    [
      'family',
      { endpoints: [{ addresses: ['fd00::1'] }] },
      ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address'],
    ],
    [
      'ports',
      {
        ports: [
          { name: 'a', port: 1 },
          { name: 'a', port: 2 },
        ],
      },
      ['ports[1].name: Duplicate value: "a"'],
    ],
  ])('%s', (_what, fields, messages) => {
    expect(errorsOf(id, slice(fields))).toEqual(messages);
  });

  it('keeps its type', () => {
    const old = accepted<EndpointSlice>(id, slice({}));
    expect(changed(id, old, (s) => Object.assign(s, { addressType: 'IPv6' }))).toEqual([
      'addressType: Invalid value: "IPv6": field is immutable',
    ]);
  });
});

describe('Ingress', () => {
  const id = 'networking.k8s.io/ingresses';
  const backend = { service: { name: 'a', port: { number: 80 } } };
  const ingress = (path: Record<string, unknown>, host?: string): Body => ({
    metadata: { name: 'i' },
    spec: { rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend, ...path }] } }] },
  });
  const at = 'spec.rules[0].http.paths[0]';

  it.each<[string, Body, string[]]>([
    [
      'nothing',
      { metadata: { name: 'i' }, spec: {} },
      ['spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified'],
    ],
    ['no path type', ingress({ pathType: undefined }), [`${at}.pathType: Required value: pathType must be specified`]],
    [
      'path type',
      ingress({ pathType: 'Regex' }),
      [`${at}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"`],
    ],
    ['relative path', ingress({ path: 'a' }), [`${at}.path: Invalid value: "a": must be an absolute path`]],
    ['double slash', ingress({ path: '/a//b' }), [`${at}.path: Invalid value: "/a//b": must not contain '//'`]],
    [
      'no port',
      ingress({ backend: { service: { name: 'a' } } }),
      [`${at}.backend: Required value: port name or number is required`],
    ],
    [
      'two ports',
      ingress({ backend: { service: { name: 'a', port: { name: 'x', number: 1 } } } }),
      [`${at}.backend: Invalid value: "": cannot set both port name & port number`],
    ],
    [
      'no backend',
      ingress({ backend: {} }),
      [`${at}.backend: Invalid value: "": resource or service backend is required`],
    ],
    [
      'address as host',
      ingress({}, '10.0.0.1'),
      ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
    ],
  ])('%s', (_what, object, messages) => {
    expect(errorsOf(id, object)).toEqual(messages);
  });

  it('gets the default class', () => {
    const own = new Steps();
    const mark = { 'ingressclass.kubernetes.io/is-default-class': 'true' };
    own.store('networking.k8s.io/ingressclasses', { metadata: { name: 'other' } });
    own.store('networking.k8s.io/ingressclasses', { metadata: { name: 'weft', annotations: mark } });
    expect(own.create<Ingress>(id, ingress({}, '*.example.com')).obj.spec.ingressClassName).toBe('weft');
    const annotated = {
      ...ingress({}),
      metadata: { name: 'i', annotations: { 'kubernetes.io/ingress.class': 'nginx' } },
    };
    expect(own.create<Ingress>(id, annotated).obj.spec.ingressClassName).toBeUndefined();
  });
});

describe('NetworkPolicy', () => {
  const id = 'networking.k8s.io/networkpolicies';
  const policy = (spec: Record<string, unknown>): Body => ({
    metadata: { name: 'n' },
    spec: { podSelector: {}, ...spec },
  });

  it('knows which directions it is about', () => {
    const types = (spec: Record<string, unknown>): unknown =>
      accepted<NetworkPolicy>(id, policy(spec)).spec.policyTypes;
    expect(types({})).toEqual(['Ingress']);
    expect(types({ egress: [{}] })).toEqual(['Ingress', 'Egress']);
    expect(types({ policyTypes: ['Egress'] })).toEqual(['Egress']);
    const ports = accepted<NetworkPolicy>(id, policy({ ingress: [{ ports: [{ port: 80 }] }] })).spec.ingress?.[0]
      ?.ports;
    expect(ports).toEqual([{ port: 80, protocol: 'TCP' }]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    ['empty peer', { ingress: [{ from: [{}] }] }, ['spec.ingress[0].from[0]: Required value: must specify a peer']],
    [
      'block and selector',
      { egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }] }] },
      ['spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer'],
    ],
    [
      'except outside',
      { egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/9', '10.0.0.0/8', '10.1.0.0/16'] } }] }] },
      [
        'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a strict subset of `cidr`',
        'spec.egress[0].to[0].ipBlock.except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
      ],
    ],
    [
      'cidr',
      { ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] },
      [
        'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      ],
    ],
    [
      'end port',
      { ingress: [{ ports: [{ port: 80, endPort: 79 }] }] },
      ['spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`'],
    ],
    [
      'end of a name',
      { ingress: [{ ports: [{ port: 'http', endPort: 90 }] }] },
      ['spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric'],
    ],
    [
      'direction',
      { policyTypes: ['Sideways'] },
      ['spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Egress", "Ingress"'],
    ],
    [
      'selector',
      { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
      [
        "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
      ],
    ],
  ])('%s', (_what, spec, messages) => {
    expect(errorsOf(id, policy(spec))).toEqual(messages);
  });
});

describe('other kinds', () => {
  it('binds roles for good', () => {
    const id = 'rbac.authorization.k8s.io/rolebindings';
    const old = accepted<KubeObject & { roleRef: object }>(id, {
      metadata: { name: 'b' },
      roleRef: { kind: 'Role', name: 'r' },
      subjects: [
        { kind: 'User', name: 'u' },
        { kind: 'ServiceAccount', name: 's', namespace: 'n' },
      ],
    });
    expect(old).toMatchObject({
      roleRef: { apiGroup: 'rbac.authorization.k8s.io' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io' }, {}],
    });
    const [text] = changed(id, old, (b) =>
      Object.assign(b, { roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'x' } }),
    );
    expect(text).toMatch(/^roleRef: Invalid value: .*: cannot change roleRef$/);
  });

  it('checks rules of roles', () => {
    expect(
      errorsOf('rbac.authorization.k8s.io/roles', { metadata: { name: 'r' }, rules: [{ resources: ['pods'] }] }),
    ).toEqual([
      'rules[0].verbs: Required value: verbs must contain at least one value',
      'rules[0].apiGroups: Required value: resource rules must supply at least one api group',
    ]);
  });

  it('checks custom resource definitions', () => {
    const id = 'apiextensions.k8s.io/customresourcedefinitions';
    const version = { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } };
    const definition = (fields: Record<string, unknown> = {}, name = 'things.example.com'): Body => ({
      metadata: { name },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'things', kind: 'Thing' },
        versions: [version],
        ...fields,
      },
    });
    const obj = accepted<CustomResourceDefinition>(id, definition());
    expect(obj.spec).toMatchObject({
      names: { singular: 'thing', listKind: 'ThingList' },
      conversion: { strategy: 'None' },
    });
    expect(obj.status?.storedVersions).toEqual(['v1']);
    expect(errorsOf(id, definition({}, 'x.example.com'))).toEqual([
      'metadata.name: Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group',
    ]);
    expect(errorsOf(id, definition({ scope: 'World' }))).toEqual([
      'spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',
    ]);
    expect(errorsOf(id, definition({ versions: [{ ...version, storage: false, schema: undefined }] }))).toEqual([
      expect.stringMatching(
        /^spec\.versions: Invalid value: .*: must have exactly one version marked as storage version$/,
      ),
      'spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required',
    ]);
  });

  it('selects by the fields that Kubernetes offers', () => {
    const fields = (id: string): string[] => Object.keys(steps.strategy(id).selectableFields ?? {});
    expect(fields('/pods')).toEqual(expect.arrayContaining(['spec.nodeName', 'status.phase', 'status.podIP']));
    expect(fields('/events')).toEqual(
      expect.arrayContaining(['involvedObject.name', 'involvedObject.uid', 'reason', 'type']),
    );
    expect(fields('/secrets')).toEqual(['type']);
    const event = { metadata: { name: 'e' }, involvedObject: { name: 'p' } } as unknown as KubeObject;
    expect(steps.strategy('/events').selectableFields?.['involvedObject.name']?.(event)).toBe('p');
    expect(steps.strategy('/events').selectableFields?.reason?.(event)).toBe('');
  });

  it('has a strategy and a table for every kind', () => {
    for (const id of ['/limitranges', 'storage.k8s.io/csidrivers', 'certificates.k8s.io/certificatesigningrequests']) {
      const strategy = steps.strategy(id);
      expect(strategy.columns[0]?.name).toBe('Name');
      expect(strategy).toBe(steps.strategy(id));
    }
  });
});
