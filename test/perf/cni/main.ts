// CNI: ADD and DEL of our plugins against Debian's, turn by turn in one run, with the agent in a process of its own.
// Each chain is executed as a foreign runtime does (posix_spawn), some also by our own runtime, and ours without an agent.
// Then STATUS, repeated DEL, addresses of a /16 that is 99 % full, many pods at once, and the memory of what is executed.
//   node perf.mjs cni [--iterations 200] [--kept 0] [--burst 500] [-o json]
// Runs in a throw-away network namespace (root). `--kept N` leaves N pods attached per chain while it measures.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CniRuntime, installPlugins, parseNetworkList, type RuntimeAttachment } from '@weft/cni';
import { NetNs, Rtnl } from '@weft/kernel';
import { AgentProcess, serveAgent } from './agent.ts';
import { Caller } from './caller.ts';
import { aloneChains, type Chain, foreignChains, ownChains } from './chains.ts';

interface CniRow {
  readonly caller: 'foreign' | 'own runtime';
  readonly chain: string;
  readonly verb: 'ADD' | 'DEL';
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** `count` pods added, then deleted, all at once. */
interface BurstRow {
  readonly chain: string;
  readonly verb: 'ADD' | 'DEL';
  readonly wallMs: number;
  readonly p99Ms: number;
}

interface CniReport {
  readonly iterations: number;
  readonly kept: number;
  readonly shim: 'native' | 'node';
  readonly rows: readonly CniRow[];
  /** p50, milliseconds, each one execution of a plugin, as a foreign runtime does it. */
  readonly single: Readonly<Record<string, number>>;
  readonly burst: number;
  readonly bursts: readonly BurstRow[];
  /** Peak resident memory of the plugin executable, KiB, as VmHWM says. */
  readonly shimKiB: number;
}

interface Sizes {
  readonly iterations: number;
  readonly kept: number;
  readonly burst: number;
}

/** Turns that are not counted. */
const WARM_UP = 5;

function percentile(list: readonly number[], share: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** p50 of `times` turns, milliseconds. */
async function median(times: number, turn: () => Promise<number>): Promise<number> {
  const list: number[] = [];
  for (let i = -WARM_UP; i < times; i++) {
    const ms = await turn();
    if (i >= 0) list.push(ms);
  }
  return percentile(list, 0.5);
}

/** A way to add and delete pods; both return milliseconds. */
interface Contender {
  readonly caller: CniRow['caller'];
  readonly chain: Chain;
  add(pod: RuntimeAttachment): Promise<number>;
  del(pod: RuntimeAttachment): Promise<number>;
}

/** One verb of a chain, plugin by plugin, as a foreign runtime executes it: time spent in plugins, milliseconds. */
class ForeignRuntime implements Contender {
  readonly caller = 'foreign';
  readonly chain: Chain;
  readonly #exec: Caller;
  readonly #results = new Map<string, unknown>();

  constructor(exec: Caller, chain: Chain) {
    this.#exec = exec;
    this.chain = chain;
  }

  async call(verb: string, pod: RuntimeAttachment, index: number, prevResult: unknown): Promise<[number, string]> {
    const { list, binDir } = this.chain;
    const plugin = list.plugins[index] as (typeof list.plugins)[0];
    const runtimeConfig = 'capabilities' in plugin ? { runtimeConfig: pod.capabilityArgs } : {};
    const stdin = { ...plugin, ...runtimeConfig, name: list.name, cniVersion: list.cniVersion, prevResult };
    const { ms, stdout } = await this.#exec.execute({
      file: path.join(binDir, plugin.type),
      env: {
        PATH: process.env['PATH'] ?? '',
        CNI_COMMAND: verb,
        CNI_CONTAINERID: pod.containerId,
        CNI_IFNAME: pod.ifname,
        CNI_NETNS: pod.netns,
        CNI_PATH: binDir,
      },
      stdin: JSON.stringify(stdin),
    });
    return [ms, stdout];
  }

  async add(pod: RuntimeAttachment): Promise<number> {
    let total = 0;
    let result: unknown;
    for (const index of this.chain.list.plugins.keys()) {
      const [ms, stdout] = await this.call('ADD', pod, index, result);
      total += ms;
      result = JSON.parse(stdout);
    }
    this.#results.set(pod.containerId, result);
    return total;
  }

  async del(pod: RuntimeAttachment): Promise<number> {
    let total = 0;
    const result = this.#results.get(pod.containerId);
    for (const index of [...this.chain.list.plugins.keys()].reverse()) {
      const [ms] = await this.call('DEL', pod, index, result);
      total += ms;
    }
    this.#results.delete(pod.containerId);
    return total;
  }
}

async function timed(work: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work;
  return performance.now() - start;
}

function ownRuntime(dir: string, chain: Chain): Contender {
  const list = parseNetworkList(JSON.stringify(chain.list));
  const cacheDir = path.join(dir, 'cache', chain.list.name);
  const runtime = new CniRuntime({ confDir: dir, binDirs: [chain.binDir], cacheDir, direct: chain.direct === true });
  return {
    caller: 'own runtime',
    chain,
    add: (pod) => timed(runtime.add(list, pod)),
    del: (pod) => timed(runtime.del(list, pod)),
  };
}

/** Makes pods' namespaces. */
class Pods {
  readonly #dir: string;
  #serial = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  make(ports: boolean): RuntimeAttachment {
    const containerId = `perf${++this.#serial}`;
    const netns = path.join(this.#dir, containerId);
    NetNs.create(netns).close();
    const mappings = [{ hostPort: 20_000 + (this.#serial % 20_000), containerPort: 80, protocol: 'tcp' }];
    return { containerId, netns, ifname: 'eth0', capabilityArgs: { portMappings: ports ? mappings : [] } };
  }
}

async function measureTurns(
  contenders: readonly Contender[],
  pods: Pods,
  { iterations, kept }: Sizes,
  flush: () => Promise<void>,
): Promise<CniRow[]> {
  const times = contenders.map((contender) => ({ contender, ADD: [] as number[], DEL: [] as number[] }));
  const living: { readonly contender: Contender; readonly pod: RuntimeAttachment }[] = [];
  for (const contender of contenders) {
    for (let i = 0; i < kept; i++) {
      const pod = pods.make(contender.chain.ports);
      await contender.add(pod);
      living.push({ contender, pod });
    }
  }
  for (let i = -WARM_UP; i < iterations; i++) {
    for (const { contender, ADD, DEL } of times) {
      const pod = pods.make(contender.chain.ports);
      const added = await contender.add(pod);
      const deleted = await contender.del(pod);
      if (i >= 0) {
        ADD.push(added);
        DEL.push(deleted);
      }
      await flush();
      NetNs.remove(pod.netns);
    }
  }
  for (const { contender, pod } of living) {
    await contender.del(pod);
    NetNs.remove(pod.netns);
  }
  return times.flatMap(({ contender, ...verbs }) =>
    (['ADD', 'DEL'] as const).map((verb) => ({
      caller: contender.caller,
      chain: contender.chain.label,
      verb,
      p50Ms: percentile(verbs[verb], 0.5),
      p95Ms: percentile(verbs[verb], 0.95),
    })),
  );
}

async function measureBursts(
  contenders: readonly Contender[],
  count: number,
  pods: Pods,
  flush: () => Promise<void>,
): Promise<BurstRow[]> {
  const rows: BurstRow[] = [];
  for (const contender of contenders) {
    const all = Array.from({ length: count }, () => pods.make(false));
    for (const verb of ['ADD', 'DEL'] as const) {
      const start = performance.now();
      const times = await Promise.all(
        all.map(async (pod) => {
          await (verb === 'ADD' ? contender.add(pod) : contender.del(pod));
          return performance.now() - start;
        }),
      );
      await flush();
      rows.push({
        chain: contender.chain.label,
        verb,
        wallMs: performance.now() - start,
        p99Ms: percentile(times, 0.99),
      });
    }
    for (const { netns } of all) NetNs.remove(netns);
  }
  return rows;
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
    const record = { ...owner, kind: 'wired', state: 'ready', link: '', addresses: [address], since: i };
    lines.push(JSON.stringify({ put: `full/full${i}/eth0`, record: { ...record, kind: 'address', link: undefined } }));
  }
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(path.join(stateDir, 'allocations.journal'), `${lines.join('\n')}\n`);
}

/** The weft plugin with addresses of an empty /16 and of a full one: pods are connected and taken down. */
async function measureAddresses(dir: string, times: number, pods: Pods, exec: Caller): Promise<Record<string, number>> {
  const socketPath = path.join(dir, 'full.sock');
  const stateDir = path.join(dir, 'full-state');
  fillJournal(stateDir);
  const agent = await AgentProcess.start({ socketPath, stateDir });
  const report: Record<string, number> = {};
  for (const [what, name, subnet] of [
    ['an empty /16', 'empty', '10.201.0.0/16'],
    ['a /16 that is 99 % full', 'full', '10.200.0.0/16'],
  ] as const) {
    const plugin = { type: 'weft', agentSocket: socketPath, ipam: { type: 'weft', ranges: [[{ subnet }]] } };
    const list = { cniVersion: '1.1.0', name, plugins: [plugin] };
    const runtime = new ForeignRuntime(exec, { label: name, list, binDir: path.join(dir, 'bin'), ports: false });
    report[`ADD of weft with an address of ${what}`] = await median(times, async () => {
      const pod = pods.make(false);
      const ms = await runtime.add(pod);
      await runtime.del(pod);
      await agent.flush();
      NetNs.remove(pod.netns);
      return ms;
    });
    const nobody = { containerId: '', ifname: '', netns: '' };
    report[`STATUS of weft with ${what}`] = await median(
      times,
      async () => (await runtime.call('STATUS', nobody, 0, undefined))[0],
    );
  }
  await agent.stop();
  return report;
}

async function measureSingle(exec: Caller, chain: Chain, times: number): Promise<Record<string, number>> {
  const runtime = new ForeignRuntime(exec, chain);
  const gone = { containerId: 'gone', ifname: 'eth0', netns: '' };
  const one = (verb: string, index: number) => async () => (await runtime.call(verb, gone, index, undefined))[0];
  return {
    'STATUS of weft': await median(times, one('STATUS', 0)),
    'STATUS of portmap': await median(times, one('STATUS', 1)),
    'DEL of weft, repeated': await median(times, one('DEL', 0)),
    'DEL of portmap, repeated': await median(times, one('DEL', 1)),
  };
}

async function measure(dir: string, sizes: Sizes): Promise<CniReport> {
  const { iterations, burst } = sizes;
  const places = { dir, socket: path.join(dir, 'agent.sock') };
  const installed = await installPlugins({ binDir: path.join(dir, 'bin'), agentSocket: places.socket });
  const standalone = [process.execPath, path.join(path.dirname(process.argv[1] ?? ''), 'cni-plugin.mjs')];
  await installPlugins({ binDir: path.join(dir, 'alone'), standalone });
  const agent = await AgentProcess.start({ socketPath: places.socket, stateDir: path.join(dir, 'state') });
  const flush = (): Promise<void> => agent.flush();
  const exec = new Caller();
  const pods = new Pods(dir);
  const foreign = foreignChains(places);
  const own = ownChains(places).map((chain) => ownRuntime(dir, chain));
  const rows = await measureTurns(
    [...foreign.map((chain) => new ForeignRuntime(exec, chain)), ...own],
    pods,
    sizes,
    flush,
  );
  const first = foreign.find(({ list }) => list.plugins.length > 1) as Chain;
  const single = await measureSingle(exec, first, iterations);
  const together = own.filter(({ chain }) => !chain.ports);
  const bursts = burst > 0 ? await measureBursts(together, burst, pods, flush) : [];
  await agent.stop();
  const runtime = new ForeignRuntime(exec, first);
  const gone = { containerId: 'gone', ifname: 'eth0', netns: '' };
  single['DEL of weft, no agent'] = await median(
    iterations,
    async () => (await runtime.call('DEL', gone, 0, undefined))[0],
  );
  const few = { ...sizes, iterations: Math.ceil(iterations / 4), kept: 0 };
  const lonely = aloneChains(places).map((chain) => new ForeignRuntime(exec, chain));
  const aloneRows = await measureTurns(lonely, pods, few, async () => {});
  Object.assign(single, await measureAddresses(dir, iterations, pods, exec));
  exec.close();
  const shimKiB = installed.kind === 'native' ? await peakOfShim(dir) : Number.NaN;
  return { ...sizes, shim: installed.kind, rows: [...rows, ...aloneRows], single, bursts, shimKiB };
}

/** Runs the measurement in a namespace of its own. */
async function measureCni({ iterations, kept, burst }: Sizes): Promise<CniReport> {
  const dir = mkdtempSync(path.join(tmpdir(), 'weft-perf-cni-'));
  const node = NetNs.create(path.join(dir, 'node'));
  try {
    const rtnl = Rtnl.open(node);
    await rtnl.links.set('lo', { up: true });
    rtnl.close();
    const sizes = ['--iterations', iterations, '--kept', kept, '--burst', burst].map(String);
    const child = spawn(
      'nsenter',
      [`--net=${node.path}`, process.execPath, process.argv[1] ?? '', 'cni', '--measure', dir, ...sizes],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
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
  const number = (ms: number, digits: number): string => ms.toFixed(digits).padStart(8);
  const lines = report.rows.map(
    ({ caller, chain, verb, p50Ms, p95Ms }) =>
      `${caller.padEnd(11)}  ${chain.padEnd(width)}  ${verb}  ${number(p50Ms, 2)}  ${number(p95Ms, 2)}`,
  );
  const single = Object.entries(report.single).map(([what, ms]) => `${what.padEnd(50)}  p50 ${ms.toFixed(2)} ms`);
  const bursts = report.bursts.map(
    ({ chain, verb, wallMs, p99Ms }) => `${chain.padEnd(width)}  ${verb}  ${number(wallMs, 0)}  ${number(p99Ms, 0)}`,
  );
  return [
    `${report.iterations} turns, ${report.kept} pods kept per chain, ${report.shim} shim`,
    `${'caller'.padEnd(11)}  ${'chain'.padEnd(width)}  verb    p50 ms    p95 ms`,
    ...lines,
    '',
    ...single,
    '',
    `${report.burst} pods at once, by our own runtime`,
    `${'chain'.padEnd(width)}  verb   wall ms    p99 ms`,
    ...bursts,
    '',
    `memory of the plugin executable: ${report.shimKiB} KiB`,
    '',
  ].join('\n');
}

function value(args: readonly string[], name: string, fallback: number): number {
  const at = args.indexOf(name);
  return at < 0 ? fallback : Number(args[at + 1]);
}

export async function cni(args: readonly string[]): Promise<void> {
  const [first, second = '', third = ''] = args;
  if (first === '--agent') {
    await serveAgent({ socketPath: second, stateDir: third });
    return;
  }
  const sizes = {
    iterations: value(args, '--iterations', 200),
    kept: value(args, '--kept', 0),
    burst: value(args, '--burst', 500),
  };
  if (first === '--measure') {
    process.send?.(await measure(second, sizes));
    process.disconnect?.();
    return;
  }
  const report = await measureCni(sizes);
  process.stdout.write(args.includes('json') ? `${JSON.stringify(report)}\n` : table(report));
}
