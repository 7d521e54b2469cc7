import type { FabricStatus } from '@weft/fabric';
import { describe, expect, it } from 'vitest';
import { followRoute, type KernelRoute, type NodeView } from '../src/commands/route.ts';

const pod = (n: number, more: object = {}) => ({
  name: `default/p${n}`,
  address: `10.244.${n}.5`,
  node: `n${n}`,
  onHost: false,
  ...more,
});

function view(n: number, peer: number, routes: Readonly<Record<string, KernelRoute>>, device?: string): NodeView {
  const route = { dst: `10.244.${peer}.0/24`, via: '', cause: `Node n${peer} spec.podCIDRs` };
  const status = {
    node: `n${n}`,
    devices: device === undefined ? [] : [{ name: device, kind: device === 'weft.tun' ? 'tun' : 'vxlan', mtu: 1450 }],
    peers: [{ node: `n${peer}`, addresses: [`172.30.0.${peer}`], routes: [route] }],
  } as unknown as FabricStatus;
  const mtus = new Map([
    ['veth1', 1450],
    ['veth2', 1450],
    ['eth0', 1500],
    ['weft.4242', 1450],
  ]);
  return { status, mtus, route: (to) => Promise.resolve(routes[to]) };
}

const VIEWS: Readonly<Record<string, NodeView>> = {
  n1: view(
    1,
    2,
    {
      '10.244.1.5': { dst: '10.244.1.5', dev: 'veth1' },
      '10.244.1.6': { dst: '10.244.1.6', dev: 'veth2' },
      '10.244.2.5': { dst: '10.244.2.0/24', gateway: '10.244.2.0', dev: 'weft.4242' },
      '172.30.0.2': { dst: '172.30.0.0/24', dev: 'eth0' },
      '10.244.3.5': { type: 'unreachable', dst: '10.244.0.0/16', dev: 'lo' },
    },
    'weft.4242',
  ),
  n2: view(2, 1, {
    '10.244.2.5': { dst: '10.244.2.5', dev: 'veth2' },
    '10.244.1.5': {
      dst: '10.244.1.0/24',
      nexthops: [
        { gateway: '172.30.0.1', dev: 'eth0' },
        { gateway: '172.30.0.9', dev: 'eth0' },
      ],
    },
    '172.30.0.2': { dst: '172.30.0.2', dev: 'lo' },
  }),
};
const at = (node: string): Promise<NodeView> => Promise.resolve(VIEWS[node] as NodeView);

describe('the way from pod to pod', () => {
  it('goes by the tunnel, the underlay and the other node', async () => {
    const { steps, problem } = await followRoute(pod(1), pod(2), at);
    expect(problem).toBeUndefined();
    expect(steps.map((step) => Object.values(step))).toEqual([
      ['n1', 'veth1', 1450, `the pod's default route`, 'Pod default/p1'],
      ['n1', 'weft.4242', 1450, 'route 10.244.2.0/24 via 10.244.2.0', 'Node n2 spec.podCIDRs'],
      ['n1', 'eth0', 1500, 'tunnel to 172.30.0.2, route 172.30.0.0/24', 'Node n2 status.addresses'],
      ['n2', 'veth2', 1450, 'route 10.244.2.5', 'Pod default/p2'],
    ]);
  });

  it('goes straight where there is no tunnel, also by several next hops', async () => {
    const { steps } = await followRoute(pod(2), pod(1), at);
    expect(steps.map(({ node, device, by }) => [node, device, by])).toEqual([
      ['n2', 'veth2', `the pod's default route`],
      ['n2', 'eth0', 'route 10.244.1.0/24 via 172.30.0.1, 172.30.0.9'],
      ['n1', 'veth1', 'route 10.244.1.5'],
    ]);
  });

  it('stays on the node, and begins there for pods of the host network', async () => {
    const neighbour = pod(1, { name: 'default/q', address: '10.244.1.6' });
    const host = pod(1, { name: 'default/h', address: '172.30.0.1', onHost: true });
    expect((await followRoute(pod(1), neighbour, at)).steps.map(({ device }) => device)).toEqual(['veth1', 'veth2']);
    expect((await followRoute(host, neighbour, at)).steps.map(({ device }) => device)).toEqual(['veth2']);
  });

  it('ends where a kernel has no route, and says which', async () => {
    expect((await followRoute(pod(1), pod(3), at)).problem).toBe(
      'node n1 has unreachable route 10.244.0.0/16 for 10.244.3.5',
    );
    const gone = pod(2, { address: '10.244.2.77' });
    expect((await followRoute(pod(1), gone, at)).problem).toBe('node n1 has no route for 10.244.2.77');
    const lost: Readonly<Record<string, NodeView>> = { ...VIEWS, n2: view(2, 1, {}) };
    expect((await followRoute(pod(1), pod(2), (node) => Promise.resolve(lost[node] as NodeView))).problem).toBe(
      'node n2 has no route for 10.244.2.5',
    );
  });
});
