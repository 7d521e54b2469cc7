import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EndpointSlice } from '@weft/kube';
import { FamilyState } from '../src/nftables/family.ts';
import { CONFIG, Feed, TWO_BLOCKS } from './support/harness.ts';
import { FakeKernel } from './support/kernel.ts';
import { RuleWalker } from './support/nft.ts';
import { type Answer, inRange, oracle, type Source, type Target, type World } from './support/oracle.ts';
import { events, NODE } from './support/worlds.ts';
import { NODE_ADDRESS, targets, worldOf } from './support/packets.ts';

const SOURCES: readonly Source[] = [
  { kind: 'pod', address: '10.244.0.10' },
  { kind: 'pod', address: '10.244.1.99' },
  { kind: 'pod', address: '10.244.200.7' },
  { kind: 'node', address: NODE_ADDRESS },
  { kind: 'outside', address: '203.0.113.5' },
  { kind: 'outside', address: '100.64.0.1' },
];

/** Whether source ranges keep the source from a balancer's address. */
function isShutOut({ services }: World, source: Source, target: Target): boolean {
  return services.some(({ spec, status }) => {
    const ranges = spec.loadBalancerSourceRanges ?? [];
    const isOurs =
      status?.loadBalancer?.ingress?.some((i) => i.ip === target.address) === true &&
      (spec.ports ?? []).some((p) => p.port === target.port && (p.protocol ?? 'TCP') === target.protocol);
    return isOurs && ranges.length > 0 && !ranges.some((range) => inRange(source.address, range));
  });
}

/**
 * What this plane does beyond the specification of a Service: it guards the block of ClusterIPs, and whoever source ranges
 * shut out learns nothing, not even that there is no endpoint.
 */
function beyond(answer: Answer, world: World, source: Source, target: Target): Answer {
  const clusterIPs = new Set(world.services.map((s) => s.spec.clusterIP ?? ''));
  if (answer.verdict === 'reject' && isShutOut(world, source, target)) return { ...answer, verdict: 'drop' };
  if (answer.verdict !== 'pass' || !target.address.startsWith('10.96.')) return answer;
  return { ...answer, verdict: clusterIPs.has(target.address) ? 'reject' : 'drop' };
}

/**
 * Without the pod's way back to itself, when that pod is not on this node: such a packet has been through the rules of
 * its own node before, and no node marks for another.
 */
function comparable(answer: Answer, source: Source, slices: readonly EndpointSlice[]): Answer {
  const here = slices.every((slice) =>
    (slice.endpoints ?? []).every((e) => e.addresses[0] !== source.address || e.nodeName === NODE),
  );
  if (here) return answer;
  const keep = answer.endpoints.map((endpoint) => !endpoint.startsWith(`${source.address}:`));
  return {
    ...answer,
    endpoints: answer.endpoints.filter((_, i) => keep[i]),
    masqueraded: answer.masqueraded.filter((_, i) => keep[i]),
  };
}

describe('nftables rules of generated worlds', () => {
  it.each([
    ['one block', CONFIG],
    ['two blocks', TWO_BLOCKS],
  ])('do to every packet what the specification says, with pods of %s', (_, config) => {
    fc.assert(
      fc.property(events, (history) => {
        const feed = new Feed();
        const state = new FamilyState(config);
        const kernel = new FakeKernel();
        kernel.apply(state.update(feed.take(), 0));
        for (const [i, event] of history.entries()) {
          feed.push(event);
          kernel.apply(state.sweep(i * 400));
          if (i % 3 === 2 || i === history.length - 1) kernel.apply(state.update(feed.take(), i * 400));
        }
        const world = worldOf(history);
        const rules = new RuleWalker(config, kernel);
        for (const target of [...targets(world), { address: '10.96.0.1', port: 81, protocol: 'TCP' as const }]) {
          for (const source of SOURCES) {
            const { chances, ...met } = rules.meet(source, target, new Set([NODE_ADDRESS]));
            // Two Services may want one address: one of them has it.
            const plain = oracle(world, source, target);
            const answers = plain.map((a) => beyond(a, world, source, target));
            if (plain.length > 1) answers.push(...plain);
            const label = JSON.stringify({ source, target });
            expect(
              answers.map((a) => comparable(a, source, world.slices)),
              label,
            ).toContainEqual(comparable(met, source, world.slices));
            const share = 1 / Math.max(1, met.endpoints.length);
            for (const [endpoint, chance] of chances) expect(chance, `${label} ${endpoint}`).toBeCloseTo(share, 6);
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});
