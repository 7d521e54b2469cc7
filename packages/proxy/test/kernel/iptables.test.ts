import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NfAcct, readSysctl, writeSysctl } from '@weft/kernel';
import { Metrics } from '@weft/plan';
import { IptablesDataPlane } from '../../src/iptables/dataplane.ts';
import { familyConfigs } from '../../src/options.ts';
import { Bench, byName, OPTIONS, type PlaneFactory, Stage } from './bench.ts';
import { serviceCompliance } from './compliance.ts';

/** A plane of one variant of iptables. */
function plane(variant: 'legacy' | 'nft'): PlaneFactory {
  return (ns, options) =>
    new IptablesDataPlane({
      ns,
      variant,
      tables: familyConfigs(options, 'iptables'),
    });
}

serviceCompliance('iptables', new IptablesDataPlane({ tables: [] }).capabilities, plane('legacy'), 300);

describe.each(['legacy', 'nft'] as const)('the tables of iptables-%s', (variant) => {
  let stage: Stage;
  let bench: Bench;

  beforeAll(async () => {
    stage = await Stage.build();
  });

  afterAll(async () => {
    await stage?.close();
  });

  beforeEach(async () => {
    bench = await Bench.start(stage, plane(variant));
    return async () => {
      await bench.close();
      await bench.plane.cleanup();
    };
  });

  const save = (table: string): string => stage.onNode(`iptables-${variant}-save`, '-t', table);
  const works = (): Promise<string[]> => stage.pod1.ask({ dst: '10.96.0.1', port: 80, timeout: 0.3 });

  async function one(): Promise<string> {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
    return name;
  }

  it('finds nothing to repair in its own work, with every kind of rule', async () => {
    const { name, ip, ip6, externalIP, vip, nodePort } = bench.fresh();
    await bench.service(
      name,
      {
        type: 'LoadBalancer',
        clusterIPs: [ip, ip6],
        externalIPs: [externalIP],
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 31999,
        sessionAffinity: 'ClientIP',
        loadBalancerSourceRanges: ['203.0.113.0/24', '192.168.0.0/16'],
        ports: [
          { name: 'http', port: 80, nodePort },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
      { loadBalancer: { ingress: [{ ip: vip }] } },
    );
    await bench.endpoints(name, [bench.at.ep1, bench.at.ep2, bench.at.rep1]);
    await bench.endpoints(name, [{ address: stage.ep1.address6, nodeName: 'node' }], undefined, '2');
    expect(await bench.proxy.audit()).toBe(0);
    const without = bench.fresh();
    await bench.service(without.name, { clusterIP: without.ip, externalIPs: [without.externalIP] });
    await bench.remove(name);
    expect(await bench.proxy.audit()).toBe(0);
    expect(save('nat')).not.toMatch(/KUBE-(SVC|SVL|SEP|EXT|FW)-/);
    expect(save('filter')).toContain(`default/${without.name}:http has no endpoints`);
  });

  it('is repaired by the audit, which says how many chains were wrong', async () => {
    await one();
    expect(await works()).toEqual([expect.stringMatching(/^ep[12] /)]);
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-F', 'KUBE-MARK-MASQ');
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-D', 'PREROUTING', '1');
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-N', 'KUBE-SVC-LEFTOVER');
    expect(await works()).not.toEqual([expect.stringMatching(/^ep[12] /)]);
    expect(await bench.proxy.audit()).toBe(3);
    expect(await works()).toEqual([expect.stringMatching(/^ep[12] /)]);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('comes back by itself when somebody flushes the tables', async () => {
    await bench.halt();
    await bench.plane.cleanup();
    const quick: PlaneFactory = (ns, options) =>
      new IptablesDataPlane({ ns, variant, canaryMs: 50, tables: familyConfigs(options, 'iptables') });
    bench = await Bench.start(stage, quick);
    await one();
    for (const table of ['mangle', 'nat', 'filter']) {
      stage.onNode(`iptables-${variant}`, '-t', table, '-F');
      stage.onNode(`iptables-${variant}`, '-t', table, '-X');
    }
    await expect.poll(() => save('mangle'), { timeout: 10_000 }).toContain('KUBE-PROXY-CANARY');
    await expect.poll(works, { timeout: 10_000 }).toEqual([expect.stringMatching(/^ep[12] /)]);
  });

  it('puts foreign rules after its jumps, and leaves them alone when it cleans up', async () => {
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-A', 'PREROUTING', '-d', '198.18.0.1', '-j', 'ACCEPT');
    stage.onNode(`iptables-${variant}`, '-N', 'OTHERS');
    await one();
    await bench.halt();
    await bench.plane.cleanup();
    for (const table of ['nat', 'filter', 'mangle']) expect(save(table)).not.toMatch(/KUBE-/);
    expect(save('nat')).toContain('198.18.0.1');
    expect(save('filter')).toContain(':OTHERS');
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-D', 'PREROUTING', '-d', '198.18.0.1', '-j', 'ACCEPT');
    stage.onNode(`iptables-${variant}`, '-X', 'OTHERS');
  });

  it('removes what an earlier run left of Services that are gone, and only after it has all', async () => {
    const name = await one();
    const other = bench.fresh();
    await bench.service(other.name, { clusterIP: other.ip });
    await bench.endpoints(other.name, [bench.at.ep1]);
    await bench.halt();
    bench.cluster.deleteService(name);
    bench.cluster.deleteSlice(`${name}-1`);
    await bench.resume();
    const nat = save('nat');
    expect(nat).not.toContain(`default/${name}:http`);
    expect(nat).toContain(`default/${other.name}:http cluster IP`);
    expect(nat.match(/^:KUBE-SVC-/gm)).toHaveLength(1);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('leads UDP flows to other endpoints only when its first rules are there', async () => {
    const { name, ip } = bench.fresh();
    const target = [{ name: 'dns', port: 5353, protocol: 'UDP' as const }];
    await bench.service(name, { clusterIP: ip, ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] });
    await bench.endpoints(name, [bench.at.ep1], target);
    await stage.pod1.open('flow', { dst: ip, port: 53, proto: 'udp' });
    expect(await stage.pod1.talk('flow')).toBe(`ep1 ${stage.pod1.address}`);
    await bench.halt();
    await bench.endpoints(name, [bench.at.ep2], target);
    const slow: PlaneFactory = (ns, options) => {
      const made = plane(variant)(ns, options);
      const complete = made.complete.bind(made);
      made.complete = async (applied) => {
        await pause(200);
        // Forgotten by now, the flow would find the rules of yesterday, and stay with them.
        expect(await stage.pod1.talk('flow')).toBe(`ep1 ${stage.pod1.address}`);
        await complete(applied);
      };
      return made;
    };
    Object.assign(bench, { make: slow });
    await bench.resume();
    expect(await stage.pod1.talk('flow')).toBe(`ep2 ${stage.pod1.address}`);
  });

  it('tells pods of several blocks from others', async () => {
    await bench.close();
    await bench.plane.cleanup();
    bench = await Bench.start(stage, plane(variant), { ...OPTIONS, clusterCidrs: ['10.244.0.0/24', '10.244.1.0/24'] });
    const { name, ip, nodePort } = bench.fresh();
    await bench.service(name, {
      type: 'NodePort',
      clusterIP: ip,
      externalTrafficPolicy: 'Local',
      ports: [{ name: 'http', port: 80, nodePort }],
    });
    await bench.endpoints(name, [bench.at.ep1]);
    const [there] = stage.remotePods;
    expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([`ep1 ${stage.pod1.address}`]);
    expect(await stage.remote.ask({ dst: ip, port: 80, src: there })).toEqual([`ep1 ${there}`]);
    expect(await stage.outside.ask({ dst: ip, port: 80 })).toEqual(['ep1 10.244.0.1']);
    expect(await bench.proxy.audit()).toBe(0);
    await bench.endpoints(name, [bench.at.rep1]);
    expect(await stage.pod1.ask({ dst: '192.168.0.1', port: nodePort })).toEqual([`remote ${stage.pod1.address}`]);
    expect(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort, timeout: 0.3 })).toEqual(['timeout']);
  });

  it('leaves out a Service that the kernel refuses, and programs the rest', async () => {
    const bad = bench.fresh();
    // x_tables' `recent` keeps entries by a name that is at most 199 bytes, but seconds must fit 32 bits.
    await bench.service(bad.name, {
      clusterIP: bad.ip,
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 5_000_000_000 } },
    });
    await bench.endpoints(bad.name, [bench.at.ep1]);
    const good = bench.fresh();
    await bench.service(good.name, { clusterIP: good.ip });
    await bench.endpoints(good.name, [bench.at.ep1]);
    expect(byName(await stage.pod1.ask({ dst: good.ip, port: 80, timeout: 0.3 }))).toEqual({ ep1: 1 });
    await bench.service(bad.name, { clusterIP: bad.ip });
    expect(byName(await stage.pod1.ask({ dst: bad.ip, port: 80, timeout: 0.3 }))).toEqual({ ep1: 1 });
    expect(await bench.proxy.audit()).toBe(0);
  });
});

describe('NodePorts by iptables', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.build();
  });

  afterAll(async () => {
    await stage?.close();
  });

  it.each(['legacy', 'nft'] as const)(
    'count what comes to localhost and what is invalid, by iptables-%s',
    async (variant) => {
      const metrics = new Metrics();
      const make: PlaneFactory = (ns, o) =>
        new IptablesDataPlane({ ns, metrics, variant, tables: familyConfigs(o, 'iptables') });
      const bench = await Bench.start(stage, make, { ...OPTIONS, nodePortAddresses: ['all'] });
      const acct = NfAcct.open(stage.node.ns);
      try {
        const { name, ip, nodePort } = bench.fresh();
        await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
        await bench.endpoints(name, [bench.at.ep1]);
        await stage.node.ask({ dst: '127.0.0.1', port: nodePort, count: 3 });
        await stage.node.ask({ dst: '192.168.0.1', port: nodePort, count: 2 });
        expect((await acct.get('localhost_nps_accepted_pkts'))?.packets).toBe(3n);
        expect((await acct.get('ct_state_invalid_dropped_pkts'))?.packets).toBe(0n);
        const told = (): string => metrics.render();
        await expect.poll(told).toContain('kubeproxy_iptables_localhost_nodeports_accepted_packets_total 3');
        expect(told()).toContain('kubeproxy_iptables_ct_state_invalid_dropped_packets_total 0');
        expect(await bench.proxy.audit()).toBe(0);
        // A restart goes on counting.
        await bench.halt();
        await bench.resume();
        await stage.node.ask({ dst: '127.0.0.1', port: nodePort });
        expect((await acct.get('localhost_nps_accepted_pkts'))?.packets).toBe(4n);
        await bench.close();
        await bench.plane.cleanup();
        expect(await acct.get('localhost_nps_accepted_pkts')).toBeUndefined();
      } finally {
        acct.close();
      }
    },
  );

  it.each([true, false])(
    'takes back with its rules what it had the kernel route, unless kubelet needs it (kubelet here: %j)',
    async (kubelet) => {
      const options = { ...OPTIONS, nodePortAddresses: ['all'] };
      const make: PlaneFactory = (ns, o) =>
        new IptablesDataPlane({ ns, tables: familyConfigs(o, 'iptables'), variant: 'legacy' });
      const key = 'net.ipv4.conf.all.route_localnet';
      writeSysctl(key, kubelet ? '1' : '0', stage.node.ns);
      if (kubelet) stage.onNode('iptables-legacy', '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY');
      const bench = await Bench.start(stage, make, options);
      expect(readSysctl(key, stage.node.ns)).toBe('1');
      expect(stage.onNode('iptables-legacy-save')).toContain('-A INPUT -j KUBE-FIREWALL');
      // Another run knows nothing of what was there before the first one.
      await bench.halt();
      await bench.resume();
      await bench.close();
      await new IptablesDataPlane({ ns: stage.node.ns, tables: [] }).cleanup();
      expect(readSysctl(key, stage.node.ns)).toBe(kubelet ? '1' : '0');
      const left = stage.onNode('iptables-legacy-save').match(/^:(KUBE|WEFT)\S+/gm) ?? [];
      expect(left.sort()).toEqual(kubelet ? [':KUBE-FIREWALL', ':KUBE-KUBELET-CANARY'] : []);
      if (!kubelet) return;
      for (const chain of ['INPUT', 'OUTPUT']) stage.onNode('iptables-legacy', '-D', chain, '-j', 'KUBE-FIREWALL');
      for (const args of [
        ['-F', 'KUBE-FIREWALL'],
        ['-X', 'KUBE-FIREWALL'],
        ['-t', 'mangle', '-X', 'KUBE-KUBELET-CANARY'],
      ])
        stage.onNode('iptables-legacy', ...args);
      writeSysctl(key, '0', stage.node.ns);
    },
  );

  const cases = [
    [undefined, true, { '192.168.0.1': 'ep1', '203.0.113.1': 'ep1', '127.0.0.1': 'ep1' }],
    [undefined, false, { '192.168.0.1': 'ep1', '203.0.113.1': 'ep1', '127.0.0.1': 'refused' }],
    [['203.0.113.0/24'], true, { '192.168.0.1': 'refused', '203.0.113.1': 'ep1', '127.0.0.1': 'refused' }],
    [['primary', 'localhost'], true, { '192.168.0.1': 'ep1', '203.0.113.1': 'refused', '127.0.0.1': 'ep1' }],
  ] as const;
  it.each(cases)(
    'with nodePortAddresses %j, localhostNodePorts %j',
    async (nodePortAddresses, localhostNodePorts, expected) => {
      const options = { ...OPTIONS, localhostNodePorts, nodePortAddresses: nodePortAddresses ?? ['all'] };
      const make: PlaneFactory = (ns, o) =>
        new IptablesDataPlane({ ns, tables: familyConfigs(o, 'iptables'), variant: 'legacy' });
      const bench = await Bench.start(stage, make, options);
      try {
        const { name, ip, nodePort } = bench.fresh();
        await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
        await bench.endpoints(name, [bench.at.ep1]);
        for (const [dst, who] of Object.entries(expected)) {
          expect(byName(await stage.node.ask({ dst, port: nodePort })), dst).toEqual({ [who]: 1 });
        }
        expect(await bench.proxy.audit()).toBe(0);
      } finally {
        await bench.close();
        await bench.plane.cleanup();
      }
    },
  );
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
