// CNI: ADD and DEL through our own runtime, our plugins against Debian's bridge + host-local + portmap, turn by turn.
//   node perf.mjs cni [--iterations 200] [--kept 0] [-o json]
// Runs in a throw-away network namespace (root). `--kept N` leaves N pods attached while it measures.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CniRuntime, CniServer, defaultConflist, installPlugins, type NetworkList, parseNetworkList } from '@weft/cni';
import { NetNs, Rtnl } from '@weft/kernel';
import { Metrics, silentLogger } from '@weft/plan';

const REFERENCE = '/usr/lib/cni';

export interface CniRow {
  readonly chain: string;
  readonly verb: 'ADD' | 'DEL';
  readonly p50Ms: number;
  readonly p95Ms: number;
}

export interface CniReport {
  readonly iterations: number;
  readonly kept: number;
  readonly shim: 'native' | 'node';
  readonly rows: readonly CniRow[];
}

interface Contender {
  readonly chain: string;
  readonly list: NetworkList;
  readonly runtime: CniRuntime;
  readonly ports: boolean;
}

const value = (args: readonly string[], name: string, fallback: number): number => {
  const at = args.indexOf(name);
  return at < 0 ? fallback : Number(args[at + 1]);
};

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function contenders(dir: string, socket: string): Contender[] {
  const make = (name: string, binDirs: string[]): CniRuntime =>
    new CniRuntime({ confDir: dir, binDirs, cacheDir: path.join(dir, name) });
  const ours = JSON.stringify(defaultConflist({ mtu: 1450, podCidrs: ['10.244.0.0/22'], agentSocket: socket }));
  const theirs = JSON.stringify({
    cniVersion: '1.0.0',
    name: 'reference',
    plugins: [
      {
        type: 'bridge',
        bridge: 'ref0',
        isDefaultGateway: true,
        mtu: 1450,
        ipam: { type: 'host-local', dataDir: path.join(dir, 'ipam'), ranges: [[{ subnet: '10.99.0.0/22' }]] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
  const weft = { list: parseNetworkList(ours), runtime: make('ours', [path.join(dir, 'bin')]) };
  const list: Contender[] = [
    { chain: 'weft + portmap', ...weft, ports: false },
    { chain: 'weft + portmap, 1 hostPort', ...weft, ports: true },
  ];
  if (!existsSync(path.join(REFERENCE, 'bridge'))) return list;
  const reference = { list: parseNetworkList(theirs), runtime: make('theirs', [REFERENCE]) };
  return [
    ...list,
    { chain: 'reference bridge + host-local + portmap', ...reference, ports: false },
    { chain: 'reference bridge + host-local + portmap, 1 hostPort', ...reference, ports: true },
  ];
}

async function measure(iterations: number, kept: number): Promise<CniReport> {
  const dir = process.env['WEFT_PERF_DIR'] as string;
  const socketPath = path.join(dir, 'agent.sock');
  const metrics = new Metrics();
  const server = new CniServer({
    socketPath,
    stateDir: path.join(dir, 'state'),
    log: silentLogger,
    metrics,
    reuseDelayMs: 0,
  });
  const installed = await installPlugins({ binDir: path.join(dir, 'bin'), agentSocket: socketPath });
  await server.start();
  const times = new Map<string, number[]>();
  const record = (key: string, ms: number): void => {
    const list = times.get(key) ?? [];
    list.push(ms);
    times.set(key, list);
  };
  const all = contenders(dir, socketPath);
  let serial = 0;
  const pod = (ports: boolean) => {
    const containerId = `perf${++serial}`;
    const netns = path.join(dir, containerId);
    NetNs.create(netns).close();
    const mappings = [{ hostPort: 20_000 + (serial % 20_000), containerPort: 80, protocol: 'tcp' }];
    return { containerId, netns, ifname: 'eth0', capabilityArgs: ports ? { portMappings: mappings } : {} };
  };
  const living: (() => Promise<void>)[] = [];
  for (const { list, runtime, ports } of all) {
    for (let i = 0; i < kept; i++) {
      const attachment = pod(ports);
      await runtime.add(list, attachment);
      living.push(async () => {
        await runtime.del(list, attachment);
        NetNs.remove(attachment.netns);
      });
    }
  }
  for (let i = -5; i < iterations; i++) {
    for (const { chain, list, runtime, ports } of all) {
      const attachment = pod(ports);
      const start = performance.now();
      await runtime.add(list, attachment);
      const added = performance.now();
      await runtime.del(list, attachment);
      const ended = performance.now();
      if (i >= 0) {
        record(`${chain}|ADD`, added - start);
        record(`${chain}|DEL`, ended - added);
      }
      await server.flush();
      NetNs.remove(attachment.netns);
    }
  }
  for (const end of living) await end();
  await server.stop();
  const rows = [...times].map(([key, list]): CniRow => {
    const [chain = '', verb = ''] = key.split('|');
    const sorted = list.sort((a, b) => a - b);
    return { chain, verb: verb as 'ADD' | 'DEL', p50Ms: percentile(sorted, 0.5), p95Ms: percentile(sorted, 0.95) };
  });
  return { iterations, kept, shim: installed.kind, rows };
}

/** Runs the measurement in a namespace of its own. */
export async function measureCni(iterations = 200, kept = 0): Promise<CniReport> {
  const dir = mkdtempSync(path.join(tmpdir(), 'weft-perf-cni-'));
  mkdirSync(path.join(dir, 'ipam'));
  const node = NetNs.create(path.join(dir, 'node'));
  try {
    const rtnl = Rtnl.open(node);
    await rtnl.links.set('lo', { up: true });
    rtnl.close();
    const args = [
      process.argv[1] ?? '',
      'cni',
      '--measure',
      '--iterations',
      String(iterations),
      '--kept',
      String(kept),
    ];
    const env = { ...process.env, WEFT_PERF_DIR: dir };
    const child = spawn('nsenter', [`--net=${node.path}`, process.execPath, ...args], {
      env,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [[answer]] = await Promise.all([once(child, 'message'), once(child, 'close')]);
    return answer as CniReport;
  } finally {
    node.close();
    NetNs.remove(node.path);
    rmSync(dir, { recursive: true, force: true });
  }
}

function table(report: CniReport): string {
  const width = Math.max(...report.rows.map((row) => row.chain.length));
  const lines = report.rows.map(
    (row) =>
      `${row.chain.padEnd(width)}  ${row.verb}  ${row.p50Ms.toFixed(1).padStart(8)}  ${row.p95Ms.toFixed(1).padStart(8)}`,
  );
  const head = `${report.iterations} turns, ${report.kept} pods kept per chain, ${report.shim} shim\n${'chain'.padEnd(width)}  verb    p50 ms    p95 ms`;
  return `${head}\n${lines.join('\n')}\n`;
}

export async function cni(args: readonly string[]): Promise<void> {
  const iterations = value(args, '--iterations', 200);
  const kept = value(args, '--kept', 0);
  if (args.includes('--measure')) {
    process.send?.(await measure(iterations, kept));
    process.disconnect?.();
    return;
  }
  const report = await measureCni(iterations, kept);
  process.stdout.write(args.includes('json') ? `${JSON.stringify(report)}\n` : table(report));
}

if (process.argv[2] === 'cni' && path.basename(process.argv[1] ?? '').startsWith('cni'))
  await cni(process.argv.slice(3));
