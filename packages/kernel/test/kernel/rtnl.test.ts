import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isKernelError, KernelError, type NetNs, Rtnl } from '../../src/index.ts';
import { json, Namespaces } from './netns-fixture.ts';

const namespaces = new Namespaces();
let ns: NetNs;
let rt: Rtnl;

beforeEach(() => {
  ns = namespaces.make();
  rt = Rtnl.open(ns);
});

afterEach(() => {
  rt.close();
  namespaces.close();
});

async function index(name: string, r = rt): Promise<number> {
  const link = await r.links.get(name);
  if (link === undefined) throw new Error(`no link ${name}`);
  return link.index;
}

/** Rows in the order of their text. */
function sorted(rows: readonly unknown[][]): unknown[][] {
  return [...rows].sort((a, b) => String(a).localeCompare(String(b)));
}

async function failure(promise: Promise<unknown>): Promise<KernelError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof KernelError)) throw new Error(`expected a KernelError, got ${String(error)}`);
  return error;
}

describe('links', () => {
  test('every link agrees with what ip lists', async () => {
    const other = namespaces.make();
    await rt.links.add({
      name: 'br0',
      kind: 'bridge',
      mtu: 1450,
      up: true,
      bridge: { stp: false, mcastSnooping: false },
    });
    const br0 = await index('br0');
    await rt.links.add({
      name: 'v0',
      kind: 'veth',
      master: br0,
      up: true,
      mac: '02:00:00:00:00:01',
      alias: 'pod a/b',
      txqlen: 77,
      group: 5,
      peer: { name: 'eth0', ns: other, mac: '02:00:00:00:00:02', mtu: 1400, up: true, alias: 'its end' },
    });
    await rt.links.set('v0', { hairpin: true, isolated: true, learning: false });
    await rt.links.add({
      name: 'vx0',
      kind: 'vxlan',
      vxlan: { id: 7, port: 4789, local: '192.0.2.1', learning: false, ttl: 9, dev: br0, gbp: true },
    });
    await rt.links.add({ name: 'mv0', kind: 'macvlan', macvlan: { parent: br0, mode: 'bridge' } });

    const ours = await rt.links.list();
    const theirs = json(ns, 'ip', '-j', '-d', 'link');
    expect(ours.map((l) => [l.index, l.name, l.mtu, l.alias, l.txqlen ?? 0])).toEqual(
      theirs.map((l) => [l['ifindex'], l['ifname'], l['mtu'], l['ifalias'], l['txqlen'] ?? 0]),
    );
    expect(ours.map((l) => l.mac)).toEqual(theirs.map((l) => l['address']));
    const byName = new Map(ours.map((l) => [l.name, l]));
    const [end] = json(other, 'ip', '-j', 'link', 'show', 'eth0');
    expect(end).toMatchObject({ ifalias: 'its end', mtu: 1400, operstate: 'UP' });
    expect(byName.get('v0')).toMatchObject({
      kind: 'veth',
      alias: 'pod a/b',
      mac: '02:00:00:00:00:01',
      master: br0,
      portKind: 'bridge',
      port: { hairpin: true, isolated: true, learning: false },
      group: 5,
      up: true,
      running: true,
    });
    expect(byName.get('vx0')?.vxlan).toMatchObject({
      id: 7,
      port: 4789,
      local: '192.0.2.1',
      learning: false,
      ttl: 9,
      dev: br0,
      gbp: true,
    });
    expect(byName.get('mv0')).toMatchObject({ macvlan: { mode: 'bridge' }, linkIndex: br0 });
    expect(byName.get('br0')?.bridge).toMatchObject({ stp: false, mcastSnooping: false });
    const vx = theirs.find((l) => l['ifname'] === 'vx0')?.['linkinfo'] as { info_data: Record<string, unknown> };
    expect(vx.info_data).toMatchObject({
      id: 7,
      port: 4789,
      local: '192.0.2.1',
      learning: false,
      ttl: 9,
      link: 'br0',
      gbp: true,
    });
    expect(json(other, 'ip', '-j', 'link', 'show', 'eth0')[0]).toMatchObject({
      address: '02:00:00:00:00:02',
      mtu: 1400,
    });
    expect((await rt.links.list({ kind: 'bridge' })).map((l) => l.name)).toEqual(['br0']);
    expect((await rt.links.list({ master: br0 })).map((l) => l.name)).toEqual(['v0']);
    expect(await rt.links.get('nothing')).toBeUndefined();
  });

  test('rename, move to another namespace, release from the bridge, delete many', async () => {
    const other = namespaces.make();
    await rt.links.add({ name: 'br0', kind: 'bridge' });
    await rt.batch((b) => {
      for (let i = 0; i < 10; i++) b.links.add({ name: `a${i}`, kind: 'veth', peer: { name: `b${i}` } });
    });
    await rt.links.set('a0', { master: await index('br0') });
    await rt.links.set('a0', { name: 'renamed', up: true });
    await rt.links.set('renamed', { master: 0, up: false });
    expect(await rt.links.get('renamed')).toMatchObject({ up: false });
    expect((await rt.links.get('renamed'))?.master).toBeUndefined();
    await rt.links.set('b1', { ns: other });
    const there = Rtnl.open(other);
    expect(await there.links.get('b1')).toMatchObject({ kind: 'veth' });
    there.close();
    const gone = (await rt.links.list({ kind: 'veth' })).map((l) => l.index);
    await rt.links.delMany([...gone, 9999]);
    expect((await rt.links.list()).map((l) => l.name)).toEqual(['lo', 'br0']);
    await rt.links.del('br0');
    await rt.links.del('br0', { missingOk: true });
  });

  test('a refusal names the link, the code and the way out', async () => {
    await rt.links.add({ name: 'br0', kind: 'bridge' });
    const exists = await failure(rt.links.add({ name: 'br0', kind: 'bridge' }));
    expect(exists).toMatchObject({ code: 'EEXIST', object: 'br0', operation: 'add bridge link' });
    expect(exists.hint).toMatch(/replace/);
    await rt.links.add({ name: 'br0', kind: 'bridge', mtu: 1300 }, { replace: true });
    expect(await rt.links.get('br0')).toMatchObject({ mtu: 1300 });
    const unknown = await failure(rt.links.add({ name: 'x0', kind: 'nosuchkind' }));
    expect(unknown).toMatchObject({ code: 'EOPNOTSUPP' });
    expect(unknown.message).toContain('nosuchkind');
    expect(unknown.extack).toMatch(/Unknown device type/i);
    expect(await failure(rt.links.del('nothing'))).toMatchObject({ code: 'ENODEV', object: 'nothing' });
    expect(await failure(rt.links.add({ name: 'a-name-of-16-byte', kind: 'bridge' }))).toMatchObject({
      code: 'EINVAL',
    });
    expect(isKernelError(exists, 'EEXIST')).toBe(true);
    expect(isKernelError(exists, 'ENOENT')).toBe(false);
  });
});

describe('addresses, routes, rules, neighbours', () => {
  beforeEach(async () => {
    await rt.links.set('lo', { up: true });
    await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', up: true } });
  });

  test('addresses agree with ip', async () => {
    const v0 = await index('v0');
    await rt.addresses.add({ index: v0, address: '10.1.0.1/24' });
    await rt.addresses.add({ index: v0, address: '10.9.9.1/32', peer: '10.9.9.2', scope: 'link' });
    await rt.addresses.add({ index: v0, address: 'fd00::1/64', noDad: true });
    await rt.addresses.replace({ index: v0, address: '10.1.0.1/24' });
    expect(await failure(rt.addresses.add({ index: v0, address: '10.1.0.1/24' }))).toMatchObject({
      code: 'EEXIST',
      object: `10.1.0.1/24 on index ${v0}`,
    });
    const ours = (await rt.addresses.list({ index: v0 })).filter((a) => !a.address.startsWith('fe80'));
    const [theirs] = json<{ addr_info: Record<string, unknown>[] }[]>(ns, 'ip', '-j', 'addr', 'show', 'v0');
    expect(ours.map((a) => a.address.split('/')[0])).toEqual(
      theirs?.addr_info.filter((a) => a['scope'] !== 'link' || a['family'] === 'inet').map((a) => a['local']),
    );
    expect(ours.find((a) => a.address.startsWith('10.9.9.1'))).toMatchObject({ peer: '10.9.9.2', scope: 'link' });
    expect(ours.find((a) => a.address === 'fd00::1/64')).toMatchObject({ family: 6, tentative: false, noDad: true });
    await rt.addresses.del({ index: v0, address: '10.1.0.1/24' });
    await rt.addresses.del({ index: v0, address: '10.1.0.1/24' }, { missingOk: true });
    expect((await rt.addresses.list({ index: v0, family: 4 })).map((a) => a.address)).toEqual(['10.9.9.1/32']);
  });

  test('routes agree with ip', async () => {
    const v0 = await index('v0');
    await rt.addresses.add({ index: v0, address: '10.1.0.1/24' });
    await rt.addresses.add({ index: v0, address: 'fd00::1/64', noDad: true });
    await rt.batch((b) => {
      b.routes.add({ dst: '10.2.0.0/16', via: '10.1.0.9', mtu: 1400, advmss: 1300, metric: 50, protocol: 99 });
      b.routes.add({ dst: '10.3.0.0/16', via: '192.0.2.1', oif: v0, onlink: true });
      b.routes.add({ dst: '10.4.0.0/16', type: 'blackhole', protocol: 99 });
      b.routes.add({ dst: 'default', via: '10.1.0.254', table: 1000, src: '10.1.0.1' });
      b.routes.add({ dst: '10.5.0.1', oif: v0 });
      b.routes.add({ dst: '10.6.0.0/16', nexthops: [{ via: '10.1.0.2', weight: 3 }, { via: '10.1.0.3' }] });
      b.routes.add({ dst: 'fd01::/64', via: 'fd00::2', protocol: 99 });
      b.routes.add({ dst: 'default', family: 6, oif: v0 });
    });
    const mine = await rt.routes.list({ protocol: 99 });
    expect(mine).toHaveLength(3);
    expect(mine.find((r) => r.dst === '10.2.0.0/16')).toMatchObject({
      via: '10.1.0.9',
      mtu: 1400,
      advmss: 1300,
      metric: 50,
      oif: v0,
    });
    expect(mine.find((r) => r.dst === '10.4.0.0/16')).toMatchObject({ type: 'blackhole' });
    expect(await rt.routes.list({ table: 1000, family: 4 })).toMatchObject([
      { dst: 'default', via: '10.1.0.254', src: '10.1.0.1', table: 1000 },
    ]);
    const theirs = json(ns, 'ip', '-j', 'route', 'show', 'table', 'all').filter(
      (r) => r['type'] === undefined || r['type'] === 'blackhole',
    );
    const ours = (await rt.routes.list({ family: 4 })).filter((r) => r.type === 'unicast' || r.type === 'blackhole');
    const plain = (dst: string): string => dst.replace(/\/32$/, '');
    expect(sorted(ours.map((r) => [plain(r.dst), r.via]))).toEqual(
      sorted(
        theirs
          .filter((r) => !String(r['dst']).includes(':') && !(r['dst'] === 'default' && r['table'] === undefined))
          .map((r) => [plain(String(r['dst'])), r['gateway']]),
      ),
    );
    expect(ours.find((r) => r.dst === '10.6.0.0/16')?.nexthops).toEqual([
      { oif: v0, via: '10.1.0.2', weight: 3 },
      { oif: v0, via: '10.1.0.3', weight: 1 },
    ]);
    expect(ours.find((r) => r.dst === '10.3.0.0/16')).toMatchObject({ onlink: true });
    expect(await rt.routes.lookup({ to: '10.2.3.4' })).toMatchObject({ via: '10.1.0.9', oif: v0, src: '10.1.0.1' });
    expect(await failure(rt.routes.lookup({ to: '203.0.113.1' }))).toMatchObject({
      code: 'ENETUNREACH',
      object: '203.0.113.1',
    });
    await rt.routes.del({ dst: '10.2.0.0/16' });
    expect(await failure(rt.routes.del({ dst: '10.2.0.0/16' }))).toMatchObject({
      code: 'ESRCH',
      object: '10.2.0.0/16',
    });
    await rt.routes.del({ dst: '10.2.0.0/16' }, { missingOk: true });
    await rt.routes.replace({ dst: 'fd01::/64', via: 'fd00::3' });
    expect((await rt.routes.list({ family: 6 })).find((r) => r.dst === 'fd01::/64')).toMatchObject({ via: 'fd00::3' });
  });

  test('a batch goes on after a refusal and lists all of them', async () => {
    const v0 = await index('v0');
    const error = await failure(
      rt.batch((b) => {
        b.routes.add({ dst: '10.7.0.0/16', oif: v0 });
        b.routes.add({ dst: '10.7.0.0/16', oif: v0 });
        b.routes.add({ dst: '10.8.0.0/16', via: '203.0.113.1' });
        b.routes.add({ dst: '10.9.0.0/16', oif: v0 });
      }),
    );
    expect(error.errors.map((e) => [e.code, e.object])).toEqual([
      ['EEXIST', `10.7.0.0/16 dev index ${v0}`],
      ['ENETUNREACH', '10.8.0.0/16 via 203.0.113.1'],
    ]);
    expect(error.errors[1]?.extack).toMatch(/Nexthop/);
    expect((await rt.routes.list({ oif: v0, family: 4 })).map((r) => r.dst)).toContain('10.9.0.0/16');
  });

  test('thousands of routes in one batch', async () => {
    const v0 = await index('v0');
    await rt.batch((b) => {
      for (let i = 0; i < 5000; i++) b.routes.add({ dst: `11.${i >> 8}.${i & 255}.0/24`, oif: v0, table: 77 });
    });
    expect(await rt.routes.list({ table: 77, family: 4 })).toHaveLength(5000);
  });

  test('rules agree with ip', async () => {
    await rt.rules.add({
      priority: 100,
      table: 1234,
      fwmark: 0x10,
      fwmask: 0xff,
      iif: 'v0',
      from: '10.0.0.0/8',
      to: '10.1.0.0/16',
    });
    await rt.rules.add({ priority: 101, family: 6, action: 'unreachable', ipProto: 6, dport: [80, 90] });
    const rules = await rt.rules.list();
    expect(rules.find((r) => r.priority === 100)).toEqual({
      family: 4,
      priority: 100,
      table: 1234,
      fwmark: 0x10,
      fwmask: 0xff,
      iif: 'v0',
      from: '10.0.0.0/8',
      to: '10.1.0.0/16',
      action: 'lookup',
      protocol: 0,
    });
    expect(rules.find((r) => r.priority === 101)).toMatchObject({
      family: 6,
      action: 'unreachable',
      ipProto: 6,
      dport: [80, 90],
    });
    expect(json(ns, 'ip', '-j', 'rule').find((r) => r['priority'] === 100)).toMatchObject({
      src: '10.0.0.0',
      srclen: 8,
      dst: '10.1.0.0',
      dstlen: 16,
      fwmark: '0x10',
      fwmask: '0xff',
      iif: 'v0',
      table: '1234',
    });
    await rt.rules.del({ priority: 100, table: 1234 });
    await rt.rules.del({ priority: 100, table: 1234 }, { missingOk: true });
    expect((await rt.rules.list({ family: 4 })).map((r) => r.priority)).toEqual([0, 32766, 32767]);
  });

  test('neighbours and fdb agree with ip and bridge', async () => {
    const v0 = await index('v0');
    await rt.neighbours.add({ index: v0, address: '10.1.0.5', mac: '02:00:00:00:00:05' });
    await rt.neighbours.replace({ index: v0, address: 'fd00::5', mac: '02:00:00:00:00:06', state: 'noarp' });
    await rt.neighbours.add({ index: v0, address: '10.1.0.77', proxy: true });
    expect(await rt.neighbours.list({ index: v0, family: 4 })).toEqual([
      { index: v0, address: '10.1.0.5', mac: '02:00:00:00:00:05', state: 'permanent' },
    ]);
    expect((await rt.neighbours.list({ proxy: true })).map((n) => [n.address, n.proxy])).toEqual([['10.1.0.77', true]]);
    expect(json(ns, 'ip', '-j', 'neigh', 'show', 'dev', 'v0', 'nud', 'all')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ dst: '10.1.0.5', lladdr: '02:00:00:00:00:05', state: ['PERMANENT'] }),
        expect.objectContaining({ dst: 'fd00::5', lladdr: '02:00:00:00:00:06', state: ['NOARP'] }),
      ]),
    );
    await rt.neighbours.del({ index: v0, address: '10.1.0.5' });

    await rt.links.add({ name: 'vx0', kind: 'vxlan', up: true, vxlan: { id: 9, port: 8472, learning: false } });
    const vx0 = await index('vx0');
    await rt.fdb.add({ index: vx0, mac: '02:00:00:00:01:01', dst: '192.0.2.7', vni: 42, port: 4789 });
    await rt.fdb.append({ index: vx0, mac: '00:00:00:00:00:00', dst: '192.0.2.8' });
    await rt.fdb.append({ index: vx0, mac: '00:00:00:00:00:00', dst: '192.0.2.9' });
    await rt.fdb.replace({ index: vx0, mac: '02:00:00:00:01:01', dst: '192.0.2.10' });
    const entries = await rt.fdb.list(vx0);
    expect(sorted(entries.map((e) => [e.mac, e.dst, e.state, e.self]))).toEqual([
      ['00:00:00:00:00:00', '192.0.2.8', 'permanent', true],
      ['00:00:00:00:00:00', '192.0.2.9', 'permanent', true],
      ['02:00:00:00:01:01', '192.0.2.10', 'permanent', true],
    ]);
    expect(sorted(json(ns, 'bridge', '-j', 'fdb', 'show', 'dev', 'vx0').map((e) => [e['mac'], e['dst']]))).toEqual(
      sorted(entries.map((e) => [e.mac, e.dst])),
    );
    await rt.fdb.del({ index: vx0, mac: '00:00:00:00:00:00', dst: '192.0.2.9' });
    expect(await rt.fdb.list(vx0)).toHaveLength(2);

    await rt.links.add({ name: 'br0', kind: 'bridge', up: true });
    await rt.links.set('v0', { master: await index('br0') });
    await rt.fdb.add({ index: v0, mac: '02:00:00:00:02:01', master: true, state: 'static' });
    expect((await rt.fdb.list(v0)).find((e) => e.mac === '02:00:00:00:02:01')).toMatchObject({
      master: true,
      state: 'static',
    });
  });
});

describe('events', () => {
  test('changes arrive in the event loop', async () => {
    const seen: string[] = [];
    const done = new Promise<void>((resolve) => {
      const sub = rt.subscribe(
        ['link', 'address4', 'route4', 'neigh'],
        (e) => {
          if (e.type === 'link') seen.push(`link ${e.action} ${e.link.name}`);
          else if (e.type === 'address') seen.push(`address ${e.action} ${e.address.address}`);
          else if (e.type === 'route' && e.route.type === 'unicast') seen.push(`route ${e.action} ${e.route.dst}`);
          else if (e.type === 'neighbour' && e.neighbour.mac !== undefined)
            seen.push(`neighbour ${e.action} ${e.neighbour.address}`);
          if (e.type === 'link' && e.action === 'del' && e.link.name === 'v0') {
            sub.close();
            resolve();
          }
        },
        () => seen.push('lost'),
      );
    });
    await rt.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', up: true } });
    const v0 = await index('v0');
    await rt.addresses.add({ index: v0, address: '10.1.0.1/24' });
    await rt.routes.add({ dst: '10.2.0.0/16', via: '10.1.0.2' });
    await rt.neighbours.add({ index: v0, address: '10.1.0.2', mac: '02:00:00:00:00:05' });
    await rt.links.del('v0');
    await done;
    for (const event of [
      'link set v0',
      'address set 10.1.0.1/24',
      'route set 10.2.0.0/16',
      'neighbour set 10.1.0.2',
      'link del v0',
    ])
      expect(seen).toContain(event);
    expect(seen).not.toContain('lost');
  });
});
