import { describe, expect, it } from 'vitest';
import { formatProvenance } from '@weft/plan';
import { compileService } from '../src/model/compile.ts';
import { type NodeFacts, nodeFacts, primaryAddresses } from '../src/model/node.ts';
import { formatAddress, formatEndpoint, unpackList } from '../src/model/packed.ts';
import { slimService, slimSlice } from '../src/model/slim.ts';
import type { ServicePort } from '../src/model/types.ts';
import { frontendAddress } from '../src/model/types.ts';
import { portOf } from '../src/model/packed.ts';
import { type EndpointInit, NODE, service, slice } from './support/worlds.ts';

const node: NodeFacts = nodeFacts({
  metadata: { name: NODE, labels: { 'topology.kubernetes.io/zone': 'a' } },
  status: {
    addresses: [
      { type: 'ExternalIP', address: '203.0.113.9' },
      { type: 'InternalIP', address: '192.168.0.1' },
      { type: 'InternalIP', address: 'fd00::1' },
    ],
  },
});

function compile(
  spec: Parameters<typeof service>[1],
  endpoints: readonly EndpointInit[],
  more: { status?: Parameters<typeof service>[2]; ports?: Parameters<typeof slice>[3]; at?: NodeFacts } = {},
): ServicePort[] {
  const slim = slimService(service('web', { clusterIP: '10.96.0.1', ...spec }, more.status));
  const slimmed = slimSlice(NODE)(slice('web-1', 'web', endpoints, more.ports));
  if (slim === undefined) return [];
  const plan = compileService(slim, slimmed === undefined ? [] : [slimmed], more.at ?? node, [4, 6]);
  return [...plan.values()].map((entry) => entry.value as ServicePort);
}

function list(port: ServicePort | undefined, of: 'cluster' | 'local' | 'draining'): string[] {
  return port === undefined ? [] : unpackList(port[of], port.family === 4 ? 6 : 18).map(formatEndpoint);
}

function frontends(port: ServicePort | undefined): string[] {
  return (port?.frontends ?? []).map((f) => {
    const address = frontendAddress(f.key);
    return `${f.kind} ${address === '' ? '*' : formatAddress(address)}:${portOf(f.key)} ${f.field}`;
  });
}

const here = { nodeName: NODE };
const there = { nodeName: 'other' };

describe('frontends', () => {
  it('come from every field that gives a Service an address, and name it', () => {
    const [port] = compile(
      {
        type: 'LoadBalancer',
        externalIPs: ['192.0.2.1', 'fd00::2', 'nonsense'],
        ports: [{ name: 'http', port: 80, nodePort: 30080 }],
      },
      [],
      {
        status: {
          loadBalancer: {
            ingress: [
              { hostname: 'lb' },
              { ip: '198.51.100.1' },
              { ip: '198.51.100.2', ipMode: 'Proxy' },
              { ip: '192.0.2.1', ipMode: 'VIP' },
            ],
          },
        },
      },
    );
    expect(frontends(port)).toEqual([
      'ClusterIP 10.96.0.1:80 spec.clusterIPs[0]',
      // Listed as externalIP and as ingress: one frontend.
      'LoadBalancerIP 192.0.2.1:80 status.loadBalancer.ingress[3].ip',
      'LoadBalancerIP 198.51.100.1:80 status.loadBalancer.ingress[1].ip',
      'NodePort *:30080 spec.ports[0].nodePort',
    ]);
  });

  it('of a dual-stack Service are split by family', () => {
    const ports = compile({ clusterIPs: ['fd00:96::1', '10.96.0.1'], ports: [{ port: 80, nodePort: 30000 }] }, []);
    expect(ports.map((p) => [p.family, frontends(p)])).toEqual([
      [4, ['ClusterIP 10.96.0.1:80 spec.clusterIPs[1]', 'NodePort *:30000 spec.ports[0].nodePort']],
      [6, ['ClusterIP fd00:96::1:80 spec.clusterIPs[0]', 'NodePort *:30000 spec.ports[0].nodePort']],
    ]);
  });

  it('carry their cause', () => {
    const slim = slimService(
      service('web', { clusterIP: '10.96.0.1', ports: [{ port: 80 }, { name: 'b', port: 81 }] }),
    );
    const plan = slim === undefined ? new Map() : compileService(slim, [], node, [4]);
    expect([...plan].map(([key, entry]) => [key, formatProvenance(entry.cause)])).toEqual([
      ['default/web/TCP/4', 'Service default/web spec.ports[0]'],
      ['default/web:b/TCP/4', 'Service default/web spec.ports[1]'],
    ]);
  });

  it('are none for Services this proxy does not serve', () => {
    expect(compile({ clusterIP: 'None' }, [])).toEqual([]);
    expect(compile({ clusterIP: '' }, [])).toEqual([]);
    expect(compile({ type: 'ExternalName' }, [])).toEqual([]);
    for (const label of ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']) {
      const object = service('web', { clusterIP: '10.96.0.1' });
      object.metadata.labels = { [label]: '' };
      expect(slimService(object)).toBeUndefined();
      const s = slice('web-1', 'web', []);
      s.metadata.labels = { ...s.metadata.labels, [label]: '' };
      expect(slimSlice(NODE)(s)).toBeUndefined();
    }
  });

  it('leave out ports that cannot be', () => {
    expect(
      compile({ ports: [{ port: 0 }, { name: 'x', port: 65536 }, { name: 'ok', port: 65535 }] }, []).map(
        (p) => p.portName,
      ),
    ).toEqual(['ok']);
  });
});

describe('source ranges', () => {
  const status = { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } };
  const ranges = (texts: string[]) =>
    compile({ type: 'LoadBalancer', loadBalancerSourceRanges: texts }, [], { status })[0]?.sourceRanges;

  it('are canonical, sorted and of the family', () => {
    expect(ranges([' 203.0.112.7/24', '10.0.0.0/8', '203.0.112.0/24', 'fd00::/8', 'bad'])).toEqual([
      '10.0.0.0/8',
      '203.0.112.0/24',
    ]);
  });

  it('restrict nobody when one is everything, or none is of the family', () => {
    expect(ranges(['10.0.0.0/8', '0.0.0.0/0'])).toEqual([]);
    expect(ranges(['fd00::/8'])).toEqual([]);
  });

  it('let the node itself in by the address of the balancer when they hold the node', () => {
    expect(ranges(['192.168.0.0/16'])).toEqual(['192.168.0.0/16', '198.51.100.1/32']);
  });
});

describe('endpoints', () => {
  it('match by port name and protocol, sorted and once', () => {
    const [port] = compile({}, [{ address: '10.0.0.9' }, { address: '10.0.0.10' }, { address: '10.0.0.9' }], {
      ports: [
        { name: 'http', port: 8080, protocol: 'TCP' },
        { name: 'http', port: 9999, protocol: 'UDP' },
        { name: 'other', port: 1, protocol: 'TCP' },
        { name: 'http', protocol: 'TCP' },
      ],
    });
    expect(list(port, 'cluster')).toEqual(['10.0.0.9:8080', '10.0.0.10:8080']);
  });

  it('on loopback, link-local or multicast addresses, or of the wrong family, are left out', () => {
    const bad = ['127.0.0.1', '169.254.1.1', '224.0.0.1', '0.0.0.0', '300.1.1.1', 'fd00::5'];
    const [port] = compile(
      {},
      ['10.0.0.1', ...bad].map((address) => ({ address })),
    );
    expect(list(port, 'cluster')).toEqual(['10.0.0.1:8080']);
    const bad6 = ['fd00::5', '::1', 'fe80::1', 'ff02::1', '::'];
    const [port6] = compile(
      { clusterIP: 'fd00:96::1' },
      bad6.map((address) => ({ address })),
    );
    expect(list(port6, 'cluster')).toEqual(['[fd00::5]:8080']);
  });

  it('read absent conditions as the API defines them', () => {
    const raw = slice('web-1', 'web', [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
    raw.endpoints = [
      { addresses: ['10.0.0.1'] },
      { addresses: ['10.0.0.2'], conditions: { ready: false, terminating: true } },
    ];
    const slim = slimSlice(NODE)(raw);
    // ready + serving + node unknown; terminating + node unknown.
    expect(Array.from(slim?.flags ?? '', (c) => c.charCodeAt(0))).toEqual([1 | 2 | 16, 4 | 16]);
  });

  it('that end serve only while none is ready, for each policy on its own', () => {
    const ending = { ready: false, serving: true, terminating: true };
    const local = {
      externalTrafficPolicy: 'Local' as const,
      type: 'NodePort' as const,
      ports: [{ name: 'http', port: 80, nodePort: 30000 }],
    };
    const [a] = compile(local, [
      { address: '10.0.0.1', ...here, ...ending },
      { address: '10.0.0.2', ...there },
    ]);
    expect(list(a, 'cluster')).toEqual(['10.0.0.2:8080']);
    expect(list(a, 'local')).toEqual(['10.0.0.1:8080']);
    const [b] = compile(local, [{ address: '10.0.0.1', ...here, ...ending, serving: false }]);
    expect([list(b, 'cluster'), list(b, 'local'), b?.hasEndpoints]).toEqual([[], [], false]);
    const [c] = compile({ internalTrafficPolicy: 'Local' }, [{ address: '10.0.0.2', ...there }]);
    expect([list(c, 'cluster'), list(c, 'local'), c?.hasEndpoints]).toEqual([[], [], true]);
  });

  it('of UDP ports that only drain are known', () => {
    const [port] = compile(
      { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] },
      [
        { address: '10.0.0.1' },
        { address: '10.0.0.2', ready: false, serving: true, terminating: true },
        { address: '10.0.0.3', ready: false, serving: false },
      ],
      { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] },
    );
    expect(list(port, 'cluster')).toEqual(['10.0.0.1:53']);
    expect(list(port, 'draining')).toEqual(['10.0.0.2:53']);
  });

  it('that may connect to themselves are those of this node, or all with the external Local policy', () => {
    const endpoints = [{ address: '10.0.0.1', ...here }, { address: '10.0.0.2', ...there }, { address: '10.0.0.3' }];
    const addresses = (port: ServicePort | undefined) => unpackList(port?.hairpin ?? '', 4).map(formatAddress);
    expect(addresses(compile({}, endpoints)[0])).toEqual(['10.0.0.1', '10.0.0.3']);
    const local = { externalTrafficPolicy: 'Local' as const, externalIPs: ['192.0.2.1'] };
    expect(addresses(compile(local, endpoints)[0])).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    // Without a frontend for the outside the external policy means nothing.
    expect(addresses(compile({ externalTrafficPolicy: 'Local' }, endpoints)[0])).toEqual(['10.0.0.1', '10.0.0.3']);
  });
});

describe('topology hints', () => {
  const at = (address: string, zones?: string[], nodes?: string[]): EndpointInit => ({
    address,
    ...(zones === undefined ? {} : { zones }),
    ...(nodes === undefined ? {} : { nodes }),
  });

  it('keep traffic in the zone when every endpoint has a hint and one names it', () => {
    expect(list(compile({}, [at('10.0.0.1', ['a', 'c']), at('10.0.0.2', ['b'])])[0], 'cluster')).toEqual([
      '10.0.0.1:8080',
    ]);
    expect(list(compile({}, [at('10.0.0.1', ['a']), at('10.0.0.2')])[0], 'cluster')).toHaveLength(2);
    expect(list(compile({}, [at('10.0.0.1', ['b']), at('10.0.0.2', ['b'])])[0], 'cluster')).toHaveLength(2);
    const nowhere = { ...node, zone: '' };
    expect(
      list(compile({}, [at('10.0.0.1', ['a']), at('10.0.0.2', ['b'])], { at: nowhere })[0], 'cluster'),
    ).toHaveLength(2);
  });

  it('prefer the node to the zone', () => {
    const [port] = compile({}, [at('10.0.0.1', ['a'], [NODE]), at('10.0.0.2', ['a'], ['other'])]);
    expect(list(port, 'cluster')).toEqual(['10.0.0.1:8080']);
    const [none] = compile({}, [at('10.0.0.1', ['a'], ['x']), at('10.0.0.2', ['b'], ['y'])]);
    expect(list(none, 'cluster')).toEqual(['10.0.0.1:8080']);
  });

  it('count ready endpoints only, and not for the Local policy', () => {
    const endpoints = [
      at('10.0.0.1', ['a']),
      { ...at('10.0.0.2'), ready: false },
      { ...at('10.0.0.3', ['b']), ...here },
    ];
    const [port] = compile({ externalTrafficPolicy: 'Local', externalIPs: ['192.0.2.1'] }, endpoints);
    expect(list(port, 'cluster')).toEqual(['10.0.0.1:8080']);
    expect(list(port, 'local')).toEqual(['10.0.0.3:8080']);
  });
});

describe('the own node', () => {
  it('answers on its first internal address of each family', () => {
    expect(primaryAddresses(node).map(formatAddress)).toEqual(['192.168.0.1', 'fd00::1']);
  });

  it('is no target for balancers once it is going', () => {
    expect(node.eligible).toBe(true);
    const going = {
      metadata: { name: NODE },
      spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' as const }] },
    };
    expect(nodeFacts(going).eligible).toBe(false);
    expect(nodeFacts({ metadata: { name: NODE, deletionTimestamp: '2026-01-01T00:00:00Z' } }).eligible).toBe(false);
  });
});

describe('families', () => {
  it('of a Service are those of its ClusterIPs: a NodePort answers in no other one', () => {
    const spec = { type: 'NodePort' as const, ports: [{ name: 'http', port: 80, nodePort: 30080 }] };
    expect(compile(spec, [{ address: '10.244.0.1' }]).map((port) => port.family)).toEqual([4]);
    const dual = { ...spec, clusterIPs: ['10.96.0.1', 'fd00:96::1'] };
    expect(compile(dual, [{ address: '10.244.0.1' }]).map((port) => port.family)).toEqual([4, 6]);
  });
});
