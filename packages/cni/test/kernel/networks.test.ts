import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CniRuntime,
  defaultConflist,
  networksConflist,
  type NetworkSource,
  type NetworkStatus,
} from '../../src/index.ts';
import { parseNetworkList, type RuntimeAttachment } from '../../src/index.ts';
import { NETWORKS_ANNOTATION } from '../../src/networks/annotations.ts';
import { Bed, ipj, pings } from './bed.ts';

const REFERENCE = '/usr/lib/cni';

let bed: Bed;
let foreign: string;
let definitions: Map<string, string>;
let told: { readonly pod: string; readonly statuses: readonly NetworkStatus[] }[];
let events: string[];

const source: NetworkSource = {
  annotations: async () => undefined,
  definition: async (namespace, name) => {
    const config = definitions.get(`${namespace}/${name}`);
    return config === undefined ? undefined : { namespace, name, config };
  },
  attached: (pod, statuses) => void told.push({ pod: `${pod.namespace}/${pod.name}`, statuses }),
  event: (_, type, reason, message) => void events.push(`${type} ${reason} ${message}`),
};

beforeEach(async () => {
  definitions = new Map();
  told = [];
  events = [];
  bed = await Bed.open({ networks: source });
  foreign = join(bed.dir, 'foreign');
  mkdirSync(foreign);
});
afterEach(async () => {
  await bed.close();
});

const node = (): string => join(bed.dir, 'node');

/** Debian's bridge under a name that is not one of ours, made to run in the node's namespace and to write down that it was called. */
function reference(): void {
  const run = `exec nsenter --net=${node()} ${REFERENCE}/bridge`;
  program('their-bridge', `echo bridge $CNI_COMMAND $CNI_IFNAME >> ${calls()}\n${run}`);
}

function program(name: string, script: string): void {
  writeFileSync(join(foreign, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(foreign, name), 0o755);
}

const calls = (): string => join(bed.dir, 'calls');
const called = (): string[] => (existsSync(calls()) ? readFileSync(calls(), 'utf8').trim().split('\n') : []);

function runtime(): CniRuntime {
  const binDirs = [join(bed.dir, 'bin'), foreign, REFERENCE];
  return new CniRuntime({ confDir: join(bed.dir, 'net.d'), binDirs, cacheDir: join(bed.dir, 'cache') });
}

function list(change: object = {}) {
  const first = defaultConflist({ mtu: 1450, podCidrs: ['10.244.1.0/24'], agentSocket: bed.socket });
  const conflist = networksConflist(first, { agentSocket: bed.socket }) as { plugins: object[] };
  return parseNetworkList(JSON.stringify({ ...conflist, plugins: [{ ...conflist.plugins[0], ...change }] }));
}

function pod(networks?: string, more: object = {}): RuntimeAttachment {
  return {
    ...bed.pod(),
    args: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAMESPACE', 'shop'],
      ['K8S_POD_NAME', 'p'],
    ],
    capabilityArgs: {
      'io.kubernetes.cri.pod-annotations': networks === undefined ? {} : { [NETWORKS_ANNOTATION]: networks },
      ...more,
    },
  };
}

const bridgeConfig = (subnet: string, more: object = {}): string =>
  JSON.stringify({
    cniVersion: '1.0.0',
    type: 'their-bridge',
    bridge: 'blue0',
    isGateway: true,
    ipam: { type: 'host-local', dataDir: join(bed.dir, 'ipam'), subnet },
    ...more,
  });

const links = (netns: string): string[] =>
  ipj(netns, 'link')
    .map((l) => l['ifname'] as string)
    .sort();
const defaults = (netns: string): string[] =>
  ipj(netns, 'route')
    .filter((r) => r['dst'] === 'default')
    .map((r) => `${String(r['gateway'])} ${String(r['dev'])}`);
const stateFiles = (): string[] =>
  ['pods', 'results'].flatMap((d) => {
    const dir = join(bed.dir, 'state', 'networks', d);
    return existsSync(dir) ? readdirSync(dir) : [];
  });

it('a pod that asks for nothing gets its first network, by one program', async () => {
  const run = runtime();
  const one = pod(undefined, { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] });
  const result = await run.add(list(), one);
  expect(result.ips?.[0]?.address).toMatch(/^10\.244\.1\.\d+\/32$/);
  expect(pings(node(), (result.ips?.[0]?.address ?? '').split('/')[0] as string)).toBe(true);
  await run.check(list(), one);
  await run.status(list());
  expect([told, events]).toEqual([[], []]);
  await expect(run.add(list(), one)).rejects.toMatchObject({ cniCode: 100 });
  expect(pings(node(), (result.ips?.[0]?.address ?? '').split('/')[0] as string)).toBe(true);
  await run.del(list(), one);
  await run.del(list(), one);
  await bed.server.flush();
  expect(links(one.netns)).toEqual(['lo']);
  expect(bed.server.attachments()).toEqual([]);
  expect(stateFiles()).toEqual([]);
});

describe.skipIf(!existsSync(join(REFERENCE, 'bridge')))('networks of other makers', () => {
  beforeEach(reference);

  it('are attached after the first, told to the cluster, and detached in reverse order without their definition', async () => {
    definitions.set('shop/blue', bridgeConfig('10.50.0.0/24'));
    definitions.set('ops/red', bridgeConfig('10.60.0.0/24', { bridge: 'red0' }));
    const run = runtime();
    const [a, b] = [pod('blue, ops/red@up1'), pod('[{"name":"blue","interface":"b0","ips":["10.50.0.77"]}]')];
    const result = await run.add(list(), a);
    await run.add(list(), b);
    expect(result.interfaces?.at(-1)?.name).toBe('eth0');
    expect(links(a.netns)).toEqual(['eth0', 'lo', 'net1', 'up1']);
    expect(links(b.netns)).toEqual(['b0', 'eth0', 'lo']);
    expect(pings(a.netns, '10.50.0.77', '-I', 'net1')).toBe(true);
    expect(defaults(a.netns)).toEqual(['169.254.1.1 eth0']);
    expect(told.map((t) => t.statuses.map((s) => [s.name, s.interface, s.default ?? false]))).toEqual([
      [
        ['weft', 'eth0', true],
        ['shop/blue', 'net1', false],
        ['ops/red', 'up1', false],
      ],
      [
        ['weft', 'eth0', true],
        ['shop/blue', 'b0', false],
      ],
    ]);
    expect(told[1]?.statuses[1]?.ips).toEqual(['10.50.0.77']);
    expect(events).toContain('Normal AddedInterface Add b0 [10.50.0.77] from shop/blue');
    await run.check(list(), a);
    definitions.clear();
    rmSync(calls());
    await run.del(list(), { ...a, args: [], capabilityArgs: {} });
    expect(called()).toEqual(['bridge DEL up1', 'bridge DEL net1']);
    await run.del(list(), { ...b, netns: '' });
    await bed.server.flush();
    expect([bed.server.attachments(), stateFiles()]).toEqual([[], []]);
  });

  it('may have the default route, which CHECK then expects there', async () => {
    definitions.set('shop/blue', bridgeConfig('10.50.0.0/24'));
    const run = runtime();
    const one = pod('[{"name":"blue","default-route":["10.50.0.1"]}]');
    const result = await run.add(list(), one);
    expect(defaults(one.netns)).toEqual(['10.50.0.1 net1']);
    expect(result.routes).toEqual([]);
    expect(told[0]?.statuses.map((s) => s.gateway)).toEqual([undefined, ['10.50.0.1']]);
    await run.check(list(), one);
    await run.del(list(), one);
  });

  it('leave nothing behind when one of them fails', async () => {
    definitions.set('shop/blue', bridgeConfig('10.50.0.0/24'));
    definitions.set('shop/bad', JSON.stringify({ cniVersion: '1.0.0', type: 'bad' }));
    program(
      'bad',
      `echo bad $CNI_COMMAND $CNI_IFNAME >> ${calls()}; echo '{"code":123,"msg":"no luck"}'; test $CNI_COMMAND = DEL`,
    );
    const one = pod('blue,bad,blue@later');
    await expect(runtime().add(list(), one)).rejects.toThrow(
      `network shop/bad (annotation ${NETWORKS_ANNOTATION}[1]): network bad (network-attachment-definition shop/bad): plugin ${join(foreign, 'bad')} failed (ADD): no luck`,
    );
    expect(called()).toEqual(['bridge ADD net1', 'bad ADD net2', 'bad DEL net2', 'bridge DEL net1']);
    await bed.server.flush();
    expect(links(one.netns)).toEqual(['lo']);
    expect([bed.server.attachments(), stateFiles(), told]).toEqual([[], [], []]);
    expect(events.map((e) => e.split(' ').slice(0, 2).join(' '))).toEqual(['Warning NetworkAttachmentFailed']);
  });

  it('go when a runtime lists the containers that live, or when it forgets them', async () => {
    definitions.set('shop/blue', bridgeConfig('10.50.0.0/24'));
    const run = runtime();
    const [a, b, c] = [pod('blue'), pod('blue'), pod('blue')];
    for (const one of [a, b, c]) await run.add(list(), one);
    await run.gc(list(), [a, b]);
    expect(links(c.netns)).toEqual(['lo']);
    expect(links(a.netns)).toContain('net1');
    const { freed } = await bed.server.reconcile([{ containerId: a.containerId, ifname: '' }]);
    expect(freed.map((f) => f.containerId)).toContain(b.containerId);
    await bed.server.flush();
    expect(links(b.netns)).toEqual(['lo']);
    expect(readdirSync(join(bed.dir, 'state', 'networks', 'pods'))).toEqual([`${a.containerId}@eth0.json`]);
    // And without any word, when the namespace is gone.
    NetNs.remove(a.netns);
    await expect
      .poll(async () => {
        await bed.server.sweep();
        await bed.server.flush();
        return [bed.server.attachments(), stateFiles()];
      })
      .toEqual([[], []]);
  });

  it('are taken down at the next start when the agent died in the middle of an ADD', async () => {
    definitions.set('shop/blue', bridgeConfig('10.50.0.0/24'));
    const run = runtime();
    const one = pod('blue');
    await run.add(list(), one);
    const file = join(bed.dir, 'state', 'networks', 'pods', `${one.containerId}@eth0`);
    writeFileSync(`${file}.begun`, readFileSync(`${file}.json`));
    rmSync(`${file}.json`);
    await bed.restart({ networks: source });
    await expect.poll(() => stateFiles()).toEqual([]);
    await bed.server.flush();
    expect(links(one.netns)).toEqual(['lo']);
  });
});

it('refuses what the annotation gets wrong before anything is made, and says so to the pod', async () => {
  const run = runtime();
  const one = pod('nobody');
  await expect(run.add(list(), one)).rejects.toMatchObject({
    cniCode: 11,
    message: expect.stringContaining('cannot find a network-attachment-definition (nobody) in namespace (shop)'),
  });
  await expect(run.add(list(), pod('a/b/c'))).rejects.toMatchObject({ cniCode: 7 });
  expect(events.map((e) => e.split(' ').slice(0, 2).join(' '))).toEqual([
    'Warning NoNetworkFound',
    'Warning InvalidNetworks',
  ]);
  expect([bed.server.attachments(), stateFiles(), links(one.netns)]).toEqual([[], [], ['lo']]);
});

it('detaches what went while no agent was there', async () => {
  const run = runtime();
  const one = pod();
  await run.add(list(), one);
  await bed.server.stop();
  await run.del(list(), one);
  await bed.restart({ networks: source });
  await bed.server.flush();
  expect([links(one.netns), bed.server.attachments(), stateFiles()]).toEqual([['lo'], [], []]);
});

it('answers under the name of Multus, with its configuration and networks of the configuration directory', async () => {
  await bed.restart({ networks: source, confDir: join(bed.dir, 'net.d') });
  bed.writeConflist('20-lab.conflist', {
    cniVersion: '1.0.0',
    name: 'lab',
    plugins: [{ type: 'weft', agentSocket: bed.socket, ipam: { type: 'host-local', subnet: '10.70.0.0/24' } }],
  });
  const multus = parseNetworkList(
    JSON.stringify({
      cniVersion: '0.3.1',
      name: 'multus-cni-network',
      type: 'multus',
      agentSocket: bed.socket,
      clusterNetwork: 'lab',
      readinessindicatorfile: join(bed.dir, 'ready'),
    }),
  );
  const run = runtime();
  const one = pod();
  await expect(run.add(multus, one)).rejects.toThrow('readinessindicatorfile');
  writeFileSync(join(bed.dir, 'ready'), '');
  const result = await run.add(multus, { ...one, args: [] });
  expect(result.ips?.[0]?.address).toMatch(/^10\.70\.0\./);
  rmSync(join(bed.dir, 'net.d', '20-lab.conflist'));
  await run.del(multus, one);
  await bed.server.flush();
  expect([links(one.netns), stateFiles()]).toEqual([['lo'], []]);
});
