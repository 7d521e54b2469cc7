// DNS: queries per second of CPU time, latency, memory and how soon changes are answered, beside Knot, Unbound and BIND.
//   node perf.mjs dns [--services 1000] [--seconds 4] [--only WORD] [--no-peers] [--skip latency,changes,memory] [-o json]
// Needs dnsperf. One thread each, server and client pinned to a core each.
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { startDns } from '@weft/dns';
import { machine, numberOf, print } from '../lib/report.ts';
import { ClusterApi } from './api.ts';
import { BlockingClient, latencies, monotonicMs, packetOf, untilChanged } from './ask.ts';
import { dnsperf, type Load, pinned, usage } from './load.ts';
import { PEERS, startPeer } from './peers.ts';

const ZONE = 'cluster.local';
/** As the image starts it. */
const FLAGS = ['--max-semi-space-size=1', '--optimize-for-size'];
const CHANGES = 300;

const self = (): string => process.argv[1] as string;
const dist = (): string => path.dirname(self());

interface Workload {
  readonly name: string;
  readonly peers: boolean;
  readonly forwarded?: boolean;
  readonly lines: readonly string[];
}

function workloads(services: number): Workload[] {
  const names = Array.from({ length: Math.min(services, 1000) }, (_, i) => `svc-${i}.ns-${i % 10}.svc.${ZONE}`);
  return [
    { name: 'A, ClusterIP', peers: true, lines: names.map((name) => `${name} A`) },
    {
      name: 'search path, no such name',
      peers: true,
      lines: names.map((_, i) => `www${i}.example.org.ns-1.svc.${ZONE} A`),
    },
    { name: 'SRV', peers: true, lines: names.map((name) => `_http._tcp.${name} SRV`) },
    { name: 'AAAA, no such record', peers: false, lines: names.map((name) => `${name} AAAA`) },
    { name: 'PTR', peers: false, lines: names.map((_, i) => `${i & 255}.${i >> 8}.96.10.in-addr.arpa PTR`) },
    {
      name: 'forwarded, cached',
      peers: true,
      forwarded: true,
      lines: names.map((_, i) => `host-${i % 200}.example.org A`),
    },
  ];
}

/** Answers every A query with one address for an hour. */
async function startUpstream(): Promise<{ port: number; close(): void }> {
  const socket = createSocket('udp4');
  socket.on('message', (packet, from) => {
    const end = packet.indexOf(0, 12) + 5;
    const answer = Buffer.concat([
      packet.subarray(0, end),
      Buffer.from('c00c000100010000' + '0e10000401020304', 'hex'),
    ]);
    answer.writeUInt16BE(0x8180, 2);
    answer.writeUInt16BE(1, 6);
    answer.writeUInt16BE(0, 10);
    socket.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { port: socket.address().port, close: () => void socket.close() };
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => void socket.close(() => resolve()));
  return port;
}

function corefile(port: number, api: string, upstream: number, pods: string): string {
  return `.:${port} {
    bind 127.0.0.1
    errors
    kubernetes ${ZONE} in-addr.arpa ip6.arpa {
        endpoint ${api}
        pods ${pods}
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:0
    forward . 127.0.0.1:${upstream} {
        max_concurrent 1000
    }
    cache 3600 {
        disable success ${ZONE}
        disable denial ${ZONE}
    }
    loadbalance
}
`;
}

interface Weft {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

/** A server process; `plain` reads UDP with Node's own calls. */
async function startWeft(folder: string, api: string, upstream: number, pods: string, plain = false): Promise<Weft> {
  const port = await freePort();
  const file = path.join(folder, `Corefile.${port}`);
  writeFileSync(file, corefile(port, api, upstream, pods));
  const command = plain ? [self(), 'dns', '--serve', file] : [path.join(dist(), 'weft.mjs'), 'dns', '-conf', file];
  const child = pinned(0, process.execPath, [...FLAGS, ...command]);
  child.stderr?.resume();
  const stop = async (): Promise<void> => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  await answering(port, `svc-0.ns-0.svc.${ZONE}`);
  return { pid: child.pid as number, port, stop };
}

/** Waits until a name has an address. */
async function answering(port: number, name: string): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => {
    socket.on('message', (answer) => {
      if (answer.readUInt16BE(6) > 0) resolve();
    });
    socket.on('error', () => {});
    const timer = setInterval(() => socket.send(packetOf(name), port, '127.0.0.1'), 50);
    socket.once('close', () => clearInterval(timer));
  }).finally(() => socket.close());
}

async function child<T>(args: readonly string[]): Promise<T> {
  const process_ = pinned(1, process.execPath, [self(), 'dns', ...args]);
  let text = '';
  process_.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(process_, 'close');
  return JSON.parse(text) as T;
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/** Milliseconds from a change in the API to the first answer that shows it, sorted. */
async function changes(api: ClusterApi, port: number): Promise<number[]> {
  const asking = pinned(1, process.execPath, [self(), 'dns', '--watch', String(port)]) as ChildProcess;
  const lines = createInterface({ input: asking.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  await lines.next();
  const out: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    const put = monotonicMs();
    api.setAddress(0, `10.97.${i >> 8}.${i & 255}`);
    out.push(Number((await lines.next()).value) - put);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  asking.kill();
  return out.sort((a, b) => a - b);
}

async function settledRss(pid: number): Promise<number> {
  let last = usage(pid).rssMb;
  for (let still = 0; still < 4; ) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = usage(pid).rssMb;
    still = Math.abs(now - last) < 1 ? still + 1 : 0;
    last = now;
  }
  return last;
}

interface MemoryRow {
  readonly pods: string;
  readonly startMb: number;
  readonly loadedMb: number;
}

/** A cluster of 10,000 Services with 100,000 endpoints; before and after all of its names were asked for. */
async function memory(folder: string, upstream: number, seconds: number): Promise<MemoryRow[]> {
  const api = new ClusterApi(10_000, 10);
  const url = await api.listen();
  const out: MemoryRow[] = [];
  const file = path.join(folder, 'all');
  const all = Array.from({ length: 10_000 }, (_, i) => `svc-${i}.ns-${i % 10}.svc.${ZONE} A\n`);
  writeFileSync(file, all.join(''));
  try {
    for (const pods of ['insecure', 'verified']) {
      const weft = await startWeft(folder, url, upstream, pods);
      const startMb = await settledRss(weft.pid);
      await dnsperf(weft.pid, weft.port, file, seconds);
      out.push({ pods, startMb, loadedMb: await settledRss(weft.pid) });
      await weft.stop();
    }
  } finally {
    api.close();
  }
  return out;
}

/** Entry point: `argv` are the words after `dns`. */
export async function dns(argv: readonly string[]): Promise<void> {
  const value = (flag: string): string | undefined => (argv.includes(flag) ? argv[argv.indexOf(flag) + 1] : undefined);
  const services = numberOf(argv, '--services', 1000);
  const serve = value('--serve');
  if (serve !== undefined) return void (await startDns({ corefile: { path: serve }, dgramOnly: true }));
  const asked = value('--latency');
  if (asked !== undefined) {
    const packets = Array.from({ length: services }, (_, i) => packetOf(`svc-${i}.ns-${i % 10}.svc.${ZONE}`));
    const all = latencies(Number(asked), packets, 30_000, 100);
    const at = (share: number): number => all[Math.floor(all.length * share)] as number;
    process.stdout.write(JSON.stringify({ p50: at(0.5), p99: at(0.99) }));
    return;
  }
  const watched = value('--watch');
  if (watched !== undefined) return watch(Number(watched));
  await measure(argv, services, numberOf(argv, '--seconds', 4), value('--only'), (value('--skip') ?? '').split(','));
}

function watch(port: number): void {
  const client = new BlockingClient(port);
  const packet = packetOf(`svc-0.ns-0.svc.${ZONE}`);
  let tail: Buffer = Buffer.from(client.ask(packet).subarray(-4));
  process.stdout.write('ready\n');
  for (;;) {
    const changed = untilChanged(client, packet, tail);
    tail = changed.tail;
    process.stdout.write(`${changed.at}\n`);
  }
}

async function measure(
  argv: readonly string[],
  services: number,
  seconds: number,
  only: string | undefined,
  skip: readonly string[],
): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-perf-'));
  const stops: (() => void | Promise<void>)[] = [() => rmSync(folder, { recursive: true, force: true })];
  try {
    const upstream = await startUpstream();
    stops.push(() => upstream.close());
    const api = new ClusterApi(services, 5);
    const url = await api.listen();
    stops.push(() => api.close());
    const servers: { name: string; pid: number; port: number; forwards: boolean; peer: boolean }[] = [];
    for (const plain of [false, true]) {
      const weft = await startWeft(folder, url, upstream.port, 'insecure', plain);
      stops.push(() => weft.stop());
      servers.push({ name: plain ? 'Weft dgram' : 'Weft', ...weft, forwards: true, peer: false });
    }
    for (const peer of argv.includes('--no-peers') ? [] : PEERS) {
      const port = await freePort();
      const running = await startPeer(peer, folder, port, services, upstream.port);
      if (running === undefined) continue;
      stops.push(() => running.stop());
      servers.push({ name: peer.name, pid: running.pid, port, forwards: peer.forwards, peer: true });
    }
    const loads: Record<string, Record<string, Load>> = {};
    for (const work of workloads(services)) {
      if (only !== undefined && !work.name.includes(only)) continue;
      const file = path.join(folder, 'queries');
      writeFileSync(file, `${work.lines.join('\n')}\n`);
      const row: Record<string, Load> = {};
      for (const { name, pid, port, forwards, peer } of servers) {
        if (peer && (!work.peers || (work.forwarded === true && !forwards))) continue;
        row[name] = await dnsperf(pid, port, file, seconds);
      }
      loads[work.name] = row;
    }
    const latency: Record<string, Latency> = {};
    if (!skip.includes('latency')) {
      for (const { name, port } of servers) {
        latency[name] = await child<Latency>(['--latency', String(port), '--services', String(services)]);
      }
    }
    const weft = servers[0] as (typeof servers)[number];
    const changed = skip.includes('changes') ? [] : await changes(api, weft.port);
    const rssMb = usage(weft.pid).rssMb;
    const memories = skip.includes('memory') ? [] : await memory(folder, upstream.port, seconds);
    const names = servers.map(({ name }) => name);
    const k = (load: Load | undefined): string => (load === undefined ? '' : `${(load.qpsPerCore / 1000).toFixed(0)}k`);
    const us = (l: Latency | undefined): string => (l === undefined ? '' : `${l.p50.toFixed(1)} / ${l.p99.toFixed(0)}`);
    const share = (s: number): string => (changed[Math.floor(changed.length * s)] ?? Number.NaN).toFixed(2);
    print(
      {
        title: `dns: queries per second of CPU time of the server; ${services} Services; ${machine()}`,
        header: ['', ...names],
        rows: [
          ...Object.entries(loads).map(([name, row]) => [name, ...names.map((server) => k(row[server]))]),
          ['µs at 10,000 queries/s, p50 / p99', ...names.map((name) => us(latency[name]))],
        ],
        notes: [
          `a changed Service is answered after ${share(0.5)} ms, p99 ${share(0.99)} ms (${changed.length} changes through the API's watch)`,
          `RSS of the server with ${services} Services: ${rssMb.toFixed(0)} MB`,
          ...memories.map(
            ({ pods, startMb, loadedMb }) =>
              `RSS with 10,000 Services and 100,000 endpoints, pods ${pods}: ${startMb.toFixed(0)} MB, ${loadedMb.toFixed(0)} MB after all names were asked for`,
          ),
        ],
        data: { services, loads, latency, changed, rssMb, memories },
      },
      argv,
    );
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}
