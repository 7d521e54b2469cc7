// `weft cni` in the place of cnitool: what it takes from arguments and environment, and what it prints.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cni, readAttachment, readValid } from '../src/commands/cni.ts';

const flags = { cacheDir: '/nowhere' };

describe('an attachment', () => {
  it('has the id, interface and arguments that cnitool gives it', () => {
    const id = createHash('sha512').update('/run/netns/x').digest().subarray(0, 10).toString('hex');
    expect(readAttachment('/run/../run/netns/x', flags, {})).toEqual({
      containerId: `cnitool-${id}`,
      netns: '/run/netns/x',
      ifname: 'eth0',
      args: [],
      capabilityArgs: {},
    });
    const env = {
      CNI_IFNAME: 'net1',
      CNI_ARGS: 'A=1;B=2',
      CAP_ARGS: '{"mac":"02:00:00:00:00:01"}',
      TRACEPARENT: '00-a-b-01',
    };
    expect(readAttachment('/x', flags, env)).toMatchObject({
      ifname: 'net1',
      args: [
        ['A', '1'],
        ['B', '2'],
      ],
      capabilityArgs: { mac: '02:00:00:00:00:01' },
      trace: { traceparent: '00-a-b-01' },
    });
    expect(readAttachment('/x', { ...flags, ifname: 'net2' }, env).ifname).toBe('net2');
  });

  it('is refused with the variable that is wrong', () => {
    expect(() => readAttachment('/x', flags, { CAP_ARGS: '[]' })).toThrow('CAP_ARGS is not a JSON object');
    expect(() => readAttachment('/x', flags, { CAP_ARGS: '{' })).toThrow('CAP_ARGS is not a JSON object');
    expect(() => readAttachment('/x', flags, { CNI_ARGS: 'A' })).toThrow('CNI_ARGS: invalid pair "A"');
    expect(() => readAttachment('/x', flags, { CNI_ARGS: 'A=' })).toThrow('CNI_ARGS: "A" has no value');
  });

  it('that is valid is named as ID/IFNAME', () => {
    expect(readValid(undefined)).toBeUndefined();
    expect(readValid([''])).toEqual([]);
    expect(readValid(['c/eth0'])).toEqual([{ containerId: 'c', ifname: 'eth0' }]);
    expect(() => readValid(['c'])).toThrow('"c" is no attachment');
  });
});

describe('the verbs', () => {
  let dir: string;
  let printed: string;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'weft-cnitool-'));
    mkdirSync(path.join(dir, 'bin'));
    const script = `#!/bin/sh
echo "$CNI_COMMAND" >>${dir}/log
case $CNI_COMMAND in
ADD) echo '{"ips":[{"address":"10.0.0.2/24"}]}' ;;
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
STATUS) echo '{"code":50,"msg":"not now","details":"why"}'; exit 1 ;;
esac`;
    writeFileSync(path.join(dir, 'bin/p'), script, { mode: 0o755 });
    const network = { cniVersion: '1.1.0', name: 'n', plugins: [{ type: 'p' }] };
    writeFileSync(path.join(dir, 'n.conflist'), JSON.stringify(network));
    vi.stubEnv('NETCONFPATH', dir);
    vi.stubEnv('CNI_PATH', path.join(dir, 'bin'));
    printed = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    rmSync(dir, { recursive: true, force: true });
  });

  it('print what cnitool prints, and fail with the code of the plugin', async () => {
    const with_ = { cacheDir: path.join(dir, 'cache') };
    await cni('add', 'n', '/x', with_);
    expect(JSON.parse(printed)).toEqual({ cniVersion: '1.1.0', ips: [{ address: '10.0.0.2/24' }] });
    printed = '';
    await cni('check', 'n', '/x', with_);
    await cni('gc', 'n', undefined, with_);
    await cni('del', 'n', '/x', with_);
    expect(printed).toBe('');
    await expect(cni('status', 'n', undefined, with_)).rejects.toMatchObject({ code: 'CNI_50', hint: 'why' });
    await expect(cni('add', 'other', '/x', with_)).rejects.toMatchObject({ code: 'CNI_CONFIG_MISSING' });
    await cni('version', 'n', undefined, { ...with_, output: 'json' });
    expect(JSON.parse(printed)).toEqual({
      network: 'n',
      cniVersion: '1.1.0',
      plugins: [{ type: 'p', supportedVersions: ['0.4.0', '1.0.0'] }],
    });
  });
});
