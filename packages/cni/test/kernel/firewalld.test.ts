// The plugin firewall with firewalld, which runs here on a bus of its own and in the node's namespace.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, sh } from './bed.ts';
import { haveReference, network, podWith, referenceRuntime } from './side-by-side.ts';

const have = existsSync('/usr/sbin/firewalld') && existsSync('/usr/bin/dbus-daemon');

let bed: Bed;
let dir: string;
let started: ChildProcess[];
const bus = process.env['DBUS_SYSTEM_BUS_ADDRESS'];

const BUS = (path: string): string => `<busconfig>
<type>system</type><listen>unix:path=${path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`;

function start(program: string, ...args: string[]): ChildProcess {
  const child = spawn(program, args, { stdio: 'ignore' });
  started.push(child);
  return child;
}

const command = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync('firewall-cmd', args, { encoding: 'utf8' });
  return `${status} ${stdout}${stderr}`.trim();
};

beforeEach(async () => {
  bed = await Bed.open();
  dir = mkdtempSync(join(tmpdir(), 'weft-firewalld-'));
  started = [];
  if (!have) return;
  mkdirSync(join(dir, 'etc'));
  writeFileSync(join(dir, 'bus.conf'), BUS(join(dir, 'bus')));
  process.env['DBUS_SYSTEM_BUS_ADDRESS'] = `unix:path=${join(dir, 'bus')}`;
  start('dbus-daemon', `--config-file=${join(dir, 'bus.conf')}`, '--nofork', '--nopidfile');
  await expect.poll(() => existsSync(join(dir, 'bus')), { timeout: 10_000 }).toBe(true);
  const files = ['--system-config', join(dir, 'etc'), '--log-file', join(dir, 'log')];
  start('nsenter', `--net=${join(bed.dir, 'node')}`, 'firewalld', '--nofork', '--nopid', ...files);
  await expect.poll(() => command('--state'), { timeout: 20_000 }).toBe('0 running');
}, 40_000);

afterEach(async () => {
  for (const child of started.reverse()) {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill();
    await ended;
  }
  if (bus === undefined) delete process.env['DBUS_SYSTEM_BUS_ADDRESS'];
  else process.env['DBUS_SYSTEM_BUS_ADDRESS'] = bus;
  await bed.close();
  rmSync(dir, { recursive: true, force: true });
});

const list = (options: object, version = '1.0.0') =>
  network(
    'net',
    [
      {
        type: 'ptp',
        ipam: {
          type: 'host-local',
          dataDir: join(dir, 'ipam'),
          ranges: [[{ subnet: '10.88.0.0/24' }], [{ subnet: 'fd00:88::/64' }]],
        },
      },
      { type: 'firewall', ...options },
    ],
    version,
  );
const sources = (zone: string): string[] => {
  const listed = command(`--zone=${zone}`, '--list-sources').slice(2);
  return listed
    .split(' ')
    .filter((word) => word !== '')
    .sort();
};

describe.skipIf(!have)('firewall with firewalld', () => {
  it.skipIf(!haveReference).each([[{}], [{ backend: 'firewalld', firewalldZone: 'internal' }]])(
    'puts pods into the zone as the reference does: %j',
    async (options) => {
      const zone = 'firewalldZone' in options ? options.firewalldZone : 'trusted';
      const reference = referenceRuntime(bed, ['ptp', 'host-local', 'firewall']);
      const pod = podWith(bed);
      await bed.runtime.add(list(options), pod);
      await bed.runtime.check(list(options), pod);
      const ours = sources(zone);
      expect(ours).toHaveLength(2);
      expect(sh(join(bed.dir, 'node'), 'nft', 'list', 'ruleset')).not.toContain('CNI-FORWARD');
      await bed.runtime.del(list(options), pod);
      expect(sources(zone)).toEqual([]);
      await bed.server.flush();
      rmSync(join(dir, 'ipam'), { recursive: true, force: true });
      await reference.add(list(options), pod);
      expect(sources(zone)).toEqual(ours);
      command(`--zone=${zone}`, `--remove-source=${ours[0]}`);
      await expect(bed.runtime.check(list(options), pod)).rejects.toThrow();
      await reference.del(list(options), pod);
    },
  );

  it('says which zone there is not, tells at STATUS that it is away, and lets pods go then', async () => {
    const options = { backend: 'firewalld' };
    const pod = podWith(bed);
    const nowhere = list({ ...options, firewalldZone: 'nowhere' });
    await expect(bed.runtime.add(nowhere, pod)).rejects.toThrow('INVALID_ZONE: nowhere');
    await bed.runtime.del(nowhere, pod);
    await bed.server.flush();
    await bed.runtime.status(list(options, '1.1.0'));
    await bed.runtime.add(list(options), pod);
    const firewalld = started[1] as ChildProcess;
    const ended = once(firewalld, 'exit');
    firewalld.kill();
    await ended;
    await expect(bed.runtime.status(list(options, '1.1.0'))).rejects.toMatchObject({ cniCode: 50 });
    await bed.runtime.del(list(options), pod);
  });
});
