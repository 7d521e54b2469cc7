import { parsePrefix, type Prefix } from '@weft/net';
import { describe, expect, it } from 'vitest';
import { type CompileContext, type FabricConfig, resolveConfig } from '../src/backend.ts';
import { findBackend } from '../src/backends/index.ts';
import { compilePeer, compileSelf } from '../src/compile.ts';
import type { FabricNode } from '../src/nodes.ts';
import { type FabricStatus, fabricStatus } from '../src/status.ts';

const node = (n: number): FabricNode => ({
  name: `n${n}`,
  ip: { 4: `172.30.0.${n}` },
  podCidrs: [`10.244.${n}.0/24`],
  created: '',
});
const SUBNET = parsePrefix('172.30.0.0/24') as Prefix;
const STATE = { applies: 1, failures: 0, entries: 0, pending: 0, lastError: undefined, lastAppliedAt: 0 };

function status(backend: string, nodes: readonly FabricNode[], config: FabricConfig = {}): FabricStatus {
  const [self = node(1), ...peers] = nodes;
  const underlay = { name: 'eth0', mtu: 1500, subnets: [SUBNET] };
  const context: CompileContext = { config: resolveConfig({ backend, ...config }), self, underlay };
  const how = findBackend(backend);
  const compiled = [compileSelf(how, context, undefined), ...peers.map((p) => compilePeer(how, context, p, undefined))];
  const plan = new Map(compiled.flatMap((one) => [...one.plan]));
  return fabricStatus({
    node: self.name,
    backend,
    podMtu: 1450,
    encrypted: false,
    underlay,
    nodes,
    conditions: compiled.flatMap((one) => one.conditions),
    plan,
    state: { ...STATE, entries: plan.size },
    drift: { repaired: 2, lastAt: 1000 },
  });
}

describe('the status of a fabric', () => {
  it('tells the way to every peer, in the order people count', () => {
    const told = status('vxlan', [node(1), node(10), node(2)]);
    expect(told.devices).toEqual([{ name: 'weft.4242', kind: 'vxlan', mtu: 1450 }]);
    expect(told.underlay).toEqual({ name: 'eth0', mtu: 1500, subnets: ['172.30.0.0/24'] });
    expect(told.peers.map((peer) => [peer.node, peer.addresses, peer.routes, peer.otherEntries])).toEqual([
      [
        'n2',
        ['172.30.0.2'],
        [{ dst: '10.244.2.0/24', via: '10.244.2.0', device: 'weft.4242', cause: expect.stringMatching(/^Node n\d+ /) }],
        4,
      ],
      [
        'n10',
        ['172.30.0.10'],
        [
          {
            dst: '10.244.10.0/24',
            via: '10.244.10.0',
            device: 'weft.4242',
            cause: expect.stringMatching(/^Node n\d+ /),
          },
        ],
        4,
      ],
    ]);
    expect([told.lastChange, told.drift]).toEqual([
      '1970-01-01T00:00:00.000Z',
      { repaired: 2, last: '1970-01-01T00:00:01.000Z' },
    ]);
  });

  it('tells the end of a tunnel where routes have it', () => {
    const [peer] = status('ipip', [node(1), node(2)]).peers;
    expect(peer?.routes).toMatchObject([{ dst: '10.244.2.0/24', via: '172.30.0.2', device: 'weft.ipip' }]);
  });

  it('gives blocks of pools to the node that they lead to', () => {
    const blocks = [{ cidr: '10.250.0.0/26', kind: 'IPAMBlock', name: '10-250-0-0-26' }] as const;
    const [peer] = status('host-gw', [node(1), { ...node(2), blocks }]).peers;
    expect(peer?.routes).toEqual([
      { dst: '10.244.2.0/24', via: '172.30.0.2', cause: 'Node n2 spec.podCIDRs' },
      { dst: '10.250.0.0/26', via: '172.30.0.2', cause: expect.stringContaining('IPAMBlock 10-250-0-0-26') },
    ]);
  });

  it('says why a peer cannot be reached', () => {
    const far = { ...node(3), ip: { 4: '192.0.2.3' } };
    const [peer] = status('host-gw', [node(1), far]).peers;
    expect(peer?.routes).toEqual([]);
    expect(peer?.problems).toEqual([expect.stringMatching(/^NotOnLink: /)]);
  });
});
