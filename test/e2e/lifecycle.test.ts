// Clusters come, stand side by side, are interrupted and killed, and go without a trace.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, freePort, type StatusReport, type UpReport } from './support/cluster.ts';
import {
  differences,
  footprint,
  type Footprint,
  hostState,
  type HostState,
  leftovers,
  settled,
  ticksNow,
} from './support/host.ts';
import { mustFail, mustMatch, type Ran, until } from './support/run.ts';
import { httpFrom, isReady, pods, readyPods } from './support/workloads.ts';

/** Names of this file's clusters: what is theirs on the host is not anybody else's. */
const own = (): string[] => made.map((c) => c.name);
const made: Cluster[] = [];

function newCluster(options: ConstructorParameters<typeof Cluster>[0]): Cluster {
  const cluster = new Cluster(options);
  made.push(cluster);
  return cluster;
}

afterEach(async (context) => {
  if (context.task.result?.state !== 'fail') return;
  for (const cluster of made)
    if (existsSync(cluster.stateDir))
      process.stdout.write(`\n=== ${context.task.name}: ${cluster.name}\n${await cluster.diagnosis()}\n`);
});

afterAll(async () => {
  for (const cluster of made) if (existsSync(cluster.stateDir)) await cluster.down();
});

/** Pids of the running cluster, as its state directory has them. */
function initPid(cluster: Cluster): number {
  const text = readFileSync(path.join(cluster.stateDir, 'pid.json'), 'utf8');
  return (JSON.parse(text) as { init: { pid: number } }).init.pid;
}

const errorOf = (ran: Ran): { code: string; message: string; hint?: string } =>
  (JSON.parse(ran.stdout) as { error: { code: string; message: string; hint?: string } }).error;

describe('one cluster', () => {
  let before: HostState;
  let trace: Footprint;
  let cluster: Cluster;
  let report: UpReport;

  beforeAll(async () => {
    cluster = newCluster({ name: 'life' });
    // The first cluster of a run makes images and remembers the kernel; that stays, for the next.
    await cluster.up();
    await cluster.down();
    before = await hostState(cluster.base, own());
    report = await cluster.up();
    trace = footprint(initPid(cluster), cluster.base);
  });

  it('reports in JSON what it is', () => {
    expect(report).toMatchObject({
      name: cluster.name,
      running: true,
      wasRunning: false,
      config: { nodes: 3, backend: 'vxlan' },
    });
    expect(report.nodes.map((n) => [n.name, n.status])).toEqual([
      ['n1', 'Ready'],
      ['n2', 'Ready'],
      ['n3', 'Ready'],
    ]);
    expect(report.phases.map((p) => p.phase)).toEqual(
      expect.arrayContaining(['preflight', 'underlay', 'api', 'nodes', 'dns', 'demo']),
    );
    expect(report.seconds).toBeGreaterThan(0);
    expect(existsSync(report.kubeconfig)).toBe(true);
  });

  it('adds to the host one link, and routes to pods and Services', async () => {
    const now = await hostState(cluster.base, own());
    const other = differences(before, now).filter((d) => !/^(files|mounts): /.test(d));
    const { podCidr, serviceCidr } = report.config;
    expect(other.filter((d) => d.startsWith('links: '))).toEqual([`links: + weft-${cluster.name}`]);
    const routes = other.filter(
      (d) =>
        d.startsWith('routes: + ') &&
        !/^routes: \+ (local|broadcast|fe80|multicast|anycast)/.test(d) &&
        !/proto kernel/.test(d),
    );
    expect(new Set(routes.map((r) => r.split(' ')[2]))).toEqual(new Set([podCidr, serviceCidr]));
    // A link has settings of its own.
    expect(other.filter((d) => !/^(links|routes): \+|^settings: \+ net\.ipv\d\.(conf|neigh)\.weft-/.test(d))).toEqual(
      [],
    );
  });

  it('shows a demo that answers by name', async () => {
    const web = await readyPods(cluster, 'app=web', 2);
    expect(web).toHaveLength(2);
    const ip = await cluster.ask(['get', 'svc', 'web', '-o', 'jsonpath={.spec.clusterIP}']);
    expect(await (await fetch(`http://${ip}/`)).text()).toContain('Welcome to nginx!');
    const terminal = cluster.terminal(
      cluster.kubectlArgv([
        'run',
        'box',
        '--image=busybox',
        '--restart=Never',
        '-it',
        '--rm',
        '--',
        'wget',
        '-qO-',
        'http://web',
      ]),
    );
    expect(await terminal.ended(60_000), terminal.output).toBe(0);
  });

  it('finds it up the second time, changing nothing', async () => {
    const uid = await cluster.ask(['get', 'ns', 'default', '-o', 'jsonpath={.metadata.uid}']);
    const pid = initPid(cluster);
    const again = await cluster.weft(['up', '--name', cluster.name, '-o', 'json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ wasRunning: true, name: cluster.name });
    mustMatch(await cluster.weft(['up', '--name', cluster.name]), new RegExp(`Cluster ${cluster.name} is up already`));
    expect(initPid(cluster)).toBe(pid);
    expect(await cluster.ask(['get', 'ns', 'default', '-o', 'jsonpath={.metadata.uid}'])).toBe(uid);
  });

  it('prints lines for people, and nothing of a terminal when piped', async () => {
    const ran = await cluster.weft(['status', '--name', cluster.name]);
    mustMatch(ran, new RegExp(`^Cluster ${cluster.name}: running$`, 'm'));
    mustMatch(ran, /^\s+NODE\s+STATUS\s+IP\s+POD CIDR\s+PODS$/m);
    mustMatch(ran, /^\s+n1\s+Ready\s+10\.\S+\s+10\.\S+\/24\s+\d+$/m);
    expect(ran.stdout).not.toContain('\u001b');
    const all = await cluster.weft(['status', '-o', 'json']);
    expect((JSON.parse(all.stdout) as StatusReport[]).map((c) => c.name)).toContain(cluster.name);
  });

  it('hands out its kubeconfig, and merges it into another', async () => {
    const file = (await cluster.weft(['kubeconfig', '--name', cluster.name, '--path'])).stdout.trim();
    expect(file).toBe(report.kubeconfig);
    expect((await cluster.weft(['kubeconfig', '--name', cluster.name])).stdout).toBe(readFileSync(file, 'utf8'));
    // `up` has merged it into the user's own.
    expect(await cluster.ask(['config', 'current-context'])).toBe(`weft-${cluster.name}`);
    const mine = path.join(cluster.base, 'mine');
    writeFileSync(
      mine,
      'apiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts:\n- name: work\n  context: {cluster: c, user: u}\nclusters:\n- name: c\n  cluster: {server: "https://example.com"}\nusers:\n- name: u\n  user: {token: t}\n',
    );
    await cluster.weft(['kubeconfig', '--name', cluster.name, '--merge', mine]);
    const names = await cluster.kubectl(['--kubeconfig', mine, 'config', 'get-contexts', '-o', 'name']);
    expect(names.stdout.trim().split('\n').sort()).toEqual([`weft-${cluster.name}`, 'work']);
    mustMatch(await cluster.kubectl(['--kubeconfig', mine, 'get', 'nodes']), /^n1\s+Ready/m);
    rmSync(mine);
  });

  it('is down in a moment, twice, and leaves nothing', async () => {
    mustMatch(await cluster.weft(['down', '--name', cluster.name]), new RegExp(`Cluster ${cluster.name} is gone`));
    const asOf = ticksNow();
    rmSync(cluster.kubeconfig, { force: true });
    expect(await settled(async () => differences(before, await hostState(cluster.base, own())))).toEqual([]);
    expect(await settled(async () => leftovers(trace, asOf).map((p) => `${p.pid} ${p.command}`))).toEqual([]);
    mustMatch(
      await cluster.weft(['down', '--name', cluster.name]),
      new RegExp(`There is no cluster ${cluster.name}; nothing to do`),
    );
    mustFail(
      await cluster.weft(['status', '--name', cluster.name], { check: false }),
      new RegExp(`error \\[NO_SUCH_CLUSTER\\]: there is no cluster "${cluster.name}"`),
    );
    expect(
      errorOf(await cluster.weft(['status', '--name', cluster.name, '-o', 'json'], { check: false })),
    ).toMatchObject({
      code: 'NO_SUCH_CLUSTER',
    });
  });
});

describe('two clusters side by side', () => {
  it('keep their addresses, names and objects apart', async () => {
    const [left, right] = [
      newCluster({ name: 'left', flags: ['--nodes', '1'] }),
      newCluster({ name: 'right', flags: ['--nodes', '1', '--backend', 'host-gw'] }),
    ];
    const reports = [await left.up(), await right.up()] as const;
    for (const key of ['podCidr', 'serviceCidr', 'underlayCidr', 'apiPort'] as const)
      expect(reports[0].config[key], key).not.toBe(reports[1].config[key]);
    await left.kubectl(['create', 'configmap', 'only-left']);
    mustFail(await right.kubectl(['get', 'cm', 'only-left'], { check: false }), /not found/);
    for (const cluster of [left, right]) {
      const [web] = await readyPods(cluster, 'app=web', 2);
      expect(await (await fetch(`http://${web?.ip}/`)).text()).toContain('Welcome to nginx!');
    }
    const listed = JSON.parse((await left.weft(['status', '-o', 'json'])).stdout) as StatusReport[];
    expect(listed.filter((c) => c.running).map((c) => c.name)).toEqual(expect.arrayContaining([left.name, right.name]));
    await left.down();
    // The other one has not noticed.
    expect((await pods(right, 'app=web')).every(isReady)).toBe(true);
    const ip = await right.ask(['get', 'svc', 'web', '-o', 'jsonpath={.spec.clusterIP}']);
    expect(await (await fetch(`http://${ip}/`)).text()).toContain('Welcome to nginx!');
    await right.down();
  });
});

describe('what goes wrong', () => {
  afterEach(async () => {
    // What should have been refused and was not is in the way of the next test.
    for (const cluster of made) if (existsSync(cluster.stateDir)) await cluster.down();
  });

  it.each([
    ['early', /^$/],
    ['after the network was built', /- underlay/],
    ['while the nodes start', /- api/],
  ])('Ctrl-C %s takes back what was begun', async (_, when) => {
    const cluster = newCluster({ name: 'cut' });
    const before = await hostState(cluster.base, own());
    const up = cluster.background([
      cluster.command,
      'up',
      '--name',
      cluster.name,
      '--api-port',
      String(await freePort()),
      '--pod-cidr',
      '10.70.0.0/16',
      '--service-cidr',
      '10.71.0.0/16',
      '--underlay-cidr',
      '10.72.0.0/21',
    ]);
    if (when.source === '^$')
      await until('a state directory', async () => existsSync(cluster.stateDir), { everyMs: 5 });
    else await up.waitFor(when);
    const pidFile = path.join(cluster.stateDir, 'pid.json');
    const trace: Footprint = existsSync(pidFile)
      ? footprint(initPid(cluster), cluster.base)
      : { base: cluster.base, namespaces: new Set() };
    up.kill('SIGINT');
    expect(await up.ended(), up.output).not.toBe(0);
    expect(up.output).toMatch(/error \[INTERRUPTED\]: interrupted; everything made so far was taken away/);
    const asOf = ticksNow();
    expect(await settled(async () => differences(before, await hostState(cluster.base, own())))).toEqual([]);
    expect(await settled(async () => leftovers(trace, asOf).map((p) => `${p.pid} ${p.command}`))).toEqual([]);
  });

  it('comes back with its objects after everything was killed', async () => {
    const cluster = newCluster({ name: 'killed', flags: ['--nodes', '2'] });
    const first = await cluster.up();
    await cluster.kubectl(['create', 'configmap', 'kept', '--from-literal=a=b']);
    await cluster.kubectl(['create', 'deployment', 'kept', '--image=busybox', '--replicas=3', '--', 'sleep', '86400']);
    const before = await readyPods(cluster, 'app=kept', 3);
    process.kill(initPid(cluster), 'SIGKILL');
    await until('not running', async () => !(await cluster.status()).running);
    mustMatch(
      await cluster.weft(['status', '--name', cluster.name]),
      /not running \(weft up starts it again, weft down removes it\)/,
    );
    const again = await cluster.weft(['up', '--name', cluster.name, '-o', 'json'], { timeoutMs: 120_000 });
    expect(again.stderr).toMatch(/was not taken down; its objects are kept/);
    expect((JSON.parse(again.stdout) as UpReport).config).toEqual(first.config);
    expect(await cluster.ask(['get', 'cm', 'kept', '-o', 'jsonpath={.data.a}'])).toBe('b');
    const after = await readyPods(cluster, 'app=kept', 3);
    // The same pods, in new containers.
    expect(after.map((p) => p.metadata.name).sort()).toEqual(before.map((p) => p.metadata.name).sort());
    expect(new Set(after.map((p) => p.ip)).size).toBe(3);
    expect(await cluster.ask(['exec', after[0]?.metadata.name ?? '', '--', 'hostname'])).toBe(after[0]?.metadata.name);
    await cluster.down();
  });

  it('makes nothing of a stale state directory, and harms no process whose number is in it', async () => {
    const cluster = newCluster({ name: 'stale', flags: ['--nodes', '1', '--no-demo'] });
    mkdirSync(cluster.stateDir, { recursive: true });
    writeFileSync(path.join(cluster.stateDir, 'cluster.json'), '{ "name": "sta');
    const mine = { pid: process.pid, started: '1' };
    writeFileSync(path.join(cluster.stateDir, 'pid.json'), JSON.stringify({ init: mine, unshare: mine }));
    mkdirSync(cluster.runDir, { recursive: true });
    writeFileSync(path.join(cluster.runDir, 'control.sock'), '');
    await cluster.up();
    mustMatch(await cluster.kubectl(['get', 'nodes']), /^n1\s+Ready/m);
    await cluster.down();
    expect(existsSync(cluster.stateDir)).toBe(false);
    // And `down` of nothing but rubbish.
    mkdirSync(cluster.stateDir, { recursive: true });
    writeFileSync(path.join(cluster.stateDir, 'cluster.json'), 'rubbish');
    await cluster.weft(['down', '--name', cluster.name]);
    expect(existsSync(cluster.stateDir)).toBe(false);
  });

  it('names a port that is in use', async () => {
    const cluster = newCluster({ name: 'stale' });
    const server = net.createServer();
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    try {
      const { port } = server.address() as net.AddressInfo;
      const ran = await cluster.weft(['up', '--name', cluster.name, '--api-port', String(port)], { check: false });
      mustFail(ran, new RegExp(`error \\[PORT_IN_USE\\]: --api-port: TCP port ${port} of 127\\.0\\.0\\.1 is in use`));
      expect(existsSync(cluster.stateDir)).toBe(false);
    } finally {
      server.close();
    }
  });

  it.each([
    [
      ['--pod-cidr', '10.96.0.0/16', '--service-cidr', '10.96.0.0/12'],
      'CIDR_OVERLAP',
      /--pod-cidr 10\.96\.0\.0\/16 overlaps --service-cidr 10\.96\.0\.0\/12/,
    ],
    [['--underlay-cidr', '10.244.8.0/21', '--pod-cidr', '10.244.0.0/16'], 'CIDR_OVERLAP', /overlaps --underlay-cidr/],
    [['--pod-cidr', '127.0.0.0/8'], 'BAD_CIDR', /has addresses of 127\.0\.0\.0\/8, which are loopback/],
    [
      [
        '--pod-cidr',
        '10.51.0.0/23',
        '--service-cidr',
        '10.50.0.0/16',
        '--underlay-cidr',
        '10.52.0.0/21',
        '--nodes',
        '3',
        '--node-cidr-mask-size',
        '24',
      ],
      'CIDR_TOO_SMALL',
      /--pod-cidr 10\.51\.0\.0\/23 holds 2 blocks of \/24, too few for 3 nodes/,
    ],
    [['--service-cidr', '10.50.0.0/30'], 'CIDR_TOO_SMALL', /too small for the kubernetes and kube-dns Services/],
    [['--pod-cidr', '10.50.1.0/16'], 'BAD_CIDR', /--pod-cidr: 10\.50\.1\.0\/16 has host bits set/],
    [['--pod-cidr', 'fd00::/48'], 'BAD_CIDR', /is not an IPv4 block/],
    [['--service-cidr', 'ten'], 'BAD_CIDR', /--service-cidr: "ten" is not a CIDR block/],
    [['--nodes', '0'], 'BAD_NODES', /--nodes: 0 is not between 1 and \d+/],
    [['--nodes', '9999'], 'BAD_NODES', /--nodes: 9999 is not between/],
    [['--nodes', 'three'], 'BAD_NUMBER', /--nodes takes a whole number/],
    [['--nodes', '-1'], 'BAD_NUMBER', /--nodes takes a whole number/],
    [['--subnets', '3'], 'BAD_SUBNETS', /--subnets: 3 is neither 1 nor 2/],
    [['--backend', 'ipsec'], 'BAD_BACKEND', /there is no backend "ipsec"/],
    [['--api-port', '99999'], 'BAD_PORT', /--api-port: 99999 is not a TCP port/],
  ])('refuses %j with %s', async (flags, code, words) => {
    const cluster = newCluster({ name: 'stale' });
    const ran = await cluster.weft(['up', '--name', cluster.name, ...flags, '-o', 'json'], { check: false });
    expect(ran.code, ran.stdout + ran.stderr).not.toBe(0);
    const error = errorOf(ran);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(words);
    expect(existsSync(cluster.stateDir)).toBe(false);
    mustFail(
      await cluster.weft(['up', '--name', cluster.name, ...flags], { check: false }),
      new RegExp(`^error \\[${code}\\]: `),
    );
  });

  it.each(['', 'UPPER', 'far-too-long-a-name', '-dash', 'a/b', 'images', '..'])(
    'refuses the name "%s"',
    async (name) => {
      const cluster = newCluster({ name: 'stale' });
      mustFail(await cluster.weft(['up', `--name=${name}`], { check: false }), /error \[BAD_NAME\]: --name: /);
      // A name becomes a directory that `down` removes.
      mkdirSync(path.join(cluster.base, 'state', 'images'), { recursive: true });
      mustFail(await cluster.weft(['down', `--name=${name}`], { check: false }), /error \[BAD_NAME\]: --name: /);
      expect(existsSync(path.join(cluster.base, 'state', 'images'))).toBe(true);
    },
  );

  it('knows its commands and flags', async () => {
    const cluster = newCluster({ name: 'stale' });
    mustFail(await cluster.weft(['pu'], { check: false }), /unknown command 'pu'/);
    mustFail(await cluster.weft(['up', '--node', '3'], { check: false }), /unknown option '--node'/);
    mustFail(await cluster.weft(['up', '-o', 'xml'], { check: false }), /argument 'xml' is invalid/);
    mustFail(
      await cluster.weft(['node', 'exec', '--name', cluster.name, 'n1', '--', 'true'], { check: false }),
      new RegExp(`error \\[NOT_RUNNING\\]: cluster ${cluster.name} is not running`),
    );
    mustMatch(await cluster.weft(['--help']), /start a cluster on this machine/);
    mustMatch(await cluster.weft(['version']), /^weft \d+\.\d+\.\d+/);
  });
});

interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly thrownAway: boolean;
}

/** An ordinary user with subordinate ids, as every user of Debian has; made for the occasion where there is none. */
function ordinaryUser(): User {
  const find = (wanted: (name: string) => boolean): User | undefined => {
    const subordinate = new Set(
      readFileSync('/etc/subuid', 'utf8')
        .split('\n')
        .map((l) => l.split(':')[0]),
    );
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [name = '', , uid, gid, , home = ''] = line.split(':');
      if (Number(uid) >= 1000 && Number(uid) < 60_000 && subordinate.has(name) && wanted(name) && existsSync(home))
        return { name, uid: Number(uid), gid: Number(gid), home, thrownAway: false };
    }
    return undefined;
  };
  const found = find(() => true);
  if (found !== undefined) return found;
  const name = `weft-e2e-${process.pid}`;
  execFileSync('useradd', ['--create-home', '--shell', '/bin/sh', name]);
  const user = find((n) => n === name);
  if (user === undefined)
    throw new Error(`useradd gave ${name} no subordinate ids: see /etc/subuid and /etc/login.defs`);
  return { ...user, thrownAway: true };
}

describe('an ordinary user', () => {
  let user: User;
  let base: string;
  let cluster: Cluster;
  let before: HostState;
  let trace: Footprint;
  let upNotes = '';

  const asUser = (argv: readonly string[]): Promise<Ran> => cluster.exec(argv, { check: false });

  beforeAll(async () => {
    user = ordinaryUser();
    base = mkdtempSync(path.join(os.tmpdir(), 'wr-'));
    chownSync(base, user.uid, user.gid);
    chmodSync(base, 0o755);
    cluster = newCluster({
      name: 'less',
      base,
      prefix: ['runuser', '-u', user.name, '--'],
      env: { HOME: user.home, USER: user.name, LOGNAME: user.name, XDG_RUNTIME_DIR: undefined },
    });
    before = await hostState(base, own());
    await cluster.up();
    upNotes = cluster.notes;
    trace = footprint(initPid(cluster), base);
  });
  afterAll(async () => {
    if (existsSync(cluster.stateDir)) await cluster.down();
    rmSync(base, { recursive: true, force: true });
    if (user.thrownAway) execFileSync('userdel', ['--remove', user.name], { stdio: 'ignore' });
  });

  it('has a cluster without touching the host', async () => {
    expect(cluster.report.config.rootless).toBe(true);
    const now = await hostState(base, own());
    expect(differences(before, now).filter((d) => !d.startsWith('files: '))).toEqual([]);
    for (const file of [cluster.stateDir, cluster.report.kubeconfig])
      expect(execFileSync('stat', ['-c', '%U', file], { encoding: 'utf8' }).trim()).toBe(user.name);
    const { stdout } = await asUser(['ps', '-o', 'user=', '-p', String(initPid(cluster))]);
    expect(stdout.trim()).toBe(user.name);
  });

  it('runs pods that answer by name and by Service', async () => {
    const web = await readyPods(cluster, 'app=web', 2);
    await cluster.kubectl(['run', 'box', '--image=busybox', '--restart=Never', '--', 'sleep', '86400']);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/box', '--timeout=60s'], { timeoutMs: 65_000 });
    mustMatch(await cluster.kubectl(['exec', 'box', '--', 'wget', '-qO-', 'http://web']), /Welcome to nginx!/);
    for (const { ip } of web)
      mustMatch(await cluster.kubectl(['exec', 'box', '--', 'wget', '-qO-', `http://${ip}`]), /Welcome to nginx!/);
    expect(await cluster.ask(['exec', 'box', '--', 'id', '-u'])).toBe('0');
    // Images have other users as well: nginx' workers are not root.
    expect(await cluster.ask(['exec', web[0]?.metadata.name ?? '', '--', 'ps', '-o', 'user,comm'])).toMatch(
      /nginx\s+nginx/,
    );
  });

  it('has terminals, forwarded ports and nodes to look at', async () => {
    const terminal = cluster.terminal(
      cluster.kubectlArgv(['exec', '-it', 'box', '--', 'sh', '-c', 'tty && echo done']),
    );
    await terminal.waitFor(/done/);
    expect(await terminal.ended()).toBe(0);
    mustMatch(await cluster.node('n1', ['ip', 'route']), /^default via 10\./m);
    mustMatch(await cluster.node('n1', ['nft', 'list', 'tables']), /table/);
    const port = await freePort();
    const forward = cluster.background(cluster.kubectlArgv(['port-forward', 'svc/web', `${port}:80`]));
    try {
      await forward.waitFor(/Forwarding from/);
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain('Welcome to nginx!');
    } finally {
      await forward.stop();
    }
  });

  it('reaches outside, or has been told why not', async () => {
    const tun = await asUser(['sh', '-c', 'test -r /dev/net/tun && test -w /dev/net/tun']);
    const address = Object.entries(os.networkInterfaces())
      .filter(([name]) => !name.startsWith('weft-'))
      .flatMap(([, a]) => a ?? [])
      .find((a) => a.family === 'IPv4' && !a.internal)?.address;
    if (tun.code !== 0) {
      expect(upNotes).toMatch(/note: pods cannot reach outside: \/dev\/net\/tun is not accessible to you/);
      return;
    }
    if (address === undefined) return;
    const server = net.createServer((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\n{"pod":"outside","remote":""}'));
    await new Promise<void>((resolve) => {
      server.listen(0, address, resolve);
    });
    try {
      const { port } = server.address() as net.AddressInfo;
      expect((await httpFrom(cluster, 'box', `http://${address}:${port}/`)).pod).toBe('outside');
    } finally {
      server.close();
    }
  });

  it('is root within, and nowhere else', async () => {
    expect((await cluster.node('n1', ['id', '-u'])).stdout.trim()).toBe('0');
    mustFail(
      await cluster.node('n1', ['sh', '-c', 'echo x > /etc/weft-was-here'], { check: false }),
      /Permission denied/,
    );
  });

  it('takes it all away again', async () => {
    await cluster.weft(['down', '--name', cluster.name], { timeoutMs: 60_000 });
    const asOf = ticksNow();
    expect(existsSync(cluster.stateDir)).toBe(false);
    expect(existsSync(cluster.runDir)).toBe(false);
    const left = differences(before, await hostState(base, own())).filter(
      (d) =>
        !d.includes(`${base}/kubeconfig-${cluster.name}`) && !d.includes(`${base}/state`) && !d.includes(`${base}/bin`),
    );
    expect(left).toEqual([]);
    expect(await settled(async () => leftovers(trace, asOf).map((p) => `${p.pid} ${p.command}`))).toEqual([]);
  });
});
