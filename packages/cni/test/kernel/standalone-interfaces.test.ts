// The text that plugins without an agent print, against that of the reference plugins, in every version they have.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installPlugins } from '../../src/index.ts';
import { hasReference, LonelyNode } from './alone.ts';
import { ipj, sh } from './bed.ts';

let node: LonelyNode;
beforeAll(async () => {
  node = await LonelyNode.open();
  sh(node.netns, 'ip', 'link', 'add', 'low0', 'up', 'type', 'veth', 'peer', 'name', 'low1');
  sh(node.netns, 'ip', 'link', 'set', 'low1', 'up');
});
afterAll(() => {
  node.close();
});

const ipam = {
  type: 'static',
  addresses: [{ address: '192.0.2.77/24', gateway: '192.0.2.1' }],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '198.51.100.0/24', gw: '192.0.2.9' }],
};
const mac = '02:00:00:00:00:77';

/** What differs because their release is older, and where the sandbox is. */
function neutral(text: string, netns: string): unknown {
  return JSON.parse(text.replaceAll(netns, 'NETNS'), (key, value) => (key === 'version' ? undefined : value));
}

describe.skipIf(!hasReference)('without an agent', () => {
  it.each(['0.1.0', '0.2.0', '0.3.1', '0.4.0', '1.0.0'])(
    'macvlan and sbr answer in version %s as theirs',
    async (cniVersion) => {
      const [a, b] = [node.pod(), node.pod()];
      const config = {
        cniVersion,
        name: 'n',
        type: 'macvlan',
        MASTER: 'low0',
        mode: 'bridge',
        runtimeConfig: { mac },
        ipam,
        dns: { domain: 'x.org' },
      };
      const ours = await node.call(node.ours, 'ADD', config, a);
      expect(ours.status, ours.out + ours.err).toBe(0);
      const chained = { cniVersion, name: 'n', type: 'sbr', prevResult: ours.json };
      const routed = await node.call(node.ours, 'ADD', chained, a);
      expect(routed.status, routed.out).toBe(0);
      expect((await node.call(node.ours, 'DEL', chained, a)).status).toBe(0);
      for (let i = 0; i < 2; i++) expect((await node.call(node.ours, 'DEL', config, a)).status).toBe(0);
      expect(ipj(a.netns, 'link').map((l) => l['ifname'])).toEqual(['lo']);
      const theirs = await node.call(node.reference, 'ADD', config, b);
      expect(theirs.status, theirs.out).toBe(0);
      const theirRouted = await node.call(node.reference, 'ADD', { ...chained, prevResult: theirs.json }, b);
      expect((await node.call(node.reference, 'DEL', config, b)).status).toBe(0);
      expect(neutral(ours.out, a.netns)).toEqual(neutral(theirs.out, b.netns));
      expect(neutral(routed.out, a.netns)).toEqual(neutral(theirRouted.out, b.netns));
    },
  );

  it('host-device and bandwidth do their work', async () => {
    const pod = node.pod();
    sh(node.netns, 'ip', 'link', 'add', 'card0', 'type', 'veth', 'peer', 'name', 'far0');
    const config = { cniVersion: '1.0.0', name: 'n', type: 'host-device', device: 'card0' };
    const added = await node.call(node.ours, 'ADD', config, pod);
    expect(added.json).toMatchObject({ cniVersion: '1.0.0', interfaces: [{ name: 'eth0', sandbox: pod.netns }] });
    const prevResult = { cniVersion: '1.0.0', interfaces: [{ name: 'far0' }, { name: 'eth0', sandbox: pod.netns }] };
    const limit = {
      cniVersion: '1.0.0',
      name: 'n',
      type: 'bandwidth',
      egressRate: 8000,
      egressBurst: 80_000,
      prevResult,
    };
    const limited = await node.call(node.ours, 'ADD', limit, pod);
    expect(limited.json).toMatchObject({ interfaces: [{}, {}, { name: expect.stringMatching(/^bwp/) }] });
    expect((await node.call(node.ours, 'CHECK', limit, pod)).out).toBe('');
    for (const conf of [limit, config, limit, config])
      expect((await node.call(node.ours, 'DEL', conf, pod)).status).toBe(0);
    const left = ipj(node.netns, 'link').map((l) => String(l['ifname']));
    expect(left).toContain('card0');
    expect(left.some((name) => name.startsWith('bwp'))).toBe(false);
  });

  it('errors are theirs in code, and on stdout', async () => {
    const pod = node.pod();
    for (const type of [
      'macvlan',
      'ipvlan',
      'vlan',
      'host-device',
      'tap',
      'dummy',
      'vrf',
      'dhcp',
      'sbr',
      'bandwidth',
      'flannel',
    ]) {
      const said = await node.call(node.ours, 'ADD', { cniVersion: '9.9.9', name: 'n', type }, pod);
      expect([type, said.status, said.json?.['code']]).toEqual([type, 1, 1]);
    }
  });
});

describe('dhcp daemon, as which units start the reference plugin', () => {
  it.each(['native', 'script'])('runs by the %s executable, and serves the plugin', async (kind) => {
    const bin = join(node.dir, `daemon-${kind}`);
    mkdirSync(bin);
    const words = readFileSync(join(node.dir, 'shim/weft.standalone'), 'utf8').trim().split('\n');
    const sourceDir = kind === 'script' ? { sourceDir: '' } : { cacheDir: join(tmpdir(), 'weft-cni-shim-cache') };
    const installed = await installPlugins({ binDir: bin, standalone: words, ...sourceDir });
    expect(installed.kind).toBe(kind === 'script' ? 'node' : 'native');
    const socket = join(bin, 'dhcp.sock');
    const env = { PATH: process.env['PATH'] ?? '', NODE_PATH: join(import.meta.dirname, '../../../../node_modules') };
    const daemon = spawn(join(bin, 'dhcp'), ['daemon', '-socketpath', socket, '-pidfile', join(bin, 'pid')], { env });
    let said = '';
    daemon.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => daemon.on('exit', resolve));
    await new Promise<void>((resolve) => {
      daemon.stderr.on('data', () => said.includes('ready') && resolve());
      daemon.on('exit', () => resolve());
    });
    expect(said).toContain('DHCP daemon is ready');
    const config = { cniVersion: '1.1.0', name: 'n', type: 'dhcp', ipam: { type: 'dhcp', daemonSocketPath: socket } };
    const status = await node.call(node.ours, 'STATUS', config);
    expect([status.status, status.out]).toEqual([0, '']);
    daemon.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });
});
