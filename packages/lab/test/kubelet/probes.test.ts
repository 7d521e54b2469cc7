import type { Probe } from '@weft/kube';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BackoffTable, goDuration } from '../../src/kubelet/backoff.ts';
import { type ProbeKind, Prober } from '../../src/kubelet/probes.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

function probe(kind: ProbeKind, spec: Probe, enabled = (): boolean => true) {
  const state = { ok: false, asked: [] as number[], verdicts: [] as boolean[], failures: 0 };
  const begin = Date.now();
  const prober = new Prober({
    kind,
    probe: { exec: { command: ['x'] }, ...spec },
    startedAt: begin,
    ask: async () => {
      state.asked.push(Date.now() - begin);
      return { ok: state.ok, message: 'no' };
    },
    enabled,
    onChange: (ok) => state.verdicts.push(ok),
    onFailure: () => {
      state.failures += 1;
    },
  });
  prober.start();
  return { state, prober };
}

describe('a probe', () => {
  it('waits, then asks once a period', async () => {
    const { state } = probe('readiness', { initialDelaySeconds: 5, periodSeconds: 3 });
    await vi.advanceTimersByTimeAsync(12_000);
    expect(state.asked).toEqual([5000, 8000, 11_000]);
  });

  it('needs its thresholds to change its mind', async () => {
    const { state } = probe('readiness', { periodSeconds: 1, failureThreshold: 2, successThreshold: 3 });
    state.ok = true;
    await vi.advanceTimersByTimeAsync(1500);
    expect(state.verdicts).toEqual([]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(state.verdicts).toEqual([true]);
    state.ok = false;
    await vi.advanceTimersByTimeAsync(1000);
    expect(state.verdicts).toEqual([true]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(state.verdicts).toEqual([true, false]);
    expect(state.failures).toBe(2);
  });

  it('of liveness is not asked again once the container is to be killed', async () => {
    const { state } = probe('liveness', { periodSeconds: 1, failureThreshold: 3 });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(state.asked).toEqual([0, 1000, 2000]);
    expect(state.verdicts).toEqual([false]);
  });

  it('of startup ends with its first success', async () => {
    const { state } = probe('startup', { periodSeconds: 1, failureThreshold: 30 });
    await vi.advanceTimersByTimeAsync(2500);
    state.ok = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(state.verdicts).toEqual([true]);
    expect(state.asked).toHaveLength(4);
  });

  it('is held while it is not its turn', async () => {
    let on = false;
    const { state } = probe('liveness', { periodSeconds: 1 }, () => on);
    await vi.advanceTimersByTimeAsync(3000);
    expect(state.asked).toEqual([]);
    on = true;
    await vi.advanceTimersByTimeAsync(200);
    expect(state.asked).toHaveLength(1);
  });

  it('over the network asks a new container eagerly, and does not count that', async () => {
    const { exec: _, ...spec } = { exec: undefined, periodSeconds: 10, httpGet: { port: 80 } };
    const state = { asked: 0, failures: 0, verdicts: [] as boolean[] };
    const prober = new Prober({
      kind: 'readiness',
      probe: spec,
      startedAt: Date.now(),
      ask: async () => ({ ok: ++state.asked > 3, message: '' }),
      enabled: () => true,
      onChange: (ok) => state.verdicts.push(ok),
      onFailure: () => {
        state.failures += 1;
      },
    });
    prober.start();
    await vi.advanceTimersByTimeAsync(300);
    expect(state).toEqual({ asked: 4, failures: 0, verdicts: [true] });
  });

  it('can be stopped', async () => {
    const { state, prober } = probe('liveness', { periodSeconds: 1 });
    await vi.advanceTimersByTimeAsync(500);
    prober.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(state.asked).toHaveLength(1);
  });
});

describe('back-off', () => {
  it('is nothing at first, then 10 s, doubled up to 5 min, and forgotten after 10 min of peace', () => {
    const table = new BackoffTable();
    const waits: number[] = [];
    let now = 0;
    for (let i = 0; i < 8; i++) {
      const until = table.until('a', now, now);
      waits.push((until ?? now) - now);
      now = until ?? now;
      table.next('a', now, now);
    }
    expect(waits).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
    expect(table.until('a', now + 600_001, now + 600_001)).toBeUndefined();
    table.next('a', now + 600_001, now + 600_001);
    expect(table.delay('a')).toBe(10_000);
    expect(table.until('b', 0, 0)).toBeUndefined();
  });

  it('is printed as Go prints it', () => {
    expect([10_000, 160_000, 300_000, 3_600_000].map(goDuration)).toEqual(['10s', '2m40s', '5m0s', '1h0m0s']);
  });
});
