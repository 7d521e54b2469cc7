import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Nft, NftBatch } from '@weft/kernel';
import { NftablesDataPlane } from '../../src/nftables/dataplane.ts';
import { TABLE } from '../../src/nftables/layout.ts';
import { familyConfigs } from '../../src/options.ts';
import { Bench, byName, OPTIONS, type PlaneFactory, Stage } from './bench.ts';
import { serviceCompliance } from './compliance.ts';

const make: PlaneFactory = (ns, options) => new NftablesDataPlane({ ns, tables: familyConfigs(options) });

serviceCompliance('nftables', new NftablesDataPlane({ tables: [] }).capabilities, make);

describe('the nftables table', () => {
  let stage: Stage;
  let bench: Bench;
  let nft: Nft;

  beforeAll(async () => {
    stage = await Stage.build();
    nft = Nft.open(stage.node.ns);
  });

  afterAll(async () => {
    nft?.close();
    await stage?.close();
  });

  beforeEach(async () => {
    bench = await Bench.start(stage, make);
    return async () => {
      await bench.close();
      await bench.plane.cleanup();
    };
  });

  async function everything(): Promise<string> {
    const a = bench.fresh();
    const b = bench.fresh();
    const ranges = ['203.0.113.0/24', '255.0.0.0/8'];
    await bench.service(
      a.name,
      {
        type: 'LoadBalancer',
        clusterIPs: [a.ip, a.ip6],
        externalIPs: [a.externalIP],
        externalTrafficPolicy: 'Local',
        sessionAffinity: 'ClientIP',
        loadBalancerSourceRanges: ranges,
        ports: [{ name: 'http', port: 80, nodePort: a.nodePort }],
      },
      { loadBalancer: { ingress: [{ ip: a.vip }] } },
    );
    await bench.service(b.name, { clusterIPs: [b.ip, b.ip6], internalTrafficPolicy: 'Local' });
    for (const name of [a.name, b.name]) {
      await bench.endpoints(name, [bench.at.ep1, bench.at.rep1]);
      await bench.endpoints(
        name,
        [{ address: stage.ep1.address6, nodeName: 'node' }, { address: stage.remotePods6[0] }],
        undefined,
        '2',
      );
    }
    return a.name;
  }

  it('can be listed by operators with nft, as text and as JSON', async () => {
    const name = await everything();
    const text = stage.onNode('nft', 'list', 'ruleset');
    expect(text).toContain(`comment "default/${name}:http"`);
    expect(text).toMatch(/table ip weft-services/);
    expect(text).toMatch(/table ip6 weft-services/);
    expect(text).toMatch(/dnat (ip )?to meta priority & \S+ \. numgen random mod 1 map @endpoints/);
    const json = JSON.parse(stage.onNode('nft', '-j', 'list', 'ruleset')) as { nftables: unknown[] };
    expect(json.nftables.length).toBeGreaterThan(50);
  });

  it('is left untouched when an agent restarts in an unchanged world', async () => {
    await everything();
    // Let go of what rests first: a new agent has nothing to wait for.
    await new Promise((resolve) => setTimeout(resolve, 1300));
    const before = await nft.generation();
    await bench.halt();
    await bench.resume();
    expect(await nft.generation()).toBe(before);
  });

  it('is repaired by the audit, which says how much was wrong', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    const ask = () => stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 });
    expect(await bench.proxy.audit()).toBe(0);
    stage.onNode('nft', 'delete', 'element', 'ip', TABLE, 'frontends', `{ ${ip} . tcp . 80 }`);
    stage.onNode('nft', 'add', 'element', 'ip', TABLE, 'cluster-ips', '{ 10.96.0.200 }');
    expect(await ask()).toEqual(['refused']);
    expect(await bench.proxy.audit()).toBe(2);
    expect(await ask()).toEqual([`ep1 ${stage.pod1.address}`]);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('is made anew by the audit when its rules or all of it are gone', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    const works = [`ep1 ${stage.pod1.address}`];
    stage.onNode('nft', 'flush', 'chain', 'ip', TABLE, 'services');
    expect(await bench.proxy.audit()).toBeGreaterThan(0);
    expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual(works);
    stage.onNode('nft', 'flush', 'ruleset');
    expect(await bench.proxy.audit()).toBeGreaterThan(0);
    expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual(works);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('comes back by itself with the next change after something flushed it', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    stage.onNode('nft', 'flush', 'ruleset');
    await bench.endpoints(name, [bench.at.ep2]);
    expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([`ep2 ${stage.pod1.address}`]);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('of another layout is replaced in one transaction, without a failed connection', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
    await stage.pod1.hammer('swap', { dst: ip, port: 80 });
    await bench.halt();
    Object.assign(bench, { options: { ...OPTIONS, masqueradeAll: true } });
    await bench.resume();
    expect(await stage.pod2.ask({ dst: ip, port: 80, count: 3 })).toEqual(
      expect.arrayContaining([expect.stringContaining(' 10.244.0.1')]),
    );
    const answers = byName(Object.keys(await stage.pod1.stopHammer('swap')));
    expect(Object.keys(answers).sort()).toEqual(['ep1', 'ep2']);
  });

  it('forgets classes and source ranges a second after their last use', async () => {
    const { name, ip, vip } = bench.fresh();
    const status = { loadBalancer: { ingress: [{ ip: vip }] } };
    await bench.service(
      name,
      { type: 'LoadBalancer', clusterIP: ip, loadBalancerSourceRanges: ['10.0.0.0/8'] },
      status,
    );
    await bench.endpoints(name, [bench.at.ep1, bench.at.ep2, bench.at.rep1]);
    const names = async (): Promise<string[]> =>
      (await nft.listChains({ family: 'ip', name: TABLE })).map((chain) => chain.name);
    expect(await names()).toEqual(expect.arrayContaining(['c-3', 'x-3', expect.stringMatching(/^fw-/)]));
    await bench.remove(name);
    expect(await names()).toEqual(expect.arrayContaining(['c-3', 'x-3']));
    await new Promise((resolve) => setTimeout(resolve, 1300));
    const left = await names();
    expect(left.filter((chain) => /^(c|x|fw)-/.test(chain))).toEqual([]);
    for (const set of ['endpoints', 'frontends', 'cluster-ips', 'hairpin']) {
      expect(await nft.listElements({ family: 'ip', table: TABLE, name: set }), set).toEqual([]);
    }
  });

  it('is gone after cleanup, and other tables are not', async () => {
    await everything();
    const batch = new NftBatch();
    batch.addTable({ family: 'ip', name: 'somebody-else' });
    await nft.commit(batch);
    await bench.halt();
    await bench.plane.cleanup();
    expect((await nft.listTables()).map((table) => table.name)).toEqual(['somebody-else']);
    stage.onNode('nft', 'delete', 'table', 'ip', 'somebody-else');
  });

  it('gives the scratch value back: no packet leaves with a priority', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.rep1]);
    stage.onNode('nft', 'add', 'table', 'ip', 'watch');
    stage.onNode('nft', 'add', 'chain', 'ip', 'watch', 'out', '{ type filter hook postrouting priority 200 ; }');
    stage.onNode(
      'nft',
      'add',
      'rule',
      'ip',
      'watch',
      'out',
      'oifname',
      'vremote',
      'meta',
      'priority',
      '!=',
      '0:0',
      'counter',
    );
    stage.onNode('nft', 'add', 'rule', 'ip', 'watch', 'out', 'oifname', 'vremote', 'counter');
    await stage.node.ask({ dst: ip, port: 80, count: 5 });
    await stage.pod1.ask({ dst: ip, port: 80, count: 5 });
    const counters = [...stage.onNode('nft', 'list', 'chain', 'ip', 'watch', 'out').matchAll(/packets (\d+)/g)];
    stage.onNode('nft', 'delete', 'table', 'ip', 'watch');
    expect(Number(counters[0]?.[1])).toBe(0);
    expect(Number(counters[1]?.[1])).toBeGreaterThan(20);
  });

  it('answers NodePorts on every local address, or on those of a block, when told so', async () => {
    const { name, ip, nodePort } = bench.fresh();
    const cases = [
      [['all'], { '192.168.0.1': 'ep1', '203.0.113.1': 'ep1', '127.0.0.1': 'refused' }],
      [['203.0.113.0/24'], { '192.168.0.1': 'refused', '203.0.113.1': 'ep1', '127.0.0.1': 'refused' }],
    ] as const;
    await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
    await bench.endpoints(name, [bench.at.ep1]);
    for (const [nodePortAddresses, expected] of cases) {
      await bench.halt();
      Object.assign(bench, { options: { ...OPTIONS, nodePortAddresses } });
      await bench.resume();
      for (const [dst, who] of Object.entries(expected)) {
        const answers = byName(await stage.node.ask({ dst, port: nodePort }));
        expect(answers, `${nodePortAddresses.join()} ${dst}`).toEqual({ [who]: 1 });
      }
    }
  });
});
