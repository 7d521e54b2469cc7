import { afterEach, describe, expect, it } from 'vitest';
import {
  Backoff,
  type ConfigMap,
  Informer,
  type InformerOptions,
  KubeClient,
  type KubeObject,
  resources,
} from '../src/index.ts';
import { answer, FakeApi, type FakeApiOptions, refuse, until } from './support/fake-api.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(options?: FakeApiOptions): Promise<FakeApi> {
  const api = await new FakeApi(options).listen();
  cleanups.push(() => api.close());
  return api;
}

interface Watched {
  informer: Informer<ConfigMap>;
  seen: string[];
  controller: AbortController;
}

function follow(api: FakeApi, options: Partial<InformerOptions<ConfigMap>> = {}): Watched {
  const client = new KubeClient({ transport: { kind: 'unix', path: api.path } });
  const controller = new AbortController();
  const seen: string[] = [];
  const informer = new Informer<ConfigMap>({
    client,
    type: resources.configmaps,
    backoff: new Backoff(1, 5),
    ...options,
  });
  const text = (c: ConfigMap): string => `${c.metadata.name}=${c.data?.['v'] ?? ''}`;
  informer.on({
    add: (o) => seen.push(`+${text(o)}`),
    update: (before, after) => seen.push(`~${text(before)}>${text(after)}`),
    delete: (o) => seen.push(`-${text(o)}`),
    synced: () => seen.push('synced'),
  });
  informer.start(controller.signal);
  cleanups.push(async () => {
    controller.abort();
    await informer.stopped();
    client.close();
  });
  return { informer, seen, controller };
}

describe('reading the state', () => {
  it('streams it and goes on with the same connection', async () => {
    const api = await serve();
    api.put('a', { v: '1' });
    const { informer, seen } = follow(api);
    await informer.synced;
    expect(seen).toEqual(['+a=1', 'synced']);
    expect(informer.lastResourceVersion).toBe('101');
    expect(informer.connected).toBe(true);
    api.put('b');
    api.put('a', { v: '2' });
    api.remove('b');
    await until(() => seen.length === 5);
    expect(seen.slice(2)).toEqual(['+b=', '~a=1>a=2', '-b=']);
    expect(api.requests).toHaveLength(1);
    expect(api.requests[0]?.searchParams.get('resourceVersionMatch')).toBe('NotOlderThan');
    expect(informer.get('default/a')?.data).toEqual({ v: '2' });
    expect(informer.get('default/a')?.metadata.managedFields).toBeUndefined();
  });

  it('lists page by page and watches when the server refuses streaming', async () => {
    const api = await serve({ watchList: 'refuse' });
    for (let i = 0; i < 7; i++) api.put(`c${i}`);
    const { informer, seen } = follow(api, { pageSize: 3 });
    await informer.synced;
    expect(informer.size).toBe(7);
    await until(() => informer.connected);
    api.put('late');
    await until(() => seen.includes('+late='));
    expect(api.requests.map((u) => u.searchParams.get('watch') ?? `list ${u.searchParams.get('continue')}`)).toEqual([
      'true',
      'list null',
      'list 3',
      'list 6',
      'true',
    ]);
  });

  it('lists and watches when the server ignores the request for streaming', async () => {
    const api = await serve({ watchList: 'ignore' });
    api.put('a');
    const { informer, seen } = follow(api, { initialStallMs: 20 });
    await informer.synced;
    await until(() => informer.connected);
    api.put('b');
    await until(() => seen.includes('+b='));
    expect(seen).toEqual(['+a=', 'synced', '+b=']);
  });

  it('takes the whole list when its pages expire half-way', async () => {
    const api = await serve({ watchList: 'refuse' });
    for (let i = 0; i < 4; i++) api.put(`c${i}`);
    api.intercept.push(
      () => false,
      () => false,
      (_, res) => {
        refuse(res, 410, 'Expired', 'The provided continue parameter is too old');
        return true;
      },
    );
    const { informer } = follow(api, { pageSize: 2 });
    await informer.synced;
    expect(informer.size).toBe(4);
    expect(api.requests[3]?.searchParams.has('limit')).toBe(false);
  });

  it('starts over when the stream is cut before the state is complete', async () => {
    const api = await serve();
    api.put('a');
    api.put('b');
    api.intercept.push((_, res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.write(`${JSON.stringify({ type: 'ADDED', object: api.objects.get('default/a') })}\n`, () => res.destroy());
      return true;
    });
    const { informer, seen } = follow(api);
    await informer.synced;
    expect(seen).toEqual(['+a=', '+b=', 'synced']);
    expect(api.requests[1]?.searchParams.get('sendInitialEvents')).toBe('true');
  });

  it('retries while the server forbids, fails or answers rubbish', async () => {
    const api = await serve();
    api.put('a');
    api.intercept.push(
      (_, res) => (refuse(res, 403, 'Forbidden', 'no'), true),
      (_, res) => (refuse(res, 404, 'NotFound', 'no such resource yet'), true),
      (_, res) => (refuse(res, 500, 'InternalError', 'broken'), true),
      (_, res) => (res.writeHead(502).end('<html>bad gateway'), true),
      (_, res) => (answer(res, 200, 'not an event'), true),
      (_, res) => (res.destroy(), true),
    );
    const { informer, seen } = follow(api);
    await informer.synced;
    expect(seen).toEqual(['+a=', 'synced']);
    // None of these makes it give up streaming.
    expect(api.requests.every((u) => u.searchParams.get('sendInitialEvents') === 'true')).toBe(true);
  });
});

describe('following', () => {
  it.each(['end', 'cut'] as const)('resumes after the last version when the connection is lost (%s)', async (how) => {
    const api = await serve();
    api.put('a', { v: '1' });
    const { informer, seen } = follow(api);
    await informer.synced;
    api.drop(how);
    api.put('a', { v: '2' });
    api.put('b');
    await until(() => seen.includes('+b='));
    expect(seen).toEqual(['+a=1', 'synced', '~a=1>a=2', '+b=']);
    const last = api.requests.at(-1);
    expect(last?.searchParams.get('resourceVersion')).toBe('101');
    expect(last?.searchParams.has('sendInitialEvents')).toBe(false);
  });

  it('resumes after a bookmark', async () => {
    const api = await serve();
    const { informer } = follow(api);
    await informer.synced;
    api.bookmark(5000);
    await until(() => informer.lastResourceVersion === '5000');
    api.drop('cut');
    await until(() => api.requests.length === 2);
    expect(api.requests[1]?.searchParams.get('resourceVersion')).toBe('5000');
  });

  it.each(['serve', 'refuse'] as const)('reports only the differences after 410 (streaming: %s)', async (watchList) => {
    const api = await serve({ watchList });
    api.put('same', { v: '1' });
    api.put('changed', { v: '1' });
    api.put('gone', { v: '1' });
    const { informer, seen } = follow(api);
    await informer.synced;
    await until(() => api.watchCount === 1);
    seen.length = 0;
    api.drop('cut');
    api.remove('gone');
    api.put('changed', { v: '2' });
    api.put('new', { v: '1' });
    api.compact();
    api.put('later');
    await until(() => seen.length === 4);
    expect(seen.toSorted()).toEqual(['+later=', '+new=1', '-gone=1', '~changed=1>changed=2']);
    expect(informer.stats.lists).toBe(2);
    await until(() => api.watchCount === 1);
    api.remove('later');
    await until(() => seen.at(-1) === '-later=');
  });

  it('reads again when the server went back in time', async () => {
    const api = await serve();
    api.put('a', { v: '1' });
    api.put('b', { v: '1' });
    const { informer, seen } = follow(api);
    await informer.synced;
    seen.length = 0;
    api.intercept.push((_, res) => {
      answer(res, 504, {
        kind: 'Status',
        code: 504,
        reason: 'Timeout',
        message: 'Too large resource version: 102, current: 7',
        details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] },
      });
      return true;
    });
    api.objects.clear();
    api.version = 6;
    api.drop('cut');
    api.put('a', { v: '0' });
    await until(() => seen.length === 2);
    expect(seen).toEqual(['~a=1>a=0', '-b=1']);
    expect(informer.lastResourceVersion).toBe('7');
  });

  it('survives an ERROR event that is not 410 without reading again', async () => {
    const api = await serve();
    const { informer, seen } = follow(api);
    await informer.synced;
    api.sendError({ code: 500, reason: 'InternalError', message: 'etcd event received with PrevKv=nil' });
    api.drop('end');
    api.put('a');
    await until(() => seen.includes('+a='));
    expect(informer.stats.lists).toBe(1);
  });

  it('reads lines and characters that are cut anywhere', async () => {
    const api = await serve({ chunkBytes: 3 });
    api.put('é', { v: 'žluťoučký kůň 🐎 日本語' });
    const { informer, seen } = follow(api);
    await informer.synced;
    api.put('plain', { v: '🐎🐎' });
    await until(() => seen.length === 3);
    expect(seen).toEqual(['+é=žluťoučký kůň 🐎 日本語', 'synced', '+plain=🐎🐎']);
  });

  it('opens a silent connection anew', async () => {
    const api = await serve();
    const { informer } = follow(api, { idleTimeoutMs: 30 });
    await informer.synced;
    await until(() => informer.stats.reconnects > 1);
    expect(informer.stats.lists).toBe(1);
  });

  it('skips malformed events and objects that transform throws on, and goes on', async () => {
    const api = await serve();
    const { informer, seen } = follow(api, {
      transform: (o) => {
        if (o.metadata.name === 'poison') throw new Error('bad object');
        return o.metadata.name === 'hidden' ? undefined : o;
      },
    });
    informer.on({
      add: () => {
        throw new Error('bad handler');
      },
    });
    await informer.synced;
    api.raw('{"type":"ADDED","object":{"metadata":null}}\n\n{"type":"MODIFIED","object":7}\n{"type":"BOOKMARK"}\n');
    api.put('poison');
    api.put('hidden');
    api.put('good');
    await until(() => seen.includes('+good='));
    expect(informer.size).toBe(1);
    expect(informer.stats.skipped).toBe(3);
    expect(informer.stats.reconnects).toBe(0);
  });

  it('reconnects on a line that is not JSON', async () => {
    const api = await serve();
    const { informer, seen } = follow(api);
    await informer.synced;
    api.raw('{"type":"ADD\n');
    await until(() => informer.stats.reconnects === 1);
    api.put('a');
    await until(() => seen.includes('+a='));
  });

  it('stops on abort: no request, no handler and no open connection is left', async () => {
    const api = await serve();
    const { informer, seen, controller } = follow(api);
    await informer.synced;
    controller.abort();
    await informer.stopped();
    await until(() => api.watchCount === 0);
    api.put('a');
    expect(seen).toEqual(['synced']);
    expect(informer.connected).toBe(false);
  });

  it('rejects `synced` when stopped before', async () => {
    const api = await serve();
    api.intercept.push((_, res) => (refuse(res, 500, 'InternalError', 'broken'), true));
    const { informer, controller } = follow(api, { backoff: new Backoff(60_000, 60_000) });
    await until(() => api.requests.length === 1);
    controller.abort(new Error('stop'));
    await expect(informer.synced).rejects.toThrow('stop');
  });
});

describe('the store', () => {
  it('replays what it holds to handlers that come later, until they leave', async () => {
    const api = await serve();
    api.put('a');
    const { informer } = follow(api);
    await informer.synced;
    const late: string[] = [];
    const off = informer.on({ add: (o) => late.push(o.metadata.name), synced: () => late.push('synced') });
    expect(late).toEqual(['a', 'synced']);
    off();
    api.put('b');
    await until(() => informer.size === 2);
    expect(late).toEqual(['a', 'synced']);
  });

  it('keeps indexes through adds, moves and deletes', async () => {
    const api = await serve();
    api.put('a', {}, { app: 'web' });
    const { informer } = follow(api);
    informer.index('app', (o) => o.metadata.labels?.['app']);
    await informer.synced;
    informer.index('late', (o) => o.metadata.labels?.['app']);
    api.put('b', {}, { app: 'web' });
    api.put('c', {}, { app: 'db' });
    await until(() => informer.size === 3);
    const names = (index: string, value: string): string[] =>
      informer.byIndex(index, value).map((o) => o.metadata.name);
    expect(names('app', 'web')).toEqual(['a', 'b']);
    expect(names('late', 'web')).toEqual(['a', 'b']);
    api.put('a', {}, { app: 'db' });
    api.remove('c');
    await until(() => informer.size === 2);
    expect(names('app', 'web')).toEqual(['b']);
    expect(names('app', 'db')).toEqual(['a']);
    expect(names('app', 'none')).toEqual([]);
    expect(() => informer.byIndex('typo', 'x')).toThrow('no index "typo"');
  });

  it('stores another type than the API has when transform makes one', async () => {
    const api = await serve();
    api.put('a', { v: '1' });
    const client = new KubeClient({ transport: { kind: 'unix', path: api.path } });
    cleanups.push(() => client.close());
    const informer = new Informer<ConfigMap, { n: string }>({
      client,
      type: resources.configmaps,
      transform: (o: KubeObject) => ({ n: o.metadata.name }),
    });
    const controller = new AbortController();
    informer.start(controller.signal);
    await informer.synced;
    expect(informer.list()).toEqual([{ n: 'a' }]);
    controller.abort();
    await informer.stopped();
  });
});

describe('Backoff', () => {
  it('doubles up to its cap with jitter between half and whole', () => {
    const low = new Backoff(50, 10_000, () => 0);
    expect(Array.from({ length: 10 }, () => low.next())).toEqual([25, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    low.reset();
    expect(low.next()).toBe(25);
    expect(new Backoff(50, 10_000, () => 1).next()).toBe(50);
  });
});
