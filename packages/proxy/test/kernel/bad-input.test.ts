// What nobody should write, and somebody will: each data plane goes on serving everything else.
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listenTcp } from '@weft/kernel';
import { IptablesDataPlane } from '../../src/iptables/dataplane.ts';
import { NftablesDataPlane } from '../../src/nftables/dataplane.ts';
import { familyConfigs } from '../../src/options.ts';
import { UserspaceDataPlane } from '../../src/userspace/dataplane.ts';
import { service as makeService, slice } from '../support/worlds.ts';
import { Bench, byName, type PlaneFactory, Stage } from './bench.ts';

const PLANES: readonly (readonly [string, PlaneFactory])[] = [
  ['nftables', (ns, o) => new NftablesDataPlane({ ns, tables: familyConfigs(o, 'nftables') })],
  ['iptables', (ns, o) => new IptablesDataPlane({ ns, variant: 'legacy', tables: familyConfigs(o, 'iptables') })],
  ['userspace', (ns, o) => new UserspaceDataPlane({ ns, variant: 'legacy', tables: familyConfigs(o, 'userspace') })],
];

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.build();
});

afterAll(async () => {
  await stage?.close();
});

describe.each(PLANES)('bad input to %s', (name, make) => {
  let bench: Bench;

  beforeEach(async () => {
    bench = await Bench.start(stage, make);
    return async () => {
      await bench.close();
      await bench.plane.cleanup();
    };
  });

  const ask = async (dst: string, port: number, from = stage.pod1): Promise<string[]> =>
    Object.keys(byName(await from.ask({ dst, port, timeout: 0.5 })));

  /** A Service that everybody can use, beside the one that is wrong. */
  async function other(): Promise<() => Promise<string[]>> {
    const { name: service, ip } = bench.fresh();
    await bench.service(service, { clusterIP: ip });
    await bench.endpoints(service, [bench.at.ep2]);
    return () => ask(ip, 80);
  }

  it('external addresses that are the node’s own take the port of the Service, and no other', async () => {
    const works = await other();
    const { name: service, ip } = bench.fresh();
    await bench.service(service, { clusterIP: ip, externalIPs: ['192.168.0.1', stage.nodeOutside] });
    await bench.endpoints(service, [bench.at.ep1]);
    for (const from of [stage.pod1, stage.outside]) {
      expect(await ask('192.168.0.1', 80, from)).toEqual(['ep1']);
      expect(await ask('192.168.0.1', 8080, from)).toEqual(['node']);
    }
    expect(await works()).toEqual(['ep2']);
    await bench.remove(service);
    expect(await ask('192.168.0.1', 80)).toEqual(['refused']);
  });

  it('endpoints that are the node itself are reached, also by the node', async () => {
    const { name: service, ip } = bench.fresh();
    await bench.service(service, { clusterIP: ip });
    await bench.endpoints(service, [{ address: '192.168.0.1', nodeName: 'node' }]);
    for (const from of [stage.pod1, stage.outside, stage.node]) expect(await ask(ip, 80, from)).toEqual(['node']);
  });

  it('a NodePort that a process holds is the Service’s while there is one, and then the process’s again', async () => {
    const { name: service, ip, nodePort } = bench.fresh();
    const server = net.createServer((socket) => socket.on('error', () => {}).end('process\n'));
    server.listen({ fd: listenTcp('0.0.0.0', nodePort, stage.node.ns) });
    await once(server, 'listening');
    try {
      expect(await ask('192.168.0.1', nodePort, stage.outside)).toEqual(['process']);
      await bench.service(service, {
        type: 'NodePort',
        clusterIP: ip,
        ports: [{ name: 'http', port: 80, nodePort }],
      });
      await bench.endpoints(service, [bench.at.ep1]);
      expect(await ask('192.168.0.1', nodePort, stage.outside)).toEqual(['ep1']);
      // Other addresses of the node are no NodePort's, and stay the process's.
      expect(await ask(stage.nodeOutside, nodePort, stage.outside)).toEqual(['process']);
      await bench.remove(service);
      expect(await ask('192.168.0.1', nodePort, stage.outside)).toEqual(['process']);
    } finally {
      server.close();
    }
  });

  it('names of the greatest length are served', async () => {
    const { ip, vip, nodePort } = bench.fresh();
    const service = 's'.repeat(63);
    const port = 'p'.repeat(63);
    await bench.service(
      service,
      {
        type: 'LoadBalancer',
        clusterIP: ip,
        sessionAffinity: 'ClientIP',
        loadBalancerSourceRanges: ['10.0.0.0/8'],
        ports: [{ name: port, port: 80, nodePort }],
      },
      { loadBalancer: { ingress: [{ ip: vip }] } },
    );
    await bench.endpoints(service, [bench.at.ep1], [{ name: port, port: 8080, protocol: 'TCP' }]);
    for (const [dst, at] of [
      [ip, 80],
      [vip, 80],
      ['192.168.0.1', nodePort],
    ] as const)
      expect(await ask(dst, at)).toEqual(['ep1']);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('a name longer than the API allows is served or left out, and everything else is served', async () => {
    const works = await other();
    const { ip } = bench.fresh();
    const service = 's'.repeat(400);
    bench.cluster.putService(makeService(service, { clusterIP: ip }));
    bench.cluster.putSlice(slice('long', service, [bench.at.ep1]));
    const after = await other();
    expect(await after()).toEqual(['ep2']);
    expect(await works()).toEqual(['ep2']);
    expect(['ep1', 'timeout', 'refused']).toContain((await ask(ip, 80))[0]);
    await bench.remove(service);
  });

  it('source ranges that contradict each other, or are none, leave the rest served', async () => {
    const works = await other();
    const { name: service, ip, vip } = bench.fresh();
    const status = { loadBalancer: { ingress: [{ ip: vip }] } };
    const spec = { type: 'LoadBalancer' as const, clusterIP: ip };
    await bench.endpoints(service, [bench.at.ep1]);
    const nested = ['10.0.0.0/8', '10.244.0.0/16', '10.244.0.11/32', '10.244.0.11/32', 'nonsense', 'fd00::/8'];
    await bench.service(service, { ...spec, loadBalancerSourceRanges: nested }, status);
    expect(await ask(vip, 80)).toEqual(['ep1']);
    expect(await ask(vip, 80, stage.outside)).toEqual(['timeout']);
    await bench.service(service, { ...spec, loadBalancerSourceRanges: ['10.0.0.0/8', '0.0.0.0/0'] }, status);
    expect(await ask(vip, 80, stage.outside)).toEqual(['ep1']);
    expect(await works()).toEqual(['ep2']);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it.runIf(name !== 'iptables')('100,000 endpoints of one Service are served, and go again', async () => {
    const works = await other();
    const { name: service, ip } = bench.fresh();
    await bench.service(service, { clusterIP: ip });
    const per = 1000;
    for (let s = 0; s < 100; s++) {
      const endpoints = Array.from({ length: per }, (_, k) => {
        const n = s * per + k;
        return { address: `100.${64 + (n >> 16)}.${(n >> 8) & 0xff}.${n & 0xff}`, nodeName: 'other' };
      });
      bench.cluster.putSlice(slice(`${service}-many-${s}`, service, endpoints));
    }
    await bench.proxy.idle();
    const port = [...bench.proxy.plan.values()].find(
      ({ value }) => value.type === 'ServicePort' && value.service === `default/${service}`,
    )?.value;
    expect(port?.type === 'ServicePort' && port.cluster.length / 6).toBe(100_000);
    expect(await works()).toEqual(['ep2']);
    for (let s = 0; s < 100; s++) bench.cluster.deleteSlice(`${service}-many-${s}`);
    await bench.endpoints(service, [bench.at.ep1]);
    expect(await ask(ip, 80)).toEqual(['ep1']);
    expect(await works()).toEqual(['ep2']);
    expect(await bench.proxy.audit()).toBe(0);
  });
});
