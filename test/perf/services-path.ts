// What a connection through a ClusterIP costs, by data plane and number of Services, beside one without any rules that is
// measured in turn in the same run. Needs root, python3 and iperf3.
//   node perf.mjs services-path [--planes nftables,ebpf,iptables] [--sizes 10,1000,10000] [--rounds 20] [-o json]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { NetNs, Rtnl, spawnInNetNs, writeSysctl } from '@weft/kernel';
import { ServiceProxy, slimService, type SlimService, slimSlice, type SlimSlice, type Source } from '@weft/proxy';
import { TestCgroup } from '../../packages/proxy/test/support/cgroup.ts';
import { numberOf, print } from './lib/report.ts';
import { median } from './lib/stats.ts';
import { makeService, makeSlice, serviceIP } from './services-world.ts';

const SERVER = '10.250.1.2';
const PORT = 8080;
/** Connects of one block. */
const BLOCK = 500;
const SECONDS = 2;

/** Connects as often as a line says, and prints the nanoseconds of each. */
const CLIENT = `
import socket, struct, sys, time
reset = struct.pack("ii", 1, 0)
for line in sys.stdin:
    address, port, count = line.split()
    to = (address, int(port)); out = []
    for _ in range(int(count)):
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        a = time.perf_counter_ns(); s.connect(to); out.append(time.perf_counter_ns() - a); s.close()
    print(" ".join(map(str, out)), flush=True)
`;
/** Never sleeps: to wake it up would cost the client more than what is measured. */
const SERVE = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", ${PORT})); s.listen(4096); s.setblocking(False); print("up", flush=True)
while True:
    try: s.accept()[0].close()
    except OSError: pass
`;

class Fixed<T> implements Source<T> {
  readonly #objects: readonly T[];

  constructor(objects: readonly T[]) {
    this.#objects = objects;
  }

  on(handlers: Parameters<Source<T>['on']>[0]): () => void {
    for (const object of this.#objects) handlers.add?.(object);
    handlers.synced?.();
    return () => {};
  }
}

/** A pod, its node, and a server behind it. */
class Line {
  readonly node = NetNs.anonymous();
  readonly pod = NetNs.anonymous();
  readonly server = NetNs.anonymous();
  readonly #children: ReturnType<typeof spawn>[] = [];
  #client: ReturnType<typeof spawn> | undefined;
  #busy: ReturnType<typeof spawn> | undefined;
  #answers: AsyncIterator<string> | undefined;

  async open(group: TestCgroup | undefined): Promise<this> {
    writeSysctl('net.ipv4.ip_forward', '1', this.node);
    const at = Rtnl.open(this.node);
    for (const [ns, name, net] of [
      [this.pod, 'pod', '10.250.0'],
      [this.server, 'srv', '10.250.1'],
    ] as const) {
      const inner = Rtnl.open(ns);
      await inner.links.set('lo', { up: true });
      await at.links.add({ name, kind: 'veth', up: true, peer: { name: 'eth0', ns, up: true } });
      const outer = await at.links.get(name);
      const eth0 = await inner.links.get('eth0');
      await at.addresses.add({ index: outer?.index ?? 0, address: `${net}.1/24` });
      await inner.addresses.add({ index: eth0?.index ?? 0, address: `${net}.2/24` });
      await inner.routes.add({ dst: 'default', via: `${net}.1`, oif: eth0?.index ?? 0 });
      inner.close();
    }
    at.close();
    const server = this.#spawn(this.server, 'taskset', ['-c', '1', 'python3', '-c', SERVE]);
    await once(createInterface({ input: server.stdout as NodeJS.ReadableStream }), 'line');
    this.#busy = server;
    this.#spawn(this.server, 'iperf3', ['-s']);
    this.#client = this.#spawn(this.pod, 'taskset', ['-c', '0', 'python3', '-c', CLIENT]);
    group?.enter(this.#client.pid as number);
    this.#answers = createInterface({ input: this.#client.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
    return this;
  }

  /** Lets the server of connects run, or stand still. */
  serve(running: boolean): void {
    this.#busy?.kill(running ? 'SIGCONT' : 'SIGSTOP');
  }

  /** Microseconds of each connect. */
  async connect(address: string, port: number): Promise<number[]> {
    this.#client?.stdin?.write(`${address} ${port} ${BLOCK}\n`);
    const answer = await this.#answers?.next();
    if (answer?.done !== false) throw new Error('the client has ended');
    return answer.value.split(' ').map((ns) => Number(ns) / 1000);
  }

  /** Gbit/s of one stream. */
  gbit(address: string, port: number, group: TestCgroup | undefined): number {
    const enter = group === undefined ? '' : `echo $$ > ${group.directory}/cgroup.procs; `;
    const script = `${enter}exec iperf3 -c ${address} -p ${port} -t ${SECONDS} -J`;
    const ran = this.pod.run(() => spawnSync('sh', ['-c', script], { encoding: 'utf8', maxBuffer: 1 << 26 }));
    const report = JSON.parse(ran.stdout) as { end: { sum_received?: { bits_per_second: number } }; error?: string };
    if (report.end.sum_received === undefined) throw new Error(`iperf3: ${report.error}`);
    return report.end.sum_received.bits_per_second / 1e9;
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    for (const ns of [this.node, this.pod, this.server]) ns.close();
  }

  #spawn(ns: NetNs, program: string, args: string[]): ReturnType<typeof spawn> {
    const child = spawnInNetNs(ns, program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#children.push(child);
    return child;
  }
}

type Plane = 'nftables' | 'ebpf' | 'iptables';

interface Row {
  readonly plane: Plane;
  readonly services: number;
  /** p50 of a connect, µs: without rules, past the rules, and through the ClusterIP. */
  readonly bareUs: number;
  readonly pastUs: number;
  readonly throughUs: number;
  /** Median of pairs of streams: through the ClusterIP as a share of direct, per cent. */
  readonly throughput: number;
}

async function measure(plane: Plane, count: number, rounds: number): Promise<Row> {
  const group = plane === 'ebpf' ? new TestCgroup() : undefined;
  const bare = await new Line().open(undefined);
  const line = await new Line().open(group);
  for (const one of [bare, line]) one.serve(false);
  const slim = slimSlice('node-1');
  const numbers = Array.from({ length: count }, (_, i) => i + 3);
  const services = numbers.map((i) => slimService(makeService(i, 1)) as SlimService);
  const slices = numbers.map((i) => slim(makeSlice(i, 1)) as SlimSlice);
  // Two more that answer: one for connects, one for streams. In the middle, so that no list favours them.
  for (const [at, ip, port] of [
    [2, serviceIP(60_000), PORT],
    [4, serviceIP(60_001), 5201],
  ] as const) {
    const object = makeService(at, 1);
    const service = { ...object, metadata: { ...object.metadata, name: `measured-${port}` } };
    const ports = [{ name: 'http', port: 80, protocol: 'TCP' as const, targetPort: port }];
    const spec = { ...service.spec, type: 'ClusterIP' as const, clusterIP: ip, clusterIPs: [ip], ports };
    services.splice(services.length >> 1, 0, slimService({ ...service, spec }) as SlimService);
    const { metadata } = service;
    slices.splice(
      slices.length >> 1,
      0,
      slim({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': metadata.name } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port, protocol: 'TCP' }],
        endpoints: [{ addresses: [SERVER], conditions: { ready: true } }],
      }) as SlimSlice,
    );
  }
  const stop = new AbortController();
  const proxy = new ServiceProxy({
    clusterCidrs: ['10.240.0.0/12'],
    serviceCidrs: [],
    nodeName: 'node-1',
    nodePortAddresses: plane === 'iptables' ? ['all'] : ['primary'],
    sources: { services: new Fixed(services), slices: new Fixed(slices) },
    dataPlane: plane,
    ns: line.node,
    auditMs: 0,
    ...(group === undefined ? {} : { ebpf: group }),
  });
  try {
    await proxy.start(stop.signal);
    await proxy.synced;
    const samples = { bare: [] as number[], past: [] as number[], through: [] as number[] };
    for (let i = -2; i < rounds; i++) {
      const turn = { bare: [] as number[], past: [] as number[], through: [] as number[] };
      for (const [at, what, address, port] of [
        [bare, 'bare', SERVER, PORT],
        [line, 'past', SERVER, PORT],
        [line, 'through', serviceIP(60_000), 80],
      ] as const) {
        at.serve(true);
        turn[what] = await at.connect(address, port);
        at.serve(false);
      }
      if (i >= 0) for (const what of ['bare', 'past', 'through'] as const) samples[what].push(...turn[what]);
    }
    const shares: number[] = [];
    for (let i = 0; i < 5; i++) {
      const direct = bare.gbit(SERVER, 5201, undefined);
      shares.push((line.gbit(serviceIP(60_001), 80, group) / direct) * 100);
    }
    return {
      plane,
      services: count,
      bareUs: median(samples.bare),
      pastUs: median(samples.past),
      throughUs: median(samples.through),
      throughput: median(shares),
    };
  } finally {
    stop.abort();
    await proxy.stop();
    if (plane === 'ebpf') await proxy.dataPlane.cleanup();
    await line.close();
    await bare.close();
    group?.close();
  }
}

/** Entry point: `argv` are the words after `services-path`. */
export async function servicesPath(argv: readonly string[]): Promise<void> {
  const list = (flag: string, fallback: string): string[] =>
    ((argv.includes(flag) ? argv[argv.indexOf(flag) + 1] : undefined) ?? fallback).split(',');
  const rounds = numberOf(argv, '--rounds', 20);
  const rows: Row[] = [];
  for (const plane of list('--planes', 'nftables,ebpf,iptables') as Plane[]) {
    for (const size of list('--sizes', '10,1000,10000').map(Number)) {
      rows.push(await measure(plane, size, rounds));
    }
  }
  print(
    {
      title: 'A connection through a ClusterIP',
      header: [
        'data plane',
        'Services',
        'connect p50, µs',
        'past the rules',
        'without rules',
        'difference',
        'throughput, % of direct',
      ],
      rows: rows.map((r) => [
        r.plane,
        String(r.services),
        r.throughUs.toFixed(2),
        r.pastUs.toFixed(2),
        r.bareUs.toFixed(2),
        (r.throughUs - r.bareUs).toFixed(2),
        r.throughput.toFixed(1),
      ]),
      notes: [`${rounds} blocks of ${BLOCK} connects each, in turn; throughput: median of five pairs of ${SECONDS} s`],
      data: rows,
    },
    argv,
  );
}
