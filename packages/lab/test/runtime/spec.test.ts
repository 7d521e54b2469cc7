import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { capabilitiesIn, capabilitySet, ownCapabilities } from '../../src/runtime/capabilities.ts';
import { signalNumber } from '../../src/runtime/container.ts';
import { dedupeEnv, runtimeSpec, type SpecInput } from '../../src/runtime/spec.ts';
import { resolveUser } from '../../src/runtime/user.ts';

const input: SpecInput = {
  args: ['sh'],
  env: ['A=1', 'B=2', 'A=3'],
  cwd: '/',
  user: { uid: 0, gid: 0, additionalGids: [] },
  tty: false,
  privileged: false,
  readOnlyRootfs: false,
  noNewPrivileges: false,
  mounts: [],
  rootfs: '/r',
  join: {},
};
const linux = (spec: Record<string, unknown>): Record<string, unknown> => spec.linux as Record<string, unknown>;

describe('the runtime configuration', () => {
  it('joins the namespaces of the pod and makes its own for the rest', () => {
    const spec = runtimeSpec({ ...input, join: { network: '/n', ipc: '/i', uts: '/u' } });
    expect(linux(spec).namespaces).toEqual([
      { type: 'mount' },
      { type: 'network', path: '/n' },
      { type: 'ipc', path: '/i' },
      { type: 'uts', path: '/u' },
      { type: 'pid' },
    ]);
    expect(linux(runtimeSpec({ ...input, join: { pid: false } })).namespaces).toEqual([{ type: 'mount' }]);
  });

  it('mounts a directory before what lies in it', () => {
    const spec = runtimeSpec({
      ...input,
      mounts: [
        { source: '/s1', destination: '/data/deep/er', readOnly: true },
        { source: '/s2', destination: '/data' },
      ],
    });
    const own = (spec.mounts as { destination: string; options: string[] }[]).slice(-2);
    expect(own.map((m) => m.destination)).toEqual(['/data', '/data/deep/er']);
    expect(own[1]?.options).toEqual(['rbind', 'rprivate', 'ro']);
  });

  it('masks nothing and gives every capability when privileged', () => {
    const spec = runtimeSpec({ ...input, privileged: true });
    expect(linux(spec).maskedPaths).toBeUndefined();
    const process = spec.process as { capabilities: { bounding: string[] } };
    expect(process.capabilities.bounding).toContain('CAP_SYS_ADMIN');
  });

  it('gives a user who is not root no capability to begin with', () => {
    const spec = runtimeSpec({ ...input, user: { uid: 5, gid: 5, additionalGids: [5] } });
    expect((spec.process as { capabilities: object }).capabilities).toMatchObject({ effective: [], permitted: [] });
  });

  it('keeps the last of several settings of a variable', () => {
    expect(dedupeEnv(input.env)).toEqual(['A=3', 'B=2']);
  });
});

describe('capabilities', () => {
  it('are all there is to give, not all there are', () => {
    // A machine that may not hand on SYS_RESOURCE, as /proc/self/status has it.
    const available = capabilitiesIn('000001fffeffffff');
    expect(available.has('SYS_ADMIN')).toBe(true);
    expect(available.has('CHECKPOINT_RESTORE')).toBe(true);
    for (const options of [{ privileged: true }, { add: ['ALL'] }]) {
      const set = capabilitySet({ ...options, available });
      expect(set).toHaveLength(40);
      expect(set).not.toContain('CAP_SYS_RESOURCE');
    }
    // Asked for by name: the runtime is to say that it cannot.
    expect(capabilitySet({ add: ['SYS_RESOURCE'], available })).toContain('CAP_SYS_RESOURCE');
    expect(ownCapabilities()?.has('NO_SUCH')).toBe(false);
  });

  it('are added and dropped with and without prefix', () => {
    expect(capabilitySet({ add: ['NET_ADMIN'], drop: ['ALL'] })).toEqual(['CAP_NET_ADMIN']);
    expect(capabilitySet({ add: ['all'], drop: ['CAP_SYS_ADMIN'] })).not.toContain('CAP_SYS_ADMIN');
    expect(capabilitySet({})).toContain('CAP_NET_RAW');
    expect(capabilitySet({ drop: ['net_raw'] })).not.toContain('CAP_NET_RAW');
    expect(capabilitySet({ add: ['NO_SUCH'], drop: ['ALL'] })).toEqual([]);
  });
});

describe('users', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'weft-user-'));
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\nextra:x:50:web,other\nops:x:60:\n');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it.each([
    [{}, { uid: 0, gid: 0, additionalGids: [0] }],
    [{ imageUser: 'web' }, { uid: 33, gid: 34, additionalGids: [34, 50] }],
    [{ imageUser: '33' }, { uid: 33, gid: 34, additionalGids: [34, 50] }],
    [{ imageUser: 'web:ops' }, { uid: 33, gid: 60, additionalGids: [60, 50] }],
    [{ uid: 1000 }, { uid: 1000, gid: 0, additionalGids: [0] }],
    [
      { uid: 33, gid: 7, supplementalGroups: [9] },
      { uid: 33, gid: 7, additionalGids: [7, 50, 9] },
    ],
    [
      { imageUser: 'web', uid: 0 },
      { uid: 0, gid: 0, additionalGids: [0] },
    ],
  ])('%j is %j', async (request, expected) => {
    expect(await resolveUser(root, request)).toEqual(expected);
  });

  it('must be in the image, and the image cannot point out of itself', async () => {
    await expect(resolveUser(root, { imageUser: 'nobody' })).rejects.toThrow('unable to find user nobody');
    rmSync(join(root, 'etc/passwd'));
    symlinkSync('/etc/shells', join(root, 'etc/passwd'));
    await expect(resolveUser(root, { imageUser: 'www-data' })).rejects.toThrow('unable to find user');
  });
});

it('signals are read in the forms images use', () => {
  expect(['SIGQUIT', 'quit', '3', 'SIGRTMIN+3'].map(signalNumber)).toEqual(['SIGQUIT', 'SIGQUIT', 3, 37]);
});
