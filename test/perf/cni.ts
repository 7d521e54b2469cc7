// CNI: ADD and DEL through our own runtime, our plugins against Debian's bridge + host-local + portmap, turn by turn.
// Then STATUS, repeated DEL, addresses of a /16 that is 99 % full, many pods at once, and the memory of what is executed.
//   node perf.mjs cni [--iterations 200] [--kept 0] [--burst 500] [-o json]
// Runs in a throw-away network namespace (root). `--kept N` leaves N pods attached while it measures.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  CniRuntime,
  CniServer,
  defaultConflist,
  installPlugins,
  type NetworkList,
  networksConflist,
  parseNetworkList,
  type RuntimeAttachment,
} from '@weft/cni';
import { NetNs, Rtnl } from '@weft/kernel';
import { Metrics, silentLogger } from '@weft/plan';

const REFERENCE = '/usr/lib/cni';

export interface CniRow {
  readonly chain: string;
  readonly verb: 'ADD' | 'DEL';
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** `count` pods added, then deleted, all at once. */
export interface BurstRow {
  readonly chain: string;
  readonly verb: 'ADD' | 'DEL';
  readonly wallMs: number;
  readonly p99Ms: number;
}

export interface CniReport {
  readonly iterations: number;
  readonly kept: number;
  readonly shim: 'native' | 'node';
  readonly rows: readonly CniRow[];
  /** p50, milliseconds, each one execution of a plugin or of the runtime's list. */
  readonly single: Readonly<Record<string, number>>;
  readonly burst: number;
  readonly bursts: readonly BurstRow[];
  /** Peak resident memory of the plugin executable, KiB, as VmHWM says. */
  readonly shimKiB: number;
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
  const ours = JSON.stringify(defaultConflist({ mtu: 1450, podCidrs: ['10.244.0.0/20'], agentSocket: socket }));
  const theirs = JSON.stringify({
    cniVersion: '1.0.0',
    name: 'reference',
    plugins: [
      {
        type: 'bridge',
        bridge: 'ref0',
        isDefaultGateway: true,
        mtu: 1450,
        ipam: { type: 'host-local', dataDir: path.join(dir, 'ipam'), ranges: [[{ subnet: '10.99.0.0/20' }]] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
  const weft = { list: parseNetworkList(ours), runtime: make('ours', [path.join(dir, 'bin')]) };
  const first = { ...defaultConflist({ mtu: 1450, podCidrs: ['10.248.0.0/20'], agentSocket: socket }), name: 'many' };
  const networks = { list: parseNetworkList(JSON.stringify(networksConflist(first, { agentSocket: socket }))) };
  const node = { ...networks, runtime: make('many', [path.join(dir, 'bin')]) };
  const list: Contender[] = [
    { chain: 'weft + portmap', ...weft, ports: false },
    { chain: 'weft + portmap, 1 hostPort', ...weft, ports: true },
    { chain: 'weft-networks (weft + portmap)', ...node, ports: false },
    { chain: 'weft-networks (weft + portmap), 1 hostPort', ...node, ports: true },
  ];
  if (!existsSync(path.join(REFERENCE, 'bridge'))) return list;
  const reference = { list: parseNetworkList(theirs), runtime: make('theirs', [REFERENCE]) };
  return [
    ...list,
    { chain: 'reference bridge + host-local + portmap', ...reference, ports: false },
    { chain: 'reference bridge + host-local + portmap, 1 hostPort', ...reference, ports: true },
  ];
}

/** p50 of `times` turns, milliseconds. */
async function median(times: number, turn: () => Promise<unknown>): Promise<number> {
  const list: number[] = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await turn();
    list.push(performance.now() - start);
  }
  return percentile(
    list.sort((a, b) => a - b),
    0.5,
  );
}

/** Peak memory of the executable while it waits for an agent that takes its time. */
async function peakOfShim(dir: string): Promise<number> {
  const socket = path.join(dir, 'slow.sock');
  const server = createServer((connection) => connection.on('error', () => {}));
  server.listen(socket);
  await once(server, 'listening');
  const env = { CNI_COMMAND: 'STATUS', WEFT_AGENT_SOCKET: socket };
  const child = spawn(path.join(dir, 'bin/weft'), [], { env, stdio: ['pipe', 'ignore', 'ignore'] });
  const asked = once(server, 'connection') as Promise<[Socket]>;
  child.stdin.end('{}');
  const [connection] = await asked;
  await once(connection, 'data');
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  const ended = once(child, 'exit');
  connection.destroy();
  await ended;
  server.close();
  return Number(peak);
}

/** A journal that says that 99 % of 10.200.0.0/16 are taken, all but each hundredth address. */
function fillJournal(stateDir: string): void {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const netns = /\d+/.exec(readlinkSync('/proc/self/ns/net'))?.[0];
  const lines = [JSON.stringify({ boot, netns })];
  for (let i = 2; i < 65_535; i++) {
    if (i % 100 === 0) continue;
    const address = `10.200.${i >> 8}.${i & 255}`;
    const owner = { network: 'full', containerId: `full${i}`, ifname: 'eth0' };
    const record = { ...owner, kind: 'address', state: 'ready', addresses: [address], since: i };
    lines.push(JSON.stringify({ put: `full/full${i}/eth0`, record }));
  }
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(path.join(stateDir, 'allocations.journal'), `${lines.join('\n')}\n`);
}

/** ADD of the host-local plugin alone, in an empty /16 and in a full one; without a chain, by the executable. */
async function addresses(dir: string, times: number): Promise<Record<string, number>> {
  const socketPath = path.join(dir, 'full.sock');
  const stateDir = path.join(dir, 'full-state');
  fillJournal(stateDir);
  const server = new CniServer({ socketPath, stateDir, log: silentLogger, metrics: new Metrics() });
  await server.start();
  const runtime = new CniRuntime({ confDir: dir, binDirs: [path.join(dir, 'bin')], cacheDir: path.join(dir, 'full') });
  const report: Record<string, number> = {};
  let serial = 0;
  for (const [what, name, subnet] of [
    ['an address of an empty /16', 'empty', '10.201.0.0/16'],
    ['an address of a /16 that is 99 % full', 'full', '10.200.0.0/16'],
  ] as const) {
    const plugin = {
      type: 'host-local',
      agentSocket: socketPath,
      ipam: { type: 'host-local', ranges: [[{ subnet }]] },
    };
    const list = parseNetworkList(JSON.stringify({ cniVersion: '1.1.0', name, plugins: [plugin] }));
    const pod = () => ({ containerId: `new${++serial}`, ifname: 'eth0', netns: '/nowhere' });
    report[what] = await median(times, () => runtime.add(list, pod()));
    if (name === 'full') report['STATUS of it'] = await median(times, () => runtime.status(list));
  }
  await server.stop();
  return report;
}

async function measureBursts(
  all: readonly Contender[],
  count: number,
  pod: (ports: boolean) => RuntimeAttachment,
  flush: () => Promise<void>,
): Promise<BurstRow[]> {
  const rows: BurstRow[] = [];
  for (const { chain, list, runtime } of all.filter((contender) => !contender.ports)) {
    const pods = Array.from({ length: count }, () => pod(false));
    for (const verb of ['ADD', 'DEL'] as const) {
      const start = performance.now();
      const times = await Promise.all(
        pods.map(async (attachment) => {
          await (verb === 'ADD' ? runtime.add(list, attachment) : runtime.del(list, attachment));
          return performance.now() - start;
        }),
      );
      await flush();
      const sorted = times.sort((a, b) => a - b);
      rows.push({ chain, verb, wallMs: performance.now() - start, p99Ms: percentile(sorted, 0.99) });
    }
    for (const { netns } of pods) NetNs.remove(netns);
  }
  return rows;
}

async function measure(iterations: number, kept: number, burst: number): Promise<CniReport> {
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
  const single: Record<string, number> = {};
  const { list: ours, runtime: run } = all[0] as Contender;
  const alone = { ...ours, plugins: ours.plugins.slice(0, 1) };
  single['STATUS of the weft plugin'] = await median(iterations, () => run.status(alone));
  single['STATUS of the chain'] = await median(iterations, () => run.status(ours));
  const gone = { containerId: 'gone', ifname: 'eth0', netns: '' };
  single['DEL of the weft plugin, repeated'] = await median(iterations, () => run.del(alone, gone));
  single['DEL of the chain, repeated'] = await median(iterations, () => run.del(ours, gone));
  const bursts = burst > 0 ? await measureBursts(all, burst, pod, () => server.flush()) : [];
  await server.stop();
  single['DEL of the chain without an agent'] = await median(iterations, () => run.del(ours, gone));
  Object.assign(single, await addresses(dir, iterations));
  const shimKiB = installed.kind === 'native' ? await peakOfShim(dir) : Number.NaN;
  const rows = [...times].map(([key, list]): CniRow => {
    const [chain = '', verb = ''] = key.split('|');
    const sorted = list.sort((a, b) => a - b);
    return { chain, verb: verb as 'ADD' | 'DEL', p50Ms: percentile(sorted, 0.5), p95Ms: percentile(sorted, 0.95) };
  });
  return { iterations, kept, shim: installed.kind, rows, single, burst, bursts, shimKiB };
}

/** Runs the measurement in a namespace of its own. */
export async function measureCni(iterations = 200, kept = 0, burst = 500): Promise<CniReport> {
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
      '--burst',
      String(burst),
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
  const single = Object.entries(report.single).map(([what, ms]) => `${what.padEnd(40)}  p50 ${ms.toFixed(2)} ms`);
  const bursts = report.bursts.map(
    (row) =>
      `${row.chain.padEnd(width)}  ${row.verb}  ${row.wallMs.toFixed(0).padStart(8)}  ${row.p99Ms.toFixed(0).padStart(8)}`,
  );
  const many = `${report.burst} pods at once\n${'chain'.padEnd(width)}  verb   wall ms    p99 ms`;
  const memory = `memory of the plugin executable: ${report.shimKiB} KiB`;
  return `${[head, ...lines, '', ...single, '', many, ...bursts, '', memory].join('\n')}\n`;
}

export async function cni(args: readonly string[]): Promise<void> {
  const iterations = value(args, '--iterations', 200);
  const kept = value(args, '--kept', 0);
  const burst = value(args, '--burst', 500);
  if (args.includes('--measure')) {
    process.send?.(await measure(iterations, kept, burst));
    process.disconnect?.();
    return;
  }
  const report = await measureCni(iterations, kept, burst);
  process.stdout.write(args.includes('json') ? `${JSON.stringify(report)}\n` : table(report));
}

if (process.argv[2] === 'cni' && path.basename(process.argv[1] ?? '').startsWith('cni'))
  await cni(process.argv.slice(3));
