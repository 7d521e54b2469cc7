import type { Allocation } from '@weft/cni';
import { EventRecorder } from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { describe, expect, it } from 'vitest';
import { Alarms } from '../src/addresses/alarms.ts';
import { compileBlock } from '../src/addresses/publisher.ts';

describe('what the API is told of a block', () => {
  const allocation = (containerId: string, addresses: readonly string[]): Allocation => ({
    network: 'weft',
    containerId,
    ifname: 'eth0',
    kind: 'wired',
    state: 'ready',
    addresses,
    since: 0,
    pod: { namespace: 'default', name: `pod-${containerId}` },
  });

  it('is who has which address, in the form of Calico', () => {
    const owners = new Map([
      ['10.1.0.1', allocation('AB', ['10.1.0.1'])],
      ['10.1.0.3', allocation('cd', ['10.1.0.3'])],
    ]);
    const ipam = {
      ownerOf: (address: string) => owners.get(address),
      heldFor: (address: string) => (address === '10.1.0.2' ? 'node n2, which has borrowed it' : undefined),
    };
    const [block, ...handles] = compileBlock('10.1.0.0/29', ipam, 'n1');
    expect(block).toEqual({
      type: 'block',
      cidr: '10.1.0.0/29',
      allocations: [null, 0, 1, 2, null, null, null, null],
      attributes: [
        {
          handle_id: 'weft.ab',
          secondary: { node: 'n1', namespace: 'default', pod: 'pod-AB', timestamp: '1970-01-01T00:00:00.000Z' },
        },
        {
          handle_id: 'kept.node-n2-which-has-borrowed-it',
          secondary: { note: 'kept for node n2, which has borrowed it' },
        },
        {
          handle_id: 'weft.cd',
          secondary: { node: 'n1', namespace: 'default', pod: 'pod-cd', timestamp: '1970-01-01T00:00:00.000Z' },
        },
      ],
      unallocated: [0, 4, 5, 6, 7],
    });
    expect(handles).toEqual([
      { type: 'handle', id: 'weft.ab', cidr: '10.1.0.0/29', count: 1 },
      { type: 'handle', id: 'weft.cd', cidr: '10.1.0.0/29', count: 1 },
    ]);
  });
});

describe('exhaustion', () => {
  it('is announced once, before it happens, and again after it had passed', () => {
    const said: string[] = [];
    const events = new EventRecorder({
      client: { create: async () => ({}), patch: async () => ({}) } as never,
      component: 'x',
    });
    events.event = (_about, _type, reason, message) => void said.push(`${reason}: ${message}`);
    const metrics = new Metrics();
    const alarms = new Alarms({ nodeName: 'n1', events, metrics, log: silentLogger });
    const at = (used: number): void => alarms.look([{ source: '10.244.1.0/24', used, total: 100n }]);
    for (const used of [10, 89, 90, 95, 100, 85, 91, 79, 92]) at(used);
    const text = 'addresses of 10.244.1.0/24 are in use on node n1';
    expect(said).toEqual([`AddressesRunningOut: 90 of 100 ${text}`, `AddressesRunningOut: 92 of 100 ${text}`]);
    // A pool is as full as it is on all nodes together.
    alarms.look([{ source: 'pool p', used: 1, total: 1n, whole: { used: 5, total: 64n } }]);
    expect(said).toHaveLength(2);
    expect(metrics.render()).toContain('weft_ipam_addresses_used{source="pool p"} 1');
    alarms.leaked({ namespace: 'default', name: 'gone' }, 'c1', ['10.244.1.7']);
    expect(said.at(-1)).toBe(
      'LeakedAddressFreed: freed 10.244.1.7 of pod default/gone, whose sandbox on node n1 is gone',
    );
    expect(metrics.render()).toContain('weft_ipam_leaked_total 1');
  });
});
