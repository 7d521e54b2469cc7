// macvlan, tap and host-device, beside Debian's containernetworking-plugins given the same configuration.
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { NetNs, Rtnl } from '@weft/kernel';
import { silentLogger } from '@weft/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostDeviceAt } from '../../src/plugins/host-device.ts';
import { PluginRegistry } from '../../src/plugins/registry.ts';
import { NodeNetwork } from '../../src/wiring/node.ts';
import type { PluginRequest } from '../../src/index.ts';
import { Bed, ipj, sh } from './bed.ts';
import { haveReference, look, network, podWith, referenceRuntime, sysctl } from './side-by-side.ts';

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
});
afterEach(async () => {
  await bed.close();
});

const ipam = {
  type: 'static',
  addresses: [
    { address: '192.0.2.77/24', gateway: '192.0.2.1' },
    { address: '2001:db8::77/64', gateway: '2001:db8::1' },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '198.51.100.0/24', gw: '192.0.2.9' }, { dst: '::/0' }],
  dns: { nameservers: ['192.0.2.53'] },
};

const ipam4 = { ...ipam, addresses: ipam.addresses.slice(0, 1), routes: ipam.routes.slice(0, 2) };

const links = (netns: string): string[] => ipj(netns, 'link').map((l) => String(l['ifname']));

describe('macvlan', () => {
  const cases = [
    { type: 'macvlan', master: 'out0', mode: 'bridge', mtu: 1400, ipam, dns: { search: ['example.org'] } },
    { type: 'macvlan', mode: 'vepa', ipam: ipam4 },
    { type: 'macvlan', master: 'out0', mode: 'private' },
    { type: 'macvlan', master: 'out0', mode: 'passthru', capabilities: { mac: true }, ipam: ipam4 },
  ];
  it.skipIf(!haveReference).each(cases)('does as the reference: mode $mode', async (conf) => {
    const list = network('mv', [conf]);
    const reference = referenceRuntime(bed, ['macvlan', 'static']);
    const [a, b] = [podWith(bed, { mac: '02:11:22:33:44:55' }), podWith(bed, { mac: '02:11:22:33:44:55' })];
    const mac = 'capabilities' in conf;
    const ours = look(a, await bed.runtime.add(list, a), mac);
    await bed.runtime.check(list, a);
    const arpNotify = sysctl(a.netns, 'net.ipv4.conf.eth0.arp_notify');
    // Their release in Debian does not set this yet.
    expect(sysctl(a.netns, 'net.ipv6.conf.eth0.ndisc_notify')).toBe('ipam' in conf ? '1' : '0');
    await bed.runtime.del(list, a);
    const theirs = look(b, await reference.add(list, b), mac);
    expect(ours).toEqual(theirs);
    expect(arpNotify).toEqual(sysctl(b.netns, 'net.ipv4.conf.eth0.arp_notify'));
    await reference.del(list, b);
    expect(links(a.netns)).toEqual(['lo']);
  });

  it('has a broadcast queue of its own, and the address that CNI_ARGS or the configuration ask for', async () => {
    const list = network('mv', [{ type: 'macvlan', master: 'out0', bcqueuelen: 123, mac: '02:00:00:00:00:0a' }]);
    const pod = podWith(bed);
    await bed.runtime.add(list, pod);
    expect(ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0]).toMatchObject({
      address: '02:00:00:00:00:0a',
      linkinfo: { info_data: { bcqueuelen: 123 } },
    });
    await bed.runtime.del(list, pod);
    const other = { ...podWith(bed), args: [['MAC', '02:00:00:00:00:0b']] as [string, string][] };
    expect((await bed.runtime.add(list, other)).interfaces?.[0]?.mac).toBe('02:00:00:00:00:0b');
    await bed.runtime.del(list, other);
  });

  it('takes a master inside of the sandbox', async () => {
    const pod = podWith(bed);
    sh(pod.netns, 'ip', 'link', 'add', 'low0', 'type', 'veth', 'peer', 'name', 'low1');
    const list = network('mv', [{ type: 'macvlan', master: 'low0', linkInContainer: true, ipam }]);
    await bed.runtime.add(list, pod);
    await bed.runtime.check(list, pod);
    expect(ipj(pod.netns, 'link', 'show', 'eth0')[0]).toMatchObject({ link: 'low0' });
    await bed.runtime.del(list, pod);
    expect(links(pod.netns).sort()).toEqual(['lo', 'low0', 'low1']);
  });

  it('says which field is wrong, and leaves nothing', async () => {
    const pod = podWith(bed);
    const add = (conf: object) => bed.runtime.add(network('mv', [{ type: 'macvlan', ...conf }]), pod);
    await expect(add({ mode: 'source' })).rejects.toMatchObject({
      cniCode: 7,
      message: expect.stringContaining('mode: "source"'),
    });
    await expect(add({ master: 'nope' })).rejects.toThrow(/master: there is no interface nope on the node/);
    await expect(add({ master: 'out0', mtu: 9000 })).rejects.toThrow(/mtu: 9000 is above that of the master out0/);
    await expect(add({ master: 'out0', mac: 'x' })).rejects.toThrow(/mac: not a MAC address/);
    const bad = { ...ipam, addresses: [] };
    await expect(add({ master: 'out0', ipam: bad })).rejects.toThrow(/missing IP config/);
    expect(links(pod.netns)).toEqual(['lo']);
  });

  it('leaves an interface that was there, and deletes only what it can have made', async () => {
    const pod = podWith(bed);
    sh(pod.netns, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
    const list = network('mv', [{ type: 'macvlan', master: 'out0', ipam }]);
    await expect(bed.runtime.add(list, pod)).rejects.toMatchObject({ cniCode: 100 });
    await bed.runtime.del(list, pod);
    await bed.runtime.del(list, pod);
    expect(links(pod.netns)).toContain('eth0');
  });

  it('CHECK finds a changed mode, address and route; STATUS a master that is missing', async () => {
    const conf = { type: 'macvlan', master: 'out0', ipam };
    const list = network('mv', [conf], '1.1.0');
    const pod = podWith(bed);
    await bed.runtime.add(list, pod);
    await expect(bed.runtime.check(network('mv', [{ ...conf, mode: 'vepa' }], '1.1.0'), pod)).rejects.toThrow(/mode/);
    sh(pod.netns, 'ip', 'route', 'del', '198.51.100.0/24');
    await expect(bed.runtime.check(list, pod)).rejects.toMatchObject({ cniCode: 101 });
    sh(pod.netns, 'ip', 'addr', 'flush', 'dev', 'eth0');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow(/192\.0\.2\.77/);
    await bed.runtime.status(list);
    await expect(bed.runtime.status(network('mv', [{ ...conf, master: 'gone' }], '1.1.0'))).rejects.toMatchObject({
      cniCode: 50,
    });
    NetNs.remove(pod.netns);
    await bed.runtime.del(list, pod);
  });
});

describe('tap', () => {
  it('makes what its configuration says', async () => {
    const pod = podWith(bed, { mac: '02:00:00:00:00:0c' });
    sh(pod.netns, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
    const conf = {
      type: 'tap',
      multiQueue: true,
      mtu: 1300,
      owner: 64123,
      group: 64124,
      bridge: 'br0',
      selinuxContext: 'system_u:system_r:container_t:s0',
      capabilities: { mac: true },
      ipam,
    };
    const list = network('tap', [conf]);
    const result = await bed.runtime.add(list, pod);
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:0c', sandbox: pod.netns }],
      ips: [{ address: '192.0.2.77/24', gateway: '192.0.2.1', interface: 0 }, { address: '2001:db8::77/64' }],
    });
    expect(ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0]).toMatchObject({
      mtu: 1300,
      master: 'br0',
      address: '02:00:00:00:00:0c',
      linkinfo: {
        info_kind: 'tun',
        info_data: { type: 'tap', multi_queue: true, persist: true, user: 64123, group: 64124 },
      },
    });
    await bed.runtime.check(list, pod);
    sh(pod.netns, 'ip', 'link', 'set', 'eth0', 'nomaster');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow(/no port of the bridge br0/);
    await bed.runtime.del(list, pod);
    await bed.runtime.del(list, pod);
    expect(links(pod.netns)).toEqual(['lo', 'br0']);
  });

  it('works without addresses, owner and group', async () => {
    const pod = podWith(bed);
    const list = network('tap', [{ type: 'tap' }]);
    expect((await bed.runtime.add(list, pod)).ips).toEqual([]);
    expect(ipj(pod.netns, 'link', 'show', 'eth0')[0]?.['flags']).toContain('UP');
    await bed.runtime.check(list, pod);
    await expect(bed.runtime.check(network('tap', [{ type: 'tap', owner: 1 }]), pod)).rejects.toThrow(/owner/);
    await bed.runtime.del(list, pod);
    await expect(bed.runtime.add(network('tap', [{ type: 'tap', bridge: 'br9' }]), pod)).rejects.toThrow(
      /no bridge br9/,
    );
    expect(links(pod.netns)).toEqual(['lo']);
  });
});

describe('host-device', () => {
  beforeEach(() => {
    sh(node, 'ip', 'link', 'add', 'card0', 'type', 'veth', 'peer', 'name', 'wire0');
    sh(node, 'ip', 'link', 'set', 'card0', 'address', '02:00:00:00:00:ca', 'up');
    sh(node, 'ip', 'link', 'set', 'wire0', 'up');
  });

  it.skipIf(!haveReference).each([
    { type: 'host-device', device: 'card0', ipam: ipam4 },
    { type: 'host-device', hwaddr: '02:00:00:00:00:CA' },
  ])('does as the reference: %o', async (conf) => {
    const list = network('hd', [conf]);
    const reference = referenceRuntime(bed, ['host-device', 'static']);
    const [a, b] = [podWith(bed), podWith(bed)];
    const ours = look(a, await bed.runtime.add(list, a), true);
    expect(links(node)).not.toContain('card0');
    await bed.runtime.check(list, a);
    await bed.runtime.del(list, a);
    expect(ipj(node, 'link', 'show', 'card0')[0]).toMatchObject({ ifname: 'card0' });
    expect(ipj(node, 'link', 'show', 'card0')[0]?.['ifalias']).toBeUndefined();
    await bed.runtime.del(list, a);
    const theirs = look(b, await reference.add(list, b), true);
    await reference.del(list, b);
    expect(ours).toEqual(theirs);
  });

  it('brings the device home when addresses cannot be had, as it was', async () => {
    const list = network('hd', [{ type: 'host-device', device: 'card0', ipam: { ...ipam, addresses: [] } }]);
    const pod = podWith(bed);
    await expect(bed.runtime.add(list, pod)).rejects.toThrow(/missing IP config/);
    expect(links(node)).toContain('card0');
    sh(pod.netns, 'ip', 'link', 'add', 'eth0', 'type', 'bridge');
    await expect(bed.runtime.add(list, pod)).rejects.toMatchObject({ cniCode: 100 });
    expect(ipj(node, 'link', 'show', 'card0')[0]?.['flags']).toBeDefined();
  });

  it('names what it looks for', async () => {
    const pod = podWith(bed);
    const add = (conf: object) => bed.runtime.add(network('hd', [{ type: 'host-device', ...conf }]), pod);
    await expect(add({})).rejects.toThrow(/specify either "device", "hwaddr", "kernelpath" or "pciBusID"/);
    await expect(add({ device: 'nope' })).rejects.toThrow(/device nope is not on the node/);
    await expect(add({ device: 'lo' })).rejects.toThrow(/loopback/);
    await expect(add({ kernelpath: '/sys/devices/../../etc' })).rejects.toThrow(/kernelpath/);
    await expect(add({ pciBusID: '0000:99:00.0' })).rejects.toThrow(/no PCI device 0000:99:00.0/);
  });
});

describe('host-device by PCI, on a sysfs of our own', () => {
  const request = (
    command: PluginRequest['command'],
    netns: string,
    config: Record<string, unknown>,
  ): PluginRequest => ({
    command,
    plugin: 'host-device',
    network: 'hd',
    cniVersion: '1.1.0',
    containerId: 'c',
    ifname: 'eth0',
    netns,
    args: new Map(),
    path: [],
    config,
    prevResult: undefined,
    validAttachments: undefined,
    raw: { env: new Map(), stdin: JSON.stringify(config) },
  });
  let network4: NodeNetwork;
  let ns: NetNs;
  let sysfs: string;
  const plugin = () => {
    const registry = new PluginRegistry(network4, silentLogger);
    return hostDeviceAt(sysfs)({ node: network4, log: silentLogger, plugin: (name) => registry.find(name) });
  };
  beforeEach(() => {
    ns = NetNs.open(node);
    network4 = new NodeNetwork({ ns, log: silentLogger });
    sysfs = join(bed.dir, 'sys');
    const bus = join(sysfs, 'bus/pci/devices');
    mkdirSync(join(bus, '0000:03:02.1/net/card0'), { recursive: true });
    mkdirSync(join(bus, '0000:03:02.2'), { recursive: true });
    mkdirSync(join(sysfs, 'bus/auxiliary/devices/mlx5_core.sf.4/net/card0'), { recursive: true });
    mkdirSync(join(sysfs, 'devices/pci0000:00/net/card0'), { recursive: true });
    symlinkSync('../../../drivers/vfio-pci', join(bus, '0000:03:02.2/driver'));
    sh(node, 'ip', 'link', 'add', 'card0', 'type', 'veth', 'peer', 'name', 'wire0');
  });
  afterEach(() => {
    network4.close();
    ns.close();
  });

  it.each([
    { runtimeConfig: { DeviceID: '0000:03:02.1' } },
    { pciBusID: '0000:03:02.1' },
    { runtimeConfig: { deviceID: 'mlx5_core.sf.4' } },
    { kernelpath: '/sys/devices/pci0000:00' },
  ])('moves the interface of %o in, and home', async (config) => {
    const pod = podWith(bed);
    const result = await plugin().add(request('ADD', pod.netns, config));
    expect(result.interfaces?.[0]).toMatchObject({ name: 'eth0', sandbox: pod.netns });
    expect(ipj(pod.netns, 'link', 'show', 'eth0')[0]).toMatchObject({ ifalias: 'card0' });
    await plugin().del(request('DEL', pod.netns, config));
    expect(links(node)).toContain('card0');
  });

  it('gives a device that belongs to a program nothing but addresses', async () => {
    const pod = podWith(bed);
    const config = { runtimeConfig: { deviceID: '0000:03:02.2' }, ipam };
    const result = await plugin().add(request('ADD', pod.netns, config));
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', sandbox: pod.netns }],
      ips: [{ interface: 0 }, { interface: 0 }],
    });
    expect(result.interfaces?.[0]?.mac).toBeUndefined();
    expect(links(pod.netns)).toEqual(['lo']);
    await plugin().check({ ...request('CHECK', pod.netns, config), prevResult: result });
    await plugin().del(request('DEL', pod.netns, config));
  });

  it('gives the name back to a device that the kernel brought home', async () => {
    const rtnl = Rtnl.open(ns);
    const index = (await rtnl.links.get('card0'))?.index ?? 0;
    await rtnl.links.set(index, { name: 'eth0', alias: 'card0' });
    await plugin().del(request('DEL', '/nowhere', { device: 'card0' }));
    expect((await rtnl.links.get('card0'))?.alias ?? '').toBe('');
    await rtnl.links.set('card0', { alias: 'uplink' });
    await plugin().del(request('DEL', '', { device: 'card0' }));
    expect((await rtnl.links.get('card0'))?.alias).toBe('uplink');
    rtnl.close();
  });
});
