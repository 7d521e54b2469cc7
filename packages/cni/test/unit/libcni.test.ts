// What libcni does and runtimes rely on, fact by fact. Plugins are shell scripts that write down how they were called.
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadNetwork, loadNetworks, type NetworkList, parseNetworkList } from '../../src/runtime/config.ts';
import { FakePlugins } from './fake-plugin.ts';

let dir: string;
let fake: FakePlugins;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-libcni-'));
  fake = new FakePlugins(dir);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const POD = { containerId: 'c', ifname: 'eth0', netns: '/run/netns/c' };
const RESULT = { cniVersion: '1.0.0', interfaces: [{ name: 'eth0', sandbox: '/run/netns/c' }], ips: [] };
const list = (change: object = {}): NetworkList =>
  parseNetworkList(
    JSON.stringify({ cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'a' }, { type: 'b' }], ...change }),
  );
const verbs = () => fake.calls().map((call) => `${call.env['CNI_COMMAND']} ${call.plugin}`);

describe('ADD', () => {
  it('chains results, with name and version of the list in every input', async () => {
    fake.answers('a', { ...RESULT, ips: [{ address: '10.0.0.2/24', interface: 0 }] });
    fake.answers('b', { ...RESULT, dns: { nameservers: ['10.0.0.1'] } });
    const result = await fake.runtime.add(list({ plugins: [{ type: 'a', name: 'x', k: 1 }, { type: 'b' }] }), {
      ...POD,
      args: [
        ['IgnoreUnknown', '1'],
        ['K8S_POD_NAME', 'p'],
      ],
    });
    expect(result.dns).toEqual({ nameservers: ['10.0.0.1'] });
    const [first, second] = fake.calls();
    expect(first?.input).toEqual({ type: 'a', name: 'n', cniVersion: '1.0.0', k: 1 });
    expect(second?.input).toMatchObject({ name: 'n', prevResult: { ips: [{ address: '10.0.0.2/24' }] } });
    expect(first?.env).toMatchObject({
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'c',
      CNI_NETNS: '/run/netns/c',
      CNI_IFNAME: 'eth0',
      CNI_PATH: join(dir, 'bin'),
      CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=p',
    });
  });

  it('gives a plugin the capability arguments that it declares, and leaves `capabilities` in', async () => {
    const all = {
      portMappings: [{ hostPort: 80, containerPort: 80 }],
      bandwidth: { ingressRate: 1 },
      ips: ['10.0.0.9/24'],
      mac: '02:00:00:00:00:01',
      dns: { servers: [] },
      ipRanges: [[{ subnet: '10.0.0.0/24' }]],
      aliases: ['web'],
      infinibandGUID: 'c2:11:22:33:44:55:66:77',
      deviceID: '0000:04:00.5',
      cgroupPath: '/kubelet.slice',
    };
    fake.answers('a', RESULT);
    fake.answers('b', RESULT);
    const names = Object.keys(all);
    const plugins = [
      { type: 'a', capabilities: { mac: true, ips: false, unheardOf: true }, runtimeConfig: { stale: true } },
      { type: 'b', capabilities: Object.fromEntries(names.map((name) => [name, true])) },
    ];
    await fake.runtime.add(list({ plugins }), { ...POD, capabilityArgs: all });
    const [first, second] = fake.calls();
    expect(first?.input['runtimeConfig']).toEqual({ mac: all.mac });
    expect(first?.input['capabilities']).toEqual(plugins[0]?.capabilities);
    expect(second?.input['runtimeConfig']).toEqual(all);
  });

  it('hands the trace context on', async () => {
    fake.answers('a', RESULT);
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', baggage: 'k=v' };
    await fake.runtime.add(list({ plugins: [{ type: 'a' }] }), { ...POD, trace });
    expect(fake.calls()[0]?.env).toMatchObject({ TRACEPARENT: trace.traceparent, BAGGAGE: 'k=v' });
    expect(fake.calls()[0]?.env).not.toHaveProperty('TRACESTATE');
  });

  it("gives a result without version the configuration's", async () => {
    const { cniVersion: _, ...bare } = RESULT;
    fake.answers('a', bare);
    await fake.runtime.add(list({ cniVersion: '0.4.0', plugins: [{ type: 'a' }] }), POD);
    expect(JSON.parse(fake.cached() ?? '')).toMatchObject({ result: { cniVersion: '0.4.0' } });
  });

  it('caches the end result as libcni does, after the whole chain', async () => {
    fake.answers('a', RESULT);
    fake.plugin('b', 'echo \'{"code":11,"msg":"later"}\'; exit 1');
    await expect(fake.runtime.add(list(), POD)).rejects.toMatchObject({ cniCode: 11 });
    expect(fake.cached()).toBeUndefined();
    // libcni does not call DEL either: that is for the runtime to do.
    expect(verbs()).toEqual(['ADD a', 'ADD b']);
    fake.answers('b', RESULT);
    await fake.runtime.add(list(), { ...POD, args: [['K', 'V']], capabilityArgs: { mac: 'x' } });
    const cached = JSON.parse(fake.cached() ?? '') as Record<string, unknown>;
    expect(cached).toEqual({
      kind: 'cniCacheV1',
      containerId: 'c',
      config: Buffer.from(list().text).toString('base64'),
      ifName: 'eth0',
      networkName: 'n',
      netns: '/run/netns/c',
      cniArgs: [['K', 'V']],
      capabilityArgs: { mac: 'x' },
      result: RESULT,
    });
    expect(statSync(join(dir, 'cache/results')).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, 'cache/results/n-c-eth0')).mode & 0o777).toBe(0o600);
  });
});

describe('DEL', () => {
  it('goes in reverse, with the end result for every plugin, and forgets only after full success', async () => {
    fake.answers('a', RESULT);
    fake.answers('b', { ...RESULT, routes: [{ dst: '0.0.0.0/0' }] });
    await fake.runtime.add(list(), POD);
    fake.plugin('a', 'echo \'{"code":5,"msg":"no"}\'; exit 1');
    await expect(fake.runtime.del(list(), POD)).rejects.toMatchObject({ cniCode: 5 });
    expect(verbs().slice(2)).toEqual(['DEL b', 'DEL a']);
    for (const call of fake.calls().slice(2)) {
      expect(call.input['prevResult']).toMatchObject({ routes: [{ dst: '0.0.0.0/0' }] });
    }
    expect(fake.cached()).toBeDefined();
    fake.answers('a', RESULT);
    await fake.runtime.del(list(), POD);
    expect(fake.cached()).toBeUndefined();
    await fake.runtime.del(list(), POD);
    expect(fake.calls().at(-1)?.input).not.toHaveProperty('prevResult');
  });

  it('stops at the first error', async () => {
    fake.answers('a', RESULT);
    fake.plugin('b', 'exit 1');
    await expect(fake.runtime.del(list(), POD)).rejects.toThrow('no error message (exit status 1)');
    expect(verbs()).toEqual(['DEL b']);
  });

  it('has no prevResult below 0.4.0', async () => {
    const old = list({ cniVersion: '0.3.1', plugins: [{ type: 'a' }] });
    fake.answers('a', { ...RESULT, cniVersion: '0.3.1' });
    await fake.runtime.add(old, POD);
    await fake.runtime.del(old, POD);
    expect(fake.calls()[1]?.input).not.toHaveProperty('prevResult');
  });

  it.each([
    '{"kind":',
    '{}',
    '[]',
    '{"cniVersion":"7.0.0"}',
    '{"kind":"cniCacheV1","result":{"cniVersion":"8"}}',
    '\0',
  ])('is not kept from its work by a cache entry like %j', async (text) => {
    fake.answers('a', RESULT);
    mkdirSync(join(dir, 'cache/results'), { recursive: true });
    writeFileSync(join(dir, 'cache/results/n-c-eth0'), text);
    await fake.runtime.del(list({ plugins: [{ type: 'a' }] }), POD);
    expect(verbs()).toEqual(['DEL a']);
    expect(fake.cached()).toBeUndefined();
  });

  it('converts what was cached in another version', async () => {
    fake.answers('a', { ...RESULT, ips: [{ address: '10.0.0.2/24', interface: 0 }] });
    const plugins = [{ type: 'a' }];
    await fake.runtime.add(list({ plugins }), POD);
    await fake.runtime.del(list({ plugins, cniVersion: '0.4.0' }), POD);
    expect(fake.calls()[1]?.input['prevResult']).toMatchObject({ cniVersion: '0.4.0', ips: [{ version: '4' }] });
  });

  it('reads the bare results that older runtimes cached', async () => {
    fake.answers('a', RESULT);
    mkdirSync(join(dir, 'cache/results'), { recursive: true });
    writeFileSync(join(dir, 'cache/results/n-c-eth0'), JSON.stringify({ cniVersion: '0.4.0', dns: {} }));
    await fake.runtime.del(list({ plugins: [{ type: 'a' }] }), POD);
    expect(fake.calls()[0]?.input['prevResult']).toMatchObject({ cniVersion: '1.0.0' });
  });
});

describe('CHECK', () => {
  it('needs version 0.4.0, and a cached result', async () => {
    await expect(fake.runtime.check(list({ cniVersion: '0.3.1' }), POD)).rejects.toThrow(
      'configuration version "0.3.1" does not support the CHECK command',
    );
    await expect(fake.runtime.check(list(), POD)).rejects.toMatchObject({ cniCode: 3 });
  });

  it('goes in order with the end result, unless it is disabled', async () => {
    fake.answers('a', RESULT);
    fake.answers('b', RESULT);
    await fake.runtime.add(list(), POD);
    await fake.runtime.check(list(), POD);
    expect(verbs().slice(2)).toEqual(['CHECK a', 'CHECK b']);
    expect(fake.calls()[2]?.input['prevResult']).toEqual(RESULT);
    for (const disableCheck of [true, 'true']) await fake.runtime.check(list({ disableCheck }), POD);
    expect(fake.calls()).toHaveLength(4);
  });
});

describe('GC', () => {
  const two = { cniVersion: '1.1.0', plugins: [{ type: 'a' }, { type: 'b' }] };
  beforeEach(async () => {
    fake.answers('a', RESULT);
    fake.answers('b', RESULT);
    for (const containerId of ['c', 'd']) await fake.runtime.add(list(two), { ...POD, containerId });
  });

  it('deletes what is cached and not valid, and sends the list under both of its names', async () => {
    await fake.runtime.gc(list(two), [{ containerId: 'd', ifname: 'eth0' }]);
    expect(verbs().slice(4)).toEqual(['DEL b', 'DEL a', 'GC a', 'GC b']);
    const { input, env } = fake.calls().at(-1)!;
    const valid = [{ containerID: 'd', ifname: 'eth0' }];
    expect(input).toMatchObject({ 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid });
    expect(env).not.toHaveProperty('CNI_CONTAINERID');
    expect([fake.cached('n', 'c'), typeof fake.cached('n', 'd')]).toEqual([undefined, 'string']);
  });

  it('without a list deletes all that is cached, and gives plugins none', async () => {
    await fake.runtime.gc(list(two), undefined);
    expect(verbs().slice(4)).toEqual(['DEL b', 'DEL a', 'DEL b', 'DEL a', 'GC a', 'GC b']);
    expect(fake.calls().at(-1)?.input).not.toHaveProperty('cni.dev/valid-attachments');
  });

  it('below 1.1.0 only deletes what is cached', async () => {
    await fake.runtime.gc(list(), []);
    expect(verbs().slice(4)).toEqual(['DEL b', 'DEL a', 'DEL b', 'DEL a']);
  });

  it('goes on after errors, and joins them', async () => {
    fake.plugin('a', 'echo "{\\"code\\":5,\\"msg\\":\\"$CNI_COMMAND failed\\"}"; exit 1');
    await expect(fake.runtime.gc(list(two), [])).rejects.toThrow(/DEL failed.*DEL failed.*GC failed/);
    expect(verbs().slice(-2)).toEqual(['GC a', 'GC b']);
  });

  it('does nothing when it is disabled', async () => {
    await fake.runtime.gc(list({ ...two, disableGC: 'true' }), []);
    expect(fake.calls()).toHaveLength(4);
  });

  it('leaves other networks alone, and waits for calls under way', async () => {
    fake.plugin('a', `[ "$CNI_COMMAND" != ADD ] || { echo '${JSON.stringify(RESULT)}'; sleep 0.3; }`);
    const other = list({ ...two, name: 'other' });
    await fake.runtime.add(other, POD);
    const before = fake.calls().length;
    const add = fake.runtime.add(list(two), { ...POD, containerId: 'e' });
    await Promise.all([add, fake.runtime.gc(list(two), [{ containerId: 'e', ifname: 'eth0' }])]);
    expect(verbs().slice(before, before + 2)).toEqual(['ADD a', 'ADD b']);
    expect(fake.cached('n', 'e')).toBeDefined();
    expect(fake.cached('other')).toBeDefined();
  });
});

describe('STATUS and VERSION', () => {
  it('ask in order; the first error keeps its code', async () => {
    fake.plugin('a', 'exit 0');
    fake.plugin('b', 'echo \'{"code":50,"msg":"not yet"}\'; exit 1');
    await expect(fake.runtime.status(list({ cniVersion: '1.1.0' }))).rejects.toMatchObject({ cniCode: 50 });
    const [call] = fake.calls();
    expect(call?.env).not.toHaveProperty('CNI_CONTAINERID');
    expect(call?.input).toEqual({ type: 'a', name: 'n', cniVersion: '1.1.0' });
    await fake.runtime.status(list());
    expect(fake.calls()).toHaveLength(2);
  });

  it('call VERSION with dummies, and know plugins that are older than it', async () => {
    fake.plugin('a', 'echo \'{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}\'');
    expect(await fake.runtime.version('a')).toEqual(['0.4.0', '1.0.0']);
    const [call] = fake.calls();
    expect(call?.env).toMatchObject({ CNI_CONTAINERID: 'dummy', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy' });
    expect(call?.env).toMatchObject({ CNI_PATH: 'dummy' });
    fake.plugin('a', 'echo \'{"cniVersion":"0.2.0"}\'');
    expect(await fake.runtime.version('a')).toEqual(['0.1.0', '0.2.0']);
    fake.plugin('a', 'echo \'{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}\'; exit 1');
    expect(await fake.runtime.version('a')).toEqual(['0.1.0']);
    fake.plugin('a', 'echo \'{"cniVersion":"1.0.0"}\'');
    await expect(fake.runtime.version('a')).rejects.toThrow('supportedVersions is missing');
  });

  it('say what keeps a network from being used, all at once', async () => {
    fake.plugin('a', 'echo \'{"cniVersion":"1.0.0","supportedVersions":["0.4.0"]}\'');
    await expect(fake.runtime.validate(list())).rejects.toThrow(
      /plugin a does not support version "1\.0\.0", but 0\.4\.0; version: CNI plugin "b" is not in CNI_PATH/,
    );
    fake.plugin('b', 'echo \'{"cniVersion":"1.0.0","supportedVersions":["0.4.0"]}\'');
    const plugins = [{ type: 'a', capabilities: { mac: true, ips: false } }, { type: 'b' }];
    expect(await fake.runtime.validate(list({ cniVersion: '0.4.0', plugins }))).toEqual(['mac']);
  });
});

describe('configurations', () => {
  const write = (name: string, value: unknown) => {
    mkdirSync(join(dir, 'net.d', name, '..'), { recursive: true });
    writeFileSync(join(dir, 'net.d', name), typeof value === 'string' ? value : JSON.stringify(value));
  };
  const load = (name?: string) => loadNetwork(join(dir, 'net.d'), name);

  it('run with the highest version both know, or with their own for plugins to refuse', () => {
    expect(list({ cniVersion: '0.4.0', cniVersions: ['1.0.0', '9.9.9'] }).cniVersion).toBe('1.0.0');
    expect(list({ cniVersion: '9.9.9', cniVersions: ['0.3.1'] }).cniVersion).toBe('0.3.1');
    expect(list({ cniVersion: '9.9.9' }).cniVersion).toBe('9.9.9');
    expect(() => list({ cniVersions: ['1.0.0', 'new'] })).toThrow('cniVersions[1]: "new" is not a version');
    expect(() => list({ cniVersion: '1.x' })).toThrow('cniVersion: "1.x" is not a version');
    expect(() => list({ cniVersion: 1 })).toThrow('cniVersion: expected a string');
  });

  it('may write booleans as text', () => {
    expect(list({ disableCheck: 'True', disableGC: 'false' })).toMatchObject({ disableCheck: true, disableGC: false });
    expect(() => list({ disableGC: 'yes' })).toThrow('disableGC: expected a boolean');
  });

  it('are searched as lists first; a file that cannot be read ends the search', async () => {
    write('00-n.conf', { cniVersion: '0.3.1', name: 'n', type: 'single' });
    expect((await load('n')).plugins[0]?.type).toBe('single');
    write('90-n.conflist', { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'listed' }] });
    mkdirSync(join(dir, 'net.d/80-dir.conflist'));
    expect((await load('n')).plugins[0]?.type).toBe('listed');
    expect((await load()).plugins[0]?.type).toBe('single');
    write('10-bad.conflist', '{');
    await expect(load('n')).rejects.toThrow(/10-bad\.conflist: it is not valid JSON/);
    const { lists, errors } = await loadNetworks(join(dir, 'net.d'));
    expect([lists.map((l) => l.plugins[0]?.type), errors.length]).toEqual([['single', 'listed'], 1]);
  });

  it('of a single plugin are cached as the list they stand for', async () => {
    write('00-n.conf', { cniVersion: '0.4.0', name: 'n', type: 'a' });
    expect(JSON.parse((await load('n')).text)).toEqual({
      name: 'n',
      cniVersion: '0.4.0',
      plugins: [{ cniVersion: '0.4.0', name: 'n', type: 'a' }],
    });
  });

  it('that lead to themselves, or plugin files that are bad, are named', async () => {
    symlinkSync('10-loop.conflist', join(dir, 'net.d/10-loop.conflist'));
    await expect(load()).rejects.toThrow(/cannot read .*10-loop\.conflist: .*symbolic link/i);
    rmSync(join(dir, 'net.d/10-loop.conflist'));
    write('10-n.conflist', { cniVersion: '1.1.0', name: 'n' });
    await expect(load()).rejects.toThrow('the list has no plugins');
    write('n/10-x.conf', '{"type":');
    await expect(load()).rejects.toThrow(/net\.d\/n\/10-x\.conf: it is not valid JSON/);
    write('n/10-x.conf', { kind: 'x' });
    await expect(load()).rejects.toThrow(/net\.d\/n\/10-x\.conf: it\.type is missing/);
  });
});
