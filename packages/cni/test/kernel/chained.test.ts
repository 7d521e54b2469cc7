// tuning and firewall, beside Debian's containernetworking-plugins given the same configuration.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, sh } from './bed.ts';
import { haveReference, look, network, podWith, referenceRuntime, sysctl } from './side-by-side.ts';

let bed: Bed;
let node: string;
let dir: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
  dir = mkdtempSync(join(tmpdir(), 'weft-chained-'));
});
afterEach(async () => {
  await bed.close();
  rmSync(dir, { recursive: true, force: true });
});

const base = () => ({
  type: 'ptp',
  ipam: {
    type: 'host-local',
    dataDir: join(dir, 'ipam'),
    ranges: [[{ subnet: '10.88.0.0/24' }], [{ subnet: 'fd00:88::/64' }]],
  },
});

describe('tuning', () => {
  const cases = [
    ['sysctls', { sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net/core/somaxconn': '500' } }],
    ['link settings', { mtu: 1280, promisc: true, allmulti: true, txQLen: 77 }],
    ['a MAC address', { capabilities: { mac: true } }],
  ] as const;
  it.skipIf(!haveReference).each(cases)('does as the reference: %s', async (_name, conf) => {
    // The reference loses IPv6 addresses when it changes the MAC address; we do not.
    const before =
      'capabilities' in conf ? { ...base(), ipam: { ...base().ipam, ranges: [[{ subnet: '10.88.0.0/24' }]] } } : base();
    const list = network('net', [before, { type: 'tuning', dataDir: join(dir, 'tuning'), ...conf }]);
    const reference = referenceRuntime(bed, ['ptp', 'host-local', 'tuning']);
    const [a, b] = [podWith(bed, { mac: '02:11:22:33:44:55' }), podWith(bed, { mac: '02:11:22:33:44:55' })];
    const seen = (pod: typeof a, l: ReturnType<typeof look>) => [
      JSON.parse(
        JSON.stringify(l)
          .replaceAll(/veth[0-9a-f]{8}/g, 'VETH')
          .replaceAll(/("name":"VETH","mac":")[^"]*/g, '$1some'),
      ),
      ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0]?.['promiscuity'],
      sysctl(pod.netns, 'net.ipv4.conf.eth0.arp_filter'),
      sysctl(pod.netns, 'net.core.somaxconn'),
    ];
    const mac = 'capabilities' in conf;
    const mine = seen(a, look(a, await bed.runtime.add(list, a), mac));
    await bed.runtime.check(list, a);
    await bed.runtime.del(list, a);
    rmSync(join(dir, 'ipam'), { recursive: true, force: true });
    expect(seen(b, look(b, await reference.add(list, b), mac))).toEqual(mine);
    await reference.del(list, b);
  });

  it('puts back what it found, and says what is different', async () => {
    const pod = podWith(bed);
    const first = network('net', [base()]);
    await bed.runtime.add(first, pod);
    const before = ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0] ?? {};
    const config = {
      cniVersion: '1.0.0',
      name: 'net',
      type: 'tuning',
      dataDir: join(dir, 'tuning'),
      mtu: 1280,
      promisc: true,
      txQLen: 77,
      mac: '02:00:00:00:00:07',
      prevResult: { cniVersion: '1.0.0', interfaces: [{ name: 'eth0', sandbox: pod.netns }] },
    };
    const run = (command: string): Promise<string> =>
      new Promise((resolve) => {
        const env = {
          ...process.env,
          CNI_COMMAND: command,
          CNI_CONTAINERID: pod.containerId,
          CNI_NETNS: pod.netns,
          CNI_IFNAME: 'eth0',
          CNI_PATH: join(bed.dir, 'bin'),
        };
        const child = execFile(join(bed.dir, 'bin', 'tuning'), { env }, (_error, stdout) => resolve(stdout));
        child.stdin?.end(JSON.stringify(config));
      });
    await run('ADD');
    const now = () => ipj(pod.netns, '-d', 'link', 'show', 'eth0')[0] ?? {};
    expect(now()).toMatchObject({ mtu: 1280, txqlen: 77, address: '02:00:00:00:00:07', promiscuity: 1 });
    // A second try does not take the changed settings for the old ones.
    await run('ADD');
    expect(await run('CHECK')).toBe('');
    sh(pod.netns, 'ip', 'link', 'set', 'eth0', 'txqueuelen', '5');
    expect(await run('CHECK')).toContain('transmit queue length of eth0 is 5, not 77');
    await run('DEL');
    for (const key of ['mtu', 'txqlen', 'address', 'promiscuity']) expect(now()[key], key).toEqual(before[key]);
    expect(readdirSync(join(dir, 'tuning'))).toEqual([]);
    expect(await run('DEL')).toBe('');
    await bed.runtime.del(first, pod);
  });

  it.each([
    [{ sysctl: { 'kernel.panic': '1' } }, 'invalid net sysctl key: \\"kernel.panic\\"'],
    [{ sysctl: { 'net.ipv4.ip_forward': 1 } }, 'the value of net.ipv4.ip_forward is not a text'],
    [{ sysctl: { 'net/../kernel/panic': '1' } }, 'invalid net sysctl key'],
    [{ mtu: -3 }, 'mtu'],
  ])('refuses %j', async (conf, message) => {
    const add = bed.runtime.add(network('net', [base(), { type: 'tuning', ...conf }]), podWith(bed));
    await expect(add).rejects.toThrow(message.replaceAll('\\"', '"'));
  });
});

describe('firewall', () => {
  const rules = (program = 'iptables'): string[] =>
    sh(node, program, '-S')
      .split('\n')
      .filter((line) => line.includes('CNI-'));

  it.skipIf(!haveReference)('has the chains of the reference, and rules that say whose they are', async () => {
    const list = network('net', [base(), { type: 'firewall' }]);
    const pod = podWith(bed);
    sh(node, 'iptables', '-P', 'FORWARD', 'DROP');
    await bed.runtime.add(list, pod);
    await bed.runtime.check(list, pod);
    const frame = rules().filter((line) => !line.includes(pod.containerId));
    expect(rules().filter((line) => line.includes(pod.containerId))).toHaveLength(2);
    expect(rules('ip6tables').filter((line) => line.includes(pod.containerId))).toHaveLength(2);
    sh(node, 'iptables', '-D', 'CNI-FORWARD', '2');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow('is not let through by CNI-FORWARD');
    await bed.runtime.del(list, pod);
    expect(rules()).toEqual(frame);
    for (const program of ['iptables', 'ip6tables']) {
      sh(node, program, '-F');
      sh(node, program, '-X');
    }
    const reference = referenceRuntime(bed, ['ptp', 'host-local', 'firewall']);
    const other = podWith(bed);
    await reference.add(network('net', [base(), { type: 'firewall', backend: 'iptables' }]), other);
    expect(rules().filter((line) => !/10\.88/.test(line))).toEqual(frame);
  });

  it('leaves nothing by GC or by a DEL that knows nothing, and nothing else changed', async () => {
    const list = network('net', [base(), { type: 'firewall', iptablesAdminChainName: 'MINE' }], '1.1.0');
    const [a, b] = [podWith(bed), podWith(bed)];
    for (const pod of [a, b]) await bed.runtime.add(list, pod);
    sh(node, 'iptables', '-A', 'MINE', '-s', '198.18.0.1', '-j', 'DROP');
    rmSync(join(bed.dir, 'cache'), { recursive: true, force: true });
    await bed.runtime.gc(list, [{ containerId: a.containerId, ifname: a.ifname }]);
    expect(rules().filter((line) => line.includes(b.containerId))).toEqual([]);
    expect(rules().filter((line) => line.includes(a.containerId))).toHaveLength(2);
    await bed.runtime.del(list, a);
    expect(rules().filter((line) => line.includes(a.containerId))).toEqual([]);
    expect(sh(node, 'iptables', '-S', 'MINE')).toContain('198.18.0.1');
    expect(existsSync(join(dir, 'ipam'))).toBe(true);
  });

  it('keeps bridges apart when asked to', async () => {
    const on = (bridge: string, subnet: string) =>
      network(bridge, [
        {
          type: 'bridge',
          bridge,
          isDefaultGateway: true,
          ipam: { type: 'host-local', dataDir: join(dir, 'ipam'), subnet },
        },
        { type: 'firewall', ingressPolicy: 'same-bridge' },
      ]);
    const [a, b, c] = [podWith(bed), podWith(bed), podWith(bed)];
    const first = on('br-a', '10.88.1.0/24');
    const ours = await bed.runtime.add(first, a);
    await bed.runtime.add(first, c);
    await bed.runtime.add(on('br-b', '10.88.2.0/24'), b);
    const to = ours.ips?.[0]?.address.split('/')[0] as string;
    const ping = (from: string): string =>
      sh(from, 'sh', '-c', `ping -c1 -W1 ${to} >/dev/null && echo yes || echo no`).trim();
    expect([ping(c.netns), ping(b.netns)]).toEqual(['yes', 'no']);
    const stages = rules().filter((line) => line.includes('STAGE'));
    expect(stages.at(-1)).toBe('-A CNI-ISOLATION-STAGE-2 -j RETURN');
  });

  it('keeps pods of one bridge apart too when they are to be isolated', async () => {
    const ipam = { type: 'host-local', dataDir: join(dir, 'ipam'), subnet: '10.88.1.0/24' };
    const list = network('net', [
      { type: 'bridge', bridge: 'br-a', isDefaultGateway: true, ipam },
      { type: 'firewall', ingressPolicy: 'isolated' },
    ]);
    const pod = podWith(bed);
    await bed.runtime.add(list, pod);
    await bed.runtime.add(list, podWith(bed));
    await bed.runtime.check(list, pod);
    const stage = rules().filter((line) => line.startsWith('-A CNI-ISOLATION-STAGE-1'));
    expect(stage.map((line) => line.replace(/ -m comment --comment "[^"]*"/, ''))).toEqual([
      '-A CNI-ISOLATION-STAGE-1 -i br-a -o br-a -j DROP',
      '-A CNI-ISOLATION-STAGE-1 -i br-a ! -o br-a -j CNI-ISOLATION-STAGE-2',
      '-A CNI-ISOLATION-STAGE-1 -j RETURN',
    ]);
    sh(node, 'iptables', '-F', 'CNI-ISOLATION-STAGE-1');
    await expect(bed.runtime.check(list, pod)).rejects.toThrow('ingressPolicy isolated: iptables of IPv4 lacks');
  });

  it.each([
    [{ backend: 'firewalld', firewalldZone: 'a b' }, 'firewalldZone: "a b"'],
    [{ backend: 'x' }, 'backend: "x" is unknown'],
    [{ ingressPolicy: 'closed' }, 'ingressPolicy: "closed"'],
    [{ iptablesAdminChainName: 'a b' }, 'is no name of a chain'],
  ])('refuses %j', async (conf, message) => {
    const add = bed.runtime.add(network('net', [base(), { type: 'firewall', ...conf }]), podWith(bed));
    await expect(add).rejects.toThrow(message);
  });
});
