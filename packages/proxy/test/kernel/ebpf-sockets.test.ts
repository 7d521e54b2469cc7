import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EbpfDataPlane } from '../../src/ebpf/dataplane.ts';
import { familyConfigs } from '../../src/options.ts';
import { TestCgroup } from '../support/cgroup.ts';
import { Bench, byName, type PlaneFactory, Stage } from './bench.ts';

const group = new TestCgroup();
afterAll(() => group.close());

const make: PlaneFactory = (ns, options) =>
  new EbpfDataPlane({ ns, tables: familyConfigs(options, 'ebpf'), places: group });
/** The node and its pods are in the group; the other node and the outside are other machines. */
const enter = (stage: Stage): void => {
  for (const host of [stage.node, stage.pod1, stage.pod2, stage.ep1, stage.ep2]) group.enter(host.pid);
};

describe('sockets', () => {
  let stage: Stage;
  let bench: Bench;

  beforeAll(async () => {
    stage = await Stage.build();
    enter(stage);
    bench = await Bench.start(stage, make);
    // The guest is emulated.
  }, 120_000);

  afterAll(async () => {
    await bench?.close();
    await bench?.plane.cleanup();
    await stage?.close();
  });

  /** A program in a pod, in the group: its standard output. */
  const inPod = (script: string, ...args: string[]): string =>
    stage.pod1.ns.run(() =>
      execFileSync(
        'sh',
        ['-c', `echo $$ > ${group.directory}/cgroup.procs; exec python3 -c "$0" "$@"`, script, ...args],
        {
          encoding: 'utf8',
        },
      ).trim(),
    );

  it('are led without any packet being translated, and say where they meant to go', async () => {
    const { name, ip, ip6 } = bench.fresh();
    await bench.service(name, { clusterIPs: [ip, ip6] });
    await bench.endpoints(name, [bench.at.ep1]);
    await bench.endpoints(name, [{ address: stage.ep1.address6, nodeName: 'node' }], undefined, '2');
    for (const family of ['ip', 'ip6']) stage.onNode('nft', 'delete', 'table', family, 'weft-services');
    const script = `import socket,sys
for a in sys.argv[1:]:
    s = socket.create_connection((a, 80), 3)
    print(s.getpeername()[0], s.getpeername()[1], s.recv(99).decode().strip())`;
    expect(inPod(script, ip, ip6, `::ffff:${ip}`).split('\n')).toEqual([
      `${ip} 80 ep1 ${stage.pod1.address}`,
      `${ip6} 80 ep1 ${stage.pod1.address6.replace(':0::', '::')}`,
      `::ffff:${ip} 80 ep1 ${stage.pod1.address}`,
    ]);
    // Packets of others are not: there is no table now.
    expect(await stage.outside.ask({ dst: ip, port: 80, timeout: 0.3 })).toEqual(['timeout']);
    expect(await bench.proxy.audit()).toBeGreaterThan(0);
    expect(byName(await stage.outside.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
  });

  it('go on while no agent is there, and name their origin after the next one has come', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    await bench.halt();
    stage.onNode('nft', 'delete', 'table', 'ip', 'weft-services');
    expect(await stage.pod1.open('old', { dst: ip, port: 80 })).toBe(`ep1 ${stage.pod1.address}`);
    expect(await stage.pod1.peer('old')).toBe(ip);
    await bench.resume();
    expect(await stage.pod1.peer('old')).toBe(ip);
    expect(await stage.pod1.talk('old')).toBe('?');
    await stage.pod1.shut('old');
    expect(byName(await stage.outside.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
  });

  it('are led by maps that grow with the plan', async () => {
    const before = bench.fresh();
    await bench.service(before.name, { clusterIP: before.ip });
    await bench.endpoints(before.name, [bench.at.ep1]);
    await stage.pod1.hammer('load', { dst: before.ip, port: 80 });
    const many = Array.from({ length: 1000 }, (_, i) => ({ address: `10.244.${2 + (i >> 8)}.${i & 255}` }));
    for (let i = 0; i < 10; i++) {
      const { name, ip } = bench.fresh();
      await bench.service(name, { clusterIP: ip });
      await bench.endpoints(name, many);
    }
    const answers = await stage.pod1.stopHammer('load');
    expect(Object.keys(answers)).toEqual([`ep1 ${stage.pod1.address}`]);
    expect(await bench.proxy.audit()).toBe(0);
  });

  it('are put back when somebody takes a program away', async () => {
    const { name, ip } = bench.fresh();
    await bench.service(name, { clusterIP: ip });
    await bench.endpoints(name, [bench.at.ep1]);
    execFileSync('rm', [`${group.pins}/connect4`]);
    expect(await bench.proxy.audit()).toBe(1);
    stage.onNode('nft', 'delete', 'table', 'ip', 'weft-services');
    expect(byName(await stage.pod1.ask({ dst: ip, port: 80 }))).toEqual({ ep1: 1 });
    expect(await bench.proxy.audit()).toBeGreaterThan(0);
  });
});
