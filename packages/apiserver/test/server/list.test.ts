import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, pod, type Parsed, TestServer } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/lists/configmaps';
const PODS = '/api/v1/namespaces/lists/pods';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer().start();
  await server.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'lists' } });
  for (const name of ['c', 'a', 'e', 'b', 'd'])
    await server.post(MAPS, configMap(name, {}, { letter: name, kind: 'x' }));
});
afterAll(() => server.stop());

const SELECT = 'labelSelector=letter';
const names = async (query: string, path = MAPS): Promise<string[]> => {
  const { body } = await server.get(`${path}?${query}`);
  return body.items.map((o: Parsed) => o.metadata.name);
};

describe('list', () => {
  it('is in the order of names and tells its version', async () => {
    const { body } = await server.get(`${MAPS}?${SELECT}`);
    expect(body).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' });
    expect(body.items.map((o: Parsed) => o.metadata.name)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(Number(body.metadata.resourceVersion)).toBeGreaterThan(0);
  });

  it('pages through the state of the first page, whatever happens in between', async () => {
    const first = await server.get(`${MAPS}?${SELECT}&limit=2`);
    expect(first.body.items.map((o: Parsed) => o.metadata.name)).toEqual(['a', 'b']);
    await server.delete(`${MAPS}/c`);
    await server.post(MAPS, configMap('bb', {}, { letter: 'bb' }));
    const second = await server.get(`${MAPS}?${SELECT}&limit=2&continue=${first.body.metadata.continue}`);
    expect(second.body.items.map((o: Parsed) => o.metadata.name)).toEqual(['c', 'd']);
    expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
    const last = await server.get(`${MAPS}?${SELECT}&limit=2&continue=${second.body.metadata.continue}`);
    expect(last.body.items.map((o: Parsed) => o.metadata.name)).toEqual(['e']);
    expect(last.body.metadata.continue).toBeUndefined();
    await server.delete(`${MAPS}/bb`);
    await server.post(MAPS, configMap('c', {}, { letter: 'c' }));
  });

  it('says how many remain when nothing is selected, and 410 for a token it does not know', async () => {
    const { body } = await server.get(`${MAPS}?limit=1`);
    expect(body.metadata.remainingItemCount).toBeGreaterThan(3);
    const expired = await server.get(`${MAPS}?limit=1&continue=nonsense`);
    expect([expired.code, expired.body.reason]).toEqual([410, 'Expired']);
  });

  it.each([
    ['letter in (a,c)', ['a', 'c']],
    ['letter notin (a,c),letter', ['b', 'd', 'e']],
    ['letter!=a,letter', ['b', 'c', 'd', 'e']],
    ['letter=b', ['b']],
    ['!letter', ['kube-root-ca.crt']],
  ])('selects by labels: %s', async (selector, expected) => {
    expect(await names(`labelSelector=${encodeURIComponent(selector)}`)).toEqual(expected);
  });

  it('selects by fields, and refuses a field it cannot select by', async () => {
    await server.post(PODS, pod('p1', 'n1'));
    await server.post(PODS, pod('p2', 'n2'));
    expect(await names('fieldSelector=metadata.name%3Da')).toEqual(['a']);
    expect(await names('fieldSelector=metadata.name!%3Da,metadata.name!%3Db&labelSelector=letter')).toEqual([
      'c',
      'd',
      'e',
    ]);
    expect(await names('fieldSelector=spec.nodeName%3Dn2', '/api/v1/pods')).toEqual(['p2']);
    expect(await names('fieldSelector=metadata.name%3Dp1', '/api/v1/pods')).toEqual(['p1']);
    const { code, body } = await server.get(`${PODS}?fieldSelector=spec.foo%3Dx`);
    // kubectl puts what it was looking for in front.
    expect([code, body.message]).toEqual([400, 'field label not supported: spec.foo']);
    expect((await server.get(`${MAPS}?fieldSelector=data.a%3Dx`)).body.message).toBe(
      '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
    );
  });

  it('refuses a selector it cannot read', async () => {
    const { code, body } = await server.get(`${MAPS}?labelSelector=${encodeURIComponent('a in (')}`);
    expect([code, body.reason]).toEqual([400, 'BadRequest']);
    expect(body.message).toMatch(/^unable to parse requirement: /);
  });

  it.each([
    ['limit=x', 400, 'strconv.ParseInt: parsing "x": invalid syntax'],
    ['sendInitialEvents=true', 422, 'sendInitialEvents is forbidden for list'],
    ['limit=-1', 200, undefined],
  ])('checks its options: %s', async (query, code, message) => {
    const answer = await server.get(`${MAPS}?${query}`);
    expect([answer.code, answer.body.message]).toEqual([
      code,
      message === undefined ? undefined : expect.stringContaining(message),
    ]);
  });

  it('does not answer from the future, and not from the past when asked for exactly that', async () => {
    const future = await server.get(`${MAPS}?resourceVersion=99999999`);
    expect([future.code, future.body.message]).toEqual([
      504,
      expect.stringMatching(/^Too large resource version: 99999999, current: \d+$/),
    ]);
    const { body } = await server.get(`${MAPS}?limit=1`);
    await server.post(MAPS, configMap('later'));
    const past = await server.get(
      `${MAPS}?resourceVersion=${body.metadata.resourceVersion}&resourceVersionMatch=Exact`,
    );
    expect([past.code, past.body.reason]).toEqual([410, 'Expired']);
    expect((await server.get(`${MAPS}?resourceVersion=0`)).code).toBe(200);
  });

  it('answers tables and metadata when asked, and 406 for what it has not', async () => {
    const table = await server.get(`${MAPS}?${SELECT}`, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
    expect(table.body.kind).toBe('Table');
    expect(table.body.rows.map((r: Parsed) => r.cells[0])).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(table.body.rows[0]?.object).toMatchObject({
      kind: 'PartialObjectMetadata',
      metadata: { labels: { letter: 'a' } },
    });
    const partial = await server.get(`${MAPS}?${SELECT}`, {
      accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    });
    expect(partial.body.kind).toBe('PartialObjectMetadataList');
    expect(partial.body.items[0]?.data).toBeUndefined();
    const protobuf = await server.get(MAPS, { accept: 'application/vnd.kubernetes.protobuf,application/json' });
    expect(protobuf.body.kind).toBe('ConfigMapList');
    expect((await server.get(MAPS, { accept: 'application/vnd.kubernetes.protobuf' })).code).toBe(406);
  });
});
