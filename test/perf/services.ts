// Services: how fast a change reaches the kernel, and what it costs. Needs root; uses namespaces of its own.
//   node perf.mjs services [--sizes 10,1000,10000] [--endpoints 5] [--no-peer] [-o json]
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { connectTcp, isKernelError, listenTcp, NetNs, Rtnl, spawnInNetNs } from '@weft/kernel';
import { type AgentReport, runAgent, type Spread, spread } from './services-agent.ts';
import { WatchServer } from './services-api.ts';
import {
  ANSWERING,
  ANSWERING_PORT,
  ENDPOINTS_PER_SERVICE,
  makeService,
  makeSlice,
  serviceIP,
  upstreamRules,
  upstreamService,
} from './services-world.ts';

const CREATIONS = 60;

interface Row extends AgentReport {
  readonly services: number;
  /** Service created at the API → first connection works. */
  readonly reachable: Spread;
  readonly peer: { readonly coldMs: number; readonly addMs: number } | undefined;
}

async function namespace(): Promise<NetNs> {
  const ns = NetNs.anonymous();
  const rt = Rtnl.open(ns);
  await rt.links.set('lo', { up: true });
  const lo = await rt.links.get('lo');
  const index = lo?.index ?? 1;
  await rt.addresses.add({ index, address: `${ANSWERING}/32` });
  // A Service that is not programmed yet refuses at once, so that the client can ask again at once.
  await rt.routes.add({ dst: '10.96.0.0/16', oif: index, type: 'local', src: ANSWERING, table: 255 });
  rt.close();
  return ns;
}

async function reachable(ip: string, ns: NetNs): Promise<void> {
  for (;;) {
    try {
      closeSync(await connectTcp(ip, 80, ns));
      return;
    } catch (error) {
      if (!isKernelError(error, 'ECONNREFUSED')) throw error;
    }
  }
}

async function measure(count: number, peer: boolean): Promise<Row> {
  const directory = mkdtempSync(path.join(tmpdir(), 'weft-perf-'));
  const socket = path.join(directory, 'api.sock');
  const api = new WatchServer(socket, count);
  const ns = await namespace();
  const server = net.createServer((connection) => connection.on('error', () => {}).end());
  server.listen({ fd: listenTcp(ANSWERING, ANSWERING_PORT, ns) });
  // Flags and environment as the lab gives them to its agents.
  const args = ['--max-semi-space-size=1', '--optimize-for-size', process.argv[1] ?? '', 'services', '--agent', socket];
  args.push('--endpoints', String(ENDPOINTS_PER_SERVICE));
  const env = { ...process.env, MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' };
  const agent = spawnInNetNs(ns, process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
  try {
    const lines = createInterface({ input: agent.stdout as NodeJS.ReadableStream });
    await once(lines, 'line');
    const times: number[] = [];
    for (let i = 0; i < CREATIONS; i++) {
      const number = 15_000 + i * 7;
      api.emit('endpointslices', 'ADDED', makeSlice(number, api.nextVersion(), true));
      // Creations are apart in life, and the slice comes first as in the published figures.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const from = performance.now();
      api.emit('services', 'ADDED', { ...makeService(number, api.nextVersion()) });
      await reachable(serviceIP(number), ns);
      times.push(performance.now() - from);
    }
    agent.stdin?.end();
    const [line] = (await once(lines, 'line')) as [string];
    await once(agent, 'exit');
    const report = JSON.parse(line) as AgentReport;
    return { services: count, ...report, reachable: spread(times), peer: peer ? await measurePeer(count) : undefined };
  } finally {
    agent.kill('SIGKILL');
    server.close();
    await api.close();
    ns.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The same Services in kube-proxy's layout, loaded with the nft program as kube-proxy does. */
async function measurePeer(count: number): Promise<{ coldMs: number; addMs: number }> {
  const ns = await namespace();
  const load = (text: string): number => {
    const from = performance.now();
    const result = ns.run(() => spawnSync('nft', ['-f', '-'], { input: text, encoding: 'utf8' }));
    if (result.status !== 0) throw new Error(result.stderr);
    return performance.now() - from;
  };
  const coldMs = load(upstreamRules(count));
  const adds = Array.from({ length: 9 }, (_, i) => load(upstreamService(20_000 + i)));
  ns.close();
  return { coldMs, addMs: spread(adds).p50 };
}

function table(rows: readonly Row[]): string {
  const ms = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));
  const pair = (s: Spread): string => `${ms(s.p50)} / ${ms(s.p99)}`;
  const lines: [string, (row: Row) => string][] = [
    [`Services x ${ENDPOINTS_PER_SERVICE} endpoints`, (r) => String(r.services)],
    ['created -> connect works, ms p50 / p99', (r) => pair(r.reachable)],
    ['add Service, event -> kernel, ms p50 / p99', (r) => pair(r.add)],
    ['replace its endpoints, ms p50 / p99', (r) => pair(r.replace)],
    ['delete Service, ms p50 / p99', (r) => pair(r.remove)],
    ['CPU per change, ms', (r) => r.cpuMs.toFixed(3)],
    ['of it in the kernel, µs', (r) => (r.systemMs * 1000).toFixed(0)],
    ['cold start, objects -> rules, ms', (r) => ms(r.coldMs)],
    ['restart (adopts, writes nothing), ms', (r) => ms(r.restartMs)],
    [
      'agent RSS, MB (Node alone / + watch / all / peak)',
      (r) => [r.idleMb, r.watchedMb, r.rssMb, r.peakMb].map((v) => v.toFixed(0)).join(' / '),
    ],
    ['peer: nft -f of kube-proxy layout, cold, ms', (r) => (r.peer === undefined ? '-' : ms(r.peer.coldMs))],
    ['peer: nft -f, add Service, ms p50', (r) => (r.peer === undefined ? '-' : ms(r.peer.addMs))],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines
    .map(([name, cell]) => `${name.padEnd(width)}${rows.map((row) => cell(row).padStart(24)).join('')}`)
    .join('\n');
}

/** Entry point: `argv` are the words after `services`. */
export async function services(argv: readonly string[]): Promise<void> {
  const value = (flag: string): string | undefined => (argv.includes(flag) ? argv[argv.indexOf(flag) + 1] : undefined);
  const socket = value('--agent');
  if (socket !== undefined) {
    await runAgent(socket);
    return;
  }
  const sizes = (value('--sizes') ?? '10,1000,10000').split(',').map(Number);
  const rows: Row[] = [];
  for (const size of sizes) rows.push(await measure(size, !argv.includes('--no-peer')));
  process.stdout.write(argv.includes('json') ? `${JSON.stringify(rows)}\n` : `${table(rows)}\n`);
}

if (process.argv[2] === 'services' && path.basename(process.argv[1] ?? '').startsWith('services')) {
  await services(process.argv.slice(3));
}
