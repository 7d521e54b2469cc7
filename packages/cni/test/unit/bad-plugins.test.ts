// Plugins that misbehave, and input that nobody would write by hand: errors are named, nothing is left or disturbed.
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type NetworkList, parseNetworkList } from '../../src/runtime/config.ts';
import { dispatch } from '../../src/server/dispatch.ts';
import { CniError } from '../../src/spec/errors.ts';
import { parseObject } from '../../src/spec/json.ts';
import { formatResult, parseResult } from '../../src/spec/result.ts';
import { SUPPORTED_VERSIONS } from '../../src/spec/versions.ts';
import type { Plugin } from '../../src/spec/types.ts';
import { FakePlugins } from './fake-plugin.ts';

let dir: string;
let fake: FakePlugins;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-bad-'));
  fake = new FakePlugins(dir, { timeoutMs: 20_000 });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const POD = { containerId: 'c', ifname: 'eth0', netns: '/run/netns/c' };
const list = (...types: string[]): NetworkList =>
  parseNetworkList(JSON.stringify({ cniVersion: '1.0.0', name: 'n', plugins: types.map((type) => ({ type })) }));
const add = (script: string) => {
  fake.plugin('a', script);
  return fake.runtime.add(list('a'), POD);
};

describe('a plugin that', () => {
  it('is missing, is a directory, or has a path for a name', async () => {
    await expect(fake.runtime.add(list('nope'), POD)).rejects.toThrow('CNI plugin "nope" is not in CNI_PATH');
    await expect(fake.runtime.add(list('../bin/a'), POD)).rejects.toMatchObject({ code: 'CNI_PLUGIN_NAME' });
    const outer = new FakePlugins(join(dir, 'outer'), { binDirs: [dir] });
    await expect(outer.runtime.add(list('bin'), POD)).rejects.toMatchObject({ code: 'CNI_PLUGIN_NOT_FOUND' });
    writeFileSync(join(dir, 'bin/plain'), 'no program', { mode: 0o644 });
    await expect(fake.runtime.add(list('plain'), POD)).rejects.toMatchObject({ code: 'CNI_PLUGIN_NOT_EXECUTABLE' });
  });

  it('moves to another directory is found again', async () => {
    const path = new FakePlugins(join(dir, 'two'), { binDirs: [join(dir, 'bin'), join(dir, 'two/bin')] });
    fake.plugin('a', 'echo "{}"');
    await path.runtime.add(list('a'), POD);
    rmSync(join(dir, 'bin/a'));
    path.plugin('a', 'echo \'{"dns":{"domain":"second"}}\'');
    expect((await path.runtime.add(list('a'), POD)).dns).toEqual({ domain: 'second' });
  });

  it.each([
    ['crashes', 'kill -SEGV $$', 999, /no error message \(signal SIGSEGV\)/],
    ['fails in silence', 'exit 3', 999, /no error message \(exit status 3\)/],
    ['fails on stderr', 'echo "boom" >&2; exit 1', 999, /failed \(exit status 1\): "boom"/],
    ['fails with rubbish', 'echo "<html>"; exit 1', 999, /failed \(exit status 1\): "<html>"/],
    ['fails with a list', 'echo "[1]"; exit 1', 999, /"\[1\]"/],
    ['reports an error without a code', 'echo \'{"msg":"oops"}\'; exit 1', 999, /: oops$/],
    ['succeeds with rubbish', 'echo "OK"', 6, /result of plugin a is not valid JSON: "OK"$/],
    ['prints a list', 'echo "[]"', 6, /is not a JSON object/],
    ['prints nothing', 'true', 6, /no plugin printed a result/],
    ['prints an unknown version', 'echo \'{"cniVersion":"5.0.0"}\'', 1, /unsupported CNI version "5\.0\.0"/],
    ['prints no address', 'echo \'{"ips":[{"address":"ten"}]}\'', 6, /ips\[0\]\.address: not an address/],
    [
      'counts past its interfaces',
      'echo \'{"ips":[{"address":"10.0.0.2/24","interface":3}]}\'',
      6,
      /interface: 3 is none/,
    ],
  ])('%s', async (_what, script, cniCode, message) => {
    await expect(add(script)).rejects.toMatchObject({ cniCode, message: expect.stringMatching(message) });
    expect(fake.cached()).toBeUndefined();
  });

  it('is just being written by an installer that does not rename is tried again', async () => {
    fake.plugin('a', 'echo "{}"');
    const writer = openSync(join(dir, 'bin/a'), 'r+');
    const adding = fake.runtime.add(list('a'), POD);
    setTimeout(() => closeSync(writer), 300);
    await adding;
    expect(fake.calls()).toHaveLength(1);
  });

  it('never stops printing is killed', async () => {
    await expect(add('exec cat /dev/zero')).rejects.toMatchObject({ code: 'CNI_PLUGIN_OUTPUT' });
  });

  it('never ends is killed, with what it started', async () => {
    const impatient = new FakePlugins(dir, { timeoutMs: 300 });
    impatient.plugin('a', `sleep 1000 & echo $! >${dir}/child; wait`);
    await expect(impatient.runtime.add(list('a'), POD)).rejects.toThrow('did not end within 300 ms');
    const child = Number(readFileSync(join(dir, 'child'), 'utf8'));
    // It is killed with its group; who reaps it, and when, is not ours to say.
    await expect.poll(() => alive(child)).toBe(false);
  });

  it('leaves something behind that keeps its output open is not waited for', async () => {
    const result = await add(`sleep 1000 & echo $! >${dir}/child; echo '{"dns":{"domain":"x"}}'`);
    process.kill(Number(readFileSync(join(dir, 'child'), 'utf8')));
    expect(result.dns).toEqual({ domain: 'x' });
  });

  it('is cancelled by the caller is killed', async () => {
    fake.plugin('a', `: >${dir}/started; exec sleep 1000`);
    const abort = new AbortController();
    const call = fake.runtime.add(list('a'), { ...POD, signal: abort.signal });
    await expect.poll(() => existsSync(join(dir, 'started'))).toBe(true);
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: 'CNI_PLUGIN_CANCELLED' });
  });

  it('does not read its input', async () => {
    writeFileSync(join(dir, 'bin/a'), '#!/bin/sh\necho "{}"\n', { mode: 0o755 });
    const big = parseNetworkList(
      JSON.stringify({ cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'a', pad: 'x'.repeat(1 << 20) }] }),
    );
    expect(await fake.runtime.add(big, POD)).toMatchObject({ ips: [] });
  });

  it('fails does not disturb calls for others', async () => {
    fake.plugin('a', '[ "$CNI_CONTAINERID" = c ] && exit 1; echo "{}"');
    const others = ['d', 'e', 'f'].map((containerId) => fake.runtime.add(list('a'), { ...POD, containerId }));
    await expect(fake.runtime.add(list('a'), POD)).rejects.toThrow();
    await Promise.all(others);
    expect(fake.runtime.attachments('n').map((a) => a.containerId)).toEqual(['d', 'e', 'f']);
  });
});

describe('a runtime whose cache cannot be written', () => {
  it('says so at ADD, and does not mind at DEL', async () => {
    writeFileSync(join(dir, 'cache'), 'a file where a directory should be');
    await expect(add('echo "{}"')).rejects.toMatchObject({ cniCode: 5, message: expect.stringContaining('n-c-eth0') });
    await fake.runtime.del(list('a'), POD);
    await fake.runtime.gc(list('a'), []);
  });
});

describe('attachments that no plugin should see', () => {
  it.each([
    [{ containerId: '' }, 3],
    [{ containerId: '../c' }, 4],
    [{ ifname: 'a234567890123456' }, 4],
    [{ ifname: 'a/b' }, 4],
  ])('%j', async (change, cniCode) => {
    fake.plugin('a', 'echo "{}"');
    for (const verb of ['add', 'del', 'check'] as const) {
      await expect(fake.runtime[verb](list('a'), { ...POD, ...change })).rejects.toMatchObject({ cniCode });
    }
    expect(fake.calls()).toEqual([]);
  });
});

describe('hostile input', () => {
  const seen: string[] = [];
  const nothing: Plugin = {
    name: 'p',
    add: (request) => {
      seen.push(request.command);
      return Promise.resolve({});
    },
    del: () => Promise.resolve(),
    check: () => Promise.resolve(),
    status: () => Promise.resolve(),
    gc: () => Promise.resolve(),
  };
  const call = (env: Record<string, string>, stdin: string) =>
    dispatch(
      { env: new Map(Object.entries({ WEFT_PLUGIN: 'p', ...env })), stdin },
      { names: ['p'], find: (name) => Promise.resolve(name === 'p' ? nothing : undefined) },
      (_, run) => run(),
    );
  const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
  const json = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constant(deep),
    fc
      .record(
        {
          cniVersion: fc.oneof(fc.constantFrom(...SUPPORTED_VERSIONS, '9.9.9', ''), fc.anything()),
          name: fc.oneof(fc.constant('n'), fc.string(), fc.anything()),
          prevResult: fc.oneof(fc.object(), fc.record({ ips: fc.array(fc.object()), interfaces: fc.anything() })),
          args: fc.anything(),
          __proto__: fc.object(),
          'cni.dev/valid-attachments': fc.anything(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  );
  const text = fc.string().map((s) => s.replaceAll('\0', ''));
  const env = fc.record(
    {
      CNI_COMMAND: fc.oneof(fc.constantFrom('ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION'), text),
      CNI_CONTAINERID: fc.oneof(fc.constant('c'), text),
      CNI_NETNS: text,
      CNI_IFNAME: fc.oneof(fc.constant('eth0'), text),
      CNI_ARGS: text,
    },
    { requiredKeys: ['CNI_COMMAND'] },
  );

  it('is answered: success, or an error of the specification on stdout', async () => {
    await fc.assert(
      fc.asyncProperty(env, json, async (variables, stdin) => {
        const { answer } = await call(variables, stdin);
        if (answer.exitCode === 0) return;
        expect(answer.exitCode).toBe(1);
        const error = JSON.parse(answer.stdout) as { code: number; msg: string };
        expect([1, 3, 4, 6, 7]).toContain(error.code);
        expect(error.msg).not.toBe('');
      }),
    );
  });

  it('as a result is read or refused as one, and what was read can be printed in every version', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), json), (value) => {
        let result;
        try {
          result = parseResult(parseObject(value, 'result'));
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
          return;
        }
        for (const version of SUPPORTED_VERSIONS) JSON.parse(formatResult(result, version));
      }),
    );
  });

  it('as a configuration names the file in every refusal', () => {
    fc.assert(
      fc.property(json, (value) => {
        try {
          parseNetworkList(value, '/etc/cni/net.d/x.conflist');
        } catch (error) {
          expect(String(error)).toContain('/etc/cni/net.d/x.conflist: ');
        }
      }),
    );
  });
});

function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
