import { parseIp, parsePrefix, type Prefix, type Ip } from '@weft/net';
import { afterEach, expect, it } from 'vitest';
import type { AddressAnswer, AddressAuthority, AddressQuestion } from '../../src/index.ts';
import { rangesOfBlock } from '../../src/index.ts';
import { Bed, ipj, pings } from './bed.ts';

let bed: Bed;
afterEach(() => bed.close());

const set = (cidr: string) => {
  const prefix = parsePrefix(cidr) as Prefix;
  return { family: prefix.ip.family, ranges: rangesOfBlock(prefix) };
};

/** An authority that a test tells what to answer. */
class Told implements AddressAuthority {
  readonly asked: AddressQuestion[] = [];
  answer: Partial<AddressAnswer> = {};
  more: (() => string | undefined) | undefined;
  trouble: string | undefined;

  begin(): void {}

  async choose(question: AddressQuestion): Promise<AddressAnswer> {
    this.asked.push(question);
    return { requests: [], mac: undefined, sticky: false, ...this.answer };
  }

  async grow(): Promise<string | undefined> {
    return this.more === undefined ? 'nothing grows here' : this.more();
  }

  problem(): string | undefined {
    return this.trouble;
  }
}

it('wires addresses that an authority chooses, and tells it the pod and its annotations', async () => {
  const told = new Told();
  bed = await Bed.open({ addresses: told });
  const list = bed.list();
  const pod = bed.pod();
  const attachment = {
    ...pod,
    args: [
      ['K8S_POD_NAMESPACE', 'default'],
      ['K8S_POD_NAME', 'web'],
      ['K8S_POD_UID', 'u1'],
    ] as const,
    capabilityArgs: { 'io.kubernetes.cri.pod-annotations': { 'a/b': 'c' } },
  };
  // The first address of a block is as good as any, and the last as well.
  told.answer = {
    requests: [{ sets: [set('10.77.0.0/32')] }, { sets: [set('fd77::/122')], exact: parseIp('fd77::3f') as Ip }],
    mac: '1c:0c:0a:c0:ff:ee',
  };
  const result = await bed.runtime.add(list, attachment);
  expect(result.ips?.map((ip) => ip.address)).toEqual(['10.77.0.0/32', 'fd77::3f/128']);
  expect(told.asked[0]).toMatchObject({
    pod: { namespace: 'default', name: 'web', uid: 'u1' },
    annotations: { 'a/b': 'c' },
    ranges: [{ family: 4 }],
  });
  const [eth0] = ipj(pod.netns, 'addr', 'show', 'eth0') as { address: string; addr_info: { local: string }[] }[];
  expect(eth0?.address).toBe('1c:0c:0a:c0:ff:ee');
  expect(eth0?.addr_info.map((a) => a.local)).toEqual(expect.arrayContaining(['10.77.0.0', 'fd77::3f']));
  await bed.runtime.check(list, attachment);
  expect(bed.server.attachments()[0]?.pod).toEqual({ namespace: 'default', name: 'web', uid: 'u1' });
  await bed.runtime.del(list, attachment);
  expect(bed.server.attachments()).toEqual([]);
});

it('asks for more when addresses have run out, and says why there are none', async () => {
  const told = new Told();
  bed = await Bed.open({ addresses: told, reuseDelayMs: 0 });
  const list = bed.list();
  told.answer = { requests: [{ sets: [set('10.77.0.0/32')] }] };
  await bed.runtime.add(list, bed.pod());
  await expect(bed.runtime.add(list, bed.pod())).rejects.toThrow(
    'no IP addresses available in 10.77.0.0/32: 1 of 1 are in use; nothing grows here',
  );
  told.more = () => {
    told.answer = { requests: [{ sets: [set('10.77.0.0/32'), set('10.77.1.0/32')] }] };
    return undefined;
  };
  const result = await bed.runtime.add(list, bed.pod());
  expect(result.ips?.map((ip) => ip.address)).toEqual(['10.77.1.0/32']);
});

it('connects pods with addresses of pools point to point in mode bridge, and keeps the gateway from them', async () => {
  const told = new Told();
  bed = await Bed.open({ addresses: told, reuseDelayMs: 0 });
  const list = bed.list({}, ['10.244.1.0/24'], 'bridge');
  const [a, b, c, d] = [bed.pod(), bed.pod(), bed.pod(), bed.pod()];
  told.answer = { requests: [{ sets: [set('10.77.0.0/30')] }] };
  const first = await bed.runtime.add(list, a);
  expect(first.ips?.map((ip) => ip.address)).toEqual(['10.77.0.0/32']);
  // A pool that covers the node's CIDR: its addresses belong to the bridge, whose own it does not give out.
  told.answer = { requests: [{ sets: [set('10.244.1.1/32'), set('10.244.1.2/31')] }] };
  const second = await bed.runtime.add(list, b);
  expect(second.ips).toMatchObject([{ address: '10.244.1.2/24', gateway: '10.244.1.1' }]);
  await bed.runtime.add(list, c);
  expect(pings(a.netns, '10.244.1.2')).toBe(true);
  expect(pings(b.netns, '10.77.0.0')).toBe(true);
  expect(pings(b.netns, '10.244.1.3')).toBe(true);
  for (const pod of [a, b, c]) await bed.runtime.check(list, pod);
  told.answer = { requests: [{ sets: [set('10.244.1.9/32')] }, { sets: [set('fd77::/122')] }] };
  await expect(bed.runtime.add(list, d)).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining("are of a pool and of the node's own CIDR") as unknown,
  });
  for (const pod of [a, b, c, d]) await bed.runtime.del(list, pod);
  await bed.server.flush();
  expect(bed.server.attachments()).toEqual([]);
});

it('answers STATUS as the authority sees it', async () => {
  const told = new Told();
  bed = await Bed.open({ addresses: told });
  await bed.runtime.status(bed.list());
  told.trouble = 'all pools are disabled';
  await expect(bed.runtime.status(bed.list())).rejects.toMatchObject({ cniCode: 50 });
});
