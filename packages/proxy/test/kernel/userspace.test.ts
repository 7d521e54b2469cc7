import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { familyConfigs } from '../../src/options.ts';
import { UserspaceDataPlane, type UserspaceSettings } from '../../src/userspace/dataplane.ts';
import { Bench, byName, OPTIONS, type PlaneFactory, Stage } from './bench.ts';
import { serviceCompliance } from './compliance.ts';

const plane =
  (settings: UserspaceSettings = {}, variant: 'legacy' | 'nft' = 'legacy'): PlaneFactory =>
  (ns, options) =>
    new UserspaceDataPlane({ ns, variant, settings, tables: familyConfigs(options, 'userspace') });

serviceCompliance('userspace', new UserspaceDataPlane({ tables: [] }).capabilities, plane(), 20_000);

describe('the userspace proxy', () => {
  let stage: Stage;
  let bench: Bench;

  beforeAll(async () => {
    stage = await Stage.build();
  });

  afterAll(async () => {
    await stage?.close();
  });

  const begin = async (make: PlaneFactory, options = OPTIONS): Promise<void> => {
    bench = await Bench.start(stage, make, options);
  };

  beforeEach(() => async () => {
    await bench.close();
    await bench.plane.cleanup();
    expect(stage.onNode('iptables-legacy-save') + stage.onNode('iptables-nft-save')).not.toMatch(/KUBE-/);
    expect(stage.onNode('ip6tables-legacy-save')).not.toMatch(/KUBE-/);
  });

  const listening = (): string[] => stage.onNode('ss', '-Hlnt').match(/192\.168\.0\.1:\d+/g) ?? [];

  it.each(['legacy', 'nft'] as const)('serves by iptables-%s, and is repaired by the audit', async (variant) => {
    await begin(plane({}, variant));
    const { name, ip, ip6, externalIP, vip, nodePort } = bench.fresh();
    await bench.service(
      name,
      {
        type: 'LoadBalancer',
        clusterIPs: [ip, ip6],
        externalIPs: [externalIP],
        externalTrafficPolicy: 'Local',
        loadBalancerSourceRanges: ['203.0.113.0/24', '10.244.0.0/24'],
        ports: [
          { name: 'http', port: 80, nodePort },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
      { loadBalancer: { ingress: [{ ip: vip }] } },
    );
    await bench.endpoints(name, [bench.at.rep1]);
    expect(await bench.proxy.audit()).toBe(0);
    // A pod of the range uses the endpoints of all nodes, clients from beyond only those of this one.
    expect(byName(await stage.pod1.ask({ dst: vip, port: 80, timeout: 0.3 }))).toEqual({ remote: 1 });
    expect(byName(await stage.outside.ask({ dst: vip, port: 80, timeout: 0.3 }))).toEqual({ timeout: 1 });
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-F', 'KUBE-PORTALS-CONTAINER');
    stage.onNode(`iptables-${variant}`, '-t', 'nat', '-D', 'OUTPUT', '1');
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 }))).toEqual({ timeout: 1 });
    expect(await bench.proxy.audit()).toBe(2);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 }))).toEqual({ remote: 1 });
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('tries the next endpoint when one does not answer, and resets the client when none does', async () => {
    await begin(plane());
    const { name, ip } = bench.fresh();
    const ports = [{ name: 'http', port: 8080, protocol: 'TCP' as const }];
    await bench.service(name, { clusterIP: ip, sessionAffinity: 'ClientIP' });
    // Nobody has the first address; the second one refuses.
    await bench.endpoints(name, [{ address: '10.244.0.99' }, { address: stage.pod2.address }, bench.at.ep1], ports);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 10, timeout: 5 }))).toEqual({ ep1: 10 });
    await bench.endpoints(name, [{ address: stage.pod2.address }], ports);
    expect(await stage.pod1.ask({ dst: ip, port: 80, timeout: 10 })).toEqual(['refused']);
  });

  it('listens in the range it is given, and reports the Services that it has no room for', async () => {
    await begin(plane({ portRange: '20000-20001' }));
    const all = [bench.fresh(), bench.fresh(), bench.fresh()];
    for (const { name, ip } of all) {
      await bench.service(name, { clusterIP: ip });
      await bench.endpoints(name, [bench.at.ep1]);
    }
    expect(listening().sort()).toEqual(['192.168.0.1:20000', '192.168.0.1:20001']);
    const outcomes = [];
    for (const { ip } of all)
      outcomes.push(...Object.keys(byName(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 }))));
    expect(outcomes).toEqual(['ep1', 'ep1', 'timeout']);
  });

  it('takes no clients that come to its own ports, past policies and ranges', async () => {
    await begin(plane());
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    const port = Number(listening()[0]?.split(':')[1]);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
    for (const host of [stage.pod1, stage.outside, stage.node])
      expect(await host.ask({ dst: '192.168.0.1', port }), host.name).toEqual(['refused']);
  });

  it('goes on when the kernel knows no way to an endpoint of UDP', async () => {
    await begin(plane());
    const { name, ip } = bench.fresh();
    stage.onNode('ip', 'route', 'replace', 'unreachable', '198.51.100.0/24');
    await bench.service(name, { clusterIP: ip, ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] });
    const port = [{ name: 'dns', port: 5353, protocol: 'UDP' as const }];
    await bench.endpoints(name, [{ address: '198.51.100.7', nodeName: 'other' }], port);
    expect(await stage.pod1.ask({ dst: ip, port: 53, proto: 'udp', timeout: 0.3 })).toEqual(['timeout']);
    await bench.endpoints(name, [bench.at.ep1], port);
    expect(byName(await stage.pod1.ask({ dst: ip, port: 53, proto: 'udp' }))).toEqual({ ep1: 1 });
    stage.onNode('ip', 'route', 'del', 'unreachable', '198.51.100.0/24');
  });

  it('lets go of UDP flows of clients that stay away', async () => {
    await begin(plane({ udpIdleMs: 200 }));
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip, ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] });
    await bench.endpoints(name, [bench.at.ep1], [{ name: 'dns', port: 5353, protocol: 'UDP' }]);
    await stage.pod1.open('flow', { dst: ip, port: 53, proto: 'udp' });
    expect(await stage.pod1.talk('flow')).toMatch(/^ep1 /);
    const sockets = (): number => (stage.onNode('ss', '-Hnu').match(/:5353\b/g) ?? []).length;
    expect(sockets()).toBe(1);
    await expect.poll(sockets, { timeout: 5000 }).toBe(0);
    expect(await stage.pod1.talk('flow')).toMatch(/^ep1 /);
  });

  it('answers NodePorts on 127.0.0.1 where it may', async () => {
    await begin(plane(), { ...OPTIONS, nodePortAddresses: ['all'] });
    const { name, ip, nodePort } = bench.fresh();
    await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
    await bench.endpoints(name, [bench.at.ep1]);
    for (const dst of ['127.0.0.1', '192.168.0.1', stage.nodeOutside])
      expect(byName(await stage.node.ask({ dst, port: nodePort })), dst).toEqual({ ep1: 1 });
    expect(await bench.proxy.audit()).toBe(0);
  });
});
