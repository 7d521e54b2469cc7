import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Capabilities } from '../../src/dataplane.ts';
import { Bench, byName, type PlaneFactory, sources, Stage } from './bench.ts';

const UDP = [{ name: 'dns', port: 53, protocol: 'UDP' as const }];
const UDP_TARGET = [{ name: 'dns', port: 5353, protocol: 'UDP' as const }];

/**
 * What a Service means, shown with real packets. Every data plane passes this one suite; it knows nothing of how any of
 * them works. Servers answer with their name and the source address they saw.
 */
export function serviceCompliance(
  plane: string,
  can: Capabilities,
  make: PlaneFactory,
  /** Changes that are made under load; fewer for planes that start a program for each. */
  changes = 2000,
  /** What a stage needs before the data plane can work on it. */
  prepare: (stage: Stage) => void = () => {},
): void {
  describe(`Services by ${plane}`, () => {
    let stage: Stage;
    let bench: Bench;

    beforeAll(async () => {
      stage = await Stage.build();
      prepare(stage);
      bench = await Bench.start(stage, make);
    });

    afterAll(async () => {
      await bench?.close();
      await stage?.close();
    });

    /** The answer of `who` to a client whose address nothing has to hide. */
    const seen = (who: 'ep1' | 'ep2' | 'remote', client: string): string => {
      if (can.keepsClientAddress) return `${who} ${client}`;
      const node = who === 'remote' ? ['192.168.0.1', 'fd00:168::1'] : ['10.244.0.1', 'fd00:244::1'];
      return `${who} ${node[client.includes(':') ? 1 : 0]}`;
    };
    const from = (who: readonly ('ep1' | 'ep2' | 'remote')[], client: string): string[] =>
      sources(who.map((name) => seen(name, client)));

    describe('ClusterIP', () => {
      it('spreads connections of pods over all endpoints and keeps their address', async () => {
        const { name, ip } = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [ep1, ep2, rep1]);
        const answers = await stage.pod1.ask({ dst: ip, port: 80, count: 150 });
        expect(sources(answers)).toEqual(from(['ep1', 'ep2', 'remote'], stage.pod1.address));
        const counts = byName(answers);
        expect(Object.keys(counts).sort()).toEqual(['ep1', 'ep2', 'remote']);
        for (const count of Object.values(counts)) expect(count).toBeGreaterThan(20);
      });

      it('keeps the address of a pod of another node that comes in through this one', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        const [src] = stage.remotePods;
        expect(await stage.remote.ask({ dst: ip, port: 80, src })).toEqual([seen('ep1', src)]);
      });

      it('masquerades clients that are no pods', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        expect(await stage.outside.ask({ dst: ip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        expect(await stage.node.ask({ dst: ip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        await bench.endpoints(name, [bench.at.rep1]);
        expect(await stage.outside.ask({ dst: ip, port: 80 })).toEqual(['remote 192.168.0.1']);
        expect(await stage.node.ask({ dst: ip, port: 80 })).toEqual(['remote 192.168.0.1']);
      });

      it('brings a pod that is its own endpoint back to itself', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        expect(await stage.ep1.ask({ dst: ip, port: 80, count: 3 })).toEqual(Array(3).fill('ep1 10.244.0.1'));
        // Others, and the pod when it asks itself without the Service, keep their address.
        expect(await stage.ep2.ask({ dst: ip, port: 80 })).toEqual([seen('ep1', stage.ep2.address)]);
        expect(await stage.ep1.ask({ dst: stage.ep1.address, port: 8080 })).toEqual([`ep1 ${stage.ep1.address}`]);
      });

      it('serves every port by its own endpoints', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, {
          clusterIP: ip,
          ports: [
            { name: 'http', port: 80, protocol: 'TCP' },
            { name: 'admin', port: 90, protocol: 'TCP' },
            { name: 'dns', port: 53, protocol: 'UDP' },
          ],
        });
        await bench.endpoints(name, [bench.at.ep1]);
        await bench.endpoints(
          name,
          [bench.at.ep2],
          [
            { name: 'admin', port: 9090, protocol: 'TCP' },
            { name: 'dns', port: 5353, protocol: 'UDP' },
          ],
          '2',
        );
        const pod = stage.pod1.address;
        expect(await stage.pod1.ask({ dst: ip, port: 80, count: 4 })).toEqual(Array(4).fill(seen('ep1', pod)));
        expect(await stage.pod1.ask({ dst: ip, port: 90, count: 4 })).toEqual(Array(4).fill(seen('ep2', pod)));
        expect(await stage.pod1.ask({ dst: ip, port: 53, proto: 'udp', count: 4 })).toEqual(
          Array(4).fill(seen('ep2', pod)),
        );
      });

      it('serves a single port without a name', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip, ports: [{ port: 80 }] });
        await bench.endpoints(name, [bench.at.ep1], [{ port: 8080, protocol: 'TCP' }]);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([seen('ep1', stage.pod1.address)]);
      });

      it('spreads UDP', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip, ports: UDP });
        await bench.endpoints(name, [bench.at.ep1, bench.at.ep2], UDP_TARGET);
        const answers = await stage.pod1.ask({ dst: ip, port: 53, proto: 'udp', count: 60 });
        expect(sources(answers)).toEqual(from(['ep1', 'ep2'], stage.pod1.address));
        expect(Object.keys(byName(answers)).sort()).toEqual(['ep1', 'ep2']);
      });

      it('counts an endpoint of two slices once', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
        await bench.endpoints(name, [bench.at.ep1], undefined, '2');
        const counts = byName(await stage.pod1.ask({ dst: ip, port: 80, count: 1000 }));
        // Twice in, ep1 would get two thirds.
        expect(counts['ep1']).toBeLessThan(583);
        expect(counts['ep2']).toBeGreaterThan(417);
      });
    });

    describe('refusal', () => {
      it('is immediate where there is no endpoint, from everywhere', async () => {
        const { name, ip, nodePort, externalIP } = bench.fresh();
        await bench.service(name, {
          type: 'NodePort',
          clusterIP: ip,
          externalIPs: [externalIP],
          ports: [
            { name: 'http', port: 80, nodePort },
            { name: 'dns', port: 53, protocol: 'UDP' },
          ],
        });
        for (const host of [stage.pod1, stage.node, stage.outside]) {
          expect(await host.ask({ dst: ip, port: 80 }), host.name).toEqual(['refused']);
          // Two refusals a second may be more than the kernel sends as ICMP errors: a client tries again after one.
          if (host !== stage.node || can.refusesNodeToExternal) {
            expect(await host.ask({ dst: externalIP, port: 80, timeout: 3 }), host.name).toEqual(['refused']);
          }
          expect(await host.ask({ dst: '192.168.0.1', port: nodePort }), host.name).toEqual(['refused']);
        }
        expect(await stage.pod1.ask({ dst: ip, port: 53, proto: 'udp' })).toEqual(['refused']);
        // Also for many clients at once, where refusals are not ICMP errors, which are rate limited.
        if (!can.resets) return;
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 100, timeout: 0.3 }))).toEqual({ refused: 100 });
      });

      it.runIf(can.guardsServiceBlocks)('is immediate on a port that a ClusterIP does not have', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        for (const host of [stage.pod1, stage.node, stage.outside]) {
          expect(await host.ask({ dst: ip, port: 81 }), host.name).toEqual(['refused']);
        }
      });

      it.runIf(can.guardsServiceBlocks)('is silent for addresses of the Service block that nobody has', async () => {
        expect(await stage.pod1.ask({ dst: '10.96.255.250', port: 80, timeout: 0.3 })).toEqual(['timeout']);
      });

      it('comes with the last endpoint and goes with the first', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([seen('ep1', stage.pod1.address)]);
        await bench.endpoints(name, []);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual(['refused']);
        await bench.endpoints(name, [bench.at.ep2]);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual([seen('ep2', stage.pod1.address)]);
        await bench.remove(name);
        expect(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 })).toEqual(['timeout']);
      });
    });

    describe('Services without rules', () => {
      it('are headless ones, external names and those of other proxies', async () => {
        const { name, ip } = bench.fresh();
        const before = bench.proxy.plan.size;
        await bench.service(`${name}-headless`, { clusterIP: 'None' });
        await bench.service(`${name}-external`, { type: 'ExternalName', externalName: 'example.com' });
        bench.cluster.putService({
          metadata: {
            name: `${name}-other`,
            namespace: 'default',
            labels: { 'service.kubernetes.io/service-proxy-name': 'other' },
          },
          spec: { clusterIP: ip, ports: [{ port: 80 }] },
        });
        await bench.proxy.idle();
        expect(bench.proxy.plan.size).toBe(before);
        expect(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 })).toEqual(['timeout']);
      });
    });

    describe('frontends for the outside', () => {
      it('NodePort answers on the primary address of the node only', async () => {
        const { name, ip, nodePort } = bench.fresh();
        await bench.service(name, { type: 'NodePort', clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] });
        await bench.endpoints(name, [bench.at.ep1]);
        for (const host of [stage.outside, stage.pod1, stage.node, stage.remote]) {
          expect(await host.ask({ dst: '192.168.0.1', port: nodePort }), host.name).toEqual(['ep1 10.244.0.1']);
        }
        expect(await stage.outside.ask({ dst: stage.nodeOutside, port: nodePort })).toEqual(['refused']);
        expect(await stage.node.ask({ dst: '127.0.0.1', port: nodePort })).toEqual(['refused']);
        await bench.endpoints(name, [bench.at.rep1]);
        expect(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort })).toEqual(['remote 192.168.0.1']);
      });

      it('externalIPs answer', async () => {
        const { name, ip, externalIP } = bench.fresh();
        await bench.service(name, { clusterIP: ip, externalIPs: [externalIP] });
        await bench.endpoints(name, [bench.at.ep1]);
        for (const host of [stage.outside, stage.pod1, stage.node]) {
          expect(await host.ask({ dst: externalIP, port: 80 }), host.name).toEqual(['ep1 10.244.0.1']);
        }
      });

      it('load balancer addresses answer unless the balancer itself does', async () => {
        const { name, ip, vip, externalIP } = bench.fresh();
        const status = { loadBalancer: { ingress: [{ ip: vip }, { ip: externalIP, ipMode: 'Proxy' as const }] } };
        await bench.service(name, { type: 'LoadBalancer', clusterIP: ip }, status);
        await bench.endpoints(name, [bench.at.ep1]);
        expect(await stage.outside.ask({ dst: vip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        expect(await stage.pod1.ask({ dst: vip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        expect(byName(await stage.outside.ask({ dst: externalIP, port: 80, timeout: 0.3 }))['ep1']).toBeUndefined();
      });

      it('source ranges let only listed clients use the load balancer address', async () => {
        const { name, ip, vip, nodePort } = bench.fresh();
        const status = { loadBalancer: { ingress: [{ ip: vip }] } };
        const spec = { type: 'LoadBalancer' as const, clusterIP: ip, ports: [{ name: 'http', port: 80, nodePort }] };
        await bench.endpoints(name, [bench.at.ep1]);
        await bench.service(name, { ...spec, loadBalancerSourceRanges: ['203.0.113.0/24', ' 203.0.113.5/32'] }, status);
        expect(await stage.outside.ask({ dst: vip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        expect(await stage.pod1.ask({ dst: vip, port: 80, timeout: 0.3 })).toEqual(['timeout']);
        expect(await stage.pod1.ask({ dst: '192.168.0.1', port: nodePort })).toEqual(['ep1 10.244.0.1']);
        await bench.service(name, { ...spec, loadBalancerSourceRanges: ['10.244.0.0/16'] }, status);
        expect(await stage.outside.ask({ dst: vip, port: 80, timeout: 0.3 })).toEqual(['timeout']);
        expect(await stage.pod1.ask({ dst: vip, port: 80 })).toEqual(['ep1 10.244.0.1']);
        await bench.service(name, spec, status);
        expect(await stage.outside.ask({ dst: vip, port: 80 })).toEqual(['ep1 10.244.0.1']);
      });
    });

    describe('traffic policies', () => {
      it('external Local keeps the client address and uses endpoints of this node', async () => {
        const { name, ip, nodePort, externalIP } = bench.fresh();
        await bench.service(name, {
          type: 'NodePort',
          clusterIP: ip,
          externalTrafficPolicy: 'Local',
          externalIPs: [externalIP],
          ports: [{ name: 'http', port: 80, nodePort }],
        });
        await bench.endpoints(name, [bench.at.ep1, bench.at.rep1]);
        const expected = Array(10).fill(seen('ep1', stage.outside.address));
        expect(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort, count: 10 })).toEqual(expected);
        expect(await stage.outside.ask({ dst: externalIP, port: 80, count: 10 })).toEqual(expected);
        // Inside the cluster nothing is lost by going on: pods keep their address, the node is masqueraded.
        const pod = await stage.pod1.ask({ dst: '192.168.0.1', port: nodePort, count: 40 });
        expect(sources(pod)).toEqual(from(can.localForOutsideOnly ? ['ep1', 'remote'] : ['ep1'], stage.pod1.address));
        expect(Object.keys(byName(pod)).sort()).toEqual(can.localForOutsideOnly ? ['ep1', 'remote'] : ['ep1']);
        await bench.endpoints(name, [bench.at.rep1]);
        expect(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort, timeout: 0.3 })).toEqual([
          can.dropsWithoutLocal ? 'timeout' : seen('remote', stage.outside.address),
        ]);
        expect(await stage.pod1.ask({ dst: externalIP, port: 80 })).toEqual([seen('remote', stage.pod1.address)]);
        expect(await stage.node.ask({ dst: externalIP, port: 80 })).toEqual(['remote 192.168.0.1']);
        await bench.endpoints(name, []);
        expect(await stage.outside.ask({ dst: '192.168.0.1', port: nodePort })).toEqual(['refused']);
      });

      it('internal Local uses endpoints of this node, and nothing where there is none', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip, internalTrafficPolicy: 'Local' });
        await bench.endpoints(name, [bench.at.ep1, bench.at.rep1]);
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 20 }))).toEqual({ ep1: 20 });
        await bench.endpoints(name, [bench.at.rep1]);
        expect(await stage.pod1.ask({ dst: ip, port: 80, timeout: 0.3 })).toEqual([
          can.dropsWithoutLocal ? 'timeout' : 'refused',
        ]);
        await bench.endpoints(name, []);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual(['refused']);
      });

      it('endpoints that end are used only while there is no ready one', async () => {
        const { name, ip } = bench.fresh();
        const ending = { ...bench.at.ep1, ready: false, serving: true, terminating: true };
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [ending]);
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 5 }))).toEqual({ ep1: 5 });
        await bench.endpoints(name, [ending, bench.at.ep2]);
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 20 }))).toEqual({ ep2: 20 });
        await bench.endpoints(name, [{ ...bench.at.ep1, ready: false, serving: false }]);
        expect(await stage.pod1.ask({ dst: ip, port: 80 })).toEqual(['refused']);
      });
    });

    describe('session affinity', () => {
      const affinity = (seconds: number) => ({
        sessionAffinity: 'ClientIP' as const,
        sessionAffinityConfig: { clientIP: { timeoutSeconds: seconds } },
      });

      it('keeps a client with its endpoint, over all frontends, until that endpoint goes', async () => {
        const { name, ip, nodePort } = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        await bench.service(name, {
          type: 'NodePort',
          clusterIP: ip,
          ports: [{ name: 'http', port: 80, nodePort }],
          ...affinity(600),
        });
        await bench.endpoints(name, [ep1, ep2, rep1]);
        const [first = ''] = Object.keys(byName(await stage.pod1.ask({ dst: ip, port: 80 })));
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 20 }))).toEqual({ [first]: 20 });
        expect(byName(await stage.pod1.ask({ dst: '192.168.0.1', port: nodePort, count: 10 }))).toEqual({
          [first]: 10,
        });
        const all = { ep1, ep2, remote: rep1 };
        const rest = Object.entries(all).filter(([who]) => who !== first);
        await bench.endpoints(
          name,
          rest.map(([, endpoint]) => endpoint),
        );
        const moved = byName(await stage.pod1.ask({ dst: ip, port: 80, count: 20 }));
        expect(Object.keys(moved)).toHaveLength(1);
        expect(moved[first]).toBeUndefined();
        await bench.endpoints(name, [ep1, ep2, rep1]);
        expect(byName(await stage.pod1.ask({ dst: ip, port: 80, count: 20 }))).toEqual(moved);
      });

      it('does not send all clients to one endpoint', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip, ...affinity(600) });
        await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
        const ask = async (src: string) => Object.keys(byName(await stage.remote.ask({ dst: ip, port: 80, src })))[0];
        const first = [];
        for (const src of stage.manyPods) first.push(await ask(src));
        const again = [];
        for (const src of stage.manyPods) again.push(await ask(src));
        expect(again).toEqual(first);
        for (const who of ['ep1', 'ep2']) expect(first.filter((name) => name === who).length, who).toBeGreaterThan(4);
      });

      it.runIf(can.affinityEndsOnTime)('ends when the client stays away, and is renewed while it comes', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip, ...affinity(2) });
        await bench.endpoints(name, [bench.at.ep1, bench.at.ep2]);
        const answers: string[] = [];
        for (let i = 0; i < 9; i++) {
          answers.push(...(await stage.pod1.ask({ dst: ip, port: 80 })));
          await pause(300);
        }
        expect(Object.keys(byName(answers))).toHaveLength(1);
        const later = new Set<string>();
        // One in two changes after each absence: twelve in a row stay with a probability of 1 in 4096.
        for (let i = 0; i < 12 && later.size < 2; i++) {
          await pause(2300);
          for (const who of Object.keys(byName(await stage.pod1.ask({ dst: ip, port: 80 })))) later.add(who);
        }
        expect(later.size).toBe(2);
      });
    });

    describe('change', () => {
      it('of endpoints under load fails no connection and never leads to one that is gone', async () => {
        const { name, ip } = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [ep1, ep2, rep1]);
        await stage.pod1.hammer('load', { dst: ip, port: 80 });
        await stage.pod2.hammer('load', { dst: ip, port: 80 });
        const steps = [[ep1, ep2], [ep2], [ep2, rep1], [rep1], [rep1, ep1, ep2], [ep1], [ep2, rep1, ep1]];
        for (let i = 0; i < changes; i++) await bench.endpoints(name, steps[i % steps.length] ?? []);
        await bench.endpoints(name, [ep1]);
        expect(byName(await stage.ep2.ask({ dst: ip, port: 80, count: 50 }))).toEqual({ ep1: 50 });
        for (const host of [stage.pod1, stage.pod2]) {
          const answers = await host.stopHammer('load');
          served(answers);
        }
      });

      it('of endpoints of a sticky Service under load fails no connection', async () => {
        const { name, ip } = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        const spec = { clusterIP: ip, sessionAffinity: 'ClientIP' as const };
        await bench.service(name, spec);
        await bench.endpoints(name, [ep1, ep2]);
        await stage.pod1.hammer('load', { dst: ip, port: 80 });
        for (let i = 0; i < Math.ceil(changes / 3); i++) {
          await bench.endpoints(name, [[ep1], [ep1, ep2, rep1], [rep1], [ep2, rep1]][i % 4] ?? []);
          if (i % 10 === 5) await bench.service(name, { clusterIP: ip });
          if (i % 10 === 9) await bench.service(name, spec);
        }
        const answers = await stage.pod1.stopHammer('load');
        served(answers);
      });

      it('leaves established connections alone', async () => {
        const { name, ip } = bench.fresh();
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [bench.at.ep1]);
        expect(await stage.pod1.open('long', { dst: ip, port: 80 })).toBe(seen('ep1', stage.pod1.address));
        await bench.endpoints(name, [bench.at.ep2]);
        expect(await stage.pod1.talk('long')).toBe('?');
        if (!can.keepsConnections) return;
        await bench.remove(name);
        expect(await stage.pod1.talk('long')).toBe('?');
      });

      it('moves UDP flows off endpoints that are gone, and only those', async () => {
        const { name, ip } = bench.fresh();
        const other = bench.fresh();
        const { ep1, ep2 } = bench.at;
        for (const s of [{ name, ip }, other]) {
          await bench.service(s.name, { clusterIP: s.ip, ports: UDP });
          await bench.endpoints(s.name, [ep1], UDP_TARGET);
        }
        const pod = stage.pod1.address;
        await stage.pod1.open('flow', { dst: ip, port: 53, proto: 'udp' });
        await stage.pod1.open('other', { dst: other.ip, port: 53, proto: 'udp' });
        expect(await stage.pod1.talk('flow')).toBe(seen('ep1', pod));
        expect(await stage.pod1.talk('other')).toBe(seen('ep1', pod));
        await bench.endpoints(name, [ep2], UDP_TARGET);
        expect(await stage.pod1.talk('flow')).toBe(seen('ep2', pod));
        // An endpoint that still serves keeps its flows, although new ones go elsewhere.
        await bench.endpoints(name, [{ ...ep2, ready: false, serving: true, terminating: true }, ep1], UDP_TARGET);
        expect(await stage.pod1.talk('flow')).toBe(seen('ep2', pod));
        await bench.endpoints(name, [], UDP_TARGET);
        expect(await stage.pod1.talk('flow')).toBe('refused');
        await bench.endpoints(name, [ep1], UDP_TARGET);
        expect(await stage.pod1.talk('flow')).toBe(seen('ep1', pod));
        expect(await stage.pod1.talk('other')).toBe(seen('ep1', pod));
      });

      it('gives a contested address to one Service and then to the other', async () => {
        const a = bench.fresh();
        const b = bench.fresh();
        for (const s of [a, b]) await bench.service(s.name, { clusterIP: s.ip, externalIPs: [a.externalIP] });
        await bench.endpoints(a.name, [bench.at.ep1]);
        await bench.endpoints(b.name, [bench.at.ep2]);
        expect(byName(await stage.outside.ask({ dst: a.externalIP, port: 80, count: 5 }))).toEqual({ ep1: 5 });
        await bench.remove(a.name);
        expect(byName(await stage.outside.ask({ dst: a.externalIP, port: 80, count: 5 }))).toEqual({ ep2: 5 });
      });
    });

    describe('IPv6', () => {
      const at6 = () => ({
        ep1: { address: stage.ep1.address6, nodeName: 'node' },
        ep2: { address: stage.ep2.address6, nodeName: 'node' },
        rep1: { address: stage.remotePods6[0], nodeName: 'other' },
      });

      it('serves the same as IPv4', async () => {
        const { name, ip6, nodePort } = bench.fresh();
        await bench.service(name, {
          type: 'NodePort',
          clusterIP: ip6,
          ports: [
            { name: 'http', port: 80, nodePort },
            { name: 'dns', port: 53, protocol: 'UDP' },
          ],
        });
        await bench.endpoints(
          name,
          [at6().ep1, at6().ep2],
          [
            { name: 'http', port: 8080, protocol: 'TCP' },
            { name: 'dns', port: 5353, protocol: 'UDP' },
          ],
        );
        const answers = await stage.pod1.ask({ dst: ip6, port: 80, count: 40 });
        expect(sources(answers)).toEqual(from(['ep1', 'ep2'], 'fd00:244::11'));
        expect(Object.keys(byName(answers)).sort()).toEqual(['ep1', 'ep2']);
        expect(sources(await stage.pod1.ask({ dst: ip6, port: 53, proto: 'udp', count: 5 }))).toEqual(
          from(['ep1', 'ep2'], 'fd00:244::11'),
        );
        expect(sources(await stage.outside.ask({ dst: 'fd00:168::1', port: nodePort, count: 5 }))).toEqual([
          'fd00:244::1',
        ]);
        expect(sources(await stage.node.ask({ dst: ip6, port: 80 }))).toEqual(['fd00:244::1']);
        if (can.guardsServiceBlocks) expect(await stage.pod1.ask({ dst: ip6, port: 81 })).toEqual(['refused']);
        await bench.endpoints(name, [at6().ep1]);
        expect(await stage.ep1.ask({ dst: ip6, port: 80, count: 3 })).toEqual(Array(3).fill('ep1 fd00:244::1'));
        await bench.endpoints(name, [at6().rep1]);
        expect(await stage.pod1.ask({ dst: ip6, port: 80 })).toEqual([seen('remote', 'fd00:244::11')]);
        await bench.endpoints(name, []);
        bench.cluster.deleteSlice(`${name}-1`);
        await bench.proxy.idle();
        // Where refusals are ICMP errors, the kernel sends one a second.
        expect(await stage.pod1.ask({ dst: ip6, port: 80, timeout: 3 })).toEqual(['refused']);
      });

      it('keeps clients with their endpoint', async () => {
        const { name, ip6 } = bench.fresh();
        await bench.service(name, { clusterIP: ip6, sessionAffinity: 'ClientIP' });
        await bench.endpoints(name, [at6().ep1, at6().ep2, at6().rep1]);
        const [first = ''] = Object.keys(byName(await stage.pod1.ask({ dst: ip6, port: 80 })));
        expect(byName(await stage.pod1.ask({ dst: ip6, port: 80, count: 20 }))).toEqual({ [first]: 20 });
      });

      it('keeps the client address with the external Local policy', async () => {
        const { name, ip6, nodePort } = bench.fresh();
        await bench.service(name, {
          type: 'NodePort',
          clusterIP: ip6,
          externalTrafficPolicy: 'Local',
          ports: [{ name: 'http', port: 80, nodePort }],
        });
        await bench.endpoints(name, [at6().ep1, at6().rep1]);
        expect(await stage.outside.ask({ dst: 'fd00:168::1', port: nodePort, count: 5 })).toEqual(
          Array(5).fill(seen('ep1', 'fd00:113::5')),
        );
      });
    });

    describe('the agent', () => {
      it.runIf(can.worksWithoutAgent)('restarts without a failed connection and picks up what it missed', async () => {
        const { name, ip } = bench.fresh();
        const sticky = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [ep1, ep2, rep1]);
        await bench.service(sticky.name, { clusterIP: sticky.ip, sessionAffinity: 'ClientIP' });
        await bench.endpoints(sticky.name, [ep1, ep2, rep1]);
        const [friend = ''] = Object.keys(byName(await stage.ep2.ask({ dst: sticky.ip, port: 80 })));
        await stage.pod1.hammer('restart', { dst: ip, port: 80 });
        await bench.halt();
        expect(byName(await stage.pod2.ask({ dst: ip, port: 80, count: 30 })).refused).toBeUndefined();
        await bench.endpoints(name, [ep1, rep1]);
        await bench.resume();
        expect(byName(await stage.pod2.ask({ dst: ip, port: 80, count: 30 }))['ep2']).toBeUndefined();
        await bench.halt();
        await bench.resume();
        await bench.endpoints(name, [ep2]);
        expect(byName(await stage.pod2.ask({ dst: ip, port: 80, count: 10 }))).toEqual({ ep2: 10 });
        expect(byName(await stage.ep2.ask({ dst: sticky.ip, port: 80, count: 10 }))).toEqual({ [friend]: 10 });
        const answers = await stage.pod1.stopHammer('restart');
        served(answers);
      });

      it('picks up what it missed while it was away', async () => {
        const { name, ip } = bench.fresh();
        const { ep1, ep2, rep1 } = bench.at;
        await bench.service(name, { clusterIP: ip });
        await bench.endpoints(name, [ep1, rep1]);
        await bench.halt();
        await bench.endpoints(name, [ep2]);
        await bench.resume();
        expect(byName(await stage.pod2.ask({ dst: ip, port: 80, count: 10 }))).toEqual({ ep2: 10 });
      });

      it('finds nothing to repair in its own work', async () => {
        expect(await bench.proxy.audit()).toBe(0);
      });
    });
  });
}

/** Every connection of a load was answered by an endpoint, and there were enough for that to mean something. */
function served(answers: Readonly<Record<string, number>>): void {
  for (const answer of Object.keys(answers)) expect(answer, JSON.stringify(answers)).toMatch(/^(ep1|ep2|remote) /);
  expect(Object.values(answers).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(100);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
