import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expr as x, Nft, NftBatch, type NetNs, Rtnl, type SetSpec, values as v, writeSysctl } from '../../src/index.ts';
import { inside, json, Namespaces } from './netns-fixture.ts';

const family = 'ip';
const table = 'svc';
const t = { family, name: table } as const;
const r = x.reg32;

const frontends: SetSpec = {
  family,
  table,
  name: 'frontends',
  key: ['ipv4_addr', 'inet_proto', 'inet_service'],
  data: 'classid',
  counter: true,
};
const classes: SetSpec = { family, table, name: 'classes', key: 'classid', data: 'verdict' };
const endpoints: SetSpec = {
  family,
  table,
  name: 'endpoints',
  key: ['classid', 'mark'],
  data: ['ipv4_addr', 'inet_service'],
};
const slots: SetSpec = { family, table, name: 'slots', key: ['classid', 'mark'], data: 'classid' };
const slotEndpoints: SetSpec = {
  family,
  table,
  name: 'slot-endpoints',
  key: 'classid',
  data: ['ipv4_addr', 'inet_service'],
};
const affinity: SetSpec = {
  family,
  table,
  name: 'affinity',
  key: ['classid', 'ipv4_addr'],
  data: 'classid',
  flags: { dynamic: true, timeout: true },
  timeout: 10_800_000,
  size: 65536,
};
const hairpin: SetSpec = { family, table, name: 'hairpin', key: ['ipv4_addr', 'ipv4_addr'] };

const chain = (name: string) => ({ family, table, name }) as const;
const rule = (name: string, ...exprs: ReturnType<typeof x.meta>[]) => ({ family, table, chain: name, exprs }) as const;
const ID = v.u32ne(0xfffff);
const CLASS = v.u32ne(0xfff00000);
const packed = (cls: number, id: number): Uint8Array => v.u32ne((cls << 20) | id);

function pick(modulus: number): ReturnType<typeof x.meta>[] {
  return [
    x.meta('l4proto', r(0)),
    x.cmp('eq', r(0), v.proto('tcp')),
    x.meta('priority', r(0)),
    x.bitwise({ sreg: r(0), dreg: r(0), mask: ID }),
    x.numgen({ mode: 'random', modulus, dreg: r(1) }),
    x.lookup({ set: 'endpoints', sreg: r(0), dreg: r(4) }),
    x.nat({ kind: 'dnat', family, addrReg: r(4), portReg: r(5) }),
  ];
}

function layout(): NftBatch {
  const b = new NftBatch();
  b.addTable({ ...t, comment: 'services' });
  for (const set of [frontends, classes, endpoints, slots, slotEndpoints, affinity, hairpin]) b.addSet(set);
  b.addChain({ ...chain('nat-prerouting'), hook: { type: 'nat', hook: 'prerouting', priority: v.PRIORITY.dstnat } });
  b.addChain({ ...chain('nat-output'), hook: { type: 'nat', hook: 'output', priority: -100 } });
  b.addChain({ ...chain('nat-postrouting'), hook: { type: 'nat', hook: 'postrouting', priority: v.PRIORITY.srcnat } });
  for (const name of ['services', 'dispatch', 'masq', 'reject-it', 'c-3', 'a-3']) b.addChain(chain(name));
  for (const hook of ['nat-prerouting', 'nat-output']) b.addRule(rule(hook, x.verdict({ jump: 'services' })));
  b.addRule(
    rule(
      'services',
      x.payload(x.header.ip.daddr, r(0)),
      x.meta('l4proto', r(1)),
      x.payload(x.header.th.dport, r(2)),
      x.lookup({ set: 'frontends', sreg: r(0), dreg: r(4) }),
      x.metaSet('priority', r(4)),
      x.verdict({ goto: 'dispatch' }),
    ),
  );
  b.addRule(
    rule(
      'dispatch',
      x.meta('priority', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: CLASS }),
      x.vmap('classes', r(0)),
    ),
  );
  b.addRule({
    ...rule(
      'c-3',
      x.payload(x.header.ip.saddr, r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: v.ip4('255.255.0.0') }),
      x.cmp('neq', r(0), v.ip4('10.244.0.0')),
      x.verdict({ jump: 'masq' }),
    ),
    comment: 'not from a pod',
  });
  b.addRule(rule('c-3', ...pick(3)));
  b.addRule(rule('c-3', x.verdict({ goto: 'reject-it' })));
  const affinityKey = [
    x.meta('priority', r(0)),
    x.bitwise({ sreg: r(0), dreg: r(0), mask: ID }),
    x.payload(x.header.ip.saddr, r(1)),
  ];
  b.addRule(
    rule('a-3', ...affinityKey, x.lookup({ set: 'affinity', sreg: r(0), dreg: r(4) }), x.metaSet('priority', r(4))),
  );
  const toSlot = [
    x.meta('l4proto', r(0)),
    x.cmp('eq', r(0), v.proto('tcp')),
    x.meta('priority', r(0)),
    x.lookup({ set: 'slot-endpoints', sreg: r(0), dreg: r(4) }),
    x.nat({ kind: 'dnat', family, addrReg: r(4), portReg: r(5) }),
  ];
  b.addRule(rule('a-3', ...toSlot));
  b.addRule(
    rule(
      'a-3',
      ...affinityKey,
      x.meta('priority', r(4)),
      x.dynset({ set: 'affinity', op: 'delete', key: r(0), data: r(4) }),
    ),
  );
  b.addRule(
    rule(
      'a-3',
      x.meta('priority', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: ID }),
      x.numgen({ mode: 'random', modulus: 3, dreg: r(1) }),
      x.lookup({ set: 'slots', sreg: r(0), dreg: r(4) }),
      x.metaSet('priority', r(4)),
    ),
  );
  b.addRule(
    rule(
      'a-3',
      ...affinityKey,
      x.meta('priority', r(4)),
      x.dynset({ set: 'affinity', op: 'update', key: r(0), data: r(4), timeout: 10_800_000 }),
    ),
  );
  b.addRule(rule('a-3', ...toSlot));
  b.addRule(
    rule(
      'masq',
      x.meta('mark', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(0xffffbfff), xor: v.u32ne(0x4000) }),
      x.metaSet('mark', r(0)),
    ),
  );
  b.addRule(
    rule('reject-it', x.meta('l4proto', r(0)), x.cmp('eq', r(0), v.proto('tcp')), x.reject({ with: 'tcp reset' })),
  );
  b.addRule(rule('reject-it', x.reject({ with: 'icmp' })));
  b.addRule(
    rule(
      'nat-postrouting',
      x.ct('status', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(v.CT_STATUS.dnat) }),
      x.cmp('neq', r(0), v.u32ne(0)),
      x.payload(x.header.ip.saddr, r(0)),
      x.payload(x.header.ip.daddr, r(1)),
      x.lookup({ set: 'hairpin', sreg: r(0) }),
      x.verdict({ jump: 'masq' }),
    ),
  );
  b.addRule(
    rule(
      'nat-postrouting',
      x.meta('mark', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(0x4000) }),
      x.cmp('eq', r(0), v.u32ne(0)),
      x.verdict('return'),
    ),
  );
  b.addRule(
    rule(
      'nat-postrouting',
      x.meta('mark', r(0)),
      x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(0xffffffff), xor: v.u32ne(0x4000) }),
      x.metaSet('mark', r(0)),
    ),
  );
  b.addRule(rule('nat-postrouting', x.masquerade({ flags: ['fully-random'] })));
  // Class 1 rejects, 3 is the plain chain, 4 the one with affinity; service ids are 5, 6 and 7.
  b.addElements(classes, [
    { key: packed(1, 0), data: { goto: 'reject-it' } },
    { key: packed(2, 0), data: 'drop' },
    { key: packed(3, 0), data: { goto: 'c-3' } },
    { key: packed(4, 0), data: { goto: 'a-3' } },
  ]);
  const backend = (i: number): Uint8Array => v.fields(v.ip4(`10.244.${i}.2`), v.u16be(8080));
  b.addElements(
    endpoints,
    [1, 2, 3].map((i) => ({ key: v.fields(v.u32ne(5), v.u32ne(i - 1)), data: backend(i) })),
  );
  b.addElements(
    slots,
    [1, 2, 3].map((i) => ({ key: v.fields(v.u32ne(7), v.u32ne(i - 1)), data: packed(0x800 + i, 7) })),
  );
  b.addElements(
    slotEndpoints,
    [1, 2, 3].map((i) => ({ key: packed(0x800 + i, 7), data: backend(i) })),
  );
  b.addElements(
    hairpin,
    [1, 2, 3].map((i) => ({ key: v.fields(v.ip4(`10.244.${i}.2`), v.ip4(`10.244.${i}.2`)) })),
  );
  const vip = (last: number): Uint8Array => v.fields(v.ip4(`10.96.0.${last}`), v.proto('tcp'), v.u16be(80));
  b.addElements(frontends, [
    { key: vip(10), data: packed(3, 5), comment: 'shop/web:http' },
    { key: vip(11), data: packed(1, 6), comment: 'shop/empty:http' },
    { key: vip(12), data: packed(4, 7), comment: 'shop/sticky:http' },
  ]);
  return b;
}

const namespaces = new Namespaces();
let node: NetNs;
let client: NetNs;
const pods: NetNs[] = [];
const servers: Server[] = [];
let nft: Nft;

beforeAll(async () => {
  node = namespaces.make();
  const host = Rtnl.open(node);
  await host.links.set('lo', { up: true });
  writeSysctl('net.ipv4.ip_forward', '1', node);
  const wire = async (i: number, prefix: string): Promise<NetNs> => {
    const ns = namespaces.make();
    const pod = Rtnl.open(ns);
    await host.links.add({ name: `v${i}`, kind: 'veth', up: true, peer: { name: 'eth0', ns, up: true } });
    const up = await host.links.get(`v${i}`);
    const eth0 = await pod.links.get('eth0');
    if (up === undefined || eth0 === undefined) throw new Error('veth is missing');
    await host.addresses.add({ index: up.index, address: `${prefix}.1/24` });
    await pod.addresses.add({ index: eth0.index, address: `${prefix}.2/24` });
    await pod.links.set('lo', { up: true });
    await pod.routes.add({ dst: 'default', via: `${prefix}.1` });
    pod.close();
    return ns;
  };
  client = await wire(9, '192.168.9');
  for (const i of [1, 2, 3]) {
    const ns = await wire(i, `10.244.${i}`);
    pods.push(ns);
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(`${i} ${socket.remoteAddress?.replace('::ffff:', '')}\n`);
    });
    // Without a host name the listening socket is made here and now, inside the namespace.
    ns.run(() => server.listen(8080));
    servers.push(server);
  }
  // The node must have some route to a Service address before its own packets meet the output hook.
  await host.routes.add({ dst: 'default', via: '192.168.9.2' });
  host.close();
  nft = Nft.open(node);
  await nft.commit(layout());
});

afterAll(() => {
  for (const server of servers) server.close();
  nft.close();
  namespaces.close();
});

const run = promisify(execFile);

/** Connects `count` times from a namespace; gives what the servers said, or `refused`. */
async function connect(ns: NetNs, address: string, count = 1): Promise<string[]> {
  const script = `for i in $(seq ${count}); do (exec 3<>/dev/tcp/${address}/80 && cat <&3) 2>/dev/null || echo refused; done`;
  const { stdout } = await ns.run(() => run('timeout', ['20', 'bash', '-c', script]));
  return stdout.trim().split('\n');
}

describe('a Service layout written over netlink', () => {
  test('connections reach every endpoint, masqueraded from outside the pods', async () => {
    const replies = await connect(client, '10.96.0.10', 40);
    expect([...new Set(replies)].sort()).toEqual(['1 10.244.1.1', '2 10.244.2.1', '3 10.244.3.1']);
  });

  test('a pod keeps its address, and reaches itself by hairpin', async () => {
    const replies = await connect(pods[0] as NetNs, '10.96.0.10', 40);
    expect([...new Set(replies)].sort()).toEqual(['1 10.244.1.1', '2 10.244.1.2', '3 10.244.1.2']);
  });

  test('the node itself is served, an empty Service refuses', async () => {
    expect((await connect(node, '10.96.0.10', 5)).every((reply) => /^[123] /.test(reply))).toBe(true);
    expect(await connect(client, '10.96.0.11')).toEqual(['refused']);
  });

  test('a client sticks to its endpoint until that is gone', async () => {
    const first = [...new Set(await connect(client, '10.96.0.12', 10))];
    expect(first).toHaveLength(1);
    const slot = Number(first[0]?.[0]);
    const entries = await nft.listElements(affinity);
    expect(entries.map((e) => ({ key: e.key, data: e.data }))).toEqual([
      { key: v.fields(v.u32ne(7), v.ip4('192.168.9.2')), data: packed(0x800 + slot, 7) },
    ]);
    const others = [1, 2, 3].filter((i) => i !== slot);
    const gone = new NftBatch();
    gone.delElements(slotEndpoints, [{ key: packed(0x800 + slot, 7) }]);
    gone.delElements(
      slots,
      [1, 2, 3].map((i) => ({ key: v.fields(v.u32ne(7), v.u32ne(i - 1)) })),
    );
    gone.addElements(
      slots,
      [0, 1, 2].map((i) => ({
        key: v.fields(v.u32ne(7), v.u32ne(i)),
        data: packed(0x800 + (others[i % 2] as number), 7),
      })),
    );
    await nft.commit(gone);
    const then = [...new Set(await connect(client, '10.96.0.12', 10))];
    expect(then).toHaveLength(1);
    expect(others).toContain(Number(then[0]?.[0]));
  });

  test('nft prints every object as it was meant', () => {
    const text = inside(node, 'nft', 'list', 'ruleset');
    for (const line of [
      'comment "services"',
      'type ipv4_addr . inet_proto . inet_service : classid',
      'type classid . mark : ipv4_addr . inet_service',
      'type classid : verdict',
      'type nat hook prerouting priority dstnat; policy accept;',
      'type nat hook postrouting priority srcnat; policy accept;',
      'meta priority set ip daddr . meta l4proto . th dport map @frontends goto dispatch',
      'meta priority & fff0:0 vmap @classes',
      'ip saddr != 10.244.0.0/16 jump masq comment "not from a pod"',
      'meta l4proto tcp dnat ip to meta priority & f:ffff . numgen random mod 3 map @endpoints',
      'meta priority set meta priority & f:ffff . ip saddr map @affinity',
      'delete @affinity { meta priority & f:ffff . ip saddr : meta priority }',
      'update @affinity { meta priority & f:ffff . ip saddr timeout 3h : meta priority }',
      'meta priority set meta priority & f:ffff . numgen random mod 3 map @slots',
      'ct status dnat ip saddr . ip daddr @hairpin jump masq',
      'masquerade fully-random',
      'meta mark & 0x00004000 == 0x00000000 return',
      'reject with tcp reset',
      'comment "shop/web:http" : 30:5',
      '10:0 : goto reject-it',
      '20:0 : drop',
      '0:5 . 0x00000001 : 10.244.2.2 . 8080',
      '10.244.1.2 . 10.244.1.2',
    ]) {
      expect(text).toContain(line);
    }
    expect(text).toMatch(/10\.96\.0\.10 \. (tcp|6) \. 80 counter packets [1-9]/);
  });

  test('our own listing agrees with nft -j', async () => {
    const listing = json<{ nftables: Record<string, Record<string, unknown>>[] }>(
      node,
      'nft',
      '-j',
      'list',
      'ruleset',
    ).nftables;
    const of = (kind: string): Record<string, unknown>[] =>
      listing.flatMap((item) => (item[kind] === undefined ? [] : [item[kind]]));
    const handles = (items: readonly { readonly handle: bigint }[]): number[] =>
      items.map((item) => Number(item.handle)).sort((a, b) => a - b);
    const theirs = (kind: string): number[] =>
      of(kind)
        .map((item) => Number(item['handle']))
        .sort((a, b) => a - b);
    expect((await nft.listTables()).map((item) => [item.family, item.name, item.comment])).toEqual([
      ['ip', 'svc', 'services'],
    ]);
    const chains = await nft.listChains(t);
    expect(handles(chains)).toEqual(theirs('chain'));
    expect(
      chains.filter((c) => c.hook !== undefined).map((c) => [c.name, c.hook?.hook, c.hook?.priority, c.policy]),
    ).toEqual(
      of('chain')
        .filter((c) => c['hook'] !== undefined)
        .map((c) => [c['name'], c['hook'], c['prio'], c['policy']]),
    );
    const rules = await nft.listRules(t);
    expect(handles(rules)).toEqual(theirs('rule'));
    expect(rules.find((item) => item.comment !== undefined)?.comment).toBe('not from a pod');
    expect((await nft.listRules(t, 'masq')).map((item) => item.exprs)).toEqual([
      [
        x.meta('mark', r(0)),
        x.bitwise({ sreg: r(0), dreg: r(0), mask: v.u32ne(0xffffbfff), xor: v.u32ne(0x4000) }),
        x.metaSet('mark', r(0)),
      ],
    ]);
    const sets = await nft.listSets(t);
    expect(sets.map((s) => s.name).sort()).toEqual([...of('set'), ...of('map')].map((s) => String(s['name'])).sort());
    expect(sets.find((s) => s.name === 'affinity')).toMatchObject({
      key: ['classid', 'ipv4_addr'],
      data: 'classid',
      flags: { dynamic: true, timeout: true },
      timeout: 10_800_000,
      size: 65536,
    });
    expect(sets.find((s) => s.name === 'frontends')).toMatchObject({
      counter: true,
      key: frontends.key,
      data: 'classid',
    });
    for (const s of sets) {
      const object = [...of('set'), ...of('map')].find((item) => item['name'] === s.name);
      expect((await nft.listElements(s)).length).toBe((object?.['elem'] as unknown[] | undefined)?.length ?? 0);
    }
    const web = (await nft.listElements(frontends)).find((e) => e.comment === 'shop/web:http');
    expect(web?.counter?.packets).toBeGreaterThan(0n);
    expect(web?.data).toEqual(packed(3, 5));
  });
});
