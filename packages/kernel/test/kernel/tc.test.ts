// Traffic control, against what tc lists.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isKernelError, type NetNs, Rtnl, Tc } from '../../src/index.ts';
import { json, Namespaces } from './netns-fixture.ts';

const namespaces = new Namespaces();
let ns: NetNs;
let rt: Rtnl;
let tc: Tc;
let index: number;
let other: number;

beforeEach(async () => {
  ns = namespaces.make();
  rt = Rtnl.open(ns);
  tc = Tc.open(ns);
  await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', up: true } });
  await rt.links.add({ name: 'ifb7', kind: 'ifb', up: true });
  index = (await rt.links.get('v0'))?.index ?? 0;
  other = (await rt.links.get('ifb7'))?.index ?? 0;
});
afterEach(() => {
  tc.close();
  rt.close();
  namespaces.close();
});

test('tbf, with rate, burst and limit', async () => {
  const spec = { index, handle: '1:', kind: 'tbf', tbf: { rate: 125_000, burst: 10_000, limit: 13_125 } };
  await tc.qdiscs.add(spec);
  const [ours] = await tc.qdiscs.list(index);
  expect(ours).toMatchObject({
    index,
    handle: '1:',
    parent: 'root',
    kind: 'tbf',
    tbf: { rate: 125_000, limit: 13_125 },
  });
  expect(Math.abs((ours?.tbf?.burst ?? 0) - 10_000)).toBeLessThan(2);
  expect(json(ns, 'tc', '-j', 'qdisc', 'show', 'dev', 'v0')[0]).toMatchObject({
    kind: 'tbf',
    handle: '1:',
    root: true,
    options: { rate: 125_000, burst: 10_000, lat: 25_000 },
  });
  await expect(tc.qdiscs.add(spec)).rejects.toThrow(/cannot add tbf qdisc root on index/);
  await tc.qdiscs.replace({ ...spec, tbf: { rate: 10_000_000_000, burst: 1_000_000, limit: 2_000_000 } });
  expect((await tc.qdiscs.list(index))[0]?.tbf?.rate).toBe(10_000_000_000);
  expect(json(ns, 'tc', '-j', 'qdisc', 'show', 'dev', 'v0')[0]).toMatchObject({ options: { rate: 10_000_000_000 } });
  await tc.qdiscs.del({ index });
  await tc.qdiscs.del({ index }, { missingOk: true });
  expect((await tc.qdiscs.list(index)).map((q) => q.kind)).not.toContain('tbf');
});

test('a burst that no counter holds is the longest there is', async () => {
  await tc.qdiscs.add({ index, kind: 'tbf', tbf: { rate: 1250, burst: 536_870_911, limit: 536_870_911 } });
  const [qdisc] = await tc.qdiscs.list(index);
  expect(qdisc?.tbf?.buffer).toBe(0xffffffff);
});

test('htb with classes and u32 filters', async () => {
  await tc.qdiscs.add({ index, handle: '1:', kind: 'htb', htb: { defaultClass: 0x30 } });
  await tc.classes.add({ index, parent: '1:', handle: '1:30', kind: 'htb', htb: { rate: 125_000, burst: 20_000 } });
  await tc.classes.add({ index, parent: '1:', handle: '1:1', kind: 'htb', htb: { rate: 12_500_000_000 } });
  await tc.filters.add({
    index,
    parent: '1:',
    protocol: 'ip',
    priority: 16,
    kind: 'u32',
    keys: [{ value: 0x0a010000, mask: 0xffff0000, offset: 16 }],
    classId: '1:1',
  });
  expect(await tc.qdiscs.list(index)).toMatchObject([{ kind: 'htb', handle: '1:', htb: { defaultClass: 0x30 } }]);
  const classes = (await tc.classes.list(index)).sort((a, b) => a.handle.localeCompare(b.handle));
  expect(classes).toMatchObject([
    { handle: '1:1', kind: 'htb', htb: { rate: 12_500_000_000, ceil: 12_500_000_000 } },
    { handle: '1:30', htb: { rate: 125_000, ceil: 125_000 } },
  ]);
  expect(Math.abs((classes[1]?.htb?.burst ?? 0) - 20_000)).toBeLessThan(2);
  expect(await tc.filters.list(index, '1:')).toEqual([
    {
      index,
      parent: '1:',
      priority: 16,
      protocol: 0x800,
      kind: 'u32',
      keys: [{ value: 0x0a010000, mask: 0xffff0000, offset: 16 }],
      classId: '1:1',
    },
  ]);
  expect(json(ns, 'tc', '-j', 'qdisc', 'show', 'dev', 'v0')[0]).toMatchObject({
    kind: 'htb',
    options: { default: '0x30' },
  });
  const text = JSON.stringify(json(ns, 'tc', '-j', 'filter', 'show', 'dev', 'v0', 'parent', '1:'));
  expect(text).toContain('1:1');
  await tc.filters.del({ index, parent: '1:', protocol: 'ip', priority: 16, kind: 'u32' });
  expect(await tc.filters.list(index, '1:')).toEqual([]);
  await tc.classes.del({ index, handle: '1:1' });
  expect((await tc.classes.list(index)).map((c) => c.handle)).toEqual(['1:30']);
});

test('ingress with a filter that redirects everything', async () => {
  await tc.qdiscs.add({ index, kind: 'ingress' });
  await tc.filters.add({ index, parent: 'ffff:', kind: 'u32', classId: '1:1', redirect: other });
  expect(await tc.qdiscs.list(index)).toContainEqual({ index, handle: 'ffff:', parent: 'ingress', kind: 'ingress' });
  expect(await tc.filters.list(index, 'ffff:')).toMatchObject([
    { kind: 'u32', priority: 1, protocol: 3, redirect: other, classId: '1:1' },
  ]);
  const listed = json(ns, 'tc', '-j', 'filter', 'show', 'dev', 'v0', 'ingress').find(
    (f) => 'options' in f && 'actions' in (f['options'] as object),
  );
  expect(listed).toMatchObject({
    kind: 'u32',
    pref: 1,
    options: { actions: [{ kind: 'mirred', mirred_action: 'redirect', direction: 'egress', to_dev: 'ifb7' }] },
  });
  await tc.qdiscs.del({ index, parent: 'ingress' });
  expect((await tc.qdiscs.list(index)).map((q) => q.kind)).not.toContain('ingress');
});

test('refusals name what was asked', async () => {
  const error = await tc.qdiscs.add({ index, kind: 'nosuchqdisc' }).catch((e: unknown) => e);
  expect(isKernelError(error)).toBe(true);
  expect(String(error)).toContain(`add nosuchqdisc qdisc root on index ${index}`);
  expect(() => tc.filters.list(index, 'x:')).toThrow(/use tc handle "x:"/);
});
