import type { Node, Pod, Service } from '@weft/kube';
import { describe, expect, test } from 'vitest';
import { compileEndpoints, MAX_ADDRESSES } from '../../src/endpoints/compile.ts';
import { compileSlices } from '../../src/index.ts';
import { compileMirror } from '../../src/mirroring/compile.ts';

function service(spec: Partial<NonNullable<Service['spec']>> = {}): Service {
  return {
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      clusterIP: '10.96.0.10',
      ipFamilies: ['IPv4'],
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 'http' }],
      ...spec,
    },
  };
}

interface PodFields {
  ips?: string[];
  ready?: boolean;
  deleting?: boolean;
  phase?: 'Running' | 'Succeeded' | 'Failed' | 'Pending';
  node?: string;
  spec?: Partial<Pod['spec']>;
}

function pod(name: string, fields: PodFields = {}): Pod {
  const { ips = ['10.0.0.1'], ready = true, deleting = false, phase = 'Running', node = 'n1', spec } = fields;
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      labels: { app: 'web' },
      ...(deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { nodeName: node, containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }], ...spec },
    status: {
      phase,
      ...(ips.length === 0 ? {} : { podIPs: ips.map((ip) => ({ ip })), podIP: ips[0] as string }),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  };
}

const node = (name: string, zone?: string): Node => ({
  metadata: { name, ...(zone === undefined ? {} : { labels: { 'topology.kubernetes.io/zone': zone } }) },
});
const nodes = (name: string): Node | undefined => (name === 'n1' ? node('n1', 'z1') : undefined);

describe('compileSlices', () => {
  const only = (s: Service, ...pods: Pod[]): ReturnType<typeof compileSlices>['groups'] =>
    compileSlices(s, pods, nodes).groups;

  test.each([
    ['ready', {}, {}, { ready: true, serving: true, terminating: false }],
    ['not ready', { ready: false }, {}, { ready: false, serving: false, terminating: false }],
    ['ending but serving', { deleting: true }, {}, { ready: false, serving: true, terminating: true }],
    [
      'ending, published anyway',
      { deleting: true, ready: false },
      { publishNotReadyAddresses: true },
      { ready: true, serving: false, terminating: true },
    ],
  ])('conditions of a pod that is %s', (_, fields, spec, conditions) => {
    expect(only(service(spec), pod('a', fields))[0]?.endpoints[0]?.conditions).toEqual(conditions);
  });

  test.each([
    ['without address', { ips: [] }],
    ['that succeeded', { phase: 'Succeeded' as const }],
    ['that failed', { phase: 'Failed' as const }],
    ['on a node that is gone', { node: 'gone' }],
  ])('a pod %s is left out', (_, fields) => {
    expect(only(service(), pod('a', fields))).toEqual([]);
  });

  test('named ports are found per pod: different numbers are different groups', () => {
    const other = pod('b', {
      ips: ['10.0.0.2'],
      spec: { containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 9090 }] }] },
    });
    const groups = only(service(), pod('a'), other, pod('c', { ips: ['10.0.0.3'] }));
    expect(groups.map((g) => [g.ports[0]?.port, g.endpoints.length])).toEqual([
      [8080, 2],
      [9090, 1],
    ]);
  });

  test('the protocol is part of a port name, and sidecars have ports too', () => {
    const dns = service({ ports: [{ name: 'dns', port: 53, protocol: 'UDP', targetPort: 'dns' }] });
    const tcp = pod('a', { spec: { containers: [{ name: 'c', ports: [{ name: 'dns', containerPort: 53 }] }] } });
    expect(only(dns, tcp)[0]?.ports).toEqual([]);
    const sidecar = pod('b', {
      spec: {
        containers: [{ name: 'c' }],
        initContainers: [
          { name: 's', restartPolicy: 'Always', ports: [{ name: 'dns', containerPort: 5353, protocol: 'UDP' }] },
        ],
      },
    });
    expect(only(dns, sidecar)[0]?.ports).toEqual([{ name: 'dns', protocol: 'UDP', port: 5353 }]);
  });

  test('a target port that is not given is the port', () => {
    expect(only(service({ ports: [{ port: 80 }] }), pod('a'))[0]?.ports).toEqual([
      { name: '', protocol: 'TCP', port: 80 },
    ]);
  });

  test('each family has its own endpoints', () => {
    const both = pod('a', { ips: ['10.0.0.1', 'fd00::1'] });
    const groups = only(service({ ipFamilies: ['IPv4', 'IPv6'] }), both, pod('b', { ips: ['10.0.0.2'] }));
    expect(groups.map((g) => [g.addressType, g.endpoints.map((e) => e.addresses.join())])).toEqual([
      ['IPv4', ['10.0.0.1', '10.0.0.2']],
      ['IPv6', ['fd00::1']],
    ]);
  });

  test('the host name counts only under its own Service', () => {
    const named = pod('a', { spec: { hostname: 'db-0', subdomain: 'web' } });
    expect(only(service(), named)[0]?.endpoints[0]?.hostname).toBe('db-0');
    const elsewhere = pod('a', { spec: { hostname: 'db-0', subdomain: 'other' } });
    expect(only(service(), elsewhere)[0]?.endpoints[0]?.hostname).toBeUndefined();
  });

  test.each([
    ['PreferClose', { forZones: [{ name: 'z1' }] }],
    ['PreferSameZone', { forZones: [{ name: 'z1' }] }],
    ['PreferSameNode', { forZones: [{ name: 'z1' }], forNodes: [{ name: 'n1' }] }],
  ])('hints of %s', (trafficDistribution, hints) => {
    const groups = only(service({ trafficDistribution }), pod('a'), pod('b', { ready: false, ips: ['10.0.0.2'] }));
    expect(groups[0]?.endpoints.map((e) => e.hints)).toEqual([hints, undefined]);
  });

  test('labels are those of the Service, and who it is', () => {
    const headless = service({ clusterIP: 'None' });
    headless.metadata.labels = { tier: 'front', 'kubernetes.io/service-name': 'forged' };
    expect(compileSlices(headless, [], nodes).labels).toEqual({
      tier: 'front',
      'service.kubernetes.io/headless': '',
      'kubernetes.io/service-name': 'web',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    });
  });
});

describe('compileEndpoints', () => {
  test('ready and not ready addresses of equal ports are one subset', () => {
    const { subsets } = compileEndpoints(service(), [
      pod('b', { ips: ['10.0.0.2'] }),
      pod('a'),
      pod('c', { ips: ['10.0.0.3'], ready: false }),
      pod('d', { ips: ['10.0.0.4'], deleting: true }),
    ]);
    expect(subsets).toHaveLength(1);
    expect(subsets[0]).toMatchObject({
      addresses: [{ ip: '10.0.0.1' }, { ip: '10.0.0.2' }],
      notReadyAddresses: [{ ip: '10.0.0.3' }],
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    });
  });

  test('a headless Service needs no ports, another does', () => {
    expect(compileEndpoints(service({ clusterIP: 'None', ports: [] }), [pod('a')]).subsets).toHaveLength(1);
    expect(compileEndpoints(service({ ports: [] }), [pod('a')]).subsets).toEqual([]);
  });

  test('more addresses than fit are cut, and it is said', () => {
    const many = Array.from({ length: MAX_ADDRESSES + 200 }, (_, i) =>
      pod(`p${i}`, { ips: [`10.0.${i >> 8}.${i & 255}`], ready: i % 2 === 0 }),
    );
    const { subsets, truncated } = compileEndpoints(service(), many);
    expect(truncated).toBe(true);
    expect(subsets[0]?.addresses).toHaveLength(600);
    expect(subsets[0]?.notReadyAddresses).toHaveLength(400);
    expect(compileEndpoints(service(), many.slice(0, MAX_ADDRESSES)).truncated).toBe(false);
  });

  test('only the primary family is shown', () => {
    const both = pod('a', { ips: ['10.0.0.1', 'fd00::1'] });
    const { subsets } = compileEndpoints(service({ ipFamilies: ['IPv6', 'IPv4'] }), [both]);
    expect(subsets[0]?.addresses?.map((a) => a.ip)).toEqual(['fd00::1']);
  });
});

test('compileMirror keeps families and ports apart', () => {
  const groups = compileMirror({
    metadata: { name: 'ext' },
    subsets: [
      { addresses: [{ ip: '192.0.2.1' }, { ip: '2001:db8::1' }], ports: [{ port: 80 }] },
      { notReadyAddresses: [{ ip: '192.0.2.2' }], ports: [{ name: 'db', port: 5432 }] },
    ],
  });
  expect(groups.map((g) => `${g.addressType} ${g.ports[0]?.port} ${g.endpoints[0]?.conditions?.ready}`)).toEqual([
    'IPv4 80 true',
    'IPv6 80 true',
    'IPv4 5432 false',
  ]);
});
