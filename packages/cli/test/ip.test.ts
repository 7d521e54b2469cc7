import type { IPAMBlock, IPPool, Node, Pod } from '@weft/kube';
import { type Ip, parseIp } from '@weft/net';
import { describe, expect, it } from 'vitest';
import { AddressModel } from '../src/ip/model.ts';

const node = (name: string, cidr: string, address: string): Node => ({
  metadata: { name },
  spec: { podCIDR: cidr, podCIDRs: [cidr] },
  status: { addresses: [{ type: 'InternalIP', address }] },
});
const pod = (name: string, nodeName: string, ip: string, change: object = {}): Pod => ({
  metadata: { name, namespace: 'default' },
  spec: { nodeName, containers: [], ...change },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
});
const pool = (name: string, cidr: string, spec: object = {}): IPPool => ({
  metadata: { name },
  spec: { cidr, ...spec },
});
const block: IPAMBlock = {
  metadata: { name: '10-1-0-0-30' },
  spec: {
    cidr: '10.1.0.0/30',
    affinity: 'host:n1',
    allocations: [0, 1, null, null],
    attributes: [
      { handle_id: 'weft.a', secondary: { namespace: 'default', pod: 'a', node: 'n1' } },
      { handle_id: 'weft.gone', secondary: { namespace: 'default', pod: 'gone', node: 'n1' } },
    ],
    unallocated: [2, 3],
    strictAffinity: false,
  },
};
const model = new AddressModel({
  nodes: [node('n1', '10.244.1.0/24', '192.0.2.1'), node('n2', '10.244.2.0/24', '192.0.2.2')],
  pods: [
    pod('a', 'n1', '10.1.0.0'),
    pod('b', 'n2', '10.244.2.9'),
    pod('c', 'n1', '10.244.2.10'),
    pod('host', 'n1', '192.0.2.1', { hostNetwork: true }),
  ],
  services: [
    { metadata: { name: 'web', namespace: 'default' }, spec: { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'] } },
  ],
  pools: [
    pool('p', '10.1.0.0/28', { blockSize: 30, natOutgoing: true }),
    pool('bad', 'x'),
    pool('off', '10.3.0.0/24', { disabled: true }),
  ],
  reservations: [{ metadata: { name: 'r' }, spec: { reservedCIDRs: ['10.1.0.12/30'] } }],
  blocks: [block],
  loans: [
    {
      metadata: { name: '10-244-2-10' },
      spec: { address: '10.244.2.10', node: 'n1' },
      status: { phase: 'Granted', lender: 'n2' },
    },
  ],
  sticky: [{ metadata: { name: 'db-0', namespace: 'default' }, spec: { addresses: ['10.244.1.77'] } }],
});
const who = (text: string): readonly string[] => model.who(parseIp(text) as Ip).facts;

describe('weft ip', () => {
  it('says how full pools and pod CIDRs are', () => {
    const rows = model
      .pools()
      .map((r) => `${r.name} ${r.cidr} ${r.blocks ?? '-'} ${r.used}/${r.total} ${r.percent}% ${r.use}`);
    expect(rows).toEqual([
      'n1 10.244.1.0/24 - 1/253 1% pod CIDR',
      'n2 10.244.2.0/24 - 2/253 1% pod CIDR',
      'off 10.3.0.0/24 0/4 of /26 0/256 0% disabled',
      'p 10.1.0.0/28 1/4 of /30 2/16 13% automatic',
      'bad x - 0/0 0% invalid: spec.cidr: "x" is not a CIDR block',
    ]);
    expect(model.blocks()).toEqual([{ block: '10.1.0.0/30', pool: 'p', node: 'n1', used: 2, free: 2, total: 4 }]);
  });

  it('says who has what, also what no pod reports', () => {
    expect(
      model.addresses().map((r) => `${r.address} ${r.pod ?? '-'} ${r.node ?? '-'} ${r.source}: ${r.note}`),
    ).toEqual([
      '10.1.0.0 default/a n1 pool p: ',
      '10.1.0.1 default/gone n1 pool p: allocated; the pod does not report it (yet or any more)',
      '10.244.1.77 - - pod CIDR of n1: kept for pod default/db-0',
      '10.244.2.9 default/b n2 pod CIDR of n2: ',
      '10.244.2.10 default/c n1 pod CIDR of n2: lent by node n2',
    ]);
  });

  it('says what one address is', () => {
    expect(who('10.244.2.10')).toEqual([
      'pod default/c on node n1',
      'lent by node n2',
      'in pod CIDR 10.244.2.0/24 of node n2',
    ]);
    expect(who('192.0.2.1')).toEqual(['InternalIP of node n1']);
    expect(who('10.96.0.7')).toEqual(['clusterIP of Service default/web']);
    expect(who('10.1.0.13')).toEqual(['in pool p (10.1.0.0/28)', 'reserved by IPReservation r']);
    expect(who('10.3.0.1')).toEqual(['in pool off (10.3.0.0/24), which is disabled']);
    expect(who('8.8.8.8')).toEqual([]);
  });
});
