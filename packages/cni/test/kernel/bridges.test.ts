// bridge, ptp and host-local, beside Debian's containernetworking-plugins given the same configuration.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const masqueraded = (): number => (nft().match(/comment "net /g) ?? []).length;

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
    const rules = (nft().match(/masquerade fully-random/g) ?? []).length;
    expect(rules).toBe(2);
    // Per pod and family: itself, and what it reaches by its own address: the subnet, and multicast.
    expect(masqueraded()).toBe(3 * 2 * 3);
    for (const pod of pods) await bed.runtime.check(list, pod);
    sh(node, 'nft', 'flush', 'set', 'inet', 'weft-cni-masq', 'pods4');
    await expect(bed.runtime.check(list, pods[0] as (typeof pods)[0])).rejects.toThrow('is not masqueraded');
    for (const pod of pods) await bed.runtime.del(list, pod);
    expect(masqueraded()).toBe(0);
    expect(readdirSync(join(files, 'net')).sort()).toEqual(['last_reserved_ip.0', 'last_reserved_ip.1', 'lock']);
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
    expect(masqueraded()).toBe(2 * 3);
    expect(readdirSync(join(files, 'net')).filter((name) => /^(10|fd)/.test(name))).toHaveLength(2);
    await bed.runtime.del(list, a);
  });
});

describe('ptp', () => {
  const cases = [
    ['both families', () => ({ ipMasq: true, mtu: 1300, ipam: dual() })],
    ['IPv4 and DNS', () => ({ ipam: four(), dns: { nameservers: ['192.0.2.53'] } })],
  ] as const;
  it.skipIf(!haveReference).each(cases)('does as the reference: %s', async (_name, conf) => {
    const list = network('net', [{ type: 'ptp', ...conf() }]);
    const reference = referenceRuntime(bed, ['ptp', 'host-local']);
    const [a, b] = [podWith(bed), podWith(bed)];
    const names = (l: ReturnType<typeof look>) => JSON.parse(JSON.stringify(l).replaceAll(/veth[0-9a-f]{8}/g, 'VETH'));
    const mine = names(look(a, await bed.runtime.add(list, a)));
    await bed.runtime.check(list, a);
    sh(node, 'ping', '-c1', '-W1', mine.result.ips[0].address.split('/')[0]);
    await bed.runtime.del(list, a);
    rmSync(files, { recursive: true, force: true });
    expect(names(look(b, await reference.add(list, b)))).toEqual(mine);
    await reference.del(list, b);
    expect(masqueraded()).toBe(0);
  });

  it('says what is missing', async () => {
    const list = network('net', [{ type: 'ptp', ipMasq: true, ipam: four() }]);
    const pod = podWith(bed);
    await bed.runtime.add(list, pod);
    sh(node, 'ip', 'route', 'del', '10.88.0.9/32');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow('the node has no route to 10.88.0.9');
    await bed.runtime.del(list, pod);
    await bed.runtime.del(list, pod);
    await expect(bed.runtime.add(network('net', [{ type: 'ptp' }]), podWith(bed))).rejects.toThrow(
      'ipam.type is missing',
    );
  });
});

describe('host-local with files', () => {
  it.skipIf(!haveReference)('shares a directory with the reference plugin, either way', async () => {
    const list = network('net', [{ type: 'bridge', ipam: { ...four(), rangeEnd: '10.88.0.12' } }]);
    const reference = referenceRuntime(bed, ['bridge', 'host-local']);
    const pods = [podWith(bed), podWith(bed), podWith(bed), podWith(bed)] as const;
    const given: unknown[] = [];
    for (const [i, pod] of pods.entries()) {
      given.push((await (i % 2 === 0 ? bed.runtime : reference).add(list, pod)).ips?.[0]?.address);
    }
    expect(given).toEqual(['10.88.0.9/24', '10.88.0.10/24', '10.88.0.11/24', '10.88.0.12/24']);
    const file = readFileSync(join(files, 'net', '10.88.0.9'), 'utf8');
    expect(file).toBe(`${pods[0].containerId}\r\n${pods[0].ifname}`);
    const full = /no IP addresses available in range set: 10\.88\.0\.9-10\.88\.0\.12/;
    await expect(bed.runtime.add(list, podWith(bed))).rejects.toThrow(full);
    await expect(reference.add(list, podWith(bed))).rejects.toThrow(full);
    // Each takes away what the other gave.
    await reference.del(list, pods[0]);
    await bed.runtime.del(list, pods[1]);
    expect((await bed.runtime.add(list, podWith(bed))).ips?.[0]?.address).toBe('10.88.0.9/24');
    expect(readFileSync(join(files, 'net', 'last_reserved_ip.0'), 'utf8')).toBe('10.88.0.9');
  });

  it('gives what is asked for, reads resolv.conf, and says why not', async () => {
    const resolv = join(files, 'resolv');
    writeFileSync(resolv, '# x\nnameserver 192.0.2.53\nsearch a.test b.test\noptions ndots:2\n');
    const conf = { ...four(), resolvConf: resolv };
    const list = network('net', [{ type: 'bridge', capabilities: { ips: true }, ipam: conf }]);
    const add = (...ips: string[]) => bed.runtime.add(list, podWith(bed, { ips }));
    const first = await add('10.88.0.77/24');
    expect(first.ips?.[0]?.address).toBe('10.88.0.77/24');
    expect(first.dns).toEqual({ nameservers: ['192.0.2.53'], search: ['a.test', 'b.test'], options: ['ndots:2'] });
    await expect(add('10.88.0.77')).rejects.toThrow('requested IP address 10.88.0.77 is not available');
    await expect(add('10.88.0.1')).rejects.toThrow("requested ip 10.88.0.1 is subnet's gateway");
    await expect(add('10.89.0.1')).rejects.toThrow('failed to allocate all requested IPs: 10.89.0.1');
    expect(readdirSync(join(files, 'net')).filter((name) => name.startsWith('10.'))).toEqual(['10.88.0.77']);
  });
});
