import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { kubectlPath, median, printTable, processes, run, weft } from './lib/run.ts';

const NAME = 'perfnet';
const RUNS = 3;
const SECONDS = 2;

/** Somewhere to run a program: a process whose network namespace it is. */
interface Place {
  readonly pid: number;
  readonly address: string;
}

interface Figures {
  readonly one: number;
  readonly eight: number;
  readonly rttUs: number;
}

function inside(place: Place, file: string, args: readonly string[]): Promise<string> {
  return run('nsenter', ['--target', String(place.pid), '--net', '--', file, ...args]);
}

async function gbits(from: Place, to: Place, streams: number): Promise<number> {
  const values: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const server = spawn('nsenter', ['--target', String(to.pid), '--net', '--', 'iperf3', '-s', '-1', '-p', '5999'], {
      stdio: 'ignore',
    });
    const ended = new Promise<void>((resolve) => server.on('close', () => resolve()));
    await new Promise((resolve) => setTimeout(resolve, 150));
    const out = await inside(from, 'iperf3', [
      '-c',
      to.address,
      '-p',
      '5999',
      '-t',
      String(SECONDS),
      '-P',
      String(streams),
      '-J',
    ]);
    const report = JSON.parse(out) as { end: { sum_received: { bits_per_second: number } } };
    values.push(report.end.sum_received.bits_per_second / 1e9);
    await ended;
  }
  return median(values);
}

async function rtt(from: Place, to: Place): Promise<number> {
  const values: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const out = await inside(from, 'ping', ['-q', '-c', '500', '-i', '0.002', to.address]);
    values.push(Number(/= [\d.]+\/([\d.]+)\//.exec(out)?.[1]) * 1000);
  }
  return median(values);
}

async function measure(from: Place, to: Place): Promise<Figures> {
  return { one: await gbits(from, to, 1), eight: await gbits(from, to, 8), rttUs: await rtt(from, to) };
}

/** The floor: two namespaces joined by nothing but a veth pair. */
async function rawVeth(): Promise<Figures> {
  const hold = (): ChildProcess => spawn('unshare', ['--net', 'sleep', '1000'], { stdio: 'ignore' });
  const [a, b] = [hold(), hold()];
  try {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const [pa, pb] = [
      { pid: a.pid ?? 0, address: '10.255.0.1' },
      { pid: b.pid ?? 0, address: '10.255.0.2' },
    ];
    await inside(pa, 'ip', ['link', 'add', 'v', 'type', 'veth', 'peer', 'name', 'v', 'netns', String(pb.pid)]);
    for (const place of [pa, pb]) {
      await inside(place, 'ip', ['addr', 'add', `${place.address}/24`, 'dev', 'v']);
      await inside(place, 'ip', ['link', 'set', 'v', 'up']);
    }
    return await measure(pa, pb);
  } finally {
    a.kill('SIGKILL');
    b.kill('SIGKILL');
  }
}

async function pods(env: NodeJS.ProcessEnv, kubeconfig: string): Promise<[Place, Place, Place]> {
  const kubectl = kubectlPath();
  const kube = (args: readonly string[]): Promise<string> => run(kubectl, ['--kubeconfig', kubeconfig, ...args], env);
  const where = ['n1', 'n1', 'n2'];
  const places: Place[] = [];
  for (const [i, node] of where.entries()) {
    // The argument tells the pod's process from all others on this machine.
    const mark = String(900_000_000 + process.pid * 10 + i);
    const overrides = JSON.stringify({ spec: { nodeName: node } });
    await kube([
      'run',
      `p${i}`,
      '--image=busybox',
      '--restart=Never',
      `--overrides=${overrides}`,
      '--command',
      '--',
      'sleep',
      mark,
    ]);
    await kube(['wait', '--for=condition=Ready', `pod/p${i}`, '--timeout=30s']);
    const address = (await kube(['get', 'pod', `p${i}`, '-o', 'jsonpath={.status.podIP}'])).trim();
    const found = processes().find((p) => p.command === `sleep ${mark}`);
    if (found === undefined) throw new Error(`the process of pod p${i} is not to be found`);
    places.push({ pid: found.pid, address });
  }
  return places as [Place, Place, Place];
}

/** Pod to pod on one node and across nodes, per backend, as a share of a raw veth pair measured in the same run. */
export async function throughput(_args: readonly string[]): Promise<void> {
  const stateRoot = mkdtempSync(path.join(os.tmpdir(), 'weft-perf-'));
  const env = {
    ...process.env,
    WEFT_STATE_DIR: stateRoot,
    WEFT_RUN_DIR: path.join(stateRoot, 'run'),
    KUBECONFIG: path.join(stateRoot, 'kubeconfig'),
  };
  const rows: string[][] = [];
  try {
    const floor = await rawVeth();
    const add = (title: string, f: Figures): void => {
      const share = (value: number, of: number): string => `${((100 * value) / of).toFixed(0)} %`;
      rows.push([
        title,
        `${f.one.toFixed(1)} (${share(f.one, floor.one)})`,
        `${f.eight.toFixed(1)} (${share(f.eight, floor.eight)})`,
        `${f.rttUs.toFixed(0)} (${share(f.rttUs, floor.rttUs)})`,
      ]);
    };
    add('raw veth pair', floor);
    for (const backend of ['vxlan', 'host-gw']) {
      const report = JSON.parse(
        await weft(['up', '--name', NAME, '--nodes', '2', '--backend', backend, '--no-demo', '-o', 'json'], env),
      ) as { kubeconfig: string };
      const [a, b, c] = await pods(env, report.kubeconfig);
      if (backend === 'vxlan') add('pod to pod, same node', await measure(a, b));
      add(`pod to pod, across nodes, ${backend}`, await measure(a, c));
      await weft(['down', '--name', NAME], env);
    }
    printTable(['path', 'TCP 1 stream Gbit/s (of raw)', 'TCP 8 streams Gbit/s', 'round trip µs (ping)'], rows);
  } finally {
    await weft(['down', '--name', NAME], env).catch(() => {});
    rmSync(stateRoot, { recursive: true, force: true });
  }
}
