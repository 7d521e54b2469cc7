// Pods of many Services are replaced one after the other while clients connect: how many connects fail. Needs root and
// python3; uses namespaces of its own.
//   node perf.mjs services-churn [--planes nftables,ebpf,iptables] [--pods 1000] [--rate 1000] [--grace 200] [-o json]
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { NetNs, Rtnl, spawnInNetNs, writeSysctl } from '@weft/kernel';
import type { Service } from '@weft/kube';
import {
  type Mode,
  ServiceProxy,
  slimService,
  type SlimService,
  slimSlice,
  type SlimSlice,
  type Source,
} from '@weft/proxy';
import { TestCgroup } from '../../packages/proxy/test/support/cgroup.ts';
import { numberOf, print } from './lib/report.ts';
import { serviceIP } from './services-world.ts';

const PORT = 8080;
const SERVICES = 10;
/** Pods that are replaced at a time, over all Services: maxSurge, with maxUnavailable 0. */
const SURGE = 10;

/** Answers on every address of its namespace: a pod that is gone has no address. */
const SERVER = `
import selectors, socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", ${PORT})); s.listen(4096); print("up", flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"x"); c.close()
`;

/** Connects in a steady rhythm to one Service after the other until its input ends; prints what came of it as JSON. */
const CLIENT = `
import json, socket, sys, threading, time
services, rate, port = sys.argv[1].split(","), float(sys.argv[2]), int(sys.argv[3])
stopping = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
done, failed, slowest, i = 0, {}, 0, 0
start = time.perf_counter()
print("up", flush=True)
while not stopping.is_set():
    wait = start + i / rate - time.perf_counter()
    if wait > 0: time.sleep(wait)
    a = time.perf_counter()
    try:
        s = socket.create_connection((services[i % len(services)], port), timeout=3)
        if s.recv(1) != b"x": raise OSError("no answer")
        s.close(); done += 1
    except OSError as error:
        failed[str(error)] = failed.get(str(error), 0) + 1
    slowest = max(slowest, time.perf_counter() - a); i += 1
print(json.dumps({"done": done, "failed": failed, "slowestMs": slowest * 1000, "seconds": time.perf_counter() - start}), flush=True)
`;

interface ClientReport {
  readonly done: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  readonly seconds: number;
}

interface Row extends ClientReport {
  readonly plane: Mode;
  readonly replaced: number;
  readonly changes: number;
}

/** Objects that change while they are followed. */
class Changing<T> implements Source<T> {
  readonly #objects: Map<string, T>;
  #handlers: Parameters<Source<T>['on']>[0] = {};

  constructor(objects: ReadonlyMap<string, T>) {
    this.#objects = new Map(objects);
  }

  on(handlers: Parameters<Source<T>['on']>[0]): () => void {
    this.#handlers = handlers;
    for (const object of this.#objects.values()) handlers.add?.(object);
    handlers.synced?.();
    return () => (this.#handlers = {});
  }

  set(key: string, object: T): void {
    const before = this.#objects.get(key) as T;
    this.#objects.set(key, object);
    this.#handlers.update?.(before, object);
  }
}

type Phase = 'ready' | 'ending';

const podIP = (i: number): string => `10.244.${(i >> 8) & 0xff}.${i & 0xff}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function serviceOf(i: number): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `web-${i}`, namespace: 'default' },
    spec: {
      type: 'ClusterIP',
      clusterIP: serviceIP(i + 1),
      clusterIPs: [serviceIP(i + 1)],
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: PORT }],
    },
  };
}

function sliceOf(i: number, pods: ReadonlyMap<number, Phase>): SlimSlice {
  return slimSlice('node-1')({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `web-${i}-1`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': `web-${i}` },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: PORT, protocol: 'TCP' }],
    endpoints: [...pods].map(([pod, phase]) => ({
      addresses: [podIP(pod)],
      conditions: { ready: phase === 'ready', serving: true, terminating: phase === 'ending' },
    })),
  }) as SlimSlice;
}

interface Bed {
  readonly node: NetNs;
  readonly client: NetNs;
  readonly pods: NetNs;
}

/** A client, its node, and one namespace that stands for all pods. */
async function build(): Promise<Bed> {
  const bed = { node: NetNs.anonymous(), client: NetNs.anonymous(), pods: NetNs.anonymous() };
  writeSysctl('net.ipv4.ip_forward', '1', bed.node);
  // Many connects a second from one address leave many behind.
  writeSysctl('net.ipv4.ip_local_port_range', '1024 65535', bed.client);
  writeSysctl('net.ipv4.tcp_tw_reuse', '1', bed.client);
  const at = Rtnl.open(bed.node);
  for (const [ns, name, net] of [
    [bed.client, 'client', '10.250.0'],
    [bed.pods, 'pods', '10.250.1'],
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
  const out = await at.links.get('pods');
  await at.routes.add({ dst: '10.244.0.0/16', via: '10.250.1.2', oif: out?.index ?? 0 });
  at.close();
  return bed;
}

async function start(ns: NetNs, script: string, ...args: string[]): Promise<[ChildProcess, AsyncIterator<string>]> {
  const child = spawnInNetNs(ns, 'python3', ['-c', script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  await lines.next();
  return [child, lines];
}

async function measure(plane: Mode, count: number, rate: number, graceMs: number): Promise<Row> {
  const group = plane === 'ebpf' ? new TestCgroup() : undefined;
  const bed = await build();
  const rt = Rtnl.open(bed.pods);
  const lo = (await rt.links.get('lo'))?.index ?? 1;
  const pods = Array.from({ length: SERVICES }, () => new Map<number, Phase>());
  for (let i = 0; i < count; i++) {
    await rt.addresses.add({ index: lo, address: `${podIP(i)}/32` });
    (pods[i % SERVICES] as Map<number, Phase>).set(i, 'ready');
  }
  const numbers = pods.map((_, i) => i);
  const services = new Changing(new Map(numbers.map((i) => [`web-${i}`, slimService(serviceOf(i)) as SlimService])));
  const slices = new Changing(new Map(numbers.map((i) => [`web-${i}`, sliceOf(i, pods[i] as Map<number, Phase>)])));
  const proxy = new ServiceProxy({
    clusterCidrs: ['10.240.0.0/12'],
    serviceCidrs: [],
    nodeName: 'node-1',
    nodePortAddresses: ['all'],
    sources: { services, slices },
    dataPlane: plane,
    ns: bed.node,
    auditMs: 0,
    ...(group === undefined ? {} : { ebpf: group }),
  });
  const stop = new AbortController();
  const [server] = await start(bed.pods, SERVER);
  await proxy.start(stop.signal);
  await proxy.synced;
  const [client, lines] = await start(
    bed.client,
    CLIENT,
    numbers.map((i) => serviceIP(i + 1)).join(','),
    String(rate),
    '80',
  );
  group?.enter(client.pid as number);
  const tell = (i: number): void => slices.set(`web-${i}`, sliceOf(i, pods[i] as Map<number, Phase>));
  let changes = 0;
  const change = (i: number, edit: (of: Map<number, Phase>) => void): void => {
    edit(pods[i] as Map<number, Phase>);
    tell(i);
    changes += 1;
  };
  try {
    await pause(500);
    for (let from = 0; from < count; from += SURGE) {
      const batch = Array.from({ length: Math.min(SURGE, count - from) }, (_, k) => from + k);
      // A new pod is ready before an old one is told to end, and an old one serves on until its grace is over.
      for (const i of batch) await rt.addresses.add({ index: lo, address: `${podIP(i + count)}/32` });
      for (const i of batch) change(i % SERVICES, (of) => of.set(i + count, 'ready'));
      for (const i of batch) change(i % SERVICES, (of) => of.set(i, 'ending'));
      const leave = async (): Promise<void> => {
        await pause(graceMs);
        for (const i of batch) await rt.addresses.del({ index: lo, address: `${podIP(i)}/32` });
        for (const i of batch) change(i % SERVICES, (of) => of.delete(i));
      };
      await leave();
    }
    await pause(500);
    client.stdin?.end();
    const report = JSON.parse((await lines.next()).value as string) as ClientReport;
    return { plane, replaced: count, changes, ...report };
  } finally {
    stop.abort();
    await proxy.stop();
    if (plane === 'ebpf') await proxy.dataPlane.cleanup();
    for (const child of [client, server]) {
      const ended = child.exitCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await ended;
    }
    rt.close();
    for (const ns of Object.values(bed)) ns.close();
    group?.close();
  }
}

/** Entry point: `argv` are the words after `services-churn`. */
export async function servicesChurn(argv: readonly string[]): Promise<void> {
  const planes = (
    (argv.includes('--planes') ? argv[argv.indexOf('--planes') + 1] : undefined) ?? 'nftables,ebpf,iptables'
  )
    .split(',')
    .map((name) => name as Mode);
  const pods = numberOf(argv, '--pods', 1000);
  const rate = numberOf(argv, '--rate', 1000);
  const grace = numberOf(argv, '--grace', 200);
  const rows: Row[] = [];
  for (const plane of planes) rows.push(await measure(plane, pods, rate, grace));
  print(
    {
      title: `Rolling restart of ${pods} pods under load`,
      header: ['data plane', 'replaced', 'connects', 'failed', 'slowest, ms', 'connects/s', 'seconds'],
      rows: rows.map((r) => [
        r.plane,
        String(r.replaced),
        String(r.done),
        String(Object.values(r.failed).reduce((sum, n) => sum + n, 0)),
        r.slowestMs.toFixed(1),
        (r.done / r.seconds).toFixed(0),
        r.seconds.toFixed(1),
      ]),
      notes: [
        `${SERVICES} Services; ${SURGE} pods at a time, each new one ready before an old one ends, which serves for ${grace} ms more`,
        ...rows.flatMap((r) => Object.entries(r.failed).map(([why, n]) => `${r.plane}: ${n} × ${why}`)),
      ],
      data: rows,
    },
    argv,
  );
}
