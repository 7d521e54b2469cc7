import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Planned } from '../src/model/types.ts';
import { FamilyState } from '../src/nftables/family.ts';
import { ELEMENT_SETS } from '../src/nftables/layout.ts';
import { CONFIG, Feed } from './support/harness.ts';
import { FakeKernel, follow } from './support/kernel.ts';
import { type Event, events } from './support/worlds.ts';

const SOURCES = ['pod', 'node', 'outside'] as const;

function frontendKeys(values: Iterable<Planned>): Set<string> {
  const keys = new Set<string>();
  for (const value of values) if (value.type === 'ServicePort') for (const f of value.frontends) keys.add(f.key);
  return keys;
}

/** What packets would meet, and how much the kernel holds. */
function meaning(kernel: FakeKernel, keys: Iterable<string>): unknown {
  const out: Record<string, unknown> = {};
  for (const key of [...keys].sort()) {
    for (const source of SOURCES) {
      const { endpoints, hole, verdict } = follow(key, source, () => kernel);
      out[`${Buffer.from(key, 'latin1').toString('hex')} ${source}`] = [verdict, hole, [...endpoints].sort()];
    }
    out[`${Buffer.from(key, 'latin1').toString('hex')} guard`] = kernel.firewallChains.get(
      kernel.firewall.get(key) ?? '',
    );
  }
  for (const set of ELEMENT_SETS) out[set] = kernel.sets[set].size;
  for (const set of ['hairpin', 'cluster-ips', 'nodeport-ips'] as const) {
    out[`${set} members`] = [...kernel.sets[set].keys()].sort();
  }
  return out;
}

function coldStart(feed: Feed): FakeKernel {
  const kernel = new FakeKernel();
  kernel.apply(new FamilyState(CONFIG).update(feed.whole(), 0));
  return kernel;
}

/** Plays a history in batches of one to three events; time passes between them. */
function play(history: readonly Event[], each: (feed: Feed, kernel: FakeKernel, state: FamilyState) => void): void {
  const feed = new Feed();
  const state = new FamilyState(CONFIG);
  const kernel = new FakeKernel();
  let now = 0;
  kernel.apply(state.update(feed.take(), now));
  for (let i = 0; i < history.length; ) {
    const size = 1 + (i % 3);
    for (const event of history.slice(i, i + size)) feed.push(event);
    i += size;
    now += 400;
    kernel.apply(state.sweep(now));
    kernel.apply(state.update(feed.take(), now));
    if (i % 2 === 0) {
      now += 1000;
      kernel.apply(state.sweep(now));
    }
    each(feed, kernel, state);
  }
}

describe('compiled nftables state', () => {
  it('is the same after any history as after a cold start of the final world', () => {
    fc.assert(
      fc.property(events, (history) => {
        play(history, (feed, kernel, state) => {
          if (state.hasIdle) return;
          const keys = frontendKeys([...feed.applied.values()].map((e) => e.value));
          expect(meaning(kernel, keys)).toEqual(meaning(coldStart(feed), keys));
        });
      }),
      { numRuns: 150 },
    );
  });

  it('never leads a packet nowhere, whichever generations its lookups see', () => {
    fc.assert(
      fc.property(events, fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), (history, late) => {
        let before = new FakeKernel();
        // Lookups of one packet see growing generations: once one is late, the rest are.
        const from = late.indexOf(true);
        const state = new FamilyState(CONFIG);
        const feed = new Feed();
        const kernel = new FakeKernel();
        kernel.apply(state.update(feed.take(), 0));
        for (const event of history) {
          feed.push(event);
          before = kernel.snapshot();
          kernel.apply(state.update(feed.take(), 0));
          for (const key of new Set([...before.sets.frontends.keys(), ...before.sets.nodeports.keys()])) {
            const short = `${key.slice(0, -8)}${key.slice(-8, -7)}${key.slice(-4, -2)}`;
            for (const source of SOURCES) {
              const mixed = follow(short, source, (n) => (from >= 0 && n >= from ? kernel : before));
              const a = follow(short, source, () => before);
              const b = follow(short, source, () => kernel);
              expect(a.hole, 'before').toBe(false);
              expect(b.hole, 'after').toBe(false);
              // Where endpoints of the Service stay in use throughout, no packet is refused or sent astray.
              const both = a.verdict === 'balance' && b.verdict === 'balance';
              if (both && sameChain(a, b)) {
                expect(mixed.hole).toBe(false);
                for (const endpoint of mixed.endpoints) {
                  expect(a.endpoints.has(endpoint) || b.endpoints.has(endpoint)).toBe(true);
                }
              }
            }
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('is led nowhere by no step inside a transaction', () => {
    fc.assert(
      fc.property(events, (history) => {
        const feed = new Feed();
        const state = new FamilyState(CONFIG);
        const kernel = new FakeKernel();
        for (const event of history) {
          feed.push(event);
          const before = kernel.snapshot();
          const changes = state.update(feed.take(), 0);
          kernel.apply(changes, () => {
            for (const key of kernel.sets.frontends.keys()) {
              if (!before.sets.frontends.has(key)) continue;
              const short = `${key.slice(0, -8)}${key.slice(-8, -7)}${key.slice(-4, -2)}`;
              const old = follow(short, 'pod', () => before);
              const now = follow(short, 'pod', () => kernel);
              if (old.verdict === 'balance' && now.verdict === 'balance' && old.endpoints.size > 0) {
                expect(now.endpoints.size, 'endpoints left').toBeGreaterThan(0);
              }
            }
          });
        }
      }),
      { numRuns: 100 },
    );
  });

  it('changes nothing when an agent restarts in an unchanged world', () => {
    fc.assert(
      fc.property(events, (history) => {
        play(history, (feed, kernel, state) => {
          if (state.hasIdle || isContested(feed)) return;
          const next = new FamilyState(CONFIG);
          next.adopt(kernel.found(), 10_000);
          expect(next.update(feed.whole(), 10_000).count).toBe(0);
          expect(next.complete(10_000).count).toBe(0);
        });
      }),
      { numRuns: 60 },
    );
  });

  it('comes to the final world when it changed while no agent ran', () => {
    fc.assert(
      fc.property(events, events, (history, missed) => {
        let last: { feed: Feed; kernel: FakeKernel } | undefined;
        play(history, (feed, kernel) => {
          last = { feed, kernel };
        });
        const feed = last?.feed ?? new Feed();
        const kernel = last?.kernel ?? new FakeKernel();
        for (const event of missed) feed.push(event);
        feed.take();
        const next = new FamilyState(CONFIG);
        next.adopt(kernel.found(), 10_000);
        kernel.apply(next.update(feed.whole(), 10_000));
        kernel.apply(next.complete(10_000));
        kernel.apply(next.sweep(20_000));
        const keys = frontendKeys([...feed.applied.values()].map((e) => e.value));
        expect(meaning(kernel, keys)).toEqual(meaning(coldStart(feed), keys));
        // And goes on from there.
        feed.push({ kind: 'service', name: 'a', object: undefined });
        kernel.apply(next.update(feed.take(), 30_000));
        kernel.apply(next.sweep(40_000));
        expect(meaning(kernel, keys)).toEqual(
          expect.objectContaining({ endpoints: coldStart(feed).sets.endpoints.size }),
        );
      }),
      { numRuns: 100 },
    );
  });
});

/** Endpoints that only a lost address leads to cannot be told from leftovers. */
function isContested(feed: Feed): boolean {
  const keys = [...feed.applied.values()].flatMap((e) =>
    e.value.type === 'ServicePort' ? e.value.frontends.map((f) => f.key) : [],
  );
  return new Set(keys).size < keys.length;
}

function sameChain(a: { endpoints: ReadonlySet<string> }, b: { endpoints: ReadonlySet<string> }): boolean {
  return a.endpoints.size > 0 && b.endpoints.size > 0;
}
