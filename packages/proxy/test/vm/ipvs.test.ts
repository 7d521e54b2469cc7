// The ipvs data plane, for which the usual kernel of a development machine has no parts.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DataPlane } from '../../src/dataplane.ts';
import { IptablesDataPlane } from '../../src/iptables/dataplane.ts';
import type { IpvsSettings } from '../../src/ipvs/compile.ts';
import { IpvsDataPlane } from '../../src/ipvs/dataplane.ts';
import { NftablesDataPlane } from '../../src/nftables/dataplane.ts';
import { familyConfigs, type TableOptions } from '../../src/options.ts';
import { Bench, OPTIONS, type PlaneFactory, Stage } from '../kernel/bench.ts';
import { serviceCompliance } from '../kernel/compliance.ts';

const plane: PlaneFactory = (ns, options) =>
  new IpvsDataPlane({ ns, variant: 'legacy', tables: familyConfigs(options, 'ipvs') });

serviceCompliance('ipvs', new IpvsDataPlane({ tables: [] }).capabilities, plane, 300);

describe('the virtual services of ipvs mode', () => {
  let stage: Stage;
  let bench: Bench;

  beforeAll(async () => {
    stage = await Stage.build();
  });

  afterAll(async () => {
    await stage?.close();
  });

  const settle = async (settings: IpvsSettings = {}, options: TableOptions = OPTIONS): Promise<void> => {
    const make: PlaneFactory = (ns, o) =>
      new IpvsDataPlane({ ns, variant: 'legacy', settings, terminateMs: 50, tables: familyConfigs(o, 'ipvs') });
    bench = await Bench.start(stage, make, options);
  };

  beforeEach(() => settle());

  afterEach(async () => {
    await bench.close();
    await bench.plane.cleanup();
  });

  const servers = (): string[] =>
    stage
      .onNode('ipvsadm', '-Sn')
      .split('\n')
      .map((line) => line.trim());
  const set = (name: string): string => stage.onNode('ipset', 'save', name);
  const save = (table: string): string => stage.onNode('iptables-legacy-save', '-t', table);
  const from = (): string => stage.pod1.address;

  async function one(spec: Parameters<Bench['service']>[1] = {}): Promise<ReturnType<Bench['fresh']>> {
    const fresh = bench.fresh();
    await bench.service(fresh.name, { clusterIP: fresh.ip, ...spec });
    await bench.endpoints(fresh.name, [bench.at.ep1, bench.at.ep2]);
    return fresh;
  }

  it('tell pods of several blocks from others', async () => {
    await bench.close();
    await bench.plane.cleanup();
    await settle({}, { ...OPTIONS, clusterCidrs: ['10.244.0.0/24', '10.244.1.0/24'] });
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
  });

  it('are what ipvsadm, ipset, ip and iptables show', async () => {
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
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } },
        loadBalancerSourceRanges: ['203.0.113.0/24', '192.168.0.0/16'],
        ports: [{ name: 'http', port: 80, nodePort }],
      },
      { loadBalancer: { ingress: [{ ip: vip }] } },
    );
    await bench.endpoints(name, [bench.at.ep1, bench.at.rep1]);
    await bench.endpoints(name, [{ address: stage.ep1.address6, nodeName: 'node' }], undefined, '2');
    const rules = servers();
    for (const address of [`${ip}:80`, `${externalIP}:80`, `${vip}:80`, `192.168.0.1:${nodePort}`]) {
      expect(rules).toContain(`-A -t ${address} -s rr -p 600`);
      expect(rules).toContain(`-a -t ${address} -r ${stage.ep1.address}:8080 -m -w 1`);
    }
    expect(rules).toContain(`-a -t ${ip}:80 -r ${stage.remotePods[0]}:8080 -m -w 1`);
    expect(rules).not.toContain(`-a -t ${vip}:80 -r ${stage.remotePods[0]}:8080 -m -w 1`);
    expect(rules.filter((line) => line.includes(ip6))).toEqual([
      `-A -t [${ip6}]:80 -s rr -p 600`,
      expect.stringMatching(/^-a -t .* -r \[fd00:244:.*\]:8080 -m -w 1$/),
    ]);
    expect(set('KUBE-CLUSTER-IP')).toContain(`add KUBE-CLUSTER-IP ${ip},tcp:80`);
    expect(set('KUBE-6-CLUSTER-IP')).toContain(`${ip6},tcp:80`);
    expect(set('KUBE-EXTERNAL-IP-LOCAL')).toContain(`${externalIP},tcp:80`);
    expect(set('KUBE-LOAD-BALANCER-SOURCE-CIDR')).toContain(`${vip},tcp:80,203.0.113.0/24`);
    expect(set('KUBE-NODE-PORT-LOCAL-TCP')).toContain(`add KUBE-NODE-PORT-LOCAL-TCP ${nodePort}`);
    expect(set('KUBE-HEALTH-CHECK-NODE-PORT')).toContain('31999');
    expect(set('KUBE-LOOP-BACK')).toContain(`${stage.ep1.address},tcp:8080,${stage.ep1.address}`);
    const link = stage.onNode('ip', '-o', 'addr', 'show', 'kube-ipvs0');
    for (const address of [`${ip}/32`, `${vip}/32`, `${externalIP}/32`, `${ip6}/128`]) expect(link).toContain(address);
    expect(save('nat')).toContain('-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT');
    expect(save('filter')).toContain('--match-set KUBE-IPVS-IPS dst -j REJECT');
    expect(await bench.proxy.audit()).toBe(0);
    await bench.remove(name);
    expect(servers().filter((line) => line !== '')).toEqual([]);
    expect(stage.onNode('ip', '-o', 'addr', 'show', 'kube-ipvs0')).not.toContain('/32');
    expect(set('KUBE-CLUSTER-IP')).not.toContain('add');
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('are repaired by the audit', async () => {
    const { ip } = await one();
    stage.onNode('ipvsadm', '-C');
    stage.onNode('ipset', 'flush', 'KUBE-CLUSTER-IP');
    stage.onNode('ip', 'link', 'del', 'kube-ipvs0');
    stage.onNode('iptables-legacy', '-t', 'nat', '-F', 'KUBE-POSTROUTING');
    stage.onNode('ipvsadm', '-A', '-t', '10.96.9.9:80', '-s', 'rr');
    expect(await bench.proxy.audit()).toBeGreaterThan(4);
    expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([expect.stringMatching(`^ep[12] ${from()}`)]);
    expect(servers()).not.toContain('-A -t 10.96.9.9:80 -s rr');
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('leave a server that goes its connections, then take it away', async () => {
    const { name, ip } = await one();
    await bench.endpoints(name, [bench.at.ep1]);
    await stage.pod1.open('long', { dst: ip, port: 80 });
    await bench.endpoints(name, [bench.at.ep2]);
    const gone = `-a -t ${ip}:80 -r ${stage.ep1.address}:8080 -m -w 0`;
    expect(servers()).toContain(gone);
    // Several looks go by while the connection lives.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(servers()).toContain(gone);
    expect(await stage.pod1.talk('long')).toBe('?');
    await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
    expect(servers()).toContain(`-a -t ${ip}:80 -r ${stage.ep1.address}:8080 -m -w 1`);
    const { name: other, ip: otherIp } = await one();
    await bench.endpoints(other, [bench.at.ep1]);
    await expect.poll(servers).not.toContain(`-a -t ${otherIp}:80 -r ${stage.ep2.address}:8080 -m -w 0`);
  });

  it('take over what an earlier run left, and leave what belongs to others', async () => {
    await bench.close();
    await settle({ excludeCIDRs: ['198.18.0.0/15'] });
    const kept = await one();
    const dropped = await one();
    stage.onNode('ipvsadm', '-A', '-t', '198.18.0.1:80', '-s', 'wlc');
    stage.onNode('ipvsadm', '-e', '-t', `${kept.ip}:80`, '-r', `${stage.ep1.address}:8080`, '-m', '-w', '0');
    await bench.halt();
    bench.cluster.deleteService(dropped.name);
    bench.cluster.deleteSlice(`${dropped.name}-1`);
    expect(await stage.pod1.ask({ dst: kept.ip, port: 80 })).toHaveLength(1);
    await bench.resume();
    const rules = servers();
    expect(rules).toContain(`-a -t ${kept.ip}:80 -r ${stage.ep1.address}:8080 -m -w 1`);
    expect(rules.join('\n')).not.toContain(dropped.ip);
    expect(rules).toContain('-A -t 198.18.0.1:80 -s wlc');
    expect(await bench.proxy.audit()).toBe(0);
    await bench.halt();
    await bench.plane.cleanup();
    expect(servers().filter((line) => line !== '')).toEqual(['-A -t 198.18.0.1:80 -s wlc']);
    for (const table of ['nat', 'filter']) expect(save(table)).not.toMatch(/KUBE-/);
    expect(stage.onNode('ipset', 'list', '-n')).toBe('');
    expect(stage.onNode('ip', '-o', 'link')).not.toContain('kube-ipvs0');
    stage.onNode('ipvsadm', '-C');
  });

  it('of NodePorts follow the addresses of the node', async () => {
    await bench.close();
    await settle({}, { ...OPTIONS, nodePortAddresses: ['all'] });
    const { nodePort } = bench.fresh();
    await one({ type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort }] });
    expect(servers()).toContain(`-A -t 203.0.113.1:${nodePort} -s rr`);
    stage.onNode('ip', 'addr', 'add', '203.0.113.77/32', 'dev', 'voutside');
    await one();
    expect(servers()).toContain(`-A -t 203.0.113.77:${nodePort} -s rr`);
    stage.onNode('ip', 'addr', 'del', '203.0.113.77/32', 'dev', 'voutside');
    await one();
    expect(servers()).not.toContain(`-A -t 203.0.113.77:${nodePort} -s rr`);
  });

  it('close load balancer addresses to the node that no source range holds', async () => {
    const { vip } = bench.fresh();
    const ranges = async (loadBalancerSourceRanges: string[]): Promise<string[]> => {
      await bench.service(
        'ranged',
        {
          type: 'LoadBalancer',
          clusterIP: '10.96.0.250',
          loadBalancerSourceRanges,
          ports: [{ name: 'http', port: 80 }],
        },
        { loadBalancer: { ingress: [{ ip: vip }] } },
      );
      return stage.node.ask({ dst: vip, port: 80, timeout: 0.5 });
    };
    await ranges([]);
    await bench.endpoints('ranged', [bench.at.ep1]);
    expect(await ranges(['203.0.113.5/32'])).toEqual(['timeout']);
    expect(save('filter')).toContain(`--vaddr ${vip}`);
    expect(await stage.outside.ask({ dst: vip, port: 80 })).toHaveLength(1);
    expect(await ranges(['192.168.0.0/24'])).toEqual([expect.stringMatching(/^ep1 /)]);
    expect(save('filter')).not.toContain('--vaddr');
  });

  it('have the scheduler that was asked for; one that the kernel lacks is an error that names it', async () => {
    await bench.close();
    await settle({ scheduler: 'mh', strictARP: true, tcpTimeout: 901 });
    const { ip } = await one();
    expect(servers()).toEqual(expect.arrayContaining([expect.stringContaining(`-A -t ${ip}:80 -s mh`)]));
    expect(stage.onNode('cat', '/proc/sys/net/ipv4/conf/all/arp_announce').trim()).toBe('2');
    expect(stage.onNode('ipvsadm', '-l', '--timeout')).toContain('901');
    stage.onNode('ipvsadm', '--set', '900', '0', '0');
  });
});

describe('changing to ipvs and back', () => {
  let stage: Stage;
  let bench: Bench;
  beforeAll(async () => {
    stage = await Stage.build();
  });
  afterAll(async () => {
    await stage?.close();
  });

  it.each(['nftables', 'iptables'] as const)('from %s fails no connection and leaves no trace', async (other) => {
    const make = (mode: 'nftables' | 'iptables' | 'ipvs'): DataPlane => {
      const shared = { ns: stage.node.ns, tables: familyConfigs(OPTIONS, mode), variant: 'legacy' as const };
      if (mode === 'ipvs') return new IpvsDataPlane({ ...shared, drainMs: 1000 });
      return mode === 'iptables' ? new IptablesDataPlane(shared) : new NftablesDataPlane(shared);
    };
    bench = await Bench.start(stage, () => make(other));
    try {
      const { name, ip, nodePort } = bench.fresh();
      await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
      await bench.endpoints(name, [bench.at.ep1, bench.at.rep1]);
      await stage.pod1.hammer('pod', { dst: ip, port: 80, pause: 0.01 });
      await stage.node.hammer('node', { dst: ip, port: 80, pause: 0.01 });
      await stage.outside.hammer('outside', { dst: '192.168.0.1', port: nodePort, pause: 0.01 });
      for (let i = 0; i < 2; i++) {
        await bench.proxy.switchTo(make('ipvs'));
        if (i === 0) {
          await stage.pod1.open('long', { dst: ip, port: 80 });
          await stage.node.open('own', { dst: ip, port: 80 });
        }
        expect(stage.onNode('ipvsadm', '-Sn')).toContain(ip);
        expect(await bench.proxy.audit()).toBe(0);
        expect(stage.onNode('iptables-legacy-save')).not.toMatch(/KUBE-(SVC|SEP|NODEPORTS|EXTERNAL-SERVICES)/);
        expect(stage.onNode('nft', 'list', 'tables')).not.toContain('weft-services');
        await bench.proxy.switchTo(make(other));
        expect(await bench.proxy.audit()).toBe(0);
        expect(stage.onNode('iptables-legacy-save')).not.toMatch(/KUBE-(NODE-PORT|IPVS|LOAD-BALANCER)/);
      }
      for (const [host, id] of [
        [stage.pod1, 'pod'],
        [stage.node, 'node'],
        [stage.outside, 'outside'],
      ] as const) {
        const counts = await host.stopHammer(id);
        expect(
          Object.keys(counts).filter((key) => !/^(ep1|remote)/.test(key)),
          JSON.stringify(counts),
        ).toEqual([]);
      }
      // The open connection still goes by IPVS; what is left goes with it.
      expect(await stage.pod1.talk('long')).toBe('?');
      expect(await stage.node.talk('own')).toBe('?');
      expect(stage.onNode('ipvsadm', '-Sn')).toContain(ip);
      await stage.pod1.shut('long');
      await stage.node.shut('own');
      await expect.poll(() => stage.onNode('ipvsadm', '-Sn').trim(), { timeout: 30_000 }).toBe('');
      await expect.poll(() => stage.onNode('ip', '-o', 'link')).not.toContain('kube-ipvs0');
    } finally {
      await bench.close();
      for (const mode of ['ipvs', 'iptables', 'nftables'] as const) await make(mode).cleanup();
    }
  });
});
