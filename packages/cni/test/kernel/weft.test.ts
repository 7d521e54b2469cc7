import { join } from 'node:path';
import { NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, pings, sh } from './bed.ts';

let bed: Bed;
beforeEach(async () => {
  bed = await Bed.open();
});
afterEach(async () => {
  await bed.close();
});

describe('the weft plugin, point to point', () => {
  it('wires a pod as ip shows it', async () => {
    const pod = bed.pod();
    const result = await bed.runtime.add(bed.list(), pod);
    const node = join(bed.dir, 'node');
    const link = result.interfaces?.[0]?.name ?? '';
    expect(result.ips).toEqual([{ address: '10.244.1.2/32', gateway: '169.254.1.1', interface: 1 }]);
    expect(result.interfaces?.[1]).toMatchObject({ name: 'eth0', mtu: 1450, sandbox: pod.netns });
    const [eth0] = ipj(pod.netns, '-d', 'addr', 'show', 'dev', 'eth0');
    expect(eth0).toMatchObject({ mtu: 1450, operstate: 'UP', address: result.interfaces?.[1]?.mac });
    const addresses = eth0?.['addr_info'] as Record<string, unknown>[];
    expect(addresses.filter((a) => a['family'] === 'inet')).toMatchObject([{ local: '10.244.1.2', prefixlen: 32 }]);
    expect(ipj(pod.netns, 'route')).toMatchObject([
      { dst: 'default', gateway: '169.254.1.1', dev: 'eth0' },
      { dst: '169.254.1.1', dev: 'eth0', scope: 'link' },
    ]);
    expect(ipj(pod.netns, 'neigh')).toMatchObject([
      { dst: '169.254.1.1', lladdr: 'ee:ee:ee:ee:ee:ee', state: ['PERMANENT'] },
    ]);
    expect(
      sh(node, 'ip', 'route')
        .split('\n')
        .find((l) => l.includes('10.244.1.2'))
        ?.trim(),
    ).toBe(`10.244.1.2 dev ${link} scope link`);
    const [near] = ipj(node, 'link', 'show', 'dev', link);
    expect(near?.['link_index']).toBe(eth0?.['ifindex']);
    expect(near?.['operstate']).toBe('UP');
    expect(ipj(pod.netns, 'link', 'show', 'dev', 'lo')[0]?.['flags']).toContain('UP');
  });

  it('connects pods with each other, with the node and back', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), a);
    await bed.runtime.add(bed.list(), b);
    expect(pings(a.netns, '10.244.1.3')).toBe(true);
    expect(pings(b.netns, '10.244.1.2')).toBe(true);
    expect(pings(a.netns, '192.0.2.10')).toBe(true);
    expect(pings(join(bed.dir, 'node'), '10.244.1.3')).toBe(true);
    expect(pings(a.netns, '10.244.1.3', '-M', 'do', '-s', String(1450 - 28))).toBe(true);
    // The node answers for the gateway even when the pod has forgotten it.
    sh(a.netns, 'ip', 'neigh', 'del', '169.254.1.1', 'dev', 'eth0');
    expect(pings(a.netns, '10.244.1.3')).toBe(true);
    const gateway = ipj(a.netns, 'neigh').find((n) => n['dst'] === '169.254.1.1');
    expect(gateway?.['lladdr']).toBe('ee:ee:ee:ee:ee:ee');
  });

  it('gives one address per family', async () => {
    const pod = bed.pod();
    const list = bed.list({}, ['10.244.1.0/24', 'fd00:1::/64']);
    const other = bed.pod();
    const result = await bed.runtime.add(list, pod);
    await bed.runtime.add(list, other);
    expect(result.ips?.map((ip) => ip.address)).toEqual(['10.244.1.2/32', 'fd00:1::2/128']);
    expect(pings(pod.netns, 'fd00:1::3')).toBe(true);
    expect(pings(join(bed.dir, 'node'), 'fd00:1::2')).toBe(true);
    await bed.runtime.check(list, pod);
  });

  it('answers CHECK by what the kernel has', async () => {
    const pod = bed.pod();
    await bed.runtime.add(bed.list(), pod);
    await bed.runtime.check(bed.list(), pod);
    sh(pod.netns, 'ip', 'link', 'set', 'eth0', 'mtu', '1300');
    await expect(bed.runtime.check(bed.list(), pod)).rejects.toThrow(/eth0 has MTU 1300, not 1450/);
    sh(pod.netns, 'ip', 'link', 'set', 'eth0', 'mtu', '1450');
    sh(pod.netns, 'ip', 'route', 'del', 'default');
    await expect(bed.runtime.check(bed.list(), pod)).rejects.toThrow(/no route by its gateway/);
    sh(pod.netns, 'ip', 'addr', 'flush', 'dev', 'eth0');
    await expect(bed.runtime.check(bed.list(), pod)).rejects.toThrow(/lacks address 10\.244\.1\.2/);
    sh(pod.netns, 'ip', 'link', 'del', 'eth0');
    await expect(bed.runtime.check(bed.list(), pod)).rejects.toThrow(/is missing on the node/);
  });

  it('removes everything at DEL, again and again, and without the namespace', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    const before = ipj(join(bed.dir, 'node'), 'link').length;
    await bed.runtime.add(bed.list(), a);
    await bed.runtime.add(bed.list(), b);
    await bed.runtime.del(bed.list(), a);
    await bed.runtime.del(bed.list(), a);
    await bed.runtime.del(bed.list(), { ...b, netns: '' });
    await bed.runtime.del(bed.list(), { ...bed.pod(), netns: '/gone' });
    await bed.server.flush();
    expect(ipj(join(bed.dir, 'node'), 'link')).toHaveLength(before);
    expect(sh(join(bed.dir, 'node'), 'ip', 'route')).not.toContain('10.244.');
    expect(bed.server.attachments()).toEqual([]);
  });

  it('wires and removes many pods at the same time', async () => {
    const pods = Array.from({ length: 20 }, () => bed.pod());
    const results = await Promise.all(pods.map((pod) => bed.runtime.add(bed.list(), pod)));
    expect(new Set(results.map((r) => r.ips?.[0]?.address)).size).toBe(20);
    expect(pings(pods[0]?.netns ?? '', results[19]?.ips?.[0]?.address.split('/')[0] ?? '')).toBe(true);
    await Promise.all(pods.map((pod) => bed.runtime.del(bed.list(), pod)));
    await bed.server.flush();
    expect(sh(join(bed.dir, 'node'), 'ip', 'route')).not.toContain('10.244.');
    expect(bed.server.attachments()).toEqual([]);
  });

  it('refuses an interface that exists, and keeps no address for it', async () => {
    const pod = bed.pod();
    sh(pod.netns, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'x');
    await expect(bed.runtime.add(bed.list(), pod)).rejects.toThrow(/interface eth0 exists already/);
    expect(bed.server.attachments()).toEqual([]);
    expect(ipj(join(bed.dir, 'node'), 'link').filter((l) => String(l['ifname']).startsWith('veth'))).toEqual([]);
  });

  it('never gives a second address to the same attachment', async () => {
    const pod = bed.pod();
    await bed.runtime.add(bed.list(), pod);
    await expect(bed.runtime.add(bed.list(), pod)).rejects.toThrow(/has eth0 already, with 10\.244\.1\.2/);
    expect(bed.server.attachments().map((a) => a.addresses)).toEqual([['10.244.1.2']]);
    expect(pings(join(bed.dir, 'node'), '10.244.1.2')).toBe(true);
  });

  it('frees by itself what went with its namespace, when a second look finds it gone as well', async () => {
    const mapped = { capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } };
    const [gone, alive] = [bed.pod(), bed.pod()];
    await bed.runtime.add(bed.list(), { ...gone, ...mapped });
    await bed.runtime.add(bed.list(), alive);
    NetNs.remove(gone.netns);
    // The kernel takes a namespace apart when it finds the time.
    const links = () => ipj(join(bed.dir, 'node'), 'link').filter((l) => String(l['ifname']).startsWith('veth'));
    await expect.poll(() => links().length, { timeout: 10_000 }).toBe(1);
    expect((await bed.server.sweep()).freed).toEqual([]);
    expect(bed.server.attachments()).toHaveLength(2);
    expect((await bed.server.sweep()).freed).toMatchObject([{ containerId: gone.containerId }]);
    expect(bed.server.attachments().map((a) => a.containerId)).toEqual([alive.containerId]);
    const map = sh(join(bed.dir, 'node'), 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4');
    expect(map).not.toContain('8080');
    expect((await bed.server.sweep()).freed).toEqual([]);
    expect(pings(join(bed.dir, 'node'), '10.244.1.3')).toBe(true);
  });

  it('is not ready while its node has a problem', async () => {
    let problem: string | undefined = 'the fabric is down';
    await bed.restart({ problem: () => problem });
    await expect(bed.runtime.status(bed.list())).rejects.toMatchObject({
      cniCode: 50,
      message: expect.stringContaining('network weft: the fabric is down'),
    });
    problem = undefined;
    await bed.runtime.status(bed.list());
  });

  it('says which range is exhausted', async () => {
    const list = bed.list({}, ['10.244.9.0/30']);
    const last = bed.pod();
    await bed.runtime.add(list, last);
    await expect(bed.runtime.status(list)).rejects.toMatchObject({ cniCode: 50 });
    await expect(bed.runtime.add(list, bed.pod())).rejects.toThrow(/10\.244\.9\.0\/30: 1 of 1 are in use/);
    await bed.runtime.del(list, last);
    await bed.server.flush();
    await bed.runtime.status(list);
    await bed.runtime.add(list, bed.pod());
  });

  it('reads Go-cased capability arguments and asked-for addresses', async () => {
    const pod = bed.pod();
    const result = await bed.runtime.add(bed.list(), {
      ...pod,
      capabilityArgs: { ips: ['10.244.1.77/24'], mac: '02:11:22:33:44:55' },
    });
    expect(result.ips?.[0]?.address).toBe('10.244.1.77/32');
    expect(ipj(pod.netns, 'link', 'show', 'dev', 'eth0')[0]?.['address']).toBe('02:11:22:33:44:55');
    await expect(
      bed.runtime.add(bed.list(), { ...bed.pod(), capabilityArgs: { ips: ['10.244.1.77'] } }),
    ).rejects.toThrow(/10\.244\.1\.77 is in use by weft\/c1\/eth0/);
  });
});

describe('the weft plugin with a bridge', () => {
  it('wires pods to a bridge that has the gateway address', async () => {
    const list = bed.list({}, ['10.244.1.0/24'], 'bridge');
    const [a, b] = [bed.pod(), bed.pod()];
    const result = await bed.runtime.add(list, a);
    await bed.runtime.add(list, b);
    const node = join(bed.dir, 'node');
    expect(result.interfaces?.map((i) => i.name)).toEqual(['cni0', expect.stringMatching(/^veth/), 'eth0']);
    expect(result.ips).toEqual([{ address: '10.244.1.2/24', gateway: '10.244.1.1', interface: 2 }]);
    const [cni0] = ipj(node, 'addr', 'show', 'dev', 'cni0');
    expect(cni0?.['addr_info']).toEqual(
      expect.arrayContaining([expect.objectContaining({ local: '10.244.1.1', prefixlen: 24 })]),
    );
    const [port] = ipj(node, '-d', 'link', 'show', 'dev', result.interfaces?.[1]?.name ?? '');
    expect(port).toMatchObject({ master: 'cni0', linkinfo: { info_slave_data: { hairpin: true } } });
    expect(pings(a.netns, '10.244.1.3')).toBe(true);
    expect(pings(a.netns, '192.0.2.10')).toBe(true);
    expect(pings(node, '10.244.1.2')).toBe(true);
    await bed.runtime.check(list, a);
    await bed.runtime.del(list, a);
    await bed.runtime.del(list, b);
    await bed.server.flush();
    expect(ipj(node, 'link', 'show', 'master', 'cni0')).toEqual([]);
  });
});
