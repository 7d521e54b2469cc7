import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Diff, type Entry, Metrics, type Plan, PlanLoop, silentLogger, type Subsystem } from '../src/index.ts';

/** A subsystem over a table of unit → key → value, and the world its applies make. */
function fixture(options: { fail?: () => boolean; audit?: (applied: Plan<number>) => Promise<number> } = {}) {
  const desired = new Map<string, Record<string, number>>();
  const world = new Map<string, number>();
  const diffs: Diff<number>[] = [];
  const subsystem: Subsystem<number> = {
    name: 'test',
    compile: (unit) => {
      const entries = desired.get(unit) ?? {};
      if ('bad' in entries) throw new Error('bad object');
      return new Map(
        Object.entries(entries).map(([k, value]): [string, Entry<number>] => [
          `${unit}/${k}`,
          { value, cause: { kind: 'Unit', name: unit } },
        ]),
      );
    },
    apply: async (diff) => {
      await Promise.resolve();
      if (options.fail?.() === true) throw new Error('kernel says no');
      diffs.push(diff);
      for (const k of diff.removed.keys()) world.delete(k);
      for (const [k, e] of diff.added) world.set(k, e.value);
      for (const [k, c] of diff.changed) world.set(k, c.to.value);
    },
    ...(options.audit === undefined ? {} : { audit: options.audit }),
  };
  return { desired, world, diffs, subsystem };
}

const env = () => ({ log: silentLogger, metrics: new Metrics() });

describe('PlanLoop', () => {
  afterEach(() => vi.useRealTimers());

  it('says when all was tried, also where something fails for ever', async () => {
    const f = fixture();
    const subsystem: Subsystem<number> = {
      ...f.subsystem,
      apply: (diff) =>
        [...diff.added.keys()].some((k) => k.startsWith('refused'))
          ? Promise.reject(new Error('no'))
          : f.subsystem.apply(diff),
    };
    const loop = new PlanLoop(subsystem, { ...env(), backoffMs: { first: 1, max: 1 } });
    for (const unit of ['a', 'refused', 'b']) {
      f.desired.set(unit, { x: 1 });
      loop.touch(unit);
    }
    await loop.tried();
    expect([...f.world.keys()].sort()).toEqual(['a/x', 'b/x']);
    f.desired.set('c', { x: 1 });
    loop.touch('c');
    await loop.tried();
    expect(f.world.get('c/x')).toBe(1);
    await loop.stop();
    await loop.tried();
  });

  it('applies many touches of one turn as one transaction', async () => {
    const f = fixture();
    const loop = new PlanLoop(f.subsystem, env());
    for (let i = 0; i < 50; i++) {
      f.desired.set(`u${i}`, { x: i });
      loop.touch(`u${i}`);
    }
    await loop.idle();
    expect(f.diffs).toHaveLength(1);
    expect(f.world.size).toBe(50);
    expect(loop.state.entries).toBe(50);
    await loop.stop();
  });

  it('recompiles only the touched unit and removes what it no longer asks for', async () => {
    const f = fixture();
    const loop = new PlanLoop(f.subsystem, env());
    f.desired.set('a', { x: 1, y: 2 });
    f.desired.set('b', { x: 3 });
    loop.touch('a');
    loop.touch('b');
    await loop.idle();
    f.desired.set('a', { y: 5 });
    f.desired.set('b', { x: 99 });
    loop.touch('a');
    await loop.idle();
    expect(f.world).toEqual(
      new Map([
        ['a/y', 5],
        ['b/x', 3],
      ]),
    );
    f.desired.delete('a');
    loop.touch('a');
    await loop.idle();
    expect(f.world).toEqual(new Map([['b/x', 3]]));
    expect(loop.applied.size).toBe(1);
    await loop.stop();
  });

  it('tries a failed apply again, with everything that changed meanwhile', async () => {
    let failures = 2;
    const f = fixture({ fail: () => failures-- > 0 });
    const loop = new PlanLoop(f.subsystem, { ...env(), backoffMs: { first: 20, max: 20 } });
    f.desired.set('a', { x: 1 });
    loop.touch('a');
    await vi.waitFor(() => expect(loop.state.failures).toBeGreaterThan(0));
    f.desired.set('b', { x: 2 });
    loop.touch('b');
    await vi.waitFor(() =>
      expect(f.world).toEqual(
        new Map([
          ['a/x', 1],
          ['b/x', 2],
        ]),
      ),
    );
    expect(loop.state.lastError).toBeUndefined();
    await loop.stop();
  });

  it('keeps serving the rest when one unit cannot be compiled', async () => {
    const f = fixture();
    const loop = new PlanLoop(f.subsystem, env());
    f.desired.set('a', { x: 1 });
    loop.touch('a');
    await loop.idle();
    f.desired.set('a', { bad: 1 });
    f.desired.set('b', { x: 2 });
    loop.touch('a');
    loop.touch('b');
    await loop.idle();
    expect(f.world).toEqual(
      new Map([
        ['a/x', 1],
        ['b/x', 2],
      ]),
    );
    await loop.stop();
  });

  it('brings the others into effect when one entry is refused, and that one when it is accepted', async () => {
    const desired = new Map<string, number>();
    const world = new Map<string, number>();
    let refusing = true;
    const subsystem: Subsystem<number> = {
      name: 'picky',
      compile: (unit) => {
        const value = desired.get(unit);
        return new Map(value === undefined ? [] : [[unit, { value, cause: { kind: 'Unit', name: unit } }]]);
      },
      apply: async (diff) => {
        await Promise.resolve();
        if (refusing && diff.added.has('u3')) throw new Error('u3: no');
        for (const [k, e] of diff.added) world.set(k, e.value);
      },
    };
    const loop = new PlanLoop(subsystem, { ...env(), backoffMs: { first: 5, max: 5 } });
    for (let i = 0; i < 7; i++) {
      desired.set(`u${i}`, i);
      loop.touch(`u${i}`);
    }
    await vi.waitFor(() => expect([...world.keys()].sort()).toEqual(['u0', 'u1', 'u2', 'u4', 'u5', 'u6']));
    desired.set('u7', 7);
    loop.touch('u7');
    await vi.waitFor(() => expect(world.has('u7')).toBe(true));
    refusing = false;
    await vi.waitFor(() => expect(world.get('u3')).toBe(3));
    await loop.stop();
  });

  it('writes only the difference to an adopted plan', async () => {
    const f = fixture();
    const loop = new PlanLoop(f.subsystem, env());
    f.world.set('a/x', 1);
    f.world.set('a/y', 1);
    loop.adopt(
      'a',
      new Map([
        ['a/x', { value: 1, cause: { kind: 'Unit', name: 'a' } }],
        ['a/y', { value: 1, cause: { kind: 'Unit', name: 'a' } }],
      ]),
    );
    f.desired.set('a', { x: 1, y: 2 });
    loop.touch('a');
    await loop.idle();
    expect([...(f.diffs[0]?.changed.keys() ?? [])]).toEqual(['a/y']);
    expect(f.diffs[0]?.added.size).toBe(0);
    await loop.stop();
  });

  it('collects touches while held', async () => {
    const f = fixture();
    const loop = new PlanLoop(f.subsystem, env());
    loop.hold();
    f.desired.set('a', { x: 1 });
    loop.touch('a');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(f.diffs).toHaveLength(0);
    loop.release();
    await loop.idle();
    expect(f.diffs).toHaveLength(1);
    await loop.stop();
  });

  it('counts what an audit repairs and survives one that fails', async () => {
    let result: number | Error = 3;
    const f = fixture({
      audit: async () => {
        if (result instanceof Error) throw result;
        return result;
      },
    });
    const options = env();
    const loop = new PlanLoop(f.subsystem, options);
    expect(await loop.auditNow()).toBe(3);
    expect(options.metrics.render()).toContain('weft_drift_repaired_total{subsystem="test"} 3');
    result = new Error('dump interrupted');
    expect(await loop.auditNow()).toBe(0);
    await loop.stop();
  });
});
