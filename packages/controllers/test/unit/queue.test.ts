import { failure, StatusError } from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { describe, expect, test } from 'vitest';
import { compareVersions, OwnWrites, WorkQueue, type WorkQueueOptions } from '../../src/index.ts';

function options(more: Partial<WorkQueueOptions> = {}): WorkQueueOptions {
  return {
    name: 'test',
    log: silentLogger,
    metrics: new Metrics(),
    signal: new AbortController().signal,
    backoffMs: { first: 1, max: 4 },
    ...more,
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('WorkQueue', () => {
  test('does nothing until it is released, then each key once', async () => {
    const runs: string[] = [];
    const queue = new WorkQueue(options(), async (key) => void runs.push(key));
    for (const key of ['a', 'b', 'a']) queue.add(key);
    await turn();
    await turn();
    expect(runs).toEqual([]);
    queue.release();
    await queue.idle();
    expect(runs.sort()).toEqual(['a', 'b']);
  });

  test('never works on one key twice at a time, and misses no change', async () => {
    let running = 0;
    let most = 0;
    let runs = 0;
    let open = (): void => {};
    const queue = new WorkQueue(options(), async () => {
      runs++;
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => {
        open = resolve;
      });
      running--;
    });
    queue.release();
    queue.add('a');
    await turn();
    await turn();
    queue.add('a');
    queue.add('a');
    open();
    await turn();
    await turn();
    open();
    await queue.idle();
    expect({ most, runs }).toEqual({ most: 1, runs: 2 });
  });

  test('works on no more keys at a time than it may', async () => {
    let running = 0;
    let most = 0;
    const queue = new WorkQueue(options({ concurrency: 3 }), async () => {
      most = Math.max(most, ++running);
      await turn();
      running--;
    });
    for (let i = 0; i < 10; i++) queue.add(`k${i}`);
    queue.release();
    await queue.idle();
    expect(most).toBe(3);
  });

  test('one bad key is tried again and does not hold up the others', async () => {
    const runs: string[] = [];
    const told: string[] = [];
    let bad = 3;
    const queue = new WorkQueue(options({ onFailure: (key) => void told.push(key) }), async (key) => {
      runs.push(key);
      if (key === 'bad' && bad-- > 0) throw new Error('no');
    });
    queue.release();
    queue.add('bad');
    queue.add('good');
    while (runs.filter((key) => key === 'bad').length < 4) await turn();
    expect(runs.filter((key) => key === 'good')).toHaveLength(1);
    expect(told).toEqual(['bad', 'bad', 'bad']);
  });

  test('a lost race is tried again without a word', async () => {
    const told: string[] = [];
    let races = 2;
    let runs = 0;
    const queue = new WorkQueue(options({ onFailure: (key) => void told.push(key) }), async () => {
      runs++;
      if (races-- > 0) throw new StatusError(failure('Conflict', 'changed'));
    });
    queue.release();
    queue.add('a');
    while (runs < 3) await turn();
    expect(told).toEqual([]);
  });

  test('comes back after the time that was asked for, and not after the end', async () => {
    const stop = new AbortController();
    let runs = 0;
    const queue = new WorkQueue(options({ signal: stop.signal }), async () => (++runs < 3 ? 1 : undefined));
    queue.release();
    queue.add('a');
    while (runs < 3) await turn();
    stop.abort();
    queue.add('a');
    await turn();
    await turn();
    expect(runs).toBe(3);
  });
});

describe('OwnWrites', () => {
  test('a key waits until the cache has what was written', () => {
    const cache = { lastResourceVersion: '99', get: () => undefined };
    const writes = new OwnWrites();
    expect(writes.seen('a')).toBe(true);
    writes.wrote('a', cache, { metadata: { name: 'x', resourceVersion: '100' } });
    expect(writes.seen('a')).toBe(false);
    expect(writes.seen('b')).toBe(true);
    cache.lastResourceVersion = '100';
    expect(writes.seen('a')).toBe(true);
  });

  test('a deleted object is seen when it is gone, going, or another', () => {
    const objects = new Map<string, { metadata: { uid?: string; deletionTimestamp?: string } }>();
    const cache = { lastResourceVersion: '1', get: (key: string) => objects.get(key) };
    const writes = new OwnWrites();
    for (const after of [undefined, { uid: 'u', deletionTimestamp: 'now' }, { uid: 'v' }]) {
      objects.set('ns/x', { metadata: { uid: 'u' } });
      writes.deleted('a', cache, 'ns/x', 'u');
      expect(writes.seen('a')).toBe(false);
      if (after === undefined) objects.delete('ns/x');
      else objects.set('ns/x', { metadata: after });
      expect(writes.seen('a')).toBe(true);
    }
  });

  test('versions are numbers', () => {
    expect(compareVersions('9', '10')).toBeLessThan(0);
    expect(compareVersions('12345678901234567890', '12345678901234567889')).toBeGreaterThan(0);
    expect(compareVersions('', '1')).toBeLessThan(0);
    expect(compareVersions('7', '7')).toBe(0);
  });
});
