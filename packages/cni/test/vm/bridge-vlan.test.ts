// VLANs of the bridge plugin, which need a kernel with CONFIG_BRIDGE_VLAN_FILTERING; beside Debian's plugin where it has them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, pings, sh } from '../kernel/bed.ts';
import { haveReference, network, podWith, referenceRuntime } from '../kernel/side-by-side.ts';

let bed: Bed;
let node: string;
let files: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
  files = mkdtempSync(join(tmpdir(), 'weft-vlan-'));
}, 120_000);
afterEach(async () => {
  await bed.close();
  rmSync(files, { recursive: true, force: true });
});

const at = (address: string) => ({ type: 'static', addresses: [{ address }] });
const list = (name: string, bridge: string, conf: object) => network(name, [{ type: 'bridge', bridge, ...conf }]);

interface Port {
  readonly ifname: string;
  readonly vlans: readonly { readonly vlan: number; readonly vlanEnd?: number; readonly flags?: readonly string[] }[];
}

/** VLANs of the ports of a bridge as `1-5 7 pvid untagged`, the bridge itself last. */
function vlans(bridge: string): string[] {
  const ports = JSON.parse(sh(node, 'bridge', '-j', 'vlan', 'show')) as Port[];
  const members = ipj(node, 'link', 'show', 'master', bridge).map((link) => String(link['ifname']));
  return [...members, bridge].flatMap((name) => {
    const port = ports.find(({ ifname }) => ifname === name);
    if (port === undefined) return [];
    const text = port.vlans.map((v) =>
      [v.vlanEnd === undefined ? v.vlan : `${v.vlan}-${v.vlanEnd}`, ...(v.flags ?? [])].join(' ').toLowerCase(),
    );
    return [text.join(', ').replaceAll('egress untagged', 'untagged')];
  });
}

describe('bridge', () => {
  it.skipIf(!haveReference)('puts a port into its VLAN as the reference does', async () => {
    const reference = referenceRuntime(bed, ['bridge', 'static']);
    const conf = { vlan: 100, ipam: at('10.88.0.2/24') };
    const [a, b] = [podWith(bed), podWith(bed)];
    await bed.runtime.add(list('a', 'br-a', conf), a);
    await bed.runtime.check(list('a', 'br-a', conf), a);
    await reference.add(list('b', 'br-b', conf), b);
    expect(vlans('br-a')).toEqual(vlans('br-b'));
    await bed.runtime.del(list('a', 'br-a', conf), a);
  });

  it('keeps VLANs apart, and leads one of many into a trunk', async () => {
    const conf = (address: string, more: object) =>
      list('n', 'br0', { preserveDefaultVlan: false, ...more, ipam: at(address) });
    const [red, red2, blue, trunk] = [podWith(bed), podWith(bed), podWith(bed), podWith(bed)];
    await bed.runtime.add(conf('10.88.0.2/24', { vlan: 100 }), red);
    await bed.runtime.add(conf('10.88.0.3/24', { vlan: 100 }), red2);
    await bed.runtime.add(conf('10.88.0.4/24', { vlan: 200 }), blue);
    const range = { vlanTrunk: [{ minID: 100, maxID: 102 }, { id: 300 }] };
    await bed.runtime.add(conf('10.99.0.5/24', range), trunk);
    expect(vlans('br0').filter((text) => text.includes('300'))).toEqual(['1 pvid untagged, 100, 101, 102, 300']);
    expect(vlans('br0').filter((text) => text === '100 pvid untagged')).toHaveLength(2);
    expect(pings(red.netns, '10.88.0.3')).toBe(true);
    expect(pings(red.netns, '10.88.0.4')).toBe(false);
    for (const id of ['100', '200']) {
      sh(trunk.netns, 'ip', 'link', 'add', 'link', 'eth0', 'name', `v${id}`, 'up', 'type', 'vlan', 'id', id);
    }
    sh(trunk.netns, 'ip', 'addr', 'add', '10.88.0.6/24', 'dev', 'v100');
    expect(pings(red.netns, '10.88.0.6')).toBe(true);
    sh(trunk.netns, 'ip', 'addr', 'flush', 'dev', 'v100');
    sh(trunk.netns, 'ip', 'addr', 'add', '10.88.0.6/24', 'dev', 'v200');
    expect(pings(blue.netns, '10.88.0.6')).toBe(false);
  });

  it('is the gateway of a VLAN by an interface in it', async () => {
    const ipam = { type: 'host-local', dataDir: files, subnet: '10.88.0.0/24' };
    const net = list('n', 'br0', { vlan: 100, isDefaultGateway: true, ipam });
    const pod = podWith(bed);
    await bed.runtime.add(net, pod);
    await bed.runtime.check(net, pod);
    expect(sh(node, 'ip', '-br', 'addr', 'show', 'br0.100')).toContain('10.88.0.1/24');
    expect(pings(pod.netns, '192.0.2.10')).toBe(true);
    await bed.runtime.del(net, pod);
  });
});
