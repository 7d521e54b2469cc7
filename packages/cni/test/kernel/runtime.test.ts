import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CniRuntime, installPlugins, parseNetworkList } from '../../src/index.ts';
import { Bed, ipj, pings, sh } from './bed.ts';

const REFERENCE = '/usr/lib/cni';

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open();
  node = join(bed.dir, 'node');
});
afterEach(async () => {
  await bed.close();
});

/** The reference plugins, each made to run in the node's namespace. */
function referenceDir(names: readonly string[]): string {
  const dir = join(bed.dir, 'reference');
  mkdirSync(dir, { recursive: true });
  for (const name of names) {
    writeFileSync(join(dir, name), `#!/bin/sh\nexec nsenter --net=${node} ${REFERENCE}/${name}\n`);
    chmodSync(join(dir, name), 0o755);
  }
  return dir;
}

function runtime(...binDirs: string[]): CniRuntime {
  return new CniRuntime({ confDir: join(bed.dir, 'net.d'), binDirs, cacheDir: join(bed.dir, 'cache') });
}

/** Runs a plugin as any runtime would: its stdout, and its exit status. */
async function call(
  plugin: string,
  env: Record<string, string>,
  stdin: unknown,
): Promise<{ status: number | null; out: string; err: string }> {
  const child = spawn(join(bed.dir, 'bin', plugin), [], { env: { CNI_PATH: join(bed.dir, 'bin'), ...env } });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  child.stdin.on('error', () => {});
  child.stdin.end(typeof stdin === 'string' ? stdin : JSON.stringify(stdin));
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, out, err };
}

describe.skipIf(!existsSync(join(REFERENCE, 'bridge')))('our runtime with the reference plugins', () => {
  const plugins = (dataDir: string) => [
    {
      type: 'bridge',
      bridge: 'ref0',
      isGateway: true,
      ipam: { type: 'host-local', dataDir, ranges: [[{ subnet: '10.99.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ];

  it.each(['0.3.1', '0.4.0', '1.0.0'])('runs bridge, host-local and portmap in version %s', async (cniVersion) => {
    const list = parseNetworkList(JSON.stringify({ cniVersion, name: 'ref', plugins: plugins(join(bed.dir, 'ipam')) }));
    const run = runtime(referenceDir(['bridge', 'host-local', 'portmap']));
    const pod = {
      ...bed.pod(),
      capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
    };
    const result = await run.add(list, pod);
    expect(result.ips?.[0]?.address).toBe('10.99.0.2/24');
    expect(result.interfaces?.map((i) => i.name).filter((n) => !n.startsWith('veth'))).toEqual(['ref0', 'eth0']);
    expect(pings(pod.netns, '10.99.0.1')).toBe(true);
    expect(sh(node, 'iptables-save')).toContain('8080');
    expect(readdirSync(join(bed.dir, 'cache', 'results'))).toEqual(['ref-c1-eth0']);
    // Their portmap's CHECK asks for IPv6 rules that its ADD did not make.
    if (cniVersion !== '0.3.1') await run.check({ ...list, plugins: list.plugins.slice(0, 1) }, pod);
    await run.del(list, pod);
    expect(readdirSync(join(bed.dir, 'cache', 'results'))).toEqual([]);
    expect(readdirSync(join(bed.dir, 'ipam', 'ref')).filter((f) => f.startsWith('10'))).toEqual([]);
    expect(sh(node, 'iptables-save')).not.toContain('8080');
  });

  it('mixes them with ours: their bridge, our host-local and portmap', async () => {
    const list = parseNetworkList(
      JSON.stringify({ cniVersion: '1.0.0', name: 'mixed', plugins: plugins(join(bed.dir, 'ipam')) }),
    );
    const run = runtime(referenceDir(['bridge']), join(bed.dir, 'bin'));
    const pod = { ...bed.pod(), capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } };
    const result = await run.add(list, pod);
    expect(result.ips?.[0]).toMatchObject({ address: '10.99.0.2/24', gateway: '10.99.0.1' });
    expect(readdirSync(join(bed.dir, 'ipam', 'mixed'))).toContain('10.99.0.2');
    expect(sh(node, 'nft', 'list', 'map', 'inet', 'weft-portmap', 'any4')).toContain('8080');
    await run.check(list, pod);
    await run.del(list, pod);
    expect(bed.server.attachments()).toEqual([]);
  });

  it('mixes them with ours: our main plugin, their static IPAM', async () => {
    const list = parseNetworkList(
      JSON.stringify({
        cniVersion: '1.0.0',
        name: 'static',
        plugins: [
          { type: 'weft', agentSocket: bed.socket, ipam: { type: 'static', addresses: [{ address: '10.98.0.7/24' }] } },
        ],
      }),
    );
    const run = runtime(join(bed.dir, 'bin'), REFERENCE);
    const pod = bed.pod();
    const result = await run.add(list, pod);
    expect(result.ips?.[0]?.address).toBe('10.98.0.7/32');
    expect(pings(node, '10.98.0.7')).toBe(true);
    await run.check(list, pod);
    await run.del(list, pod);
    await bed.server.flush();
    expect(sh(node, 'ip', 'route')).not.toContain('10.98.');
  });
});

describe('our plugins under any runtime', () => {
  const config = (socket: string, more: object = {}): object => ({
    cniVersion: '1.0.0',
    name: 'weft',
    type: 'weft',
    agentSocket: socket,
    ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.7.0/24' }]] },
    ...more,
  });
  const env = (command: string, pod: { containerId: string; netns: string }, ifname = 'eth0') => ({
    CNI_COMMAND: command,
    CNI_CONTAINERID: pod.containerId,
    CNI_NETNS: pod.netns,
    CNI_IFNAME: ifname,
    CNI_ARGS: 'K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE=ns;K8S_POD_INFRA_CONTAINER_ID=x',
  });

  it('serve containerd: loopback beside the main network, three DELs', async () => {
    const pod = bed.pod();
    const loopback = { cniVersion: '0.3.1', name: 'cni-loopback', type: 'loopback' };
    const [lo, main] = await Promise.all([
      call('loopback', env('ADD', pod, 'lo'), loopback),
      call(
        'weft',
        env('ADD', pod),
        config(bed.socket, { capabilities: { ips: true }, runtimeConfig: { IPs: ['10.244.7.9'] } }),
      ),
    ]);
    expect([lo.status, main.status]).toEqual([0, 0]);
    expect(JSON.parse(lo.out)).toMatchObject({ cniVersion: '0.3.1', dns: {}, interfaces: [{ name: 'lo' }] });
    expect(main.out).toBe(JSON.stringify(JSON.parse(main.out), null, 4));
    expect(JSON.parse(main.out)).toMatchObject({
      cniVersion: '1.0.0',
      ips: [{ address: '10.244.7.9/32', interface: 1 }],
    });
    expect(ipj(pod.netns, 'addr', 'show', 'dev', 'lo')[0]?.['addr_info']).toMatchObject([
      { local: '127.0.0.1' },
      { local: '::1' },
    ]);
    for (let i = 0; i < 3; i++) {
      expect(await call('weft', env('DEL', pod), config(bed.socket))).toEqual({ status: 0, out: '', err: '' });
      expect(await call('loopback', env('DEL', pod, 'lo'), loopback)).toEqual({ status: 0, out: '', err: '' });
    }
  });

  it('answer VERSION, and the question without a command', async () => {
    const version = await call('weft', { CNI_COMMAND: 'VERSION' }, { cniVersion: '0.4.0' });
    expect(JSON.parse(version.out)).toMatchObject({
      cniVersion: '1.1.0',
      supportedVersions: expect.arrayContaining(['0.1.0', '1.1.0']),
    });
    const asked = await call('portmap', {}, '');
    expect(asked).toMatchObject({ status: 0, out: '' });
    expect(asked.err).toContain('CNI protocol versions supported: 0.1.0');
  });

  it('report bad calls with the codes of the specification', async () => {
    const pod = bed.pod();
    const expectError = async (
      code: number,
      text: RegExp,
      vars: Record<string, string>,
      stdin: unknown,
    ): Promise<void> => {
      const { status, out } = await call('weft', vars, stdin);
      expect(status).toBe(1);
      const error = JSON.parse(out) as { code: number; msg: string; details?: string };
      expect(error.code).toBe(code);
      expect(`${error.msg} ${error.details ?? ''}`).toMatch(text);
    };
    const good = config(bed.socket);
    await expectError(4, /\[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing/, { CNI_COMMAND: 'ADD' }, good);
    await expectError(4, /unknown CNI_COMMAND: FLY/, { CNI_COMMAND: 'FLY' }, good);
    await expectError(4, /too long/, env('ADD', pod, 'a234567890123456'), good);
    await expectError(4, /invalid characters/, env('ADD', { ...pod, containerId: '../x' }), good);
    await expectError(6, /not valid JSON/, env('ADD', pod), '{"agentSocket":');
    await expectError(7, /missing network name/, env('ADD', pod), { ...good, name: undefined });
    await expectError(1, /config is "9\.9\.9", plugin supports/, env('ADD', pod), { ...good, cniVersion: '9.9.9' });
    await expectError(1, /does not allow GC/, { CNI_COMMAND: 'GC' }, good);
    await expectError(8, /no such/, env('ADD', { ...pod, netns: '/nowhere' }), good);
    await expectError(8, /of the node itself/, env('ADD', { ...pod, netns: node }), good);
    await expectError(
      7,
      /too small/,
      env('ADD', pod),
      config(bed.socket, { ipam: { type: 'host-local', subnet: '10.0.0.0/31' } }),
    );
    expect(bed.server.attachments()).toEqual([]);
  });

  it('collect what no valid attachment names, and nothing without a list', async () => {
    const [a, b] = [bed.pod(), bed.pod()];
    const gc = config(bed.socket, { cniVersion: '1.1.0' });
    await call('weft', env('ADD', a), gc);
    await call('weft', env('ADD', b), gc);
    await call('weft', { CNI_COMMAND: 'GC' }, gc);
    expect(bed.server.attachments()).toHaveLength(2);
    const valid = [{ containerID: b.containerId, ifname: 'eth0' }];
    expect(await call('weft', { CNI_COMMAND: 'GC' }, { ...gc, 'cni.dev/valid-attachments': valid })).toMatchObject({
      status: 0,
    });
    expect(bed.server.attachments().map((x) => x.containerId)).toEqual([b.containerId]);
    await call('weft', { CNI_COMMAND: 'GC' }, { ...gc, 'cni.dev/valid-attachments': [] });
    await bed.server.flush();
    expect(bed.server.attachments()).toEqual([]);
    expect(ipj(node, 'link').filter((l) => /^veth[0-9a-f]{8}$/.test(String(l['ifname'])))).toEqual([]);
  });
});

describe('our runtime', () => {
  it('collects by its cache and by GC', async () => {
    const list = bed.list();
    const [a, b] = [bed.pod(), bed.pod()];
    await bed.runtime.add(list, a);
    await bed.runtime.add(list, b);
    await bed.runtime.gc(list, [{ containerId: b.containerId, ifname: 'eth0' }]);
    expect(bed.server.attachments().map((x) => x.containerId)).toEqual([b.containerId]);
    expect(readdirSync(join(bed.dir, 'cache', 'results'))).toEqual(['weft-c2-eth0']);
  });

  it('takes a damaged cache entry for none', async () => {
    const pod = bed.pod();
    await bed.runtime.add(bed.list(), pod);
    writeFileSync(join(bed.dir, 'cache', 'results', 'weft-c1-eth0'), '{"kind":');
    await bed.runtime.del(bed.list(), pod);
    expect(readdirSync(join(bed.dir, 'cache', 'results'))).toEqual([]);
    expect(bed.server.attachments()).toEqual([]);
  });

  it('names file, plugin and CNI_PATH when a plugin is missing', async () => {
    bed.writeConflist('10-x.conflist', { cniVersion: '1.0.0', name: 'x', plugins: [{ type: 'nope' }] });
    const list = await bed.runtime.load();
    await expect(bed.runtime.add(list, bed.pod())).rejects.toThrow(
      `${join(bed.dir, 'net.d', '10-x.conflist')}: CNI plugin "nope" is not in CNI_PATH ${join(bed.dir, 'bin')}:/usr/lib/cni`,
    );
  });

  it('names the file and the versions when a version is unknown', async () => {
    bed.writeConflist('10-x.conflist', {
      cniVersion: '2.0.0',
      name: 'x',
      plugins: [{ type: 'weft', agentSocket: bed.socket }],
    });
    const pod = bed.pod();
    for (const verb of ['add', 'del'] as const) {
      await expect(bed.runtime[verb](await bed.runtime.load(), pod)).rejects.toMatchObject({
        cniCode: 1,
        message: expect.stringContaining('10-x.conflist): plugin'),
        details: expect.stringContaining('config is "2.0.0", plugin supports ["0.1.0"'),
      });
    }
  });

  it('asks a plugin for its versions', async () => {
    expect(await bed.runtime.version('weft')).toContain('1.1.0');
  });
});

describe('the fallback for nodes without a C compiler', () => {
  it('behaves as the native shim', async () => {
    const bin = join(bed.dir, 'fallback');
    mkdirSync(bin);
    writeFileSync(join(bin, 'loopback'), 'somebody else');
    const installed = await installPlugins({ binDir: bin, agentSocket: bed.socket, sourceDir: '' });
    expect(installed).toMatchObject({
      kind: 'node',
      why: 'neither a built shim nor its source is here',
      kept: ['loopback'],
    });
    const run = runtime(bin);
    const pod = { ...bed.pod(), capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } };
    const result = await run.add(bed.list(), pod);
    expect(result.ips?.[0]?.address).toBe('10.244.1.2/32');
    await run.check(bed.list(), pod);
    await expect(run.add(bed.list(), pod)).rejects.toMatchObject({ cniCode: 100 });
    await run.del(bed.list(), pod);
    await bed.server.stop();
    await expect(run.add(bed.list(), pod)).rejects.toMatchObject({ cniCode: 11 });
    await expect(run.status(bed.list())).rejects.toMatchObject({ cniCode: 50 });
    await bed.server.start();
  });
});
