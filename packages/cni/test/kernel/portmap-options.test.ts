// portmap's options and its backend iptables, beside Debian's containernetworking-plugins; and ipMasq by iptables.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectTcp, listenTcp, NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasReference, LonelyNode } from './alone.ts';
import { Bed, sh } from './bed.ts';
import { haveReference, network, podWith, referenceRuntime } from './side-by-side.ts';

let bed: Bed;
let node: string;
let files: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
  files = mkdtempSync(join(tmpdir(), 'weft-portmap-'));
});
afterEach(async () => {
  await bed.close();
  rmSync(files, { recursive: true, force: true });
});

const bridge = () => ({
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  hairpinMode: true,
  ipam: {
    type: 'host-local',
    dataDir: join(files, 'ipam'),
    ranges: [[{ subnet: '10.88.0.0/24' }], [{ subnet: 'fd00:88::/64' }]],
  },
});
const chain = (options: object, version?: string) =>
  network('net', [bridge(), { type: 'portmap', capabilities: { portMappings: true }, ...options }], version);
const mapping = (hostPort: number, more: object = {}) => ({ hostPort, containerPort: 80, protocol: 'tcp', ...more });
const withPorts = (...portMappings: object[]) => podWith(bed, { portMappings });
const nat = (program = 'iptables'): string[] => sh(node, program, '-t', 'nat', '-S').split('\n').sort();

/** The client that a server on port 80 of a pod sees; undefined when nothing gets through. */
async function reach(from: string, pod: string, address: string, port: number): Promise<string | undefined> {
  const [client, host] = [NetNs.open(from), NetNs.open(pod)];
  const listener = createServer((socket) => socket.on('error', () => {}));
  listener.listen({ fd: listenTcp('0.0.0.0', 80, host) });
  await once(listener, 'listening');
  try {
    const accepted = once(listener, 'connection') as Promise<[Socket]>;
    const fd = await Promise.race([
      connectTcp(address, port, client).catch(() => undefined),
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 1200)),
    ]);
    if (fd === undefined) return undefined;
    const socket = new Socket({ fd });
    const [far] = await accepted;
    const seen = far.remoteAddress;
    socket.destroy();
    far.destroy();
    return seen;
  } finally {
    listener.close();
    client.close();
    host.close();
  }
}

/** A neighbour of the node, 192.0.2.20, who has no way to pods. */
function outsider(): string {
  const { netns } = bed.pod();
  sh(node, 'ip', 'link', 'set', 'out1', 'netns', netns);
  sh(netns, 'ip', 'link', 'set', 'out1', 'up');
  sh(netns, 'ip', 'addr', 'add', '192.0.2.20/24', 'dev', 'out1');
  return netns;
}

describe('the backend iptables', () => {
  const many = [
    ...Array.from({ length: 16 }, (_, i) => mapping(9000 + i)),
    mapping(53, { protocol: 'udp' }),
    mapping(8080, { hostIP: '192.0.2.10' }),
    mapping(8081, { hostIP: '2001:db8::10' }),
  ];
  const cases = [
    ['one port', {}, [mapping(8080)]],
    ['many ports of both protocols, some bound', {}, many],
    ['without snat', { snat: false }, [mapping(8080)]],
    ['another mark', { markMasqBit: 9 }, [mapping(8080)]],
    ['a chain of others', { externalSetMarkChain: 'KUBE-MARK-MASQ' }, [mapping(8080)]],
    ['conditions', { conditionsV4: ['!', '-s', '198.51.100.0/24'], conditionsV6: ['-i', 'out0'] }, [mapping(8080)]],
  ] as const;
  it.skipIf(!haveReference).each(cases)('makes the rules of the reference: %s', async (_name, options, mappings) => {
    for (const program of ['iptables', 'ip6tables']) sh(node, program, '-t', 'nat', '-N', 'KUBE-MARK-MASQ');
    const list = chain({ backend: 'iptables', ...options });
    const reference = referenceRuntime(bed, ['bridge', 'host-local', 'portmap']);
    const pod = withPorts(...mappings);
    await bed.runtime.add(list, pod);
    await bed.runtime.check(list, pod);
    const ours = [nat(), nat('ip6tables')];
    await bed.runtime.del(list, pod);
    const frame = [nat(), nat('ip6tables')];
    expect(JSON.stringify(frame)).not.toMatch(/CNI-DN-/);
    rmSync(join(files, 'ipam'), { recursive: true, force: true });
    await reference.add(list, pod);
    const theirs = [nat(), nat('ip6tables')];
    expect(ours).toEqual(theirs);
    // What one has made, the other takes down.
    rmSync(join(bed.dir, 'cache'), { recursive: true, force: true });
    await bed.runtime.del(list, pod);
    expect([nat(), nat('ip6tables')]).toEqual(frame);
  });

  it('leads to the pod, also from itself and by 127.0.0.1', async () => {
    const out = outsider();
    const list = chain({ backend: 'iptables' });
    const pod = withPorts(mapping(8080));
    await bed.runtime.add(list, pod);
    expect(await reach(out, pod.netns, '192.0.2.10', 8080)).toBe('192.0.2.20');
    expect(await reach(node, pod.netns, '127.0.0.1', 8080)).toBe('10.88.0.1');
    expect(await reach(pod.netns, pod.netns, '192.0.2.10', 8080)).toBe('10.88.0.1');
  });

  it('is compared by CHECK, and freed by GC', async () => {
    const list = chain({ backend: 'iptables' }, '1.1.0');
    const [a, b] = [withPorts(mapping(8080)), withPorts(mapping(8081))];
    for (const pod of [a, b]) await bed.runtime.add(list, pod);
    rmSync(join(bed.dir, 'cache'), { recursive: true, force: true });
    await bed.runtime.gc(list, [{ containerId: a.containerId, ifname: a.ifname }]);
    expect(nat().filter((line) => line.startsWith('-N CNI-DN-'))).toHaveLength(1);
    await bed.runtime.del(list, b);
    await bed.runtime.add(list, b);
    await bed.runtime.check(list, b);
    const entry = nat().find((line) => line.includes(`8081 -j CNI-DN-`)) as string;
    sh(node, 'sh', '-c', `iptables -t nat ${entry.replace('-A', '-D')}`);
    await expect(bed.runtime.check(list, b)).rejects.toThrow('is not reached by host ports');
    sh(node, 'iptables', '-t', 'nat', '-F', / -j (\S+)$/.exec(entry)?.[1] as string);
    await expect(bed.runtime.check(list, b)).rejects.toThrow('iptables lacks the rule of a host port');
  });
});

describe('the backend nftables', () => {
  it('translates nothing with snat false, and everything with masqAll', async () => {
    const out = outsider();
    const plain = chain({ snat: false });
    const pod = withPorts(mapping(8080));
    await bed.runtime.add(plain, pod);
    await bed.runtime.check(plain, pod);
    expect(await reach(out, pod.netns, '192.0.2.10', 8080)).toBe('192.0.2.20');
    expect(await reach(node, pod.netns, '127.0.0.1', 8080)).toBeUndefined();
    expect(await reach(pod.netns, pod.netns, '192.0.2.10', 8080)).toBeUndefined();
    await bed.runtime.del(plain, pod);
    const all = chain({ masqAll: true, backend: 'nftables' });
    await bed.runtime.add(all, pod);
    await bed.runtime.check(all, pod);
    expect(await reach(out, pod.netns, '192.0.2.10', 8080)).toBe('10.88.0.1');
    expect(await reach(node, pod.netns, '127.0.0.1', 8080)).toBe('10.88.0.1');
    expect(await reach(pod.netns, pod.netns, '192.0.2.10', 8080)).toBe('10.88.0.1');
    await bed.runtime.del(all, pod);
    expect(sh(node, 'nft', 'list', 'set', 'inet', 'weft-portmap', 'all4')).not.toContain('10.88');
  });

  it('leads only what meets the conditions, so that two pods can share a port', async () => {
    const out = outsider();
    sh(out, 'sysctl', '-qw', 'net.ipv4.conf.out1.promote_secondaries=1');
    sh(out, 'ip', 'addr', 'add', '192.0.2.21/24', 'dev', 'out1');
    const one = chain({ conditionsV4: ['ip saddr 192.0.2.20'], conditionsV6: ['ip6 saddr 2001:db8::20'] });
    const two = chain({ conditionsV4: ['ip', 'saddr', '192.0.2.21'] });
    const [a, b] = [withPorts(mapping(8080)), withPorts(mapping(8080))];
    await bed.runtime.add(one, a);
    await bed.runtime.add(two, b);
    await bed.runtime.check(one, a);
    expect(await reach(out, a.netns, '192.0.2.10', 8080)).toBe('192.0.2.20');
    await bed.restart();
    await bed.runtime.check(one, a);
    sh(out, 'ip', 'addr', 'del', '192.0.2.20/24', 'dev', 'out1');
    expect(await reach(out, a.netns, '192.0.2.10', 8080)).toBeUndefined();
    expect(await reach(out, b.netns, '192.0.2.10', 8080)).toBe('192.0.2.21');
    await bed.runtime.del(one, a);
    await expect(bed.runtime.check(one, a)).rejects.toThrow();
    expect(sh(node, 'nft', 'list', 'chain', 'inet', 'weft-portmap', 'conditional').match(/dnat/g)).toHaveLength(1);
    await bed.runtime.del(two, b);
    expect(sh(node, 'nft', 'list', 'chain', 'inet', 'weft-portmap', 'conditional')).not.toContain('dnat');
  });

  it.each([
    [{ backend: 'ipfw' }, 'backend: "ipfw" is unknown'],
    [{ backend: 'nftables', externalSetMarkChain: 'X' }, 'externalSetMarkChain: not for the backend nftables'],
    [{ backend: 'iptables', conditionsV4: ['ip saddr 1.2.3.4'] }, 'conditionsV4: not for the backend iptables'],
    [{ externalSetMarkChain: 'X', markMasqBit: 3 }, 'externalSetMarkChain and markMasqBit'],
    [{ markMasqBit: 32 }, 'markMasqBit'],
    [{ conditionsV4: ['ip saddr 1.2.3.4; flush ruleset'] }, 'is more than a condition'],
    [{ conditionsV4: ['rubbish'] }, 'nft, which reads conditionsV4'],
    [{ snat: 'maybe' }, 'snat'],
  ])('refuses %j and leaves nothing', async (options, message) => {
    const list = chain(options);
    const pod = withPorts(mapping(8080));
    await expect(bed.runtime.add(list, pod)).rejects.toThrow(message);
    await bed.runtime.del(list, pod);
    expect(sh(node, 'nft', 'list', 'ruleset')).not.toContain(pod.containerId);
  });
});

describe('ipMasq by iptables', () => {
  const plugin = (type: string) => ({
    ...bridge(),
    ...(type === 'bridge' ? { isGateway: true } : {}),
    type,
    ipMasq: true,
  });
  const list = (type: string, version?: string) =>
    network('net', [{ ...plugin(type), ipMasqBackend: 'iptables' }], version);

  it.skipIf(!haveReference).each(['bridge', 'ptp'])('has the rules of the reference: %s', async (type) => {
    const reference = referenceRuntime(bed, [type, 'host-local']);
    const pod = podWith(bed);
    await bed.runtime.add(list(type), pod);
    await bed.runtime.check(list(type), pod);
    const ours = [nat(), nat('ip6tables')];
    await bed.runtime.del(list(type), pod);
    expect(JSON.stringify([nat(), nat('ip6tables')])).not.toContain('-N CNI-');
    rmSync(join(files, 'ipam'), { recursive: true, force: true });
    await reference.add(network('net', [plugin(type)]), pod);
    expect(ours).toEqual([nat(), nat('ip6tables')]);
  });

  it('leaves nothing when the namespace was gone before DEL, nor after GC', async () => {
    const net = list('bridge', '1.1.0');
    const pods = [podWith(bed), podWith(bed), podWith(bed)];
    for (const pod of pods) await bed.runtime.add(net, pod);
    const [a, b, c] = pods as [(typeof pods)[0], (typeof pods)[0], (typeof pods)[0]];
    const chains = (): number => nat().filter((line) => line.startsWith('-N CNI-')).length;
    expect(chains()).toBe(3);
    await bed.runtime.del(net, { ...a, netns: '' });
    expect(chains()).toBe(2);
    rmSync(join(bed.dir, 'cache'), { recursive: true, force: true });
    await bed.runtime.gc(net, [{ containerId: b.containerId, ifname: b.ifname }]);
    expect(chains()).toBe(1);
    await bed.runtime.del(net, b);
    await bed.runtime.del(net, c);
    expect(nat().filter((line) => line.includes('CNI-'))).toEqual([]);
  });
});

describe.skipIf(!hasReference)('without an agent', () => {
  it('portmap works by what the kernel says, and an agent that comes takes over', async () => {
    const lonely = await LonelyNode.open();
    try {
      const [pod, other] = [lonely.pod(), lonely.pod()];
      const config = (hostPort: number) => ({
        cniVersion: '1.1.0',
        name: 'net',
        type: 'portmap',
        runtimeConfig: { portMappings: [{ hostPort, containerPort: 80, protocol: 'tcp' }] },
        prevResult: {
          cniVersion: '1.1.0',
          interfaces: [{ name: 'veth0' }, { name: 'eth0', sandbox: pod.netns }],
          ips: [{ address: '10.9.0.2/24', interface: 1 }],
        },
      });
      const call = (verb: string, who: typeof pod, hostPort = 8080) =>
        lonely.call(lonely.ours, verb, config(hostPort), who);
      expect((await call('ADD', pod)).err).toBe('');
      expect(await call('CHECK', pod)).toMatchObject({ status: 0, out: '' });
      expect((await call('ADD', other)).json).toMatchObject({
        code: 102,
        msg: expect.stringContaining('in use by net/c1/eth0') as unknown,
      });
      expect((await call('ADD', other, 8081)).status).toBe(0);
      const gc = { ...config(0), 'cni.dev/valid-attachments': [{ containerID: other.containerId, ifname: 'eth0' }] };
      expect((await lonely.call(lonely.ours, 'GC', gc)).status).toBe(0);
      const map = (): string => sh(lonely.netns, 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4');
      expect(map()).toContain('8081');
      expect(map()).not.toContain('8080');
      expect((await call('CHECK', pod)).json).toMatchObject({ code: 101 });
      for (const _ of [1, 2]) expect(await call('DEL', other, 8081)).toMatchObject({ status: 0, out: '' });
      expect(map()).not.toContain('8081');
    } finally {
      lonely.close();
    }
  });
});
