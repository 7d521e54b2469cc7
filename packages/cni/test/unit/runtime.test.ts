import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultConflist } from '../../src/conflist.ts';
import { readPortMappings } from '../../src/plugins/ports.ts';
import { hostLinkName, podMac } from '../../src/plugins/config.ts';
import { aliasOf, parseAlias } from '../../src/plugins/weft.ts';
import { ResultCache } from '../../src/runtime/cache.ts';
import { loadNetwork, parseNetworkList } from '../../src/runtime/config.ts';
import { decodeAnswer, decodeCall, encodeAnswer, encodeCall } from '../../src/server/framing.ts';
import { Locks } from '../../src/locks.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-cni-unit-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const write = (name: string, value: unknown): void => {
  mkdirSync(join(dir, name, '..'), { recursive: true });
  writeFileSync(join(dir, name), typeof value === 'string' ? value : JSON.stringify(value));
};

describe('network configurations', () => {
  it('are found as containerd finds them without a name, as libcni with one', async () => {
    write('20-b.conflist', { cniVersion: '1.0.0', name: 'b', plugins: [{ type: 'x' }] });
    write('10-a.conf', { cniVersion: '0.3.1', name: 'a', type: 'y' });
    write('30-a.conflist', { cniVersion: '1.0.0', name: 'a', plugins: [{ type: 'z' }] });
    write('00-readme.txt', 'no');
    expect(await loadNetwork(dir)).toMatchObject({ name: 'a', cniVersion: '0.3.1', plugins: [{ type: 'y' }] });
    expect(await loadNetwork(dir, 'a')).toMatchObject({ plugins: [{ type: 'z' }] });
    await expect(loadNetwork(dir, 'c')).rejects.toThrow(`no network named "c" in ${dir}`);
    await expect(loadNetwork(join(dir, 'none'))).rejects.toThrow('cannot read the CNI configuration directory');
  });

  it('may keep plugins in files of their own', async () => {
    write('10-a.conflist', { cniVersion: '1.1.0', name: 'a', plugins: [{ type: 'x' }] });
    write('a/20-z.conf', { type: 'z', capabilities: { mac: true, ips: false } });
    const list = await loadNetwork(dir);
    expect(list.plugins.map((p) => p.type)).toEqual(['x', 'z']);
    expect([...list.plugins[1]!.capabilities]).toEqual(['mac']);
    write('10-a.conflist', {
      cniVersion: '1.1.0',
      name: 'a',
      loadOnlyInlinedPlugins: 'true',
      plugins: [{ type: 'x' }],
    });
    expect((await loadNetwork(dir)).plugins.map((p) => p.type)).toEqual(['x']);
    write('10-a.conflist', { cniVersion: '1.1.0', name: 'a', loadOnlyInlinedPlugins: true });
    await expect(loadNetwork(dir)).rejects.toThrow('loadOnlyInlinedPlugins is true, but `plugins` is missing');
    rmSync(join(dir, 'a'), { recursive: true });
    write('10-a.conflist', { cniVersion: '1.1.0', name: 'a', plugins: [] });
    await expect(loadNetwork(dir)).rejects.toThrow('the list has no plugins');
  });

  it('name file and field when they are wrong', () => {
    const bad = (value: unknown, text: RegExp) =>
      expect(() =>
        parseNetworkList(typeof value === 'string' ? value : JSON.stringify(value), '/etc/x.conflist'),
      ).toThrow(text);
    bad('{', /^\/etc\/x\.conflist: it is not valid JSON/);
    bad({ plugins: [] }, /missing network name/);
    bad({ name: 'a', cniVersion: '1.0.0', plugins: [] }, /the list has no plugins/);
    bad({ name: 'a', cniVersion: '1.0.0', plugins: [{}] }, /plugins\[0\]\.type is missing/);
    bad({ name: 'a', cniVersion: '1.0.0', plugins: ['x'] }, /plugins\[0\]: expected an object/);
  });

  it('are made for a node, IPv4 first', () => {
    const made = defaultConflist({ mtu: 1450, podCidrs: ['fd00::/64', '10.244.1.0/24'], agentSocket: '/run/a.sock' });
    const list = parseNetworkList(JSON.stringify(made));
    expect(list).toMatchObject({ name: 'weft', cniVersion: '1.1.0' });
    expect(list.plugins.map((p) => p.type)).toEqual(['weft', 'portmap']);
    expect(list.plugins[0]?.raw['ipam']).toEqual({
      type: 'weft',
      ranges: [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd00::/64' }]],
    });
    expect(() => defaultConflist({ mtu: 1450, podCidrs: ['10.0.0.0/31'], agentSocket: '' })).toThrow('too small');
  });
});

describe('the result cache', () => {
  it('has the layout of libcni', () => {
    const cache = new ResultCache(dir);
    const entry = {
      networkName: 'n',
      containerId: 'c',
      ifname: 'eth0',
      config: '{"name":"n"}',
      netns: '/x',
      cniArgs: [['K', 'V'] as const],
      capabilityArgs: { ips: ['10.0.0.2'] },
      result: { cniVersion: '1.0.0' },
    };
    cache.write(entry);
    expect(cache.read('n', entry)).toEqual(entry);
    expect(cache.list('n')).toEqual([entry]);
    expect(cache.list('other')).toEqual([]);
    write('results/n-old-eth0', { cniVersion: '0.4.0', ips: [] });
    expect(cache.read('n', { containerId: 'old', ifname: 'eth0' })?.result).toEqual({ cniVersion: '0.4.0', ips: [] });
    cache.remove('n', entry);
    expect(cache.read('n', entry)).toBeUndefined();
  });
});

describe('messages of the shim', () => {
  it('are read when they are complete, not before', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.stringMatching(/^[A-Z_]+$/),
          fc.string().map((s) => s.replaceAll('\0', '')),
        ),
        fc.string(),
        (env, stdin) => {
          const call = { env: new Map(Object.entries(env)), stdin };
          const bytes = encodeCall(call);
          for (const cut of [0, 7, bytes.length - 1]) expect(decodeCall(bytes.subarray(0, cut))).toBeUndefined();
          expect(decodeCall(bytes)).toEqual(call);
        },
      ),
    );
    const answer = { exitCode: 1, stdout: 'ä', stderr: 'x' };
    expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
    expect(() => decodeCall(Buffer.from('GET / HTTP/1.1\r\n'))).toThrow('not a call of the CNI shim');
  });
});

describe('host ports', () => {
  it('are read as containerd and as podman write them', () => {
    const read = (portMappings: unknown) => readPortMappings({ runtimeConfig: { PortMappings: portMappings } });
    expect(read([{ HostPort: 1, ContainerPort: 2, Protocol: 'TCP', HostIP: '' }])).toEqual([
      { hostPort: 1, containerPort: 2, protocol: 'tcp', hostIp: undefined },
    ]);
    expect(read([{ hostPort: 0, containerPort: 2 }])).toEqual([]);
    expect(read([{ hostPort: 1, containerPort: 2, hostIP: '::' }])[0]?.hostIp).toBeUndefined();
    expect(() => read([{ hostPort: 70000, containerPort: 2 }])).toThrow(
      'portMappings[0].hostPort: 70000 is not a port number',
    );
    expect(() => read([{ hostPort: 1, containerPort: 2, protocol: 'icmp' }])).toThrow('"icmp" is not tcp, udp or sctp');
    expect(() => read([{ hostPort: 1, containerPort: 2, hostIP: 'x' }])).toThrow('hostIP: "x" is not an IP address');
  });
});

describe('names', () => {
  it('of links fit the kernel, and MAC addresses are local unicast', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9]{1,64}$/), (containerId) => {
        const attachment = { containerId, ifname: 'eth0' };
        expect(hostLinkName(attachment)).toMatch(/^veth[0-9a-f]{8}$/);
        expect(Number.parseInt(podMac(attachment).slice(0, 2), 16) & 3).toBe(2);
      }),
    );
  });

  it('of owners come back from an alias', () => {
    const base = {
      network: 'n',
      containerId: 'c',
      ifname: 'eth0',
      kind: 'wired',
      state: 'ready',
      addresses: [],
      since: 0,
    } as const;
    expect(parseAlias(aliasOf(base, ['10.0.0.2', 'fd00::2']))).toEqual({
      network: 'n',
      containerId: 'c',
      ifname: 'eth0',
      addresses: ['10.0.0.2', 'fd00::2'],
    });
    expect(aliasOf({ ...base, containerId: 'x'.repeat(300) }, [])).toBe('');
    expect(parseAlias('somebody else')).toBeUndefined();
  });
});

describe('locks', () => {
  it('hold one attachment at a time, and all of them for GC', async () => {
    const locks = new Locks();
    const log: string[] = [];
    const step = (name: string) => async (): Promise<void> => {
      log.push(`${name}+`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`${name}-`);
    };
    await Promise.all([
      locks.keyed('a', step('a1')),
      locks.keyed('a', step('a2')),
      locks.keyed('b', step('b1')),
      locks.exclusive(step('gc')),
      locks.keyed('c', step('c1')),
    ]);
    expect(log.indexOf('a2+')).toBeGreaterThan(log.indexOf('a1-'));
    expect(log.indexOf('b1+')).toBeLessThan(log.indexOf('a1-'));
    expect(log.slice(-4)).toEqual(['gc+', 'gc-', 'c1+', 'c1-']);
  });
});
