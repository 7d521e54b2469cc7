// ptp and host-local by themselves, beside the reference plugins with the same configuration.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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

const DUAL = [[{ subnet: '10.5.0.0/24' }], [{ subnet: 'fd05::/64' }]];

function config(more: object = {}, ipam: object = {}): Record<string, unknown> {
  return {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'ptp',
    mtu: 1400,
    ipam: {
      type: 'host-local',
      dataDir: join(node.dir, 'networks'),
      ranges: DUAL,
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }, { dst: '10.66.0.0/16', gw: '10.5.0.1' }],
      ...ipam,
    },
    ...more,
  };
}

/** What an attachment is made of, without what differs from call to call. */
function state(pod: PodRef, near: string): unknown {
  const pick = (list: Record<string, unknown>[], keys: readonly string[]) =>
    list
      .map((item) => Object.fromEntries(keys.map((key) => [key, item[key]])))
      .map((item) => JSON.stringify(item).replaceAll(near, 'NEAR'))
      .filter((text) => !text.includes('fe80'))
      .sort();
  const route = ['dst', 'gateway', 'dev', 'scope', 'prefsrc', 'protocol'];
  const addresses = (netns: string, dev: string): string[] =>
    ((ipj(netns, 'addr', 'show', 'dev', dev)[0]?.['addr_info'] ?? []) as Record<string, unknown>[])
      .filter((a) => a['scope'] !== 'link')
      .map((a) => JSON.stringify([a['local'], a['prefixlen'], a['broadcast'], a['scope']]));
  return {
    pod: ipj(pod.netns, 'link', 'show', 'dev', 'eth0').map((l) => [l['mtu'], l['operstate']]),
    podAddresses: addresses(pod.netns, 'eth0'),
    podRoutes: [
      ...pick(ipj(pod.netns, 'route'), route),
      ...pick(ipj(pod.netns, '-6', 'route', 'show', 'default'), route),
    ],
    nodeAddresses: addresses(node.netns, near),
    nodeRoutes: pick(ipj(node.netns, 'route', 'show', 'dev', near), ['dst', 'scope', 'protocol']),
    forward: sh(node.netns, 'sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'),
    near: sh(node.netns, 'sysctl', '-n', `net.ipv6.conf.${near}.accept_ra`),
  };
}

const nearOf = (said: Said): string => ((said.json?.['interfaces'] ?? []) as { name: string }[])[0]?.name ?? '';

/** A result without what is chosen at random. */
function shape(said: Said, pod: PodRef): unknown {
  const text = said.out.replaceAll(pod.netns, 'SANDBOX').replaceAll(/veth[0-9a-f]{8}/g, 'NEAR');
  // From 1.0.0 on newer reference plugins leave an empty dns out; those of version 1.1.1 do not.
  return JSON.parse(text.replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC'), (key, value) =>
    key === 'dns' && Object.keys(value as object).length === 0 ? undefined : value,
  );
}

describe('ptp', () => {
  it.skipIf(!hasReference)('makes what the reference makes, and says it with the same words', async () => {
    for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0']) {
      const wanted = config({ cniVersion });
      const a = node.pod();
      const theirs = await node.call(node.reference, 'ADD', wanted, a);
      expect(theirs.status, theirs.out).toBe(0);
      const before = { result: shape(theirs, a), state: state(a, nearOf(theirs)) };
      // One takes down what the other made; host-local goes on behind the last address.
      expect((await node.call(node.ours, 'DEL', wanted, a)).out).toBe('');
      expect(readdirSync(join(node.dir, 'networks', 'net')).filter((name) => /^(10|fd)/.test(name))).toEqual([]);
      for (const set of [0, 1]) {
        const last = join(node.dir, 'networks', 'net', `last_reserved_ip.${set}`);
        sh(node.netns, 'rm', last);
      }
      const b = node.pod();
      const ours = await node.call(node.ours, 'ADD', wanted, b);
      expect(ours.status, ours.out).toBe(0);
      expect(shape(ours, b)).toEqual(before.result);
      expect(state(b, nearOf(ours))).toEqual(before.state);
      expect(readFileSync(join(node.dir, 'networks', 'net', '10.5.0.2'), 'utf8')).toBe(`${b.containerId}\r\neth0`);
      if (cniVersion !== '0.3.1') {
        const check = { ...wanted, prevResult: ours.json };
        expect((await node.call(node.reference, 'CHECK', check, b)).out).toBe('');
        expect((await node.call(node.ours, 'CHECK', check, b)).out).toBe('');
        sh(b.netns, 'ip', 'addr', 'del', '10.5.0.2/24', 'dev', 'eth0');
        expect((await node.call(node.ours, 'CHECK', check, b)).json).toMatchObject({ code: 101 });
      }
      expect((await node.call(node.reference, 'DEL', wanted, b)).status).toBe(0);
      sh(node.netns, 'rm', '-r', join(node.dir, 'networks'));
    }
  });

  it('connects, masquerades what leaves the subnet, and leaves no rule behind when the namespace is gone', async () => {
    const out = node.pod();
    sh(node.netns, 'ip', 'link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', out.netns);
    sh(node.netns, 'ip', 'addr', 'add', '192.0.2.1/24', 'dev', 'out0');
    sh(node.netns, 'ip', 'link', 'set', 'out0', 'up');
    sh(out.netns, 'ip', 'addr', 'add', '192.0.2.9/24', 'dev', 'eth0');
    sh(out.netns, 'ip', 'link', 'set', 'eth0', 'up');
    const wanted = config({ ipMasq: true, cniVersion: '1.1.0' });
    const [a, b] = [node.pod(), node.pod()];
    const added = await node.call(node.ours, 'ADD', wanted, a);
    expect(added.status, added.out).toBe(0);
    expect((await node.call(node.ours, 'ADD', wanted, b)).status).toBe(0);
    // The outsider knows no way to 10.5.0.0/24: only a masqueraded packet is answered.
    expect(pings(a.netns, '192.0.2.9')).toBe(true);
    expect(pings(a.netns, '10.5.0.3')).toBe(true);
    const listed = (): string => sh(node.netns, 'nft', 'list', 'table', 'inet', 'weft-masquerade');
    expect(listed()).toContain('10.5.0.2');
    expect((await node.call(node.ours, 'CHECK', { ...wanted, prevResult: added.json }, a)).out).toBe('');
    NetNs.remove(a.netns);
    for (let i = 0; i < 2; i++) expect((await node.call(node.ours, 'DEL', wanted, a)).out).toBe('');
    expect(listed()).not.toContain('10.5.0.2');
    expect(listed()).toContain('10.5.0.3');
    expect(existsSync(join(node.dir, 'networks', 'net', '10.5.0.2'))).toBe(false);
    // A list that names nobody frees everything; no list frees nothing.
    expect((await node.call(node.ours, 'GC', wanted)).out).toBe('');
    expect(listed()).toContain('10.5.0.3');
    expect((await node.call(node.ours, 'GC', { ...wanted, 'cni.dev/valid-attachments': [] })).out).toBe('');
    expect(listed()).not.toContain('10.5.0.3');
    expect(existsSync(join(node.dir, 'networks', 'net', '10.5.0.3'))).toBe(false);
  });

  it('gives the address back when the interface is taken', async () => {
    const pod = node.pod();
    sh(pod.netns, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
    expect((await node.call(node.ours, 'ADD', config(), pod)).json).toMatchObject({ code: 100 });
    expect(readdirSync(join(node.dir, 'networks', 'net')).filter((name) => /^(10|fd)/.test(name))).toEqual([]);
  });
});

describe('host-local', () => {
  const ipam = (more: object): Record<string, unknown> => ({ ...config({}, more), type: 'host-local' });
  const address = (said: Said): unknown => (said.json?.['ips'] as { address: string }[] | undefined)?.[0]?.address;

  it.skipIf(!hasReference)('shares a network with the Go program: turn by turn, to the last address', async () => {
    const wanted = ipam({
      ranges: [[{ subnet: '10.6.0.0/28', rangeStart: '10.6.0.3', rangeEnd: '10.6.0.5' }, { subnet: '10.7.0.0/30' }]],
    });
    const pods = Array.from({ length: 4 }, () => node.pod());
    const got: unknown[] = [];
    for (const [i, pod] of pods.entries()) {
      got.push(address(await node.call(i % 2 === 0 ? node.reference : node.ours, 'ADD', wanted, pod)));
    }
    expect(got).toEqual(['10.6.0.3/28', '10.6.0.4/28', '10.6.0.5/28', '10.7.0.2/30']);
    const more = node.pod();
    expect((await node.call(node.ours, 'ADD', wanted, more)).json).toMatchObject({
      code: 11,
      msg: expect.stringContaining('no IP addresses available'),
    });
    const status = { ...wanted, cniVersion: '1.1.0' };
    expect((await node.call(node.ours, 'STATUS', status)).json).toMatchObject({ code: 50 });
    expect((await node.call(node.ours, 'ADD', wanted, pods[1])).json).toMatchObject({ code: 100 });
    expect((await node.call(node.ours, 'DEL', wanted, pods[0])).out).toBe('');
    expect((await node.call(node.ours, 'STATUS', status)).out).toBe('');
    // Round to the one that is free.
    expect(address(await node.call(node.reference, 'ADD', wanted, more))).toBe('10.6.0.3/28');
    expect((await node.call(node.ours, 'CHECK', { ...wanted, prevResult: {} }, more)).out).toBe('');
    expect((await node.call(node.ours, 'CHECK', { ...wanted, prevResult: {} }, pods[0])).json).toMatchObject({
      code: 3,
    });
  });

  it('gives what is asked for by any of the three ways, once, and nothing outside of its ranges', async () => {
    const wanted = ipam({ ranges: [[{ subnet: '10.6.0.0/24' }]] });
    const [a, b, c, d] = [node.pod(), node.pod(), node.pod(), node.pod()];
    expect(address(await node.call(node.ours, 'ADD', wanted, { ...a, args: 'IgnoreUnknown=1;IP=10.6.0.9' }))).toBe(
      '10.6.0.9/24',
    );
    const told = { ...wanted, runtimeConfig: { IPs: ['10.6.0.10/24'] } };
    expect(address(await node.call(node.ours, 'ADD', told, b))).toBe('10.6.0.10/24');
    const args = { ...wanted, args: { cni: { ips: ['10.6.0.11'] } } };
    expect(address(await node.call(node.ours, 'ADD', args, c))).toBe('10.6.0.11/24');
    expect((await node.call(node.ours, 'ADD', told, d)).json).toMatchObject({ code: 11 });
    for (const ip of ['10.9.0.1', '10.6.0.1']) {
      const outside = { ...wanted, runtimeConfig: { ips: [ip] } };
      expect((await node.call(node.ours, 'ADD', outside, d)).json).toMatchObject({ code: 7 });
    }
    const ranges = { ...wanted, runtimeConfig: { ipRanges: [[{ subnet: '10.8.0.0/24' }]] } };
    const both = await node.call(node.ours, 'ADD', ranges, d);
    expect(((both.json?.['ips'] ?? []) as { address: string }[]).map((ip) => ip.address)).toEqual([
      '10.8.0.2/24',
      '10.6.0.2/24',
    ]);
  });
});
