import { afterEach, expect, test } from 'vitest';
import { addTuntap, Rtnl } from '../../src/index.ts';
import { json, Namespaces } from './netns-fixture.ts';

const namespaces = new Namespaces();
afterEach(() => {
  namespaces.close();
});

test('tap and tun devices agree with what ip lists', async () => {
  const ns = namespaces.make();
  addTuntap({ name: 'tap0', mode: 'tap', multiQueue: true, owner: 64123, group: 64124, vnetHdr: true }, ns);
  addTuntap({ name: 'tun0', mode: 'tun' }, ns);
  const rt = Rtnl.open(ns);
  expect(await rt.links.get('tap0')).toMatchObject({
    kind: 'tun',
    tun: { mode: 'tap', owner: 64123, group: 64124, persist: true, multiQueue: true, vnetHdr: true },
  });
  expect((await rt.links.get('tun0'))?.tun).toEqual({ mode: 'tun', persist: true, multiQueue: false, vnetHdr: false });
  rt.close();
  const info = (name: string) => json(ns, 'ip', '-j', '-d', 'link', 'show', name)[0]?.['linkinfo'];
  expect(info('tap0')).toMatchObject({
    info_kind: 'tun',
    info_data: { type: 'tap', persist: true, multi_queue: true, user: 64123, group: 64124 },
  });
  expect(() => addTuntap({ name: 'tap0', mode: 'tun' }, ns)).toThrow(/cannot add tun device tap0/);
  expect(() => addTuntap({ name: 'sixteen-bytes-xx', mode: 'tap' }, ns)).toThrow(/EINVAL/);
});

test('macvlan with the length of its broadcast queue', async () => {
  const [ns, pod] = [namespaces.make(), namespaces.make()];
  const rt = Rtnl.open(ns);
  const inside = Rtnl.open(pod);
  await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', up: true } });
  const parent = (await rt.links.get('v0'))?.index ?? 0;
  await rt.links.add({ name: 'v0', kind: 'macvlan', ns: pod, macvlan: { parent, mode: 'vepa', bcQueueLen: 200 } });
  expect(await inside.links.get('v0')).toMatchObject({ kind: 'macvlan', macvlan: { mode: 'vepa', bcQueueLen: 200 } });
  expect(json(pod, 'ip', '-j', '-d', 'link', 'show', 'v0')[0]).toMatchObject({
    linkinfo: { info_kind: 'macvlan', info_data: { mode: 'vepa', bcqueuelen: 200 } },
  });
  inside.close();
  rt.close();
});
