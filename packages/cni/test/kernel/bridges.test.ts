// bridge, beside Debian's containernetworking-plugins given the same configuration.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, sh } from './bed.ts';
import { haveReference, look, network, podWith, referenceRuntime } from './side-by-side.ts';

let bed: Bed;
let node: string;
let files: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
  files = mkdtempSync(join(tmpdir(), 'weft-host-local-'));
});
afterEach(async () => {
  await bed.close();
  rmSync(files, { recursive: true, force: true });
});

const dual = () => ({
  type: 'host-local',
  dataDir: files,
  ranges: [[{ subnet: '10.88.0.0/24' }], [{ subnet: 'fd00:88::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
});
const four = () => ({ type: 'host-local', dataDir: files, subnet: '10.88.0.0/24', rangeStart: '10.88.0.9' });
const nft = (): string => sh(node, 'nft', 'list', 'ruleset');
/** Elements: per address, itself and its subnet. */
const masqueraded = (): number => (nft().match(/comment "[0-9a-f]{16}:/g) ?? []).length;

describe('bridge', () => {
  const cases = [
    [
      'a gateway of both families',
      () => ({ isGateway: true, ipMasq: true, mtu: 1400, hairpinMode: true, ipam: dual() }),
    ],
    ['a default gateway', () => ({ isDefaultGateway: true, promiscMode: true, ipam: four() })],
    ['addresses without a gateway', () => ({ ipam: four(), dns: { nameservers: ['192.0.2.53'], search: ['a.b'] } })],
    ['no addresses', () => ({})],
    ['a MAC address', () => ({ capabilities: { mac: true }, ipam: four() })],
  ] as const;
  it.skipIf(!haveReference).each(cases)('does as the reference: %s', async (_name, conf) => {
    const capability = { mac: '02:11:22:33:44:55' };
    const mac = 'capabilities' in conf();
    const [ours, theirs] = ['br-ours', 'br-theirs'].map((bridge) =>
      network(bridge.replace('br-', 'net'), [{ type: 'bridge', bridge, ...conf() }]),
    ) as [ReturnType<typeof network>, ReturnType<typeof network>];
    const reference = referenceRuntime(bed, ['bridge', 'host-local']);
    const [a, b] = [podWith(bed, capability), podWith(bed, capability)];
    const left = (l: ReturnType<typeof look>, bridge: string) =>
      JSON.parse(
        JSON.stringify(l)
          .replaceAll(bridge, 'BRIDGE')
          .replaceAll(/veth[0-9a-f]{8}/g, 'VETH')
          .replaceAll(/("name":"(?:BRIDGE|VETH)","mac":")[^"]*/g, '$1some'),
      );
    const mine = left(look(a, await bed.runtime.add(ours, a), mac), 'br-ours');
    await bed.runtime.check(ours, a);
    const gateway = ipj(node, 'addr', 'show', 'br-ours')[0];
    await bed.runtime.del(ours, a);
    expect(left(look(b, await reference.add(theirs, b), mac), 'br-theirs')).toEqual(mine);
    const addresses = (link: Record<string, unknown> | undefined): unknown[] =>
      ((link?.['addr_info'] ?? []) as Record<string, unknown>[])
        .filter((x) => x['scope'] === 'global')
        .map((x) => `${String(x['local'])}/${String(x['prefixlen'])}`);
    expect(addresses(gateway)).toEqual(addresses(ipj(node, 'addr', 'show', 'br-theirs')[0]));
    await reference.del(theirs, b);
    expect(masqueraded()).toBe(0);
  });

  it('masquerades what leaves the subnet, by rules that do not grow, and leaves nothing', async () => {
    const list = network('net', [{ type: 'bridge', isGateway: true, ipMasq: true, ipam: dual() }]);
    const pods = [podWith(bed), podWith(bed), podWith(bed)];
    for (const pod of pods) await bed.runtime.add(list, pod);
    const rules = (nft().match(/^\s+(meta|ip6? saddr).* masquerade\b/gm) ?? []).length;
    expect(rules).toBe(2);
    expect(masqueraded()).toBe(3 * 2 * 2);
    for (const pod of pods) await bed.runtime.check(list, pod);
    sh(node, 'nft', 'flush', 'set', 'inet', 'weft-masquerade', 'pods4');
    await expect(bed.runtime.check(list, pods[0] as (typeof pods)[0])).rejects.toThrow('not masqueraded');
    for (const pod of pods) await bed.runtime.del(list, pod);
    expect(masqueraded()).toBe(0);
    expect(readdirSync(join(files, 'net')).sort()).toEqual([
      'boot_id',
      'last_reserved_ip.0',
      'last_reserved_ip.1',
      'lock',
    ]);
  });

  it('translates for real, and not inside of the subnet', async () => {
    const list = network('net', [{ type: 'bridge', isDefaultGateway: true, ipMasq: true, ipam: four() }]);
    const [a, b] = [podWith(bed), podWith(bed)];
    for (const pod of [a, b]) await bed.runtime.add(list, pod);
    const source = (from: string, to: string, at: string): string => {
      const script = `timeout 3 tcpdump -c1 -n -i any icmp 2>/dev/null | sed 's/.*IP \\([0-9.]*\\) >.*/\\1/' & sleep 0.4; wait`;
      const seen = sh(at, 'sh', '-c', `(sleep 0.2; nsenter --net=${from} ping -c1 -W1 ${to} >/dev/null) & ${script}`);
      return seen.trim();
    };
    expect(source(a.netns, '10.88.0.10', b.netns)).toBe('10.88.0.9');
    // Beyond the subnet it is the node's address.
    const conntrack = (): string => sh(node, 'conntrack', '-L', '-p', 'icmp', '-o', 'extended');
    sh(a.netns, 'sh', '-c', 'ping -c1 -W1 192.0.2.99 || true');
    expect(conntrack()).toMatch(/src=10\.88\.0\.9 dst=192\.0\.2\.99 .*src=192\.0\.2\.99 dst=192\.0\.2\.10/s);
  });

  it('keeps a foreign address apart from its own, unless it may be forced', async () => {
    const list = (more: object) => network('net', [{ type: 'bridge', isGateway: true, ipam: four(), ...more }]);
    sh(node, 'ip', 'link', 'add', 'cni0', 'type', 'bridge');
    sh(node, 'ip', 'addr', 'add', '10.99.0.1/24', 'dev', 'cni0');
    const pod = podWith(bed);
    await expect(bed.runtime.add(list({}), pod)).rejects.toThrow(
      '"cni0" already has an IP address different from 10.88.0.1/24',
    );
    expect(readdirSync(join(files, 'net')).filter((name) => name.startsWith('10.'))).toEqual([]);
    await bed.runtime.add(list({ forceAddress: true }), pod);
    expect(sh(node, 'ip', '-br', 'addr', 'show', 'cni0')).toContain('10.88.0.1/24');
    await bed.runtime.del(list({}), pod);
  });

  it.each([
    [{ hairpinMode: true, promiscMode: true }, 'cannot set hairpin mode and promiscuous mode at the same time.'],
    [{ isGateway: true }, 'ipam.type is missing beside isGateway'],
    [{ bridge: 'out0' }, '"out0" already exists but is not a bridge'],
    [{ vlan: 5000 }, 'vlan: 5000'],
    [{ vlanTrunk: [{ minID: 5 }] }, 'minID and maxID go together'],
    [{ vlanTrunk: [{}] }, 'neither id nor minID and maxID'],
    [{ ipMasqBackend: 'ipfw' }, 'ipMasqBackend'],
    [{ disableContainerInterface: true, ipam: { type: 'static' } }, 'cannot use IPAM when DisableContainerInterface'],
  ])('refuses %j', async (conf, message) => {
    const pod = podWith(bed);
    const add = bed.runtime.add(network('net', [{ type: 'bridge', ...conf }]), pod);
    await expect(add).rejects.toThrow(message);
    expect(ipj(pod.netns, 'link')).toHaveLength(1);
    expect(ipj(node, 'link').filter((l) => String(l['ifname']).startsWith('veth'))).toEqual([]);
  });

  it('isolates ports, checks the source of frames, and can leave the interface alone', async () => {
    const list = network('net', [
      { type: 'bridge', macspoofchk: true, portIsolation: true, disableContainerInterface: true },
    ]);
    const pod = podWith(bed);
    const result = await bed.runtime.add(list, pod);
    expect(ipj(pod.netns, 'link', 'show', 'eth0')[0]?.['operstate']).toBe('DOWN');
    const port = result.interfaces?.[1]?.name as string;
    expect(sh(node, 'bridge', '-d', 'link', 'show', 'dev', port)).toContain('isolated on');
    expect(nft()).toContain(`"${port}" . ${result.interfaces?.[2]?.mac}`);
    await bed.runtime.del(list, pod);
    expect(nft()).not.toContain(port);
  });

  it('gives up what belongs to attachments that are gone, by GC', async () => {
    const list = network('net', [{ type: 'bridge', isGateway: true, ipMasq: true, ipam: dual() }], '1.1.0');
    const [a, b] = [podWith(bed), podWith(bed)];
    for (const pod of [a, b]) await bed.runtime.add(list, pod);
    // The runtime has lost all it knew of the second.
    rmSync(join(bed.dir, 'cache'), { recursive: true, force: true });
    await bed.runtime.gc(list, [{ containerId: a.containerId, ifname: a.ifname }]);
    expect(masqueraded()).toBe(2 * 2);
    expect(readdirSync(join(files, 'net')).filter((name) => /^(10|fd)/.test(name))).toHaveLength(2);
    await bed.runtime.del(list, a);
  });
});
