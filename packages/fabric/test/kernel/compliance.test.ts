import { afterEach, describe, expect, it } from 'vitest';
import type { FabricConfig } from '../../src/index.ts';
import { Bed, connect, kernelHas, pings, pinging, run, seenAs, within } from './bed.ts';
import { findBackend } from '../../src/backends/index.ts';

const PODS = { podCidrs: ['10.244.0.0/16'] };
const KEY = Buffer.alloc(32, 7).toString('base64');
const ALL: readonly [string, FabricConfig, number][] = [
  ['vxlan', { backend: 'vxlan', ...PODS }, 1450],
  ['host-gw', { backend: 'host-gw', ...PODS }, 1500],
  ['l2', { backend: 'l2', ...PODS }, 1500],
  ['ipip', { backend: 'ipip', ...PODS }, 1480],
  ['gre', { backend: 'gre', ...PODS }, 1476],
  ['geneve', { backend: 'geneve', ...PODS }, 1450],
  ['udp', { backend: 'udp', ...PODS }, 1472],
  ['udp encrypted', { backend: 'udp', encryptionKeys: [KEY], ...PODS }, 1440],
  ['bgp', { backend: 'bgp', ...PODS }, 1500],
  ['vxlan with direct routing', { backend: 'vxlan', directRouting: true, ...PODS }, 1450],
];

/** Drivers that this kernel has; the guest's has them all. */
const drivers = new Map<string, boolean>();
for (const kind of new Set(ALL.flatMap(([, { backend = '' }]) => findBackend(backend).capabilities.links)))
  drivers.set(kind, await kernelHas(kind));
/** Which to run, where not all; the guest is slow. */
const chosen = process.env['WEFT_BACKENDS']?.split(',');
const BACKENDS = ALL.filter(
  ([name, { backend = '' }]) =>
    (chosen === undefined || chosen.includes(name)) &&
    findBackend(backend).capabilities.links.every((kind) => drivers.get(kind)),
);

let bed: Bed;
afterEach(async () => {
  await bed.close();
});

/** Three machines in one subnet with a pod each. */
async function three(config: FabricConfig): Promise<void> {
  bed = new Bed(config);
  await bed.subnet(0);
  for (const number of [1, 2, 3]) await bed.pod(await bed.machine(number), `10.244.${number}.5`);
  await bed.idle();
}

function allPods(): { readonly ns: Bed['outside']; readonly ip: string }[] {
  return bed.machines.flatMap((machine) => machine.pods.map((pod) => ({ ns: pod.netns, ip: pod.ip })));
}

function needsAgent({ backend = '' }: FabricConfig): boolean {
  return findBackend(backend).capabilities.needsAgent === true;
}

describe.each(BACKENDS)('backend %s', (_name, config, mtu) => {
  it('connects every pod with every other, source address kept', async () => {
    await three(config);
    for (const from of allPods()) {
      for (const to of allPods()) {
        if (from.ip === to.ip) continue;
        expect(await seenAs(from.ns, to.ns, to.ip)).toBe(from.ip);
      }
    }
  });

  it('connects pods of both families over nodes that have both, source address kept', async () => {
    await three(config);
    await bed.dualStack();
    for (const a of bed.machines) {
      for (const b of bed.machines) {
        if (a === b) continue;
        const [from, to] = [a.pods[0]!, b.pods[0]!];
        const [fromIp, toIp] = [from, to].map(({ ip }) => `fd00:${ip.split('.')[2]}::5`);
        await expect.poll(() => pings(from.netns, toIp!), { timeout: 20_000 }).toBe(true);
        expect(await seenAs(from.netns, to.netns, toIp!)).toBe(fromIp);
        expect(await seenAs(from.netns, to.netns, to.ip)).toBe(from.ip);
      }
    }
    expect(await bed.machines[0]!.fabric.audit()).toBe(0);
    const routes = (): string | undefined => run(bed.machines[0]!.ns, 'ip', '-6', 'route');
    const before = routes();
    await bed.restart(bed.machines[0]!);
    expect(routes()).toBe(before);
    const [from] = allPods();
    const mtu = bed.machines[0]!.fabric.podMtu ?? 0;
    run(from!.ns, 'ip', 'link', 'set', 'eth0', 'mtu', String(mtu));
    expect(await pings(from!.ns, 'fd00:2::5', '-M', 'do', '-s', String(mtu - 48))).toBe(true);
  });

  it('works again when a partition is healed, and when the interface was down', async () => {
    await three(config);
    const [a, b] = bed.machines;
    const pod = a!.pods[0]!.netns;
    run(bed.outside, 'ip', 'link', 'set', 'n2', 'down');
    expect(await pings(pod, '10.244.2.5')).toBe(false);
    expect(await pings(pod, '10.244.3.5')).toBe(true);
    run(bed.outside, 'ip', 'link', 'set', 'n2', 'up');
    await expect.poll(() => pings(pod, '10.244.2.5'), { timeout: 20_000 }).toBe(true);
    run(b!.ns, 'ip', 'link', 'set', 'eth0', 'down');
    run(b!.ns, 'ip', 'link', 'set', 'eth0', 'up');
    await expect.poll(() => pings(b!.pods[0]!.netns, '10.244.3.5'), { timeout: 20_000 }).toBe(true);
  });

  it('loses no packet of a running probe while agents are replaced', async () => {
    await three(config);
    const [from, to] = allPods();
    const probe = await pinging(from!.ns, to!.ip);
    for (const machine of bed.machines) await bed.restart(machine);
    const { sent, lost } = await probe.stop();
    expect(sent).toBeGreaterThan(0);
    if (needsAgent(config)) expect(await pings(from!.ns, to!.ip)).toBe(true);
    else expect(lost).toBe(0);
  });

  it('carries packets of the full pod MTU, and says when one is too large', async () => {
    await three(config);
    const [from, to] = allPods();
    expect(bed.machines[0]?.fabric.podMtu).toBe(mtu);
    expect(await pings(from!.ns, to!.ip, '-M', 'do', '-s', String(mtu - 28))).toBe(true);
    expect(await pings(from!.ns, to!.ip, '-M', 'do', '-s', String(mtu - 27))).toBe(false);
  });

  it('connects nodes with pods of other nodes, and back', async () => {
    await three(config);
    const [a, b] = bed.machines;
    expect(await pings(a!.ns, '10.244.2.5')).toBe(true);
    expect(await pings(a!.ns, '10.244.2.5', '-I', a!.ip)).toBe(true);
    expect(await seenAs(b!.pods[0]!.netns, a!.ns, a!.ip)).toBe('10.244.2.5');
  });

  it('translates the source of what leaves the cluster', async () => {
    await three(config);
    const [a] = bed.machines;
    expect(await seenAs(a!.pods[0]!.netns, bed.outside, '172.30.0.1')).toBe(a!.ip);
  });

  it('follows nodes that come, change their addresses and go', async () => {
    await three(config);
    const [a, b] = bed.machines;
    const late = await bed.machine(4);
    await bed.pod(late, '10.244.4.5');
    await bed.idle();
    expect(await pings(a!.pods[0]!.netns, '10.244.4.5')).toBe(true);

    // Another pod CIDR.
    bed.nodes.set('n2', [b!.ip], ['10.244.22.0/24']);
    await bed.pod(b!, '10.244.22.5');
    await bed.idle();
    expect(await pings(a!.pods[0]!.netns, '10.244.22.5')).toBe(true);
    expect(run(a!.ns, 'ip', 'route', 'show', '10.244.2.0/24')).toBe('');

    // Another InternalIP.
    await within(late.ns, async (rtnl) => {
      const eth0 = await rtnl.links.get('eth0');
      await rtnl.addresses.add({ index: eth0?.index ?? 0, address: '172.30.0.99/24' });
    });
    bed.nodes.set('n4', ['172.30.0.99'], ['10.244.4.0/24']);
    await bed.idle();
    await within(late.ns, async (rtnl) => {
      const eth0 = await rtnl.links.get('eth0');
      await rtnl.addresses.del({ index: eth0?.index ?? 0, address: `${late.ip}/24` });
      await rtnl.addresses.replace({ index: eth0?.index ?? 0, address: '172.30.0.99/24' });
      await rtnl.routes.replace({ dst: 'default', family: 4, via: '172.30.0.1' });
    });
    await late.fabric.audit();
    expect(await pings(a!.pods[0]!.netns, '10.244.4.5')).toBe(true);

    bed.nodes.delete('n4');
    await bed.idle();
    for (const kind of [['route'], ['neigh', 'show', 'nud', 'permanent'], ['-d', 'link']]) {
      expect(run(a!.ns, 'ip', ...kind)).not.toContain('10.244.4.');
    }
    expect(run(a!.ns, 'bridge', 'fdb')).not.toContain('172.30.0.99');
  });

  it('lets connections live while agents are replaced, and changes nothing in the kernel', async () => {
    await three(config);
    const [from, to] = allPods();
    const connection = await connect(from!.ns, to!.ns, to!.ip);
    try {
      expect(await connection.echo('before')).toBe('before');
      const show = (): string =>
        `${run(bed.machines[0]!.ns, 'ip', '-d', 'link')}${run(bed.machines[0]!.ns, 'ip', 'route')}`;
      const before = show();
      for (const machine of bed.machines) {
        await machine.fabric.stop();
        if (!needsAgent(config)) expect(await connection.echo('without an agent')).toBe('without an agent');
        machine.fabric = bed.fabric(machine.name, machine.ns);
        await machine.fabric.start();
        expect(await connection.echo('after')).toBe('after');
      }
      expect(show()).toBe(before);
      expect(bed.machines[0]?.fabric.state.lastError).toBeUndefined();
    } finally {
      connection.close();
    }
  });

  it('leads to blocks of pools and to single addresses that nodes have borrowed, through restarts', async () => {
    await three(config);
    const [a, b, c] = bed.machines;
    bed.blocks.setPools(
      { name: 'nat', cidr: '10.77.0.0/24', natOutgoing: true },
      { name: 'plain', cidr: '10.78.0.0/24', natOutgoing: false },
    );
    bed.blocks.set('n1', '10.77.0.0/26');
    // One address of the first node's block and one of its pod CIDR are with the third.
    bed.blocks.set('n2', '10.77.0.64/26', '10.78.0.0/28');
    bed.blocks.set('n3', '10.77.0.9/32', '10.244.1.9/32');
    const [one, two, plain] = [
      await bed.pod(a!, '10.77.0.5'),
      await bed.pod(b!, '10.77.0.70'),
      await bed.pod(b!, '10.78.0.3'),
    ];
    const lent = [await bed.pod(c!, '10.77.0.9'), await bed.pod(c!, '10.244.1.9')];
    await bed.idle();
    const all = [one, two, plain, ...lent, a!.pods[0]!];
    for (const from of all) {
      for (const to of all) if (from !== to) expect(await seenAs(from.netns, to.netns, to.ip)).toBe(from.ip);
    }
    expect(await seenAs(one.netns, bed.outside, '172.30.0.1')).toBe(a!.ip);
    // The world outside has no way back to a pool that is not translated: packets keep their source.
    expect(run(b!.ns, 'nft', 'list', 'set', 'inet', 'weft-fabric', 'direct4')).toContain('10.78.0.0/24');
    expect(run(b!.ns, 'nft', 'list', 'set', 'inet', 'weft-fabric', 'pods4')).not.toContain('10.78');
    const routes = run(a!.ns, 'ip', 'route');
    await bed.restart(a!);
    expect(run(a!.ns, 'ip', 'route')).toBe(routes);
    bed.blocks.set('n3');
    await bed.idle();
    expect(run(a!.ns, 'ip', 'route')).not.toContain('10.77.0.9');
    expect(await a!.fabric.audit()).toBe(0);
  });

  it('removes at start what an earlier agent left for nodes that are gone', async () => {
    await three(config);
    const [a] = bed.machines;
    await a!.fabric.stop();
    bed.nodes.delete('n3');
    await bed.restart(a!);
    await bed.idle();
    expect(run(a!.ns, 'ip', 'route')).not.toContain('10.244.3.');
    expect(run(a!.ns, 'bridge', 'fdb')).not.toContain('172.30.0.13');
    expect(await pings(a!.pods[0]!.netns, '10.244.2.5')).toBe(true);
  });

  it('repairs what others break', async () => {
    await three(config);
    const [a] = bed.machines;
    const pod = a!.pods[0]!.netns;
    run(a!.ns, 'ip', 'route', 'del', '10.244.2.0/24');
    run(a!.ns, 'ip', 'route', 'add', 'blackhole', '10.244.77.0/24', 'proto', '87');
    run(a!.ns, 'nft', 'flush', 'chain', 'inet', 'weft-fabric', 'postrouting');
    expect(await a!.fabric.audit()).toBeGreaterThan(0);
    expect(await a!.fabric.audit()).toBe(0);
    expect(await pings(pod, '10.244.2.5')).toBe(true);
    expect(run(a!.ns, 'ip', 'route')).not.toContain('10.244.77.');
    expect(await seenAs(pod, bed.outside, '172.30.0.1')).toBe(a!.ip);
  });

  it('answers at once for pods that are gone, instead of sending packets in circles', async () => {
    await three(config);
    const out = run(bed.machines[0]!.ns, 'ip', 'route', 'get', '10.244.1.200');
    expect(out).toBeUndefined();
  });

  it('gives a contested pod CIDR to the older node and says so', async () => {
    await three(config);
    const [a] = bed.machines;
    bed.nodes.set('n9', ['172.30.0.19'], ['10.244.2.0/25'], '2025-01-01T00:00:00Z');
    await bed.idle();
    expect(await pings(a!.pods[0]!.netns, '10.244.2.5')).toBe(true);
    expect(a!.fabric.conditions).toEqual([
      { node: 'n9', reason: 'PodCIDROverlap', message: 'pod CIDR 10.244.2.0/25 overlaps 10.244.2.0/24 of node n2' },
    ]);
    bed.nodes.delete('n9');
    await bed.idle();
    expect(a!.fabric.conditions).toEqual([]);
  });
});

describe('vxlan', () => {
  it('works across a router between two subnets', async () => {
    bed = new Bed({ backend: 'vxlan', ...PODS });
    await bed.subnet(0);
    await bed.subnet(1);
    await bed.pod(await bed.machine(1, 0), '10.244.1.5');
    await bed.pod(await bed.machine(2, 1), '10.244.2.5');
    await bed.idle();
    const [a, b] = allPods();
    expect(await seenAs(a!.ns, b!.ns, b!.ip)).toBe(a!.ip);
    expect(await seenAs(b!.ns, a!.ns, a!.ip)).toBe(b!.ip);
    expect(await pings(a!.ns, b!.ip, '-M', 'do', '-s', String(1450 - 28))).toBe(true);
  });

  it('carries IPv6 pods over IPv4 nodes', async () => {
    await three({ backend: 'vxlan', podCidrs: ['10.244.0.0/16', 'fd00::/16'] });
    for (const [i, machine] of bed.machines.entries()) {
      bed.nodes.set(machine.name, [machine.ip], [`10.244.${i + 1}.0/24`, `fd00:${i + 1}::/64`]);
      await bed.addIpv6(machine, machine.pods[0]!, `fd00:${i + 1}::5`);
    }
    await bed.idle();
    const [a, b] = allPods();
    expect(await seenAs(a!.ns, b!.ns, 'fd00:2::5')).toBe('fd00:1::5');
    expect(await bed.machines[0]!.fabric.audit()).toBe(0);
    await bed.restart(bed.machines[0]!);
    expect(await seenAs(b!.ns, a!.ns, 'fd00:1::5')).toBe('fd00:2::5');
  });

  it('mends its device, forwarding entries and neighbours', async () => {
    await three({ backend: 'vxlan', ...PODS });
    const [a] = bed.machines;
    const pod = a!.pods[0]!.netns;
    // Deletions call for an audit by themselves, which on a slow machine comes before the one that is asked for.
    const shows = (...command: string[]) => expect.poll(() => run(a!.ns, ...command), { timeout: 10_000 });
    run(a!.ns, 'ip', 'link', 'del', 'weft.4242');
    await a!.fabric.audit();
    await shows('ip', 'route', 'show', '10.244.2.0/24').toContain('dev weft.4242');
    expect(await pings(pod, '10.244.2.5')).toBe(true);
    const mac = /lladdr (\S+)/.exec(run(a!.ns, 'ip', 'neigh', 'show', '10.244.2.0') ?? '')?.[1] ?? '';
    run(a!.ns, 'bridge', 'fdb', 'replace', mac, 'dev', 'weft.4242', 'dst', '172.30.0.77');
    run(a!.ns, 'ip', 'neigh', 'del', '10.244.3.0', 'dev', 'weft.4242');
    await a!.fabric.audit();
    await shows('bridge', 'fdb', 'show', 'dev', 'weft.4242').not.toContain('172.30.0.77');
    await shows('ip', 'neigh', 'show', '10.244.3.0').toContain('PERMANENT');
    expect(await pings(pod, '10.244.2.5')).toBe(true);
    expect(await pings(pod, '10.244.3.5')).toBe(true);
    run(a!.ns, 'ip', 'link', 'set', 'weft.4242', 'down');
    await a!.fabric.audit();
    await shows('ip', 'link', 'show', 'weft.4242').toContain(',UP,');
    expect(await pings(pod, '10.244.3.5')).toBe(true);
  });

  it('notices by itself when something is taken away', async () => {
    await three({ backend: 'vxlan', ...PODS });
    const [a] = bed.machines;
    const has = (...command: string[]) => expect.poll(() => run(a!.ns, ...command) ?? '', { timeout: 10_000 });
    run(a!.ns, 'ip', 'route', 'del', '10.244.2.0/24');
    await has('ip', 'route', 'show', '10.244.2.0/24').toContain('via 10.244.2.0');
    run(a!.ns, 'ip', 'link', 'del', 'weft.4242');
    await has('ip', 'route', 'show', '10.244.3.0/24').toContain('dev weft.4242');
    run(a!.ns, 'ip', 'neigh', 'del', '10.244.3.0', 'dev', 'weft.4242');
    await has('ip', 'neigh', 'show', '10.244.3.0').toContain('PERMANENT');
    expect(await pings(a!.pods[0]!.netns, '10.244.3.5')).toBe(true);
  });

  it('gives way to another backend without leaving anything', async () => {
    await three({ backend: 'vxlan', ...PODS });
    for (const machine of bed.machines) await bed.restart(machine, { backend: 'host-gw', ...PODS });
    const [a, b] = allPods();
    expect(await seenAs(a!.ns, b!.ns, b!.ip)).toBe(a!.ip);
    expect(run(bed.machines[0]!.ns, 'ip', 'link')).not.toContain('weft.');
  });

  it('follows a change of the underlay MTU', async () => {
    await three({ backend: 'vxlan', ...PODS });
    const [a] = bed.machines;
    run(a!.ns, 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
    await expect.poll(() => a!.fabric.podMtu, { timeout: 5000 }).toBe(1350);
    await a!.fabric.idle();
    expect(run(a!.ns, 'ip', 'link', 'show', 'weft.4242')).toContain('mtu 1350');
  });
});

describe('udp', () => {
  it('lets in what is sealed with one of its keys, and follows their change', async () => {
    const next = Buffer.alloc(32, 8).toString('base64');
    const config = (...encryptionKeys: string[]) => ({ backend: 'udp', encryptionKeys, ...PODS });
    await three(config(KEY));
    const [a, b] = bed.machines;
    const works = async () =>
      (await pings(a!.pods[0]!.netns, '10.244.2.5')) && (await pings(b!.pods[0]!.netns, '10.244.1.5'));
    // Both know the new key before one uses it; then the old one goes.
    for (const [machine, keys] of [
      [a, [KEY, next]],
      [b, [KEY, next]],
      [a, [next, KEY]],
      [b, [next, KEY]],
      [a, [next]],
      [b, [next]],
    ] as const) {
      await bed.restart(machine!, config(...keys));
      expect(await works()).toBe(true);
    }
    await bed.restart(a!, config(KEY));
    expect(await works()).toBe(false);
    await bed.restart(a!, { backend: 'udp', ...PODS });
    expect(await works()).toBe(false);
  });

  it('works across a router, mends its device, and gives way to another backend', async () => {
    bed = new Bed({ backend: 'udp', ...PODS });
    await bed.subnet(0);
    await bed.subnet(1);
    const a = await bed.machine(1, 0);
    await bed.pod(a, '10.244.1.5');
    await bed.pod(await bed.machine(2, 1), '10.244.2.5');
    await bed.idle();
    const [from, to] = allPods();
    expect(await seenAs(from!.ns, to!.ns, to!.ip)).toBe(from!.ip);
    run(a.ns, 'ip', 'link', 'del', 'weft.tun');
    await expect.poll(() => pings(from!.ns, to!.ip), { timeout: 10_000 }).toBe(true);
    expect(await a.fabric.audit()).toBe(0);
    await bed.restart(a, { backend: 'vxlan', ...PODS });
    expect(run(a.ns, 'ip', 'link')).not.toContain('weft.tun');
  });
});

describe('l2', () => {
  it('answers on the segment for its own pods and for nothing else', async () => {
    await three({ backend: 'l2', ...PODS });
    // A stranger on the segment who takes all pods to be on it.
    run(bed.outside, 'ip', 'route', 'add', '10.244.0.0/16', 'dev', 'br0');
    const pod = allPods()[1]!;
    expect(await seenAs(bed.outside, pod.ns, pod.ip)).toBe('172.30.0.1');
    expect(await pings(bed.outside, '10.244.2.77')).toBe(false);
    expect(run(bed.outside, 'ip', 'neigh', 'show', '10.244.2.77')).not.toContain('lladdr');
    run(bed.machines[1]!.ns, 'ip', 'route', 'del', '10.244.2.5/32');
    const shown = () => run(bed.machines[1]!.ns, 'ip', 'neigh', 'show', 'proxy');
    await expect.poll(shown).not.toContain('10.244.2.5');
  });

  it('tells the segment at once that an address is at another node now', async () => {
    await three({ backend: 'l2', ...PODS });
    const [a, b, c] = bed.machines;
    await bed.pod(a!, '10.244.1.9');
    await bed.idle();
    expect(await pings(b!.pods[0]!.netns, '10.244.1.9')).toBe(true);
    run(a!.ns, 'ip', 'link', 'del', 'p1.9');
    a!.pods.pop();
    bed.blocks.set('n3', '10.244.1.9/32');
    await bed.pod(c!, '10.244.1.9');
    await bed.idle();
    // A neighbour that is not told asks again after eight seconds.
    await expect.poll(() => pings(b!.pods[0]!.netns, '10.244.1.9'), { timeout: 5000 }).toBe(true);
  });
});

describe.runIf(drivers.get('ipip') === false)('a kernel without the driver', () => {
  it('says so, and what would help', async () => {
    bed = new Bed({ backend: 'ipip', ...PODS });
    await bed.subnet(0);
    const machine = await bed.machine(1);
    expect(String(machine.fabric.state.lastError)).toContain('weft.ipip: this kernel has no driver "ipip"');
  });
});

describe('host-gw', () => {
  it('names the node it cannot reach across a router, and serves the rest', async () => {
    bed = new Bed({ backend: 'host-gw', ...PODS });
    await bed.subnet(0);
    await bed.subnet(1);
    await bed.pod(await bed.machine(1, 0), '10.244.1.5');
    await bed.pod(await bed.machine(2, 0), '10.244.2.5');
    await bed.machine(3, 1);
    await bed.idle();
    const [a] = bed.machines;
    expect(await pings(a!.pods[0]!.netns, '10.244.2.5')).toBe(true);
    expect(a!.fabric.conditions).toMatchObject([{ node: 'n3', reason: 'NotOnLink' }]);
    expect(a!.fabric.conditions[0]?.message).toContain('172.30.1.13 is behind a router');
  });
});
