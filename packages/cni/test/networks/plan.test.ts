import { describe, expect, it } from 'vitest';
import { DEFAULT_NETWORK_ANNOTATION, NETWORKS_ANNOTATION } from '../../src/networks/annotations.ts';
import { type NetworksConfig, readNetworksConfig } from '../../src/networks/config.ts';
import { type NetworkDefinition, networkOfDefinition } from '../../src/networks/definition.ts';
import { type FoundNetwork, planNetworks, wantedNetworks } from '../../src/networks/plan.ts';
import { withDefaultRoutes } from '../../src/networks/routes.ts';
import { networkStatus } from '../../src/networks/status.ts';

const FIRST = { cniVersion: '1.1.0', name: 'weft', plugins: [{ type: 'weft' }, { type: 'portmap' }] };
const config = (change: object = {}): NetworksConfig =>
  readNetworksConfig({ cniVersion: '1.0.0', name: 'weft', delegates: [FIRST], ...change }, 'weft');
const pod = (annotations: Record<string, string>, namespace = 'shop') => ({ namespace, annotations });
const causes = (c: NetworksConfig, p?: ReturnType<typeof pod>): string[] =>
  wantedNetworks(c, p).map(
    (w) => `${w.cause} ${w.selection === undefined ? w.list.name : `${w.selection.namespace}/${w.selection.name}`}`,
  );

describe('which networks a pod gets', () => {
  it('is what the configuration says, then what the pod asks for', () => {
    expect(causes(config())).toEqual(['delegates[0] weft']);
    expect(causes(config(), pod({ [NETWORKS_ANNOTATION]: 'blue, ops/red' }))).toEqual([
      'delegates[0] weft',
      `annotation ${NETWORKS_ANNOTATION}[0] shop/blue`,
      `annotation ${NETWORKS_ANNOTATION}[1] ops/red`,
    ]);
    const named = config({ delegates: undefined, clusterNetwork: 'flannel', defaultNetworks: ['storage', 'ops/log'] });
    expect(causes(named, pod({ [NETWORKS_ANNOTATION]: 'blue' }))).toEqual([
      'clusterNetwork kube-system/flannel',
      'defaultNetworks[0] kube-system/storage',
      'defaultNetworks[1] ops/log',
      `annotation ${NETWORKS_ANNOTATION}[0] shop/blue`,
    ]);
    expect(causes(named, pod({}, 'kube-system'))).toEqual(['clusterNetwork kube-system/flannel']);
  });

  it('has another first one when the pod says so', () => {
    const own = pod({ [DEFAULT_NETWORK_ANNOTATION]: 'ops/lab' });
    expect(causes(config(), own)).toEqual([`annotation ${DEFAULT_NETWORK_ANNOTATION} ops/lab`]);
    expect(causes(config({ multusNamespace: 'nets' }), pod({ [DEFAULT_NETWORK_ANNOTATION]: 'lab' }))).toEqual([
      `annotation ${DEFAULT_NETWORK_ANNOTATION} nets/lab`,
    ]);
    expect(() => causes(config(), pod({ [DEFAULT_NETWORK_ANNOTATION]: 'a,b' }))).toThrow('expected one network, got 2');
  });

  it('stays within the namespace when that is asked for', () => {
    const isolated = config({ namespaceIsolation: true, globalNamespaces: 'shared, infra' });
    expect(() => causes(isolated, pod({ [NETWORKS_ANNOTATION]: 'blue,infra/red,shared/x' }))).not.toThrow();
    expect(() => causes(isolated, pod({ [NETWORKS_ANNOTATION]: 'blue,ops/red' }))).toThrow(
      `annotation ${NETWORKS_ANNOTATION}[1]: pods of namespace shop may not use network ops/red`,
    );
    expect(() => causes(isolated, pod({ [DEFAULT_NETWORK_ANNOTATION]: 'ops/red' }))).toThrow('may not use');
    // Not for Multus' default of `default` when it is another one.
    expect(() => causes(isolated, pod({ [NETWORKS_ANNOTATION]: 'default/red' }))).toThrow('may not use');
    expect(() =>
      causes(config({ namespaceIsolation: 'true' }), pod({ [NETWORKS_ANNOTATION]: 'default/red' })),
    ).not.toThrow();
  });

  it('must have a first one', () => {
    expect(() => config({ delegates: [] })).toThrow('neither `delegates` nor `clusterNetwork`');
    expect(() => config({ delegates: [{ name: 'x' }] })).toThrow('delegates[0]');
  });
});

const blue: NetworkDefinition = {
  namespace: 'shop',
  name: 'blue',
  config: '{"type":"bridge","ipam":{"type":"static"}}',
};
const found = (annotation: string, c = config()): FoundNetwork[] =>
  wantedNetworks(c, pod({ [NETWORKS_ANNOTATION]: annotation })).map((wanted) => {
    const { deviceId, cniArgs } = wanted.selection ?? {};
    const list = wanted.list ?? networkOfDefinition({ ...blue, name: wanted.selection.name }, { deviceId, cniArgs });
    return { wanted, list, deviceId };
  });
const outer = (args: Record<string, string> = {}) => ({
  ifname: 'eth0',
  args: new Map(Object.entries({ K8S_POD_NAME: 'p', ...args })),
  capabilityArgs: { portMappings: [{ hostPort: 80 }] },
});

describe('how a pod is attached', () => {
  it('is by an interface per network, and by what each is asked for', () => {
    const annotation =
      '[{"name":"blue","ips":["10.1.0.5/24"],"mac":"02:00:00:00:00:01"},{"name":"red","interface":"up1"},{"name":"sun"}]';
    const plan = planNetworks(found(annotation), outer({ IP: '10.244.0.9' }));
    expect(plan.map((n) => [n.name, n.ifname])).toEqual([
      ['weft', 'eth0'],
      ['shop/blue', 'net1'],
      ['shop/red', 'up1'],
      ['shop/sun', 'net3'],
    ]);
    // Host ports and the address that the runtime asks for belong to the first network.
    expect(plan[0]?.capabilityArgs).toEqual({ portMappings: [{ hostPort: 80 }] });
    expect(plan[0]?.args).toEqual([
      ['K8S_POD_NAME', 'p'],
      ['IP', '10.244.0.9'],
    ]);
    expect(plan[1]?.capabilityArgs).toEqual({ ips: ['10.1.0.5/24'], mac: '02:00:00:00:00:01' });
    expect(plan[1]?.args).toEqual([
      ['K8S_POD_NAME', 'p'],
      ['IP', '10.1.0.5/24'],
      ['MAC', '02:00:00:00:00:01'],
      ['IgnoreUnknown', '1'],
    ]);
    expect(plan[2]?.args).toEqual([['K8S_POD_NAME', 'p']]);
  });

  it.each([
    ['blue@eth0', 'interface eth0 is taken already, by delegates[0]'],
    ['blue@x,red@x', `interface x is taken already, by annotation ${NETWORKS_ANNOTATION}[0]`],
    ['blue,red@net1', 'interface net1 is taken already'],
    [
      '[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["10.0.1.1"]}]',
      'wants the IPv4 default route as well',
    ],
  ])('refuses %s', (annotation, why) => {
    expect(() => planNetworks(found(annotation), outer())).toThrow(why);
  });

  it('never calls itself', () => {
    const c = config({ delegates: [{ name: 'x', type: 'multus' }] });
    expect(() => planNetworks(found('', c), outer())).toThrow('must not call multus again');
  });
});

describe('a definition', () => {
  it('gets a name, a device and arguments', () => {
    const single = networkOfDefinition(blue, { deviceId: '0000:03:02.1', cniArgs: { a: 1 } });
    expect(single.name).toBe('blue');
    expect(single.plugins.map((p) => p.raw)).toEqual([
      { type: 'bridge', ipam: { type: 'static' }, name: 'blue', deviceID: '0000:03:02.1', args: { cni: { a: 1 } } },
    ]);
    const chain = { cniVersion: '0.4.0', plugins: [{ type: 'a', args: { cni: { b: 2 } } }, { type: 'c' }] };
    const list = networkOfDefinition({ ...blue, config: JSON.stringify(chain) }, { deviceId: 'x', cniArgs: { a: 1 } });
    expect(list.plugins.map((p) => p.raw)).toEqual([
      { type: 'a', deviceID: 'x', args: { cni: { b: 2, a: 1 } } },
      { type: 'c', args: { cni: { a: 1 } } },
    ]);
    expect(list.cniVersion).toBe('0.4.0');
  });

  it.each([
    ['', 'spec.config is not valid JSON'],
    ['[]', 'spec.config is not a JSON object'],
    ['{"type":""}', 'type'],
    ['{"plugins":[]}', 'no plugins'],
    ['{"type":"x","args":1}', 'args: expected an object'],
  ])('%j is refused by its name', (text, why) => {
    expect(() => networkOfDefinition({ ...blue, config: text })).toThrow(why);
    expect(() => networkOfDefinition({ ...blue, config: text })).toThrow('network-attachment-definition shop/blue');
  });
});

describe('what is told of the networks', () => {
  const eth0 = {
    interfaces: [{ name: 'veth1' }, { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1450, sandbox: '/ns' }],
    ips: [{ address: '10.244.0.5/32', gateway: '169.254.1.1', interface: 1 }],
    routes: [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::1' },
    ],
  };
  const net1 = { interfaces: [{ name: 'net1', sandbox: '/ns' }], ips: [{ address: '10.1.0.5/24' }] };

  it('is the annotation that Multus writes', () => {
    expect(networkStatus('weft', eth0, { primary: true })).toEqual({
      name: 'weft',
      interface: 'eth0',
      ips: ['10.244.0.5'],
      mac: '02:00:00:00:00:01',
      mtu: 1450,
      default: true,
      dns: {},
      gateway: ['169.254.1.1', 'fe80::1'],
    });
    expect(networkStatus('shop/blue', net1, { primary: false, deviceId: '0000:03:02.1' })).toEqual({
      name: 'shop/blue',
      interface: 'net1',
      ips: ['10.1.0.5'],
      dns: {},
      'device-info': { type: 'pci', version: '1.1.0', pci: { 'pci-address': '0000:03:02.1' } },
    });
  });

  it('moves the default route of a family that a network asks for, and of no other', () => {
    const plan = planNetworks(found('[{"name":"blue","default-route":["10.1.0.1"]}]'), outer());
    const [first, second] = withDefaultRoutes(plan, [eth0, net1]);
    expect(first?.routes).toEqual([{ dst: '::/0', gw: 'fe80::1' }]);
    expect(second?.routes).toEqual([{ dst: '0.0.0.0/0', gw: '10.1.0.1' }]);
    const unmoved = [eth0, net1];
    expect(withDefaultRoutes(planNetworks(found('blue'), outer()), unmoved)).toBe(unmoved);
  });
});
