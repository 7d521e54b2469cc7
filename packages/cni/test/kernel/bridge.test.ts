// bridge by itself, beside the reference plugin with the same configuration.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { NetNs } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasReference, LonelyNode, type PodRef, type Said } from './alone.ts';
import { ipj, pings, sh } from './bed.ts';

let node: LonelyNode;
beforeEach(async () => {
  node = await LonelyNode.open();
});
afterEach(() => {
  node.close();
});

function config(more: object = {}, ipam: object = {}): Record<string, unknown> {
  return {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'bridge',
    bridge: 'br0',
    ipam: {
      type: 'host-local',
      dataDir: join(node.dir, 'networks'),
      ranges: [[{ subnet: '10.5.0.0/24' }], [{ subnet: 'fd05::/64' }]],
      ...ipam,
    },
    ...more,
  };
}

type Row = Record<string, unknown>;
const nearOf = (said: Said): string => ((said.json?.['interfaces'] ?? []) as { name: string }[])[1]?.name ?? '';

/** What an attachment is made of, without what differs from call to call. */
function state(pod: PodRef, near: string): unknown {
  const texts = (list: Row[], keys: readonly string[]): string[] =>
    list
      .map((item) => JSON.stringify(keys.map((key) => item[key])).replaceAll(near, 'NEAR'))
      .filter((text) => !/fe80|ff00/.test(text))
      .sort();
  const route = ['dst', 'gateway', 'dev', 'scope', 'prefsrc', 'protocol'];
  const addresses = (netns: string, dev: string): string[] =>
    texts((ipj(netns, 'addr', 'show', 'dev', dev)[0]?.['addr_info'] ?? []) as Row[], [
      'local',
      'prefixlen',
      'broadcast',
      'scope',
    ]);
  const link = ['mtu', 'operstate', 'master', 'promiscuity'];
  const port = (ipj(node.netns, '-d', 'link', 'show', 'dev', near)[0]?.['linkinfo'] ?? {}) as Row;
  return {
    pod: texts(ipj(pod.netns, '-d', 'link', 'show', 'dev', 'eth0'), link),
    podAddresses: addresses(pod.netns, 'eth0'),
    podRoutes: texts([...ipj(pod.netns, 'route'), ...ipj(pod.netns, '-6', 'route')], route),
    near: texts(ipj(node.netns, '-d', 'link', 'show', 'dev', near), link),
    port: texts([(port['info_slave_data'] ?? {}) as Row], ['hairpin', 'isolated', 'learning', 'flood']),
    // Older kernels do not say more than UNKNOWN of a bridge whose carrier never went away, which counts as up.
    bridge: texts(ipj(node.netns, '-d', 'link', 'show', 'dev', 'br0'), link).map((text) =>
      text.replace('UNKNOWN', 'UP'),
    ),
    bridgeAddresses: addresses(node.netns, 'br0'),
    settings: sh(
      node.netns,
      'sysctl',
      '-n',
      'net.ipv4.ip_forward',
      'net.ipv6.conf.all.forwarding',
      'net.ipv6.conf.br0.accept_ra',
      `net.ipv6.conf.${near}.accept_ra`,
    ),
  };
}

/** A result without what is chosen at random. */
function shape(said: Said, pod: PodRef): unknown {
  const text = said.out.replaceAll(pod.netns, 'SANDBOX').replaceAll(/veth[0-9a-f]{8}/g, 'NEAR');
  // From 1.0.0 on newer reference plugins leave an empty dns out; those of version 1.1.1 do not.
  return JSON.parse(text.replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC'), (key, value) =>
    key === 'dns' && Object.keys(value as object).length === 0 ? undefined : value,
  );
}

const CASES: readonly (readonly [string, object, object])[] = [
  ['a gateway with a default route', { isDefaultGateway: true, mtu: 1400 }, {}],
  ['a gateway and routes of its own', { isGateway: true, hairpinMode: true }, { routes: [{ dst: '10.66.0.0/16' }] }],
  ['no gateway, version 0.3.1', { cniVersion: '0.3.1', promiscMode: true }, {}],
  ['a MAC address asked for', { runtimeConfig: { Mac: 'c2:11:22:33:44:55' }, dns: { nameservers: ['10.5.0.1'] } }, {}],
  ['layer 2', { ipam: {} }, {}],
];

describe('bridge', () => {
  it.skipIf(!hasReference).each(CASES)('makes what the reference makes: %s', async (_, more, ipam) => {
    const wanted = config(more, ipam);
    const a = node.pod();
    const theirs = await node.call(node.reference, 'ADD', wanted, a);
    expect(theirs.status, theirs.out).toBe(0);
    const before = { result: shape(theirs, a), state: state(a, nearOf(theirs)) };
    expect((await node.call(node.ours, 'DEL', wanted, a)).out).toBe('');
    expect(ipj(a.netns, 'link').map((link) => link['ifname'])).toEqual(['lo']);
    sh(node.netns, 'ip', 'link', 'del', 'br0');
    sh(node.netns, 'sysctl', '-w', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
    sh(node.netns, 'rm', '-rf', join(node.dir, 'networks'));
    const b = node.pod();
    const ours = await node.call(node.ours, 'ADD', wanted, b);
    expect(ours.status, ours.out).toBe(0);
    expect(shape(ours, b)).toEqual(before.result);
    expect(state(b, nearOf(ours))).toEqual(before.state);
    if (wanted['cniVersion'] !== '0.3.1') {
      expect((await node.call(node.ours, 'CHECK', { ...wanted, prevResult: ours.json }, b)).out).toBe('');
      sh(node.netns, 'ip', 'link', 'set', nearOf(ours), 'nomaster');
      const check = await node.call(node.ours, 'CHECK', { ...wanted, prevResult: ours.json }, b);
      expect(check.json).toMatchObject({ code: 101, msg: expect.stringContaining('no port of br0') });
    }
    expect((await node.call(node.reference, 'DEL', wanted, b)).status).toBe(0);
  });

  it('connects pods, isolates ports, masquerades, and forgets all of it when the namespace is gone', async () => {
    const wanted = config({ isDefaultGateway: true, ipMasq: true, cniVersion: '1.1.0' });
    const [a, b, c, d] = [node.pod(), node.pod(), node.pod(), node.pod()];
    for (const pod of [a, b]) expect((await node.call(node.ours, 'ADD', wanted, pod)).status).toBe(0);
    expect(pings(a.netns, '10.5.0.3')).toBe(true);
    expect(pings(a.netns, 'fd05::3')).toBe(true);
    expect(pings(a.netns, '10.5.0.1')).toBe(true);
    const isolated = { ...wanted, portIsolation: true };
    for (const pod of [c, d]) expect((await node.call(node.ours, 'ADD', isolated, pod)).status).toBe(0);
    expect(pings(c.netns, '10.5.0.2')).toBe(true);
    expect(pings(c.netns, '10.5.0.5')).toBe(false);
    NetNs.remove(a.netns);
    for (let i = 0; i < 2; i++) expect((await node.call(node.ours, 'DEL', wanted, a)).out).toBe('');
    const valid = [{ containerID: b.containerId, ifname: 'eth0' }];
    expect((await node.call(node.ours, 'GC', { ...wanted, 'cni.dev/valid-attachments': valid })).out).toBe('');
    const listed = sh(node.netns, 'nft', 'list', 'table', 'inet', 'weft-masquerade');
    expect(listed.match(/10\.5\.0\.[0-9]+ comment/g)).toEqual(['10.5.0.3 comment']);
    const files = readdirSync(join(node.dir, 'networks', 'net')).filter((name) => name.startsWith('10.'));
    expect(files).toEqual(['10.5.0.3']);
  });

  it('refuses what cannot work, and leaves nothing of it', async () => {
    const pod = node.pod();
    const none = async (more: object, ipam: object = {}): Promise<unknown> => {
      const said = await node.call(node.ours, 'ADD', config(more, ipam), pod);
      expect(ipj(pod.netns, 'link').map((link) => link['ifname'])).toEqual(['lo']);
      return said.json;
    };
    expect(await none({ hairpinMode: true, promiscMode: true })).toMatchObject({ code: 7 });
    expect(await none({ disableContainerInterface: true })).toMatchObject({ code: 7 });
    // Another address of the bridge is in the way, unless it may go.
    expect((await node.call(node.ours, 'ADD', config({ isGateway: true }), pod)).status).toBe(0);
    expect((await node.call(node.ours, 'DEL', config({ isGateway: true }), pod)).out).toBe('');
    const other = { ranges: [[{ subnet: '10.6.0.0/24' }]] };
    expect(await none({ isGateway: true }, other)).toMatchObject({
      code: 7,
      msg: expect.stringContaining('already has an IP address different from 10.6.0.1/24'),
    });
    const files = (): string[] =>
      readdirSync(join(node.dir, 'networks', 'net')).filter((name) => name.startsWith('10.'));
    expect(files()).toEqual([]);
    const forced = config({ isGateway: true, forceAddress: true }, other);
    expect((await node.call(node.ours, 'ADD', forced, pod)).status).toBe(0);
    expect(sh(node.netns, 'ip', '-4', 'addr', 'show', 'dev', 'br0')).not.toContain('10.5.0.1');
  });
});
