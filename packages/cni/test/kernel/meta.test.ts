// bandwidth, sbr and flannel, beside Debian's containernetworking-plugins given the same configuration.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CniRuntime } from '../../src/index.ts';
import { Bed, ipj, sh } from './bed.ts';
import { haveReference, look, network, podWith, referenceRuntime } from './side-by-side.ts';

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
});
afterEach(async () => {
  await bed.close();
});

const tc = (...args: string[]): Record<string, unknown>[] =>
  JSON.parse(sh(node, 'tc', '-j', ...args) || '[]') as Record<string, unknown>[];
const ifbs = (): string[] => ipj(node, 'link', 'show', 'type', 'ifb').map((l) => String(l['ifname']));
const weft = {
  type: 'weft',
  mode: 'bridge',
  bridge: 'cni7',
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.77.0.0/24' }]] },
};

/** Qdiscs and filters of an interface, without statistics and numbers of our interfaces. */
function traffic(dev: string): unknown {
  const filters = ['ingress', 'root'].flatMap((parent) => tc('filter', 'show', 'dev', dev, parent));
  // Their library adds the redirection a second time, behind the one that ends the matter.
  for (const { options } of filters as { options?: { actions?: unknown[] } }[]) options?.actions?.splice(1);
  const text = JSON.stringify([tc('qdisc', 'show', 'dev', dev), filters]);
  return JSON.parse(text.replace(/"(to_dev|index|ref|bind|refcnt|bytes|packets)":("[^"]*"|\d+)/g, '"$1":0')) as unknown;
}

describe('bandwidth', () => {
  const limits = { ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 16_000_000, egressBurst: 1_600_000 };
  const chain = (conf: object, version = '1.0.0') =>
    network(
      'bw',
      [
        { ...weft, agentSocket: bed.socket },
        { type: 'bandwidth', ...conf },
      ],
      version,
    );

  it.skipIf(!haveReference)('does as the reference', async () => {
    const pod = podWith(bed);
    const [first] = chain({}).plugins;
    const base = network('bw', [{ ...weft, agentSocket: bed.socket }]);
    expect(first?.type).toBe('weft');
    const made = await bed.runtime.add(base, pod);
    const host = made.interfaces?.find((i) => i.name.startsWith('veth'))?.name ?? '';
    await bed.runtime.del(base, pod);

    const ours = await bed.runtime.add(chain(limits), pod);
    const ifb = ours.interfaces?.at(-1)?.name ?? '';
    const [ourHost, ourIfb] = [traffic(host), traffic(ifb)];
    const shown = ipj(node, 'link', 'show', ifb)[0];
    expect(shown?.['mtu']).toBe(ipj(node, 'link', 'show', host)[0]?.['mtu']);
    await bed.runtime.check(chain(limits), pod);
    await bed.runtime.del(chain(limits), pod);
    expect(ifbs()).toEqual([]);

    // Their plugin on what ours made: it must find the same names and leave the same state.
    const theirs = referenceRuntime(bed, ['bandwidth']);
    const mixed = await bed.runtime.add(base, pod);
    const list = network('bw', [{ type: 'bandwidth', ...limits, prevResult: { cniVersion: '1.0.0', ...mixed } }]);
    const result = await theirs.add(list, pod);
    expect(result.interfaces?.map((i) => i.name)).toEqual(ours.interfaces?.map((i) => i.name));
    expect([traffic(host), traffic(ifb)]).toEqual([ourHost, ourIfb]);
    await bed.runtime.del(chain(limits), pod);
    expect(ifbs()).toEqual([]);
  });

  it('takes what containerd sends, in any case and with its bursts', async () => {
    const IngressBurst = 4_294_967_295;
    const pod = podWith(bed, {
      bandwidth: { IngressRate: 1_000_000, IngressBurst, EgressRate: 8000, EgressBurst: IngressBurst },
    });
    const list = chain({ capabilities: { bandwidth: true } });
    const result = await bed.runtime.add(list, pod);
    const host = result.interfaces?.find((i) => i.name.startsWith('veth'))?.name ?? '';
    expect(tc('qdisc', 'show', 'dev', host)[0]).toMatchObject({ kind: 'tbf', options: { rate: 125_000 } });
    await bed.runtime.check(list, pod);
    sh(node, 'tc', 'qdisc', 'del', 'dev', host, 'root');
    await expect(bed.runtime.check(list, pod)).rejects.toMatchObject({ cniCode: 101 });
    await bed.runtime.del(list, pod);
  });

  it.each([
    [{ unshapedSubnets: ['10.0.0.0/8', '2001:db8::/33'] }, '1:1', '0x30'],
    [{ shapedSubnets: ['10.0.0.0/8', '2001:db8::/33'] }, '1:30', '0x1'],
  ])('limits by subnet: %o', async (subnets, flow, rest) => {
    const list = chain({ ...limits, ...subnets });
    const pod = podWith(bed);
    const result = await bed.runtime.add(list, pod);
    const host = result.interfaces?.find((i) => i.name.startsWith('veth'))?.name ?? '';
    const ifb = result.interfaces?.at(-1)?.name ?? '';
    expect(tc('qdisc', 'show', 'dev', host)[0]).toMatchObject({ kind: 'htb', options: { default: rest } });
    const seen = (dev: string): string => sh(node, 'tc', '-p', 'filter', 'show', 'dev', dev, 'parent', '1:');
    expect(seen(host)).toContain('match IP src 10.0.0.0/8');
    expect(seen(ifb)).toContain('match IP dst 10.0.0.0/8');
    expect(seen(ifb)).toContain(`*flowid ${flow}`);
    expect(sh(node, 'tc', 'filter', 'show', 'dev', ifb, 'parent', '1:')).toMatch(
      /20010db8\/ffffffff at 24\n\s*match 00000000\/80000000 at 28/,
    );
    await bed.runtime.check(list, pod);
    sh(node, 'tc', 'filter', 'del', 'dev', ifb, 'parent', '1:', 'prio', '17');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow(/are missing/);
    await bed.runtime.del(list, pod);
  });

  it('does nothing without limits, and refuses half of one by name', async () => {
    const pod = podWith(bed);
    const result = await bed.runtime.add(chain({}), pod);
    expect(result.interfaces?.some((i) => i.name.startsWith('bwp'))).toBe(false);
    await bed.runtime.check(chain({}), pod);
    await bed.runtime.del(chain({}), pod);
    const add = (conf: object) => bed.runtime.add(chain(conf), pod).finally(() => bed.runtime.del(chain({}), pod));
    await expect(add({ ingressRate: 5 })).rejects.toThrow(/ingressRate: if rate is set, burst must also be set/);
    await expect(add({ egressBurst: 5 })).rejects.toThrow(/egressBurst: if burst is set, rate must also be set/);
    await expect(add({ egressRate: 800, egressBurst: 2 ** 40 })).rejects.toThrow(/more than 4GB/);
    await expect(add({ ...limits, shapedSubnets: ['x'] })).rejects.toThrow(/shapedSubnets\[0\]: not a subnet: "x"/);
    const both = { shapedSubnets: ['10.0.0.0/8'], unshapedSubnets: ['10.1.0.0/16'] };
    await expect(add({ ...limits, ...both })).rejects.toThrow(/exclude each other/);
    expect(ifbs()).toEqual([]);
  });

  it('GC takes the devices of attachments that are not valid, and DEL needs no sandbox', async () => {
    const list = chain(limits, '1.1.0');
    const [a, b] = [podWith(bed), podWith(bed)];
    for (const pod of [a, b]) await bed.runtime.add(list, pod);
    expect(ifbs()).toHaveLength(2);
    const only = network('bw', [{ type: 'bandwidth', ...limits }], '1.1.0');
    const other = network('another', [{ type: 'bandwidth', ...limits }], '1.1.0');
    // A runtime that remembers nothing: its GC synthesises no DEL.
    const forgetful = new CniRuntime({
      confDir: '',
      binDirs: [join(bed.dir, 'bin')],
      cacheDir: join(bed.dir, 'empty'),
    });
    const gc = (l: typeof only, valid?: { containerId: string; ifname: string }[]) => forgetful.gc(l, valid);
    await gc(other, []);
    await gc(only, undefined);
    expect(ifbs()).toHaveLength(2);
    await gc(only, [{ containerId: b.containerId, ifname: 'eth0' }]);
    expect(ifbs()).toHaveLength(1);
    NetNs.remove(b.netns);
    await bed.runtime.del(list, { ...b, netns: '' });
    expect(ifbs()).toEqual([]);
    await bed.runtime.del(list, a);
  });
});

describe('sbr', () => {
  const ipam = {
    type: 'static',
    addresses: [
      { address: '192.0.2.77/24', gateway: '192.0.2.1' },
      { address: '192.0.2.78/24', gateway: '192.0.2.1' },
    ],
    routes: [{ dst: '198.51.100.0/24', gw: '192.0.2.9' }, { dst: '0.0.0.0/0' }],
  };
  const chain = (conf: object = {}, addresses: object = ipam) =>
    network('sb', [
      { type: 'macvlan', master: 'out0', ipam: addresses },
      { type: 'sbr', ...conf },
    ]);
  const v4 = (rows: readonly unknown[]): unknown[] => rows.filter((row) => !JSON.stringify(row).includes('::'));

  it.skipIf(!haveReference)('does as the reference', async () => {
    const reference = referenceRuntime(bed, ['macvlan', 'static', 'sbr']);
    const [a, b] = [podWith(bed), podWith(bed)];
    const ours = look(a, await bed.runtime.add(chain(), a));
    await bed.runtime.check(chain(), a);
    await bed.runtime.del(chain(), a);
    const theirs = look(b, await reference.add(chain(), b));
    await reference.del(chain(), b);
    expect(ours.result).toEqual(theirs.result);
    expect(v4(ours.rules)).toEqual(v4(theirs.rules));
    expect(v4(ours.routes)).toEqual(v4(theirs.routes));
  });

  it('makes only rules for a table that somebody else fills', async () => {
    const pod = podWith(bed);
    const list = chain({ table: 7 });
    await bed.runtime.add(list, pod);
    const rules = ipj(pod.netns, 'rule').filter((r) => r['src'] !== 'all');
    expect(rules.map((r) => `${String(r['src'])} ${String(r['table'])}`).sort()).toEqual([
      '192.0.2.77 7',
      '192.0.2.78 7',
    ]);
    expect(ipj(pod.netns, 'route', 'show', 'default')).toHaveLength(1);
    await bed.runtime.check(list, pod);
    await expect(bed.runtime.check(chain({ table: 8 }), pod)).rejects.toThrow(/no routing rule/);
    await bed.runtime.del(list, pod);
    expect(ipj(pod.netns, 'rule').filter((r) => r['src'] !== 'all')).toEqual([]);
  });

  it('routes both families, by gateways of its own, with hints in the main table', async () => {
    const six = { address: '2001:db8::77/64', gateway: '2001:db8::1' };
    const conf = { gateways: ['192.0.2.99', '2001:db8::99'], addSourceHints: true };
    const list = chain(conf, { ...ipam, addresses: [ipam.addresses[0], six] });
    const pod = podWith(bed);
    await bed.runtime.add(list, pod);
    await bed.runtime.check(list, pod);
    const rules = [...ipj(pod.netns, 'rule'), ...ipj(pod.netns, '-6', 'rule')].filter((r) => r['src'] !== 'all');
    expect(rules.map((r) => [r['src'], r['table']])).toEqual([
      ['192.0.2.77', '100'],
      ['2001:db8::77', '101'],
    ]);
    expect(ipj(pod.netns, 'route', 'show', 'table', '100', 'default')[0]).toMatchObject({ gateway: '192.0.2.99' });
    expect(ipj(pod.netns, '-6', 'route', 'show', 'table', '101', 'default')[0]).toMatchObject({
      gateway: '2001:db8::99',
    });
    expect(ipj(pod.netns, 'route')).toMatchObject([{ dst: '192.0.2.0/24', prefsrc: '192.0.2.77', scope: 'link' }]);
    expect(ipj(pod.netns, '-6', 'route', 'show', 'default')).toEqual([]);
    sh(pod.netns, 'ip', 'rule', 'del', 'from', '192.0.2.77');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow(/no routing rule for source 192\.0\.2\.77\/32/);
    await bed.runtime.del(list, pod);
    await bed.runtime.del(list, pod);
    expect([...ipj(pod.netns, 'rule'), ...ipj(pod.netns, '-6', 'rule')].filter((r) => r['src'] !== 'all')).toEqual([]);
  });

  it('works on two interfaces of one sandbox at once', async () => {
    const list = chain({}, { ...ipam, addresses: [ipam.addresses[0]] });
    const other = chain({}, { ...ipam, addresses: [ipam.addresses[1]] });
    const pod = podWith(bed);
    await Promise.all([bed.runtime.add(list, pod), bed.runtime.add(other, { ...pod, ifname: 'net1' })]);
    const rules = ipj(pod.netns, 'rule').filter((r) => r['src'] !== 'all');
    expect(rules.map((r) => String(r['table'])).sort()).toEqual(['100', '101']);
    await bed.runtime.del(other, { ...pod, ifname: 'net1' });
    await bed.runtime.check(list, pod);
    await bed.runtime.del(list, pod);
  });

  it('refuses what it cannot do, by name', async () => {
    const pod = podWith(bed);
    const add = (conf: object) => bed.runtime.add(chain(conf), pod).finally(() => bed.runtime.del(chain(), pod));
    await expect(add({ gateways: ['10.0.0.1', '10.0.0.2'] })).rejects.toThrow(/gateways: more than one of IPv4/);
    await expect(add({ gateways: ['x'] })).rejects.toThrow(/gateways\[0\]: not an IP address/);
    await expect(bed.runtime.add(network('sb', [{ type: 'sbr' }]), pod)).rejects.toThrow(/chained plugin/);
  });
});

describe('flannel', () => {
  const setup = () => {
    const subnetFile = join(bed.dir, 'subnet.env');
    const dataDir = join(bed.dir, 'flannel');
    const lines = [
      'FLANNEL_NETWORK=10.1.0.0/16',
      'FLANNEL_SUBNET=10.1.17.1/24',
      'FLANNEL_MTU=1450',
      'FLANNEL_IPMASQ=true',
    ];
    writeFileSync(subnetFile, `${lines.join('\n')}\n`);
    const ipam = { dataDir: join(bed.dir, 'host-local') };
    const conf = {
      type: 'flannel',
      subnetFile,
      dataDir,
      ipam,
      delegate: { bridge: 'fl0', hairpinMode: true, isDefaultGateway: true },
    };
    return {
      subnetFile,
      dataDir,
      conf,
      list: (change: object = {}, version = '1.0.0') => network('fl', [{ ...conf, ...change }], version),
    };
  };

  it.skipIf(!haveReference)('hands on to a plugin of somebody else, which asks our IPAM', async () => {
    const { list, dataDir } = setup();
    const pod = podWith(bed);
    const theirs = join(bed.dir, 'bin', 'their-bridge');
    writeFileSync(theirs, `#!/bin/sh\nexec nsenter --net=${node} /usr/lib/cni/bridge\n`, { mode: 0o755 });
    const fl = list({ delegate: { type: 'their-bridge', bridge: 'fl0', isDefaultGateway: true, isGateway: true } });
    const result = await bed.runtime.add(fl, pod);
    expect(result.ips?.[0]).toMatchObject({ address: '10.1.17.2/24', gateway: '10.1.17.1' });
    expect(result.routes?.map((r) => r.dst)).toEqual(expect.arrayContaining(['10.1.0.0/16', '0.0.0.0/0']));
    expect(ipj(pod.netns, 'link', 'show', 'eth0')[0]).toMatchObject({ mtu: 1450 });
    const saved = JSON.parse(readFileSync(join(dataDir, pod.containerId), 'utf8')) as Record<string, unknown>;
    expect(saved).toMatchObject({ name: 'fl', type: 'their-bridge', ipMasq: false, isGateway: true, mtu: 1450 });
    await bed.runtime.del(fl, pod);
    await bed.runtime.del(fl, pod);
    expect(readdirSync(dataDir)).toEqual([]);
    expect(ipj(node, 'link', 'show', 'type', 'veth', 'master', 'fl0')).toEqual([]);
  });

  it('hands on to a plugin of ours, and cleans up what GC finds', async () => {
    const { list, dataDir } = setup();
    const fl = list({ delegate: { type: 'macvlan', master: 'out0', mtu: 1400 } }, '1.1.0');
    const [a, b] = [podWith(bed), podWith(bed)];
    expect((await bed.runtime.add(fl, a)).ips?.[0]?.address).toBe('10.1.17.2/24');
    await bed.runtime.add(fl, b);
    expect(ipj(a.netns, '-d', 'link', 'show', 'eth0')[0]).toMatchObject({
      mtu: 1400,
      linkinfo: { info_kind: 'macvlan' },
    });
    await bed.runtime.status(fl);
    await bed.runtime.check(fl, a);
    sh(a.netns, 'ip', 'addr', 'flush', 'dev', 'eth0');
    await expect(bed.runtime.check(fl, a)).rejects.toMatchObject({ cniCode: 101 });
    // A runtime that remembers nothing: its GC synthesises no DEL.
    const forgetful = new CniRuntime({
      confDir: '',
      binDirs: [join(bed.dir, 'bin')],
      cacheDir: join(bed.dir, 'empty'),
    });
    await forgetful.gc(fl, [{ containerId: b.containerId, ifname: 'eth0' }]);
    expect(readdirSync(dataDir)).toEqual([b.containerId]);
    NetNs.remove(b.netns);
    await bed.runtime.del(fl, { ...b, netns: '' });
    await bed.runtime.del(fl, a);
    expect(readdirSync(dataDir)).toEqual([]);
  });

  it('says what is missing, at ADD and at STATUS', async () => {
    const { list, subnetFile } = setup();
    const pod = podWith(bed);
    writeFileSync(subnetFile, 'FLANNEL_NETWORK=10.1.0.0/16\n');
    await expect(bed.runtime.add(list(), pod)).rejects.toThrow(
      /is missing FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ/,
    );
    await expect(bed.runtime.add(list({ subnetFile: '/nowhere' }), pod)).rejects.toMatchObject({ cniCode: 11 });
    await expect(bed.runtime.status(list({}, '1.1.0'))).rejects.toMatchObject({ cniCode: 50 });
    await expect(bed.runtime.add(list({ delegate: { ipam: {} } }), pod)).rejects.toThrow(/must not have 'ipam' field/);
    await expect(bed.runtime.add(list({ delegate: { type: 5 } }), pod)).rejects.toThrow(/delegate\.type/);
    await bed.runtime.del(list(), pod);
  });
});
