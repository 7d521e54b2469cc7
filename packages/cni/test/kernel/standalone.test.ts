// Plugin executables on a node without an agent: the shim starts the program that answers by itself.
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLUGIN_NAMES } from '../../src/index.ts';
import { hasReference, LonelyNode } from './alone.ts';

let node: LonelyNode;
beforeAll(async () => {
  node = await LonelyNode.open();
});
afterAll(() => {
  node.close();
});

describe('without an agent', () => {
  it('every name is installed, by links to one executable', () => {
    const shim = join(node.dir, 'shim');
    expect(readdirSync(shim)).toEqual(expect.arrayContaining([...PLUGIN_NAMES]));
    for (const name of PLUGIN_NAMES) if (name !== 'weft') expect(readlinkSync(join(shim, name))).toBe('weft');
  });

  it.skipIf(!hasReference)('loopback and static answer as the reference plugins do', async () => {
    const [a, b] = [node.pod(), node.pod()];
    const lo = { cniVersion: '0.3.1', name: 'cni-loopback', type: 'loopback' };
    const [ours, theirs] = [
      await node.call(node.ours, 'ADD', lo, { ...a, ifname: 'lo' }),
      await node.call(node.reference, 'ADD', lo, { ...b, ifname: 'lo' }),
    ];
    expect(ours.status, ours.out).toBe(0);
    // Theirs of version 1.1.1 leaves out the versions of addresses, which 0.3.1 requires.
    const unversioned = (text: string): unknown =>
      JSON.parse(text, (key, value) => (key === 'version' ? undefined : value));
    expect(unversioned(ours.out)).toEqual(unversioned(theirs.out.replaceAll(b.netns, a.netns)));
    const ipam = {
      type: 'static',
      addresses: [{ address: '10.1.0.7/24', gateway: '10.1.0.1' }, { address: '3ffe:ffff:0:01ff::1/64' }],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.1.0.254' }],
      dns: { nameservers: ['8.8.8.8'], domain: 'example.com', search: ['example.com'] },
    };
    for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0']) {
      for (const more of [
        { ipam },
        { ipam, RuntimeConfig: { IPs: ['10.9.0.1/16', '3ffe::1/64'] } },
        { ipam, args: { cni: { ips: ['10.8.0.1/16'] } } },
      ]) {
        const config = { cniVersion, name: 'n', type: 'static', ...more };
        const args = 'IgnoreUnknown=1;IP=10.7.0.2/24;GATEWAY=10.7.0.1;X=y';
        const ours = await node.call(node.ours, 'ADD', config, { ...a, args });
        const theirs = await node.call(node.reference, 'ADD', config, { ...a, args });
        expect(ours.status, ours.out).toBe(0);
        expect(unversioned(ours.out), JSON.stringify(config)).toEqual(unversioned(theirs.out));
      }
    }
    expect((await node.call(node.ours, 'DEL', { ...lo, ipam }, { ...a, ifname: 'lo' })).status).toBe(0);
  });

  it('VERSION answers, and what belongs to the agent is refused with the reason', async () => {
    const version = await node.call(node.ours, 'VERSION', { cniVersion: '1.0.0', type: 'static' });
    expect(version.json).toMatchObject({ supportedVersions: expect.arrayContaining(['1.1.0']) });
    const pod = node.pod();
    const main = await node.call(node.ours, 'ADD', { cniVersion: '1.0.0', name: 'n', type: 'weft' }, pod);
    expect(main.json).toMatchObject({ code: 7, msg: expect.stringContaining('where is the weft agent?') });
    // A configuration that names the agent's socket describes what the agent keeps.
    const agentSocket = join(node.dir, 'nobody.sock');
    const lo = { cniVersion: '1.0.0', name: 'n', type: 'loopback', agentSocket };
    expect((await node.call(node.ours, 'ADD', lo, pod)).json).toMatchObject({ code: 11 });
  });

  it('an agent that is expected and away is done without', async () => {
    writeFileSync(join(node.dir, 'shim', 'weft.socket'), `${join(node.dir, 'nobody.sock')}\n`);
    const pod = node.pod();
    const lo = { cniVersion: '1.0.0', name: 'n', type: 'loopback' };
    const done = await node.call(node.ours, 'ADD', lo, { ...pod, ifname: 'lo' });
    expect(done.status, done.out).toBe(0);
    expect((await node.call(node.ours, 'CHECK', { ...lo, prevResult: done.json }, { ...pod, ifname: 'lo' })).out).toBe(
      '',
    );
  });
});
