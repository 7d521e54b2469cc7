import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, type Parsed, TestServer } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer({ watchHistory: 50, bookmarkInterval: 50 }).start();
});
afterAll(() => server.stop());

const currentVersion = async (): Promise<string> => (await server.get(MAPS)).body.metadata.resourceVersion;

describe('watch', () => {
  it('starts with what exists and goes on with what happens', async () => {
    await server.post(MAPS, configMap('w1'));
    const watch = await server.watch(`${MAPS}?watch=true&fieldSelector=metadata.name%3Dw1`);
    await server.patch(`${MAPS}/w1`, { data: { a: 'b' } });
    await server.delete(`${MAPS}/w1`);
    await server.post(MAPS, configMap('w1'));
    expect(await watch.names(4)).toEqual(['ADDED w1', 'MODIFIED w1', 'DELETED w1', 'ADDED w1']);
    watch.close();
  });

  it('resumes from a version without a gap and without repetition', async () => {
    const from = await currentVersion();
    await server.post(MAPS, configMap('r1'));
    await server.post(MAPS, configMap('r2'));
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}`);
    await server.post(MAPS, configMap('r3'));
    expect(await watch.names(3)).toEqual(['ADDED r1', 'ADDED r2', 'ADDED r3']);
    watch.close();
  });

  it('gives versions that only grow, the last one with the deletion', async () => {
    const from = await currentVersion();
    await server.post(MAPS, configMap('v1'));
    await server.patch(`${MAPS}/v1`, { data: { a: '1' } });
    await server.delete(`${MAPS}/v1`);
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}`);
    const versions = [];
    for (let i = 0; i < 3; i++) versions.push(Number((await watch.next())?.object.metadata.resourceVersion));
    watch.close();
    expect([...new Set(versions)].sort((a, b) => a - b)).toEqual(versions);
    expect(versions[0]).toBeGreaterThan(Number(from));
  });

  it('tells of objects that enter and leave a label selection as added and deleted', async () => {
    const from = await currentVersion();
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}&labelSelector=tier%3Dweb`);
    await server.post(MAPS, configMap('s1'));
    await server.patch(`${MAPS}/s1`, { metadata: { labels: { tier: 'web' } } });
    await server.patch(`${MAPS}/s1`, { data: { a: 'b' } });
    await server.patch(`${MAPS}/s1`, { metadata: { labels: { tier: 'db' } } });
    await server.delete(`${MAPS}/s1`);
    await server.post(MAPS, configMap('s2', {}, { tier: 'web' }));
    const events = [await watch.next(), await watch.next(), await watch.next(), await watch.next()];
    expect(events.map((e: Parsed) => `${e?.type} ${e?.object.metadata.name}`)).toEqual([
      'ADDED s1',
      'MODIFIED s1',
      'DELETED s1',
      'ADDED s2',
    ]);
    // The state that still matched, at the version of the change.
    expect(events[2]?.object.metadata.labels).toEqual({ tier: 'web' });
    expect(Number(events[2]?.object.metadata.resourceVersion)).toBeGreaterThan(
      Number(events[1]?.object.metadata.resourceVersion),
    );
    watch.close();
  });

  it('answers 410 in the stream for a version that is no longer kept', async () => {
    const from = await currentVersion();
    await server.post(MAPS, configMap('old'));
    for (let i = 0; i < 60; i++) await server.patch(`${MAPS}/old`, { data: { i: String(i) } });
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}`);
    const event = await watch.next();
    expect(event?.type).toBe('ERROR');
    expect(event?.object).toMatchObject({ kind: 'Status', reason: 'Expired', code: 410 });
    expect(event?.object.message).toMatch(new RegExp(`^too old resource version: ${from} \\(\\d+\\)$`));
    expect(await watch.next()).toBeUndefined();
  });

  it('streams the list with sendInitialEvents and marks its end', async () => {
    await server.post(MAPS, configMap('i1', {}, { initial: 'yes' }));
    await server.post(MAPS, configMap('i2', {}, { initial: 'yes' }));
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const watch = await server.watch(`${MAPS}?${query}&labelSelector=initial`);
    expect(await watch.names(2)).toEqual(['ADDED i1', 'ADDED i2']);
    const mark = await watch.next();
    expect(mark?.type).toBe('BOOKMARK');
    expect(mark?.object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
    expect(mark?.object.metadata.resourceVersion).toBe(await currentVersion());
    expect(mark?.object.kind).toBe('ConfigMap');
    watch.close();
  });

  it('refuses sendInitialEvents without its companions', async () => {
    const { code, body } = await server.get(`${MAPS}?watch=true&sendInitialEvents=true`);
    expect(code).toBe(422);
    expect(body.message).toContain('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
  });

  it('sends bookmarks to those who ask, with a version to resume from', async () => {
    const watch = await server.watch(
      `${MAPS}?watch=true&resourceVersion=${await currentVersion()}&allowWatchBookmarks=true`,
    );
    await server.post('/api/v1/namespaces/default/secrets', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { generateName: 's-' },
    });
    const current = await currentVersion();
    let mark = await watch.next();
    while (mark !== undefined && Number(mark.object.metadata.resourceVersion) < Number(current))
      mark = await watch.next();
    expect(mark?.type).toBe('BOOKMARK');
    watch.close();
    const resumed = await server.watch(`${MAPS}?watch=true&resourceVersion=${mark?.object.metadata.resourceVersion}`);
    await server.post(MAPS, configMap('after-bookmark'));
    expect(await resumed.names(1)).toEqual(['ADDED after-bookmark']);
    resumed.close();
  });

  it('ends after timeoutSeconds', async () => {
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${await currentVersion()}&timeoutSeconds=1`);
    expect(await watch.next()).toBeUndefined();
  });

  it('takes any number of seconds, and nothing else', async () => {
    const path = `${MAPS}?watch=true&resourceVersion=${await currentVersion()}&timeoutSeconds=`;
    const long = await server.watch(`${path}99999999999`);
    // A timer that cannot wait so long would have ended the watch by now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.post(MAPS, configMap('much-later'));
    expect(await long.names(1)).toEqual(['ADDED much-later']);
    long.close();
    const { code, body } = await server.get(`${path}soon`);
    expect([code, body.message]).toEqual([400, 'strconv.ParseInt: parsing "soon": invalid syntax']);
  });

  it('watches as tables, with the columns in the first event only', async () => {
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${await currentVersion()}`, { accept: TABLE });
    await server.post(MAPS, configMap('t1', { a: 'b' }));
    await server.patch(`${MAPS}/t1`, { data: { b: 'c' } });
    const [first, second] = [await watch.next(), await watch.next()];
    expect(first?.object.kind).toBe('Table');
    expect(first?.object.columnDefinitions.map((c: Parsed) => c.name)).toContain('Data');
    expect(first?.object.rows[0]?.cells[0]).toBe('t1');
    expect(second?.object.columnDefinitions).toBeNull();
    expect(second?.object.rows[0]?.object.metadata.name).toBe('t1');
    watch.close();
  });

  it('cuts off a reader that does not read, and serves the others', async () => {
    const from = await currentVersion();
    const slow = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}`);
    slow.pause();
    const fast = await server.watch(`${MAPS}?watch=true&resourceVersion=${from}&fieldSelector=metadata.name%3Dbig`);
    const block = 'x'.repeat(1_000_000);
    await server.post(MAPS, configMap('big', { block }));
    for (let i = 0; i < 40; i++) await server.patch(`${MAPS}/big`, { data: { i: String(i) } });
    let last = await fast.next();
    while (last !== undefined && last.object.data.i !== '39') last = await fast.next();
    fast.close();
    expect(last?.type).toBe('MODIFIED');
    slow.resume();
    let received = 0;
    while ((await slow.next()) !== undefined) received++;
    expect(received).toBeLessThan(41);
  });
});
