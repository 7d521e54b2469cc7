import { existsSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectTcp, writeSysctl } from '@weft/kernel';
import type { DataPlane } from '../../src/dataplane.ts';
import { EbpfDataPlane } from '../../src/ebpf/dataplane.ts';
import { IptablesDataPlane } from '../../src/iptables/dataplane.ts';
import { UserspaceDataPlane } from '../../src/userspace/dataplane.ts';
import { NftablesDataPlane } from '../../src/nftables/dataplane.ts';
import { familyConfigs, type Mode, type TableOptions } from '../../src/options.ts';
import { ServiceProxy } from '../../src/proxy.ts';
import { TestCgroup } from '../support/cgroup.ts';
import { Bench, byName, OPTIONS, Stage } from './bench.ts';

describe('changing the data plane', () => {
  let stage: Stage;
  let bench: Bench;

  const group = new TestCgroup();

  beforeAll(async () => {
    stage = await Stage.build();
    for (const host of [stage.node, stage.pod1, stage.pod2, stage.ep1, stage.ep2]) group.enter(host.pid);
  });

  afterAll(async () => {
    await stage?.close();
    group.close();
  });

  const plane = (mode: Mode, options: TableOptions = OPTIONS): DataPlane => {
    const shared = { ns: stage.node.ns, tables: familyConfigs(options, mode) };
    if (mode === 'ebpf') return new EbpfDataPlane({ ...shared, places: group });
    if (mode === 'nftables') return new NftablesDataPlane(shared);
    return mode === 'userspace'
      ? new UserspaceDataPlane({ ...shared, variant: 'legacy' })
      : new IptablesDataPlane({ ...shared, variant: 'legacy' });
  };

  beforeEach(async () => {
    bench = await Bench.start(stage, () => plane('nftables'));
    return async () => {
      await bench.close();
      for (const mode of ['ebpf', 'nftables', 'iptables', 'userspace'] as const) await plane(mode).cleanup();
    };
  });

  const traces = (): Partial<Record<Mode, boolean>> => ({
    nftables: stage.onNode('nft', 'list', 'tables').includes('weft-services'),
    iptables: /KUBE-SERVICES/.test(stage.onNode('iptables-legacy-save')),
    userspace: /KUBE-PORTALS|KUBE-NODEPORT-/.test(stage.onNode('iptables-legacy-save')),
    ebpf: existsSync(group.pins),
  });

  it.each([
    [['iptables', 'nftables', 'ebpf', 'iptables', 'ebpf', 'nftables']],
    [['userspace', 'nftables', 'userspace', 'iptables', 'userspace', 'ebpf']],
  ] as const)(
    'to %j under load fails no connection, breaks none that is open, and leaves no trace of the other',
    async (modes) => {
      const { name, ip, nodePort, externalIP } = bench.fresh();
      const { ep1, ep2, rep1 } = bench.at;
      await bench.service(name, {
        type: 'NodePort',
        clusterIP: ip,
        externalIPs: [externalIP],
        ports: [{ name: 'http', port: 80, nodePort }],
      });
      await bench.endpoints(name, [ep1, ep2, rep1]);
      await stage.pod1.open('long', { dst: ip, port: 80 });
      await stage.pod1.hammer('cluster', { dst: ip, port: 80 });
      await stage.outside.hammer('node', { dst: '192.168.0.1', port: nodePort });
      await stage.remote.hammer('external', { dst: externalIP, port: 80, src: stage.remotePods[0] });
      for (let i = 0; i < 2; i++) {
        for (const [step, mode] of modes.entries()) {
          await bench.proxy.switchTo(plane(mode));
          await stage.pod2.open(`${i} ${step}`, { dst: ip, port: 80 });
          expect(bench.proxy.dataPlane.name).toBe(mode);
          expect(traces()).toEqual({
            nftables: mode === 'nftables' || mode === 'ebpf',
            iptables: mode === 'iptables',
            userspace: mode === 'userspace',
            ebpf: mode === 'ebpf',
          });
          expect(await bench.proxy.audit()).toBe(0);
          await bench.endpoints(name, [[ep1], [ep2, rep1], [ep1, ep2, rep1]][i % 3] ?? []);
        }
      }
      expect(await stage.pod1.talk('long')).toBe('?');
      // Connections that the process carries itself go on too, whichever plane has come since.
      for (let i = 0; i < 2; i++)
        for (const step of modes.keys()) expect(await stage.pod2.talk(`${i} ${step}`)).toBe('?');
      for (const [host, load] of [
        [stage.pod1, 'cluster'],
        [stage.outside, 'node'],
        [stage.remote, 'external'],
      ] as const) {
        const answers = await host.stopHammer(load);
        for (const answer of Object.keys(answers))
          expect(answer, `${load} ${JSON.stringify(answers)}`).toMatch(/^(ep1|ep2|remote) /);
        expect(Object.values(answers).reduce((sum, n) => sum + n, 0)).toBeGreaterThan(20);
      }
    },
  );

  it('leads UDP flows that the process carried to the endpoints again', async () => {
    const { name, ip } = bench.fresh();
    await bench.proxy.switchTo(plane('userspace'));
    await bench.service(name, { clusterIP: ip, ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] });
    await bench.endpoints(name, [bench.at.ep1], [{ name: 'dns', port: 5353, protocol: 'UDP' }]);
    await stage.pod1.open('flow', { dst: ip, port: 53, proto: 'udp' });
    expect(await stage.pod1.talk('flow')).toBe('ep1 10.244.0.1');
    await bench.proxy.switchTo(plane('nftables'));
    expect(await stage.pod1.talk('flow')).toBe(`ep1 ${stage.pod1.address}`);
  });

  it('says of each Service what the data plane cannot serve', async () => {
    const events: string[] = [];
    const { name, ip } = bench.fresh();
    await bench.service(name, {
      clusterIP: ip,
      ports: [
        { name: 'http', port: 80 },
        { name: 'sig', port: 90, protocol: 'SCTP' },
      ],
    });
    await bench.endpoints(name, [bench.at.ep1]);
    const proxy = new ServiceProxy({
      ...OPTIONS,
      nodeName: 'node',
      sources: bench.cluster,
      dataPlane: bench.proxy.dataPlane,
      ns: stage.node.ns,
      event: (service, type, reason, message) => events.push(`${service} ${type} ${reason}: ${message}`),
    });
    await bench.proxy.stop();
    await proxy.start(new AbortController().signal);
    await proxy.synced;
    expect(events).toEqual([]);
    await proxy.switchTo(plane('userspace'));
    const said = `default/${name} Warning UnsupportedProtocol: port default/${name}:sig: the userspace data plane of node node cannot serve SCTP`;
    expect(events).toEqual([said]);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
    await proxy.switchTo(plane('nftables'));
    await proxy.stop();
  });

  it.each(['nftables', 'iptables'] as const)('%s: connections and packets are told by endpoint', async (mode) => {
    writeSysctl('net.netfilter.nf_conntrack_acct', '1', stage.node.ns);
    await bench.proxy.switchTo(plane(mode));
    // Addresses that no other test has left connections to.
    for (let i = 0; i < (mode === 'iptables' ? 40 : 20); i++) bench.fresh();
    const { name, ip, nodePort } = bench.fresh();
    await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
    await bench.endpoints(name, [bench.at.ep1]);
    await stage.pod1.open(`traffic ${mode}`, { dst: ip, port: 80 });
    await stage.outside.open(`traffic ${mode}`, { dst: '192.168.0.1', port: nodePort });
    await bench.endpoints(name, [bench.at.ep2]);
    const [port] = (await bench.proxy.traffic(`default/${name}`)) ?? [];
    expect(port?.backends).toEqual([
      {
        endpoint: `${stage.ep1.address}:8080`,
        inUse: false,
        connections: 2,
        packets: expect.any(Number),
        bytes: expect.any(Number),
      },
      { endpoint: `${stage.ep2.address}:8080`, inUse: true, connections: 0 },
    ]);
    expect(port?.backends[0]?.packets).toBeGreaterThanOrEqual(6);
    expect(await bench.proxy.traffic('default/nobody')).toBeUndefined();
    for (const host of [stage.pod1, stage.outside]) await host.shut(`traffic ${mode}`);
  });

  it('to one that cannot work leaves the old one as it was', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    const broken = plane('iptables');
    broken.complete = () => Promise.reject(new Error('no such kernel'));
    await expect(bench.proxy.switchTo(broken)).rejects.toThrow('no such kernel');
    expect(bench.proxy.dataPlane.name).toBe('nftables');
    expect(traces()).toEqual({ nftables: true, iptables: false, userspace: false, ebpf: false });
    await bench.endpoints(name, [bench.at.ep2]);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 3 }))).toEqual({ ep2: 3 });
  });

  it('follows the default of NodePort addresses, which differs by mode', async () => {
    await bench.halt();
    const { nodePortAddresses: _, ...options } = OPTIONS;
    Object.assign(bench, { options });
    await bench.resume();
    const { name, ip, nodePort } = bench.fresh();
    await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
    await bench.endpoints(name, [bench.at.ep1]);
    const ask = async (): Promise<string[]> =>
      Object.keys(byName(await stage.outside.ask({ dst: stage.nodeOutside, port: nodePort })));
    expect(await ask()).toEqual(['refused']);
    await bench.proxy.switchTo(plane('iptables', options));
    expect(await ask()).toEqual(['ep1']);
    await bench.proxy.switchTo(plane('nftables', options));
    expect(await ask()).toEqual(['refused']);
    expect(Object.keys(byName(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort })))).toEqual(['ep1']);
  });

  it('does not keep a proxy from stopping that has not seen the API yet', async () => {
    await bench.halt();
    const never = { on: () => () => {} };
    const proxy = new ServiceProxy({
      ...OPTIONS,
      nodeName: 'node',
      sources: { services: never, slices: never },
      dataPlane: plane('nftables'),
      ns: stage.node.ns,
    });
    await proxy.start(new AbortController().signal);
    const switched = proxy.switchTo(plane('iptables')).then(
      () => 'changed',
      () => 'given up',
    );
    await proxy.stop();
    expect(await switched).toBe('given up');
    expect(proxy.health).toMatchObject({ healthy: false, live: true });
  });

  it('leaves what an earlier agent has written alone until it knows the whole plan', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    await bench.proxy.switchTo(plane('iptables'));
    await bench.halt();
    const next = plane('iptables');
    await next.start();
    expect(await next.audit(new Map())).toBe(0);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
    await next.stop();
  });

  it('serves with the new plane when the former one cannot be removed at once', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    const old = bench.proxy.dataPlane;
    const cleanup = old.cleanup.bind(old);
    old.cleanup = () => Promise.reject(new Error('busy'));
    await bench.proxy.switchTo(plane('iptables'));
    expect(bench.proxy.dataPlane.name).toBe('iptables');
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
    await cleanup();
  });

  describe('health checks of balancers', () => {
    const ask = async (port: number): Promise<{ status: number; weight: string | undefined; body: string }> => {
      const socket = new net.Socket({ fd: await connectTcp('192.168.0.1', port, stage.node.ns) });
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      socket.write('GET / HTTP/1.0\r\n\r\n');
      await once(socket, 'end');
      const [head = '', body = ''] = text.split('\r\n\r\n');
      return {
        status: Number(head.split(' ')[1]),
        weight: /^X-Load-Balancing-Endpoint-Weight: (.*)$/m.exec(head)?.[1]?.trim(),
        body,
      };
    };

    it('answer after a change of the data plane too', async () => {
      await bench.halt();
      const { nodePortAddresses: _, ...options } = OPTIONS;
      Object.assign(bench, { options });
      await bench.resume();
      const { name, ip, vip } = bench.fresh();
      const spec = {
        type: 'LoadBalancer' as const,
        clusterIP: ip,
        externalTrafficPolicy: 'Local' as const,
        healthCheckNodePort: 32113,
      };
      await bench.service(name, spec, { loadBalancer: { ingress: [{ ip: vip }] } });
      await bench.endpoints(name, [bench.at.ep1]);
      for (const mode of ['iptables', 'ebpf', 'nftables'] as const) {
        await bench.proxy.switchTo(plane(mode, options));
        await bench.proxy.idle();
        expect(await ask(32113), mode).toMatchObject({ status: 200, weight: '1' });
      }
    });

    it('tell how many endpoints this node has, as kube-proxy writes it', async () => {
      const { name, ip, vip } = bench.fresh();
      const spec = {
        type: 'LoadBalancer' as const,
        clusterIP: ip,
        externalTrafficPolicy: 'Local' as const,
        healthCheckNodePort: 32111,
        ports: [
          { name: 'http', port: 80 },
          { name: 'admin', port: 90 },
        ],
      };
      await bench.service(name, spec, { loadBalancer: { ingress: [{ ip: vip }] } });
      const both = [
        { name: 'http', port: 8080, protocol: 'TCP' as const },
        { name: 'admin', port: 9090, protocol: 'TCP' as const },
      ];
      await bench.endpoints(name, [bench.at.ep1, bench.at.ep2, bench.at.rep1], both);
      expect(await ask(32111)).toEqual({
        status: 200,
        weight: '2',
        body: `{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "${name}"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}`,
      });
      await bench.endpoints(name, [bench.at.rep1], both);
      expect(await ask(32111)).toMatchObject({ status: 503, weight: '0' });
      await bench.service(name, { ...spec, healthCheckNodePort: 32112 }, { loadBalancer: { ingress: [{ ip: vip }] } });
      expect(await ask(32112)).toMatchObject({ status: 503 });
      await expect(ask(32111)).rejects.toThrow();
      await bench.remove(name);
      await expect(ask(32112)).rejects.toThrow();
    });
  });
});
