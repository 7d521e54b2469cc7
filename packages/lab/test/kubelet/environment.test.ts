import type { ConfigMap, Container, Pod, Secret } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { containerEnvironment } from '../../src/kubelet/environment.ts';
import { expand } from '../../src/kubelet/expand.ts';
import { fieldValue, resourceValue } from '../../src/kubelet/fields.ts';
import { serviceEnv, serviceLinks } from '../../src/kubelet/service-env.ts';

describe('$(NAME)', () => {
  it.each([
    ['$(A)', 'va'],
    ['x$(A)$(B)y', 'xvavby'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$va'],
    ['$(NOPE)', '$(NOPE)'],
    ['$(A', '$(A'],
    ['$A $', '$A $'],
    ['$()', '$()'],
    ['a$$b', 'a$b'],
  ])('%s is %s', (text, expected) => {
    expect(expand(text, (name) => ({ A: 'va', B: 'vb' })[name])).toBe(expected);
  });

  it('leaves text without a dollar sign alone', () => {
    fc.assert(
      fc.property(
        fc.string().filter((s) => !s.includes('$')),
        (s) => expand(s, () => 'x') === s,
      ),
    );
  });
});

const pod: Pod = {
  metadata: { name: 'p', namespace: 'ns', uid: 'u', labels: { app: 'web', b: 'x"y' }, annotations: { note: 'hi' } },
  spec: { nodeName: 'n1', serviceAccountName: 'sa', containers: [] },
};
const addresses = { podIPs: ['10.0.0.5', 'fd00::5'], hostIPs: ['192.0.2.1'] };

describe('fields', () => {
  it.each([
    ['metadata.name', 'p'],
    ['metadata.uid', 'u'],
    ["metadata.labels['app']", 'web'],
    ["metadata.annotations['nope']", ''],
    ['metadata.labels', 'app="web"\nb="x\\"y"'],
    ['status.podIP', '10.0.0.5'],
    ['status.podIPs', '10.0.0.5,fd00::5'],
    ['status.hostIP', '192.0.2.1'],
    ['spec.serviceAccountName', 'sa'],
  ])('%s', (path, expected) => {
    expect(fieldValue(pod, path, addresses)).toBe(expected);
  });

  it('that do not exist are refused', () => {
    expect(() => fieldValue(pod, 'spec.containers', addresses)).toThrow('field label not supported: spec.containers');
  });

  it.each([
    ['limits.cpu', undefined, '1'],
    ['limits.cpu', '1m', '500'],
    ['requests.memory', '1Mi', '64'],
    ['limits.memory', '1Gi', '8'],
    ['requests.cpu', '1', '1'],
  ])('%s / %s is %s', (resource, divisor, expected) => {
    const container: Container = { name: 'c', resources: { limits: { cpu: '500m' }, requests: { memory: '64Mi' } } };
    const selector = { resource, ...(divisor === undefined ? {} : { divisor }) };
    expect(resourceValue(selector, container, { memory: '8Gi', cpu: '2' })).toBe(expected);
  });
});

describe('service links', () => {
  const web = {
    name: 'my-web',
    namespace: 'ns',
    clusterIP: '10.96.0.7',
    ports: [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  };

  it('have the two usual forms', () => {
    expect(Object.fromEntries(serviceEnv(web))).toEqual({
      MY_WEB_SERVICE_HOST: '10.96.0.7',
      MY_WEB_SERVICE_PORT: '80',
      MY_WEB_SERVICE_PORT_HTTP: '80',
      MY_WEB_SERVICE_PORT_DNS: '53',
      MY_WEB_PORT: 'tcp://10.96.0.7:80',
      MY_WEB_PORT_80_TCP: 'tcp://10.96.0.7:80',
      MY_WEB_PORT_80_TCP_PROTO: 'tcp',
      MY_WEB_PORT_80_TCP_PORT: '80',
      MY_WEB_PORT_80_TCP_ADDR: '10.96.0.7',
      MY_WEB_PORT_53_UDP: 'udp://10.96.0.7:53',
      MY_WEB_PORT_53_UDP_PROTO: 'udp',
      MY_WEB_PORT_53_UDP_PORT: '53',
      MY_WEB_PORT_53_UDP_ADDR: '10.96.0.7',
    });
  });

  it('are left out when no program could be started with them', () => {
    const many = Array.from({ length: 10_000 }, (_, i) => ({ ...web, name: `s${i}` }));
    expect(serviceLinks(many)).toBeUndefined();
    expect(serviceLinks(many.slice(0, 10))?.size).toBe(130);
  });
});

describe('the environment of a container', () => {
  const objects = {
    configMap: async (_ns: string, name: string): Promise<ConfigMap | undefined> =>
      name === 'cm' ? { metadata: { name }, data: { a: '1', 'b.c': '2' } } : undefined,
    secret: async (_ns: string, name: string): Promise<Secret | undefined> =>
      name === 'sec' ? { metadata: { name }, data: { key: Buffer.from('hidden').toString('base64') } } : undefined,
  };
  const make = async (container: Partial<Container>): Promise<Record<string, string>> => {
    const input = {
      pod,
      container: { name: 'c', ...container },
      addresses,
      allocatable: {},
      objects,
      services: new Map([['S', 'svc']]),
    };
    return Object.fromEntries(await containerEnvironment(input));
  };

  it('is put together in order', async () => {
    const env = await make({
      envFrom: [
        { configMapRef: { name: 'cm' }, prefix: 'P_' },
        { secretRef: { name: 'sec' } },
        { configMapRef: { name: 'none', optional: true } },
      ],
      env: [
        { name: 'A', value: '1' },
        { name: 'B', value: '$(A)-$(S)-$(P_a)-$(LATER)' },
        { name: 'LATER', value: 'x' },
        { name: 'A', value: '$(A)2' },
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'KEY', valueFrom: { secretKeyRef: { name: 'sec', key: 'key' } } },
        { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'cm', key: 'nope', optional: true } } },
        { name: 'S', value: 'own' },
      ],
    });
    expect(env).toEqual({
      P_a: '1',
      'P_b.c': '2',
      key: 'hidden',
      A: '12',
      B: '1-svc-1-$(LATER)',
      LATER: 'x',
      IP: '10.0.0.5',
      KEY: 'hidden',
      S: 'own',
    });
  });

  it.each([
    [{ envFrom: [{ configMapRef: { name: 'x' } }] }, 'configmap "x" not found'],
    [{ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'x', key: 'k' } } }] }, 'secret "x" not found'],
    [
      { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'cm', key: 'k' } } }] },
      "couldn't find key k in ConfigMap ns/cm",
    ],
  ])('is refused when something is missing', async (container, message) => {
    await expect(make(container)).rejects.toThrow(message);
  });
});
