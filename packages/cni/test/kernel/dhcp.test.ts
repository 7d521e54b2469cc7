// The DHCP client and its daemon against ISC's dhcpd and busybox' udhcpd.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetNs } from '@weft/kernel';
import { silentLogger } from '@weft/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DhcpDaemon, type DhcpDaemonOptions } from '../../src/index.ts';
import { Bed, ipj, sh } from './bed.ts';
import { network, podWith } from './side-by-side.ts';

let bed: Bed;
let server: string;
let daemon: DhcpDaemon;
let running: ChildProcess | undefined;
let log: string;

const dhcpd = existsSync('/usr/sbin/dhcpd');
const udhcpd = spawnSync('busybox', ['udhcpd', '--help']).status === 0;

async function until(what: string, ready: () => boolean): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (ready()) return;
    await sleep(25);
  }
  throw new Error(`${what} did not come about; the server said:\n${log}`);
}

async function open(options: Partial<DhcpDaemonOptions> = {}): Promise<void> {
  daemon = new DhcpDaemon({ log: silentLogger, socketPath: join(bed.dir, 'dhcp.sock'), ...options });
  await daemon.start();
}

/** Starts a server in its namespace; what it prints is in `log`. */
async function serve(ready: RegExp, command: string, ...args: string[]): Promise<void> {
  running = spawn('nsenter', [`--net=${server}`, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [running.stdout, running.stderr])
    stream?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await until(`${command}`, () => ready.test(log));
}

async function stopServer(): Promise<void> {
  const child = running;
  running = undefined;
  if (child === undefined || child.exitCode !== null) return;
  const gone = new Promise((resolve) => child.on('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

beforeEach(async () => {
  bed = await Bed.open();
  log = '';
  const node = join(bed.dir, 'node');
  server = join(bed.dir, 'server');
  NetNs.create(server).close();
  sh(node, 'ip', 'link', 'add', 'lan0', 'up', 'type', 'veth', 'peer', 'name', 'srv0', 'netns', server);
  sh(server, 'ip', 'addr', 'add', '10.55.0.1/24', 'dev', 'srv0');
  sh(server, 'ip', 'link', 'set', 'srv0', 'up');
});
afterEach(async () => {
  await daemon.stop();
  await stopServer();
  NetNs.remove(server);
  await bed.close();
});

function list(ipam: object = {}, cniVersion = '1.1.0') {
  const daemonSocketPath = join(bed.dir, 'dhcp.sock');
  return network(
    'lan',
    [{ type: 'macvlan', master: 'lan0', ipam: { type: 'dhcp', daemonSocketPath, ...ipam } }],
    cniVersion,
  );
}

describe.skipIf(!dhcpd)('with dhcpd', () => {
  beforeEach(async () => {
    const [conf, leases] = [join(bed.dir, 'dhcpd.conf'), join(bed.dir, 'dhcpd.leases')];
    writeFileSync(leases, '');
    writeFileSync(
      conf,
      `option classless code 121 = array of unsigned integer 8;
authoritative; default-lease-time 4; max-lease-time 4; min-lease-time 4; ping-check false;
subnet 10.55.0.0 netmask 255.255.255.0 { range 10.55.0.50 10.55.0.60; option routers 10.55.0.1;
  option classless 24, 192,0,2, 10,55,0,9, 0, 10,55,0,1; }\n`,
    );
    await serve(
      /Server starting service/,
      '/usr/sbin/dhcpd',
      '-4',
      '-f',
      '-d',
      '-cf',
      conf,
      '-lf',
      leases,
      '-pf',
      join(bed.dir, 'dhcpd.pid'),
      'srv0',
    );
  });

  it('gets a lease, renews it, checks it and gives it back', async () => {
    await open();
    const pod = {
      ...podWith(bed),
      args: [
        ['IgnoreUnknown', '1'],
        ['K8S_POD_NAME', 'web-0'],
      ] as [string, string][],
    };
    const conf = list({ priority: 42, provide: [{ option: 'host-name', fromArg: 'K8S_POD_NAME' }] });
    const result = await bed.runtime.add(conf, pod);
    expect(result.ips).toMatchObject([
      { address: expect.stringMatching(/^10\.55\.0\.5\d\/24$/), gateway: '10.55.0.1', interface: 0 },
    ]);
    expect(result.routes).toEqual([{ dst: '0.0.0.0/0', gw: '10.55.0.1', priority: 42 }]);
    expect(ipj(pod.netns, 'route', 'show', 'default')[0]).toMatchObject({ gateway: '10.55.0.1', metric: 42 });
    expect(log).toContain('(web-0) via srv0');
    await bed.runtime.status(conf);
    await bed.runtime.check(conf, pod);
    const before = log.match(/DHCPACK on/g)?.length ?? 0;
    await until('a renewal', () => (log.match(/DHCPACK on/g)?.length ?? 0) >= before + 2);
    await bed.runtime.del(conf, pod);
    await until('the release', () => /DHCPRELEASE of 10\.55\.0\.5\d.*\(found\)/.test(log));
    await bed.runtime.del(conf, pod);
    await expect(bed.runtime.check(conf, pod)).rejects.toMatchObject({ cniCode: 3 });
  });

  it('goes on with the leases of the daemon before', async () => {
    await open();
    const [pod, gone] = [podWith(bed), podWith(bed)];
    await bed.runtime.add(list(), pod);
    await bed.runtime.add(list(), gone);
    await daemon.stop();
    NetNs.remove(gone.netns);
    const acks = () => log.match(/DHCPACK on/g)?.length ?? 0;
    const before = acks();
    await open();
    await until('two renewals', () => acks() >= before + 2);
    await bed.runtime.check(list(), pod);
    await expect(bed.runtime.check(list(), gone)).rejects.toMatchObject({ cniCode: 3 });
    await bed.runtime.del(list(), pod);
    await until('the release', () => /DHCPRELEASE of/.test(log));
    await daemon.stop();
    writeFileSync(`${daemon.socketPath}.leases`, '{"x":{"request":');
    await open();
    await bed.runtime.status(list());
  });

  it('asks for other options, and puts their routes in the place of the default', async () => {
    await open({ broadcast: true });
    const pod = podWith(bed);
    const result = await bed.runtime.add(list({ request: [{ option: '121' }] }), pod);
    expect(result.routes).toEqual([
      { dst: '192.0.2.0/24', gw: '10.55.0.9' },
      { dst: '0.0.0.0/0', gw: '10.55.0.1' },
    ]);
    await bed.runtime.del(list(), pod);
  });

  it('serves many at once, and GC gives back what is not valid', async () => {
    await open();
    const pods = Array.from({ length: 5 }, () => podWith(bed));
    const results = await Promise.all(pods.map((pod) => bed.runtime.add(list(), pod)));
    const addresses = results.map((r) => r.ips?.[0]?.address);
    expect(new Set(addresses).size).toBe(5);
    const [first] = pods;
    await bed.runtime.gc(list(), [{ containerId: first?.containerId ?? '', ifname: 'eth0' }]);
    await until('four releases', () => (log.match(/DHCPRELEASE of/g)?.length ?? 0) === 4);
    await bed.runtime.del(list(), first as (typeof pods)[number]);
  });
});

describe.skipIf(!udhcpd)('with udhcpd', () => {
  beforeEach(async () => {
    const conf = join(bed.dir, 'udhcpd.conf');
    const file = join(bed.dir, 'udhcpd.leases');
    writeFileSync(file, '');
    const lines = [
      'start 10.55.0.70',
      'end 10.55.0.79',
      'interface srv0',
      `lease_file ${file}`,
      `pidfile ${join(bed.dir, 'udhcpd.pid')}`,
    ];
    writeFileSync(
      conf,
      [...lines, 'min_lease 1', 'option subnet 255.255.255.0', 'opt router 10.55.0.1', 'option lease 3', ''].join('\n'),
    );
    await serve(/started/, 'busybox', 'udhcpd', '-f', conf);
  });

  it('gets and renews a lease, and takes the interface down when the server is gone for good', async () => {
    await open();
    const pod = podWith(bed);
    const result = await bed.runtime.add(list(), pod);
    expect(result.ips?.[0]).toMatchObject({
      address: expect.stringMatching(/^10\.55\.0\.7\d\/24$/),
      gateway: '10.55.0.1',
    });
    const flags = () => ipj(pod.netns, 'link', 'show', 'eth0').flatMap((l) => l['flags'] as string[]);
    const sends = () => log.match(/sending ACK/g)?.length ?? 0;
    await until('two renewals', () => sends() >= 3);
    expect(flags()).toContain('UP');
    await stopServer();
    await until('the end of the lease', () => !flags().includes('UP'));
    await bed.runtime.del(list(), pod);
  });
});

describe('without a server', () => {
  it('fails within its time, and leaves no interface', async () => {
    await open({ resendTimeoutMs: 100 });
    const pod = podWith(bed);
    await expect(bed.runtime.add(list(), pod)).rejects.toMatchObject({
      cniCode: 11,
      message: expect.stringContaining('no DHCP server made an offer'),
    });
    expect(ipj(pod.netns, 'link').map((l) => l['ifname'])).toEqual(['lo']);
  });

  it('without a daemon says so, and lets containers go', async () => {
    await open();
    await daemon.stop();
    const pod = podWith(bed);
    await expect(bed.runtime.add(list(), pod)).rejects.toMatchObject({
      cniCode: 11,
      message: expect.stringContaining('weft dhcp daemon'),
    });
    await expect(bed.runtime.status(list())).rejects.toMatchObject({ cniCode: 50 });
    await bed.runtime.del(list(), pod);
    await expect(bed.runtime.add(list({ provide: [{ option: 'x', value: 'y' }] }), pod)).rejects.toMatchObject({
      cniCode: 7,
    });
  });

  it('writes its pid, keeps to itself, refuses a second daemon and survives bad calls', async () => {
    const pidFile = join(bed.dir, 'dhcp.pid');
    await open({ pidFile });
    expect(readFileSync(pidFile, 'utf8')).toBe(String(process.pid));
    expect(statSync(daemon.socketPath).mode & 0o777).toBe(0o600);
    const second = new DhcpDaemon({ log: silentLogger, socketPath: daemon.socketPath });
    await expect(second.start()).rejects.toThrow(/listens on .* already/);
    await expect(new DhcpDaemon({ log: silentLogger, pidFile: 'x' }).start()).rejects.toThrow(/not absolute/);
    const pod = { ...podWith(bed), netns: join(bed.dir, 'nowhere') };
    await expect(
      bed.runtime.add(network('l', [{ type: 'dhcp', ipam: { daemonSocketPath: daemon.socketPath } }]), pod),
    ).rejects.toMatchObject({ cniCode: 8 });
    await bed.runtime.status(list());
    await daemon.stop();
    expect(existsSync(pidFile)).toBe(false);
    expect(existsSync(daemon.socketPath)).toBe(false);
  });
});
