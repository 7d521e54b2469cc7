import { describe, expect, it } from 'vitest';
import { type Diff, diffPlans, type Entry } from '@weft/plan';
import { ChangedFrontends } from '../src/conntrack/stale.ts';
import { packAddress, packPort } from '../src/model/packed.ts';
import type { Planned } from '../src/model/types.ts';
import { Feed } from './support/harness.ts';
import { service, slice } from './support/worlds.ts';

const PORTS = [{ name: 'dns', port: 5353, protocol: 'UDP' as const }];
const NODE_IPS = new Set([packAddress('192.168.0.1') ?? '']);

function flow(destination: string, destinationPort: number, answers: string, translated = true) {
  return {
    destination: packAddress(destination) ?? '',
    destinationPort,
    answers: (packAddress(answers) ?? '') + packPort(5353),
    translated,
  };
}

function feed(): { push: (addresses: string[], ready?: boolean) => Diff<Planned>; feed: Feed } {
  const world = new Feed();
  world.push({
    kind: 'service',
    name: 'dns',
    object: service('dns', {
      type: 'NodePort',
      clusterIP: '10.96.0.1',
      ports: [{ name: 'dns', port: 53, protocol: 'UDP', nodePort: 30053 }],
    }),
  });
  return {
    feed: world,
    push: (addresses, ready = true) => {
      const endpoints = addresses.map((address) => ({ address, ready, serving: true, terminating: !ready }));
      world.push({ kind: 'slice', name: 'dns-1', object: slice('dns-1', 'dns', endpoints, PORTS) });
      return world.take();
    },
  };
}

describe('UDP flows', () => {
  it('to an endpoint that is gone are stale, others are not', () => {
    const { push } = feed();
    push(['10.244.0.1', '10.244.0.2']);
    const changed = new ChangedFrontends();
    changed.note(push(['10.244.0.2']));
    expect(changed.isStale(flow('10.96.0.1', 53, '10.244.0.1'), NODE_IPS)).toBe(true);
    expect(changed.isStale(flow('10.96.0.1', 53, '10.244.0.2'), NODE_IPS)).toBe(false);
    expect(changed.isStale(flow('192.168.0.1', 30053, '10.244.0.1'), NODE_IPS)).toBe(true);
    expect(changed.isStale(flow('10.96.0.9', 53, '10.244.0.1'), NODE_IPS)).toBe(false);
    // Somebody else's port 30053, not translated.
    expect(changed.isStale(flow('8.8.8.8', 30053, '8.8.8.8', false), NODE_IPS)).toBe(false);
  });

  it('need no look when endpoints only came', () => {
    const { push } = feed();
    push(['10.244.0.1']);
    const changed = new ChangedFrontends();
    changed.note(push(['10.244.0.1', '10.244.0.2']));
    expect(changed.isEmpty).toBe(true);
  });

  it('that began before there was an endpoint are stale', () => {
    const { push } = feed();
    push([]);
    const changed = new ChangedFrontends();
    changed.note(push(['10.244.0.1']));
    expect(changed.isStale(flow('192.168.0.1', 30053, '192.168.0.1', false), NODE_IPS)).toBe(true);
  });

  it('stay with an endpoint that ends but serves', () => {
    const { push } = feed();
    push(['10.244.0.1', '10.244.0.2']);
    const changed = new ChangedFrontends();
    changed.note(push(['10.244.0.2'], false));
    expect(changed.isStale(flow('10.96.0.1', 53, '10.244.0.2'), NODE_IPS)).toBe(false);
  });

  it('are all stale when the Service or its last endpoint is gone', () => {
    const { push, feed: world } = feed();
    push(['10.244.0.1']);
    const changed = new ChangedFrontends();
    changed.note(push([]));
    expect(changed.isStale(flow('10.96.0.1', 53, '10.244.0.1'), NODE_IPS)).toBe(true);
    push(['10.244.0.1']);
    world.push({ kind: 'service', name: 'dns', object: undefined });
    const gone = new ChangedFrontends();
    gone.note(world.take());
    expect(gone.isStale(flow('10.96.0.1', 53, '10.244.0.1'), NODE_IPS)).toBe(true);
  });

  it('keep up with endpoints that come before the flows were looked at', () => {
    const { push } = feed();
    push(['10.244.0.1']);
    const changed = new ChangedFrontends();
    changed.note(push(['10.244.0.2']));
    changed.note(push(['10.244.0.2', '10.244.0.3']));
    expect(changed.isStale(flow('10.96.0.1', 53, '10.244.0.3'), NODE_IPS)).toBe(false);
    const entry = new Map<string, Entry<Planned>>();
    changed.note(diffPlans(entry, entry));
    expect(changed.hasPort(53)).toBe(true);
    expect(changed.hasPort(54)).toBe(false);
  });
});
