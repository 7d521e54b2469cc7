// Plugins whose kinds of links the usual kernel lacks, beside Debian's containernetworking-plugins where it has them.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, sh } from '../kernel/bed.ts';
import { haveReference, look, network, podWith, referenceRuntime } from '../kernel/side-by-side.ts';

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
  // The first builds the shim, which takes an emulated machine a while.
}, 120_000);
afterEach(async () => {
  await bed.close();
});

const ipam = {
  type: 'static',
  addresses: [{ address: '192.0.2.77/24', gateway: '192.0.2.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
};
const links = (netns: string): string[] => ipj(netns, 'link').map((l) => String(l['ifname']));

describe.skipIf(!haveReference)('as the reference', () => {
  it.each([
    { type: 'ipvlan', master: 'out0', mtu: 1400, ipam },
    { type: 'ipvlan', mode: 'l3s', ipam },
    { type: 'vlan', master: 'out0', vlanId: 7, mtu: 1400, ipam },
  ])('$type $mode', async (conf) => {
    // A host that has an interface of the wanted name, as most have.
    sh(node, 'ip', 'link', 'add', 'eth0', 'type', 'dummy');
    const list = network('n', [conf]);
    const reference = referenceRuntime(bed, [conf.type, 'static']);
    const [a, b] = [podWith(bed), podWith(bed)];
    const ours = look(a, await bed.runtime.add(list, a));
    await bed.runtime.check(list, a);
    await bed.runtime.del(list, a);
    await bed.runtime.del(list, a);
    expect(links(a.netns)).toEqual(['lo']);
    const theirs = look(b, await reference.add(list, b));
    await reference.del(list, b);
    expect(ours).toEqual(theirs);
  });
});

describe('ipvlan', () => {
  it('takes the master and the addresses of the chain', async () => {
    const pod = podWith(bed);
    const prevResult = {
      cniVersion: '1.0.0',
      interfaces: [{ name: 'out0' }],
      ips: [{ address: '192.0.2.88/24', gateway: '192.0.2.1' }],
      routes: [{ dst: '198.51.100.0/24' }],
    };
    const list = network('n', [{ type: 'ipvlan', prevResult }]);
    const result = await bed.runtime.add(list, pod);
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', sandbox: pod.netns }],
      ips: [{ address: '192.0.2.88/24', interface: 0 }],
    });
    expect(ipj(pod.netns, 'route', 'show', '198.51.100.0/24')[0]).toMatchObject({ gateway: '192.0.2.1', dev: 'eth0' });
    await bed.runtime.check(list, pod);
    await bed.runtime.del(list, pod);
    expect(links(pod.netns)).toEqual(['lo']);
  });

  it('refuses what it cannot do, and finds a changed mode', async () => {
    const pod = podWith(bed);
    const add = (conf: object) => bed.runtime.add(network('n', [{ type: 'ipvlan', ...conf }]), pod);
    await expect(add({ master: 'out0' })).rejects.toThrow(/requires an IPAM configuration/);
    await expect(add({ mode: 'l4', ipam })).rejects.toThrow(/mode: "l4"/);
    await add({ ipam });
    const check = bed.runtime.check(network('n', [{ type: 'ipvlan', mode: 'l3', ipam }]), pod);
    await expect(check).rejects.toThrow(/ipvlan mode of eth0 is l2, not l3/);
  });
});

describe('vlan', () => {
  it('wants a master and a VLAN id that there can be, also inside of the sandbox', async () => {
    const pod = podWith(bed);
    const add = (conf: object) => bed.runtime.add(network('n', [{ type: 'vlan', ...conf }]), pod);
    await expect(add({ vlanId: 5, ipam })).rejects.toThrow(/master is missing/);
    await expect(add({ master: 'out0', vlanId: 4095, ipam })).rejects.toThrow(/vlanId: 4095/);
    await expect(add({ master: 'out0', vlanId: 5 })).rejects.toThrow(/requires an IPAM/);
    sh(pod.netns, 'ip', 'link', 'add', 'low0', 'up', 'type', 'dummy');
    const list = network('n', [{ type: 'vlan', master: 'low0', vlanId: 9, linkInContainer: true, ipam }]);
    await bed.runtime.add(list, pod);
    expect(ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0]).toMatchObject({
      link: 'low0',
      linkinfo: { info_data: { id: 9 } },
    });
    const other = network('n', [{ type: 'vlan', master: 'low0', vlanId: 8, linkInContainer: true, ipam }]);
    await expect(bed.runtime.check(other, pod)).rejects.toThrow(/VLAN id of eth0 is 9, not 8/);
    await bed.runtime.del(list, pod);
  });
});

describe('dummy', () => {
  it('is made with addresses, checked and deleted', async () => {
    const pod = podWith(bed);
    const dns = { nameservers: ['192.0.2.53'] };
    const six = { address: '2001:db8::77/64' };
    const list = network('n', [{ type: 'dummy', ipam: { ...ipam, addresses: [...ipam.addresses, six], dns } }]);
    const result = await bed.runtime.add(list, pod);
    expect(result).toMatchObject({ interfaces: [{ name: 'eth0' }], ips: [{ interface: 0 }, { interface: 0 }], dns });
    expect(ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0]).toMatchObject({ linkinfo: { info_kind: 'dummy' } });
    await bed.runtime.check(list, pod);
    sh(pod.netns, 'ip', 'link', 'set', 'eth0', 'down');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow(/eth0 is down/);
    await bed.runtime.del(list, pod);
    await expect(bed.runtime.add(network('n', [{ type: 'dummy' }]), pod)).rejects.toThrow(/requires an IPAM/);
    expect(links(pod.netns)).toEqual(['lo']);
  });
});

describe('vrf', () => {
  const dual = {
    type: 'static',
    addresses: [{ address: '192.0.2.77/24' }, { address: '2001:db8::77/64' }],
    routes: [
      { dst: '198.51.100.0/24', gw: '192.0.2.9' },
      { dst: '2001:db8:9::/48', gw: '2001:db8::9' },
    ],
  };
  const chain = (conf: object) =>
    network('n', [
      { type: 'macvlan', master: 'out0', ipam: dual },
      { type: 'vrf', ...conf },
    ]);

  it('moves the interface with its addresses and routes, and takes the VRF away with the last', async () => {
    const pod = podWith(bed);
    const second = { ...pod, ifname: 'net1' };
    const list = chain({ vrfname: 'red' });
    await bed.runtime.add(list, pod);
    expect(ipj(pod.netns, '-d', 'link', 'show', 'red')[0]).toMatchObject({ linkinfo: { info_data: { table: 1 } } });
    const table = (...family: string[]) =>
      ipj(pod.netns, ...family, 'route', 'show', 'table', '1').map((r) => String(r['dst']));
    expect(table()).toEqual(expect.arrayContaining(['198.51.100.0/24', '192.0.2.0/24']));
    expect(table('-6')).toEqual(expect.arrayContaining(['2001:db8:9::/48', '2001:db8::/64']));
    const addresses = ipj(pod.netns, '-6', 'addr', 'show', 'eth0', 'scope', 'global');
    expect(JSON.stringify(addresses)).toContain('2001:db8::77');
    await bed.runtime.check(list, pod);
    await expect(bed.runtime.check(chain({ vrfname: 'blue' }), pod)).rejects.toThrow(/no VRF blue/);
    const other = network('m', [
      { type: 'macvlan', master: 'out0' },
      { type: 'vrf', vrfname: 'red', table: 1 },
    ]);
    await bed.runtime.add(other, second);
    await bed.runtime.del(list, pod);
    expect(links(pod.netns).sort()).toEqual(['lo', 'net1', 'red']);
    await bed.runtime.del(other, second);
    await bed.runtime.del(other, second);
    expect(links(pod.netns)).toEqual(['lo']);
  });

  it('refuses another table for a VRF that exists, and chooses a free one', async () => {
    const pod = podWith(bed);
    sh(pod.netns, 'ip', 'link', 'add', 'blue', 'type', 'vrf', 'table', '1');
    const add = (conf: object) =>
      bed.runtime.add(chain(conf), pod).finally(() => bed.runtime.del(chain({ vrfname: 'x' }), pod));
    await expect(add({ vrfname: 'blue', table: 5 })).rejects.toThrow(/table: the VRF blue exists with table 1, not 5/);
    await expect(add({})).rejects.toThrow(/vrfname is missing/);
    await bed.runtime.add(chain({ vrfname: 'red' }), pod);
    expect(ipj(pod.netns, '-d', 'link', 'show', 'red')[0]).toMatchObject({ linkinfo: { info_data: { table: 2 } } });
    await bed.runtime.del(chain({ vrfname: 'red' }), pod);
    expect(links(pod.netns).sort()).toEqual(['blue', 'lo']);
  });
});
