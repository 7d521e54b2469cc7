// DNS: queries per second and CPU per query, on loopback with one client and one server process.
//   node perf.mjs dns [--services 1000] [--seconds 4] [--dnsperf PATH] [-o json]
// The client is dnsperf when it is found, else a small closed loop in a process of its own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { defaultCorefile, startDns } from '@weft/dns';
import { FakeApi } from '../../packages/dns/test/support/fake-api.ts';
import { namespace, service, slice } from '../../packages/dns/test/support/objects.ts';

const ZONE = 'cluster.local';

interface Usage {
  readonly cpuSeconds: number;
  readonly rssMb: number;
}

interface Result {
  readonly name: string;
  readonly qps: number;
  /** Queries per second of the server's CPU time: what one core could answer. */
  readonly qpsPerCore: number;
  readonly p50Us: number | undefined;
}

interface Workload {
  readonly name: string;
  readonly lines: readonly string[];
}

function workloads(services: number): Workload[] {
  const names = Array.from({ length: Math.min(services, 1000) }, (_, i) => `svc-${i}.ns-${i % 10}.svc.${ZONE}`);
  return [
    { name: 'A, ClusterIP', lines: names.map((name) => `${name} A`) },
    { name: 'AAAA, no such record', lines: names.map((name) => `${name} AAAA`) },
    { name: 'search path, no such name', lines: names.map((_, i) => `www${i}.example.org.ns-1.svc.${ZONE} A`) },
    { name: 'PTR', lines: names.map((_, i) => `${i & 255}.${i >> 8}.96.10.in-addr.arpa PTR`) },
    { name: 'SRV', lines: names.map((name) => `_http._tcp.${name} SRV`) },
    { name: 'forwarded, cached', lines: names.map((_, i) => `host-${i % 200}.example.org A`) },
  ];
}

/** The server under test; prints its port, then usage figures on every line read. */
async function runServer(services: number): Promise<void> {
  const api = new FakeApi();
  for (let i = 0; i < 10; i++) api.put('namespaces', namespace(`ns-${i}`));
  for (let i = 0; i < services; i++) {
    const key = `ns-${i % 10}/svc-${i}`;
    const ports = [{ name: 'http', port: 80 }];
    api.put('services', service(key, { clusterIPs: [`10.96.${i >> 8}.${i & 255}`], ports }));
    const at = (n: number): string => `10.${128 + (i >> 13)}.${(i >> 5) & 255}.${((i & 31) << 3) + n}`;
    api.put(
      'endpointslices',
      slice(
        key,
        Array.from({ length: 5 }, (_, n) => ({ ip: at(n) })),
        ports,
      ),
    );
  }
  const upstream = createSocket('udp4');
  upstream.on('message', (packet, from) => {
    const answer = Buffer.alloc(packet.length + 16);
    packet.copy(answer);
    answer.writeUInt16BE(0x8180, 2);
    answer.writeUInt16BE(1, 6);
    answer.writeUInt16BE(0, 10);
    const end = packet.indexOf(0, 12) + 5;
    Buffer.from('c00c00010001000003e8000401020304', 'hex').copy(answer, end);
    upstream.send(answer.subarray(0, end + 16), from.port, from.address);
  });
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve));
  const corefile = defaultCorefile({
    port: 0,
    upstream: `127.0.0.1:${upstream.address().port}`,
    health: null,
    ready: null,
    metrics: 'localhost:0',
    loop: false,
  }).replaceAll('cache 30', 'cache 3600');
  const dns = await startDns({
    corefile: { text: corefile },
    kube: api,
    hosts: ['127.0.0.1'],
    dgramOnly: process.env['WEFT_DNS_DGRAM'] === '1',
  });
  process.stdout.write(`${dns.addresses[0]?.port}\n`);
  for await (const _ of createInterface({ input: process.stdin })) {
    const { user, system } = process.cpuUsage();
    const usage: Usage = { cpuSeconds: (user + system) / 1e6, rssMb: process.memoryUsage().rss / 1048576 };
    process.stdout.write(`${JSON.stringify(usage)}\n`);
  }
  await dns.close();
  upstream.close();
}

const TYPES: Readonly<Record<string, number>> = { A: 1, PTR: 12, AAAA: 28, SRV: 33 };

function packetOf(line: string): Buffer {
  const [name = '', type = 'A'] = line.split(' ');
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, TYPES[type] ?? 1, 0, 1]);
}

/** A closed loop of 100 queries in flight over 8 sockets. */
async function runClient(port: number, seconds: number, lines: readonly string[]): Promise<void> {
  const packets = lines.map(packetOf);
  const latencies: number[] = [];
  let answered = 0;
  let next = 0;
  let running = true;
  const sockets = Array.from({ length: 8 }, () =>
    createSocket({ type: 'udp4', lookup: (h, _, done) => done(null, h, 4) }),
  );
  for (const socket of sockets) {
    const sent = new Float64Array(65536);
    let id = 0;
    const send = (): void => {
      const packet = packets[next++ % packets.length] as Buffer;
      id = (id + 1) & 0xffff;
      packet.writeUInt16BE(id, 0);
      sent[id] = performance.now();
      socket.send(packet);
    };
    socket.on('message', (answer) => {
      answered += 1;
      if ((answered & 15) === 0) latencies.push(performance.now() - (sent[answer.readUInt16BE(0)] as number));
      if (running) send();
    });
    await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve));
    for (let i = 0; i < 12; i++) send();
  }
  const from = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  running = false;
  const took = (performance.now() - from) / 1000;
  latencies.sort((a, b) => a - b);
  const p50 = latencies[latencies.length >> 1] ?? 0;
  process.stdout.write(`${JSON.stringify({ qps: answered / took, p50Us: p50 * 1000 })}\n`);
  for (const socket of sockets) socket.close();
}

const TASKSET = 'taskset';

function pinned(cpu: number, command: string, args: readonly string[]): ChildProcess {
  const pinning = spawnSync(TASKSET, ['-c', String(cpu), 'true']).status === 0;
  return pinning
    ? spawn(TASKSET, ['-c', String(cpu), command, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    : spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(child, 'exit');
  return text;
}

async function load(
  dnsperf: string | undefined,
  port: number,
  seconds: number,
  file: string,
): Promise<{ qps: number; p50Us: number | undefined }> {
  if (dnsperf === undefined) {
    const args = [
      process.argv[1] as string,
      'dns',
      '--client',
      String(port),
      '--seconds',
      String(seconds),
      '--names',
      file,
    ];
    return JSON.parse(await output(pinned(1, process.execPath, args))) as { qps: number; p50Us: number };
  }
  const text = await output(
    pinned(1, dnsperf, [
      '-s',
      '127.0.0.1',
      '-p',
      String(port),
      '-d',
      file,
      '-l',
      String(seconds),
      '-q',
      '100',
      '-c',
      '8',
    ]),
  );
  const qps = Number(/Queries per second:\s+([0-9.]+)/.exec(text)?.[1]);
  return { qps, p50Us: Number(/Average Latency \(s\):\s+([0-9.]+)/.exec(text)?.[1]) * 1e6 };
}

/** Entry point: `argv` are the words after `dns`. */
export async function dns(argv: readonly string[]): Promise<void> {
  const value = (flag: string): string | undefined => (argv.includes(flag) ? argv[argv.indexOf(flag) + 1] : undefined);
  const services = Number(value('--services') ?? 1000);
  const seconds = Number(value('--seconds') ?? 4);
  if (argv.includes('--server')) return runServer(services);
  const client = value('--client');
  if (client !== undefined) {
    const { readFileSync } = await import('node:fs');
    return runClient(
      Number(client),
      seconds,
      readFileSync(value('--names') as string, 'utf8')
        .trim()
        .split('\n'),
    );
  }
  const found = spawnSync('which', ['dnsperf'], { encoding: 'utf8' }).stdout.trim();
  const dnsperf = value('--dnsperf') ?? (found === '' ? undefined : found);
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-perf-'));
  const server = pinned(0, process.execPath, [
    process.argv[1] as string,
    'dns',
    '--server',
    '--services',
    String(services),
  ]);
  const lines = createInterface({ input: server.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value as string;
  const usage = async (): Promise<Usage> => {
    server.stdin?.write('usage\n');
    return JSON.parse(await line()) as Usage;
  };
  try {
    const port = Number(await line());
    const idle = await usage();
    const rows: Result[] = [];
    for (const [i, work] of workloads(services).entries()) {
      if (argv.includes('--only') && !work.name.includes(value('--only') as string)) continue;
      const file = path.join(folder, `${i}`);
      writeFileSync(file, `${work.lines.join('\n')}\n`);
      await load(dnsperf, port, 1, file);
      const before = await usage();
      const { qps, p50Us } = await load(dnsperf, port, seconds, file);
      const cpu = (await usage()).cpuSeconds - before.cpuSeconds;
      rows.push({ name: work.name, qps, qpsPerCore: (qps * seconds) / cpu, p50Us });
    }
    const end = await usage();
    const report = {
      services,
      client: dnsperf === undefined ? 'own' : 'dnsperf',
      rows,
      idleMb: idle.rssMb,
      endMb: end.rssMb,
    };
    process.stdout.write(argv.includes('json') ? `${JSON.stringify(report)}\n` : table(report));
  } finally {
    server.stdin?.end();
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

function table(report: {
  services: number;
  client: string;
  rows: readonly Result[];
  idleMb: number;
  endMb: number;
}): string {
  const width = Math.max(...report.rows.map(({ name }) => name.length));
  const head = `${report.services} Services, client ${report.client}\n${''.padEnd(width)}       qps  qps/core  latency us\n`;
  const body = report.rows
    .map(({ name, qps, qpsPerCore, p50Us }) =>
      [
        name.padEnd(width),
        qps.toFixed(0).padStart(10),
        qpsPerCore.toFixed(0).padStart(10),
        (p50Us ?? 0).toFixed(0).padStart(12),
      ].join(''),
    )
    .join('\n');
  return `${head}${body}\nRSS ${report.idleMb.toFixed(0)} MB idle, ${report.endMb.toFixed(0)} MB after\n`;
}

if (process.argv[2] === 'dns' && path.basename(process.argv[1] ?? '').startsWith('dns'))
  await dns(process.argv.slice(3));
