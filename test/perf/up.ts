import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { familyOf, kubectlPath, median, printTable, run, weft } from './lib/run.ts';

const NAME = 'perfup';

interface UpReport {
  readonly seconds: number;
  readonly kubeconfig: string;
}

function memoryOf(stateRoot: string): { mb: number; agentMb: number; processes: number } {
  const pids = JSON.parse(readFileSync(path.join(stateRoot, NAME, 'pid.json'), 'utf8')) as { unshare: { pid: number } };
  const family = familyOf(pids.unshare.pid);
  const agents = family.filter((p) => p.command.includes(' node run n'));
  return {
    mb: family.reduce((sum, p) => sum + p.pssMb, 0),
    agentMb: median(agents.map((p) => p.pssMb)),
    processes: family.length,
  };
}

async function large(env: NodeJS.ProcessEnv, stateRoot: string, nodes: number, pods: number): Promise<string[]> {
  const began = performance.now();
  const report = JSON.parse(
    await weft(['up', '--name', NAME, '--nodes', String(nodes), '--no-demo', '-o', 'json'], env),
  ) as UpReport;
  const ready = performance.now();
  const kubectl = kubectlPath();
  const kube = (args: readonly string[]): Promise<string> =>
    run(kubectl, ['--kubeconfig', report.kubeconfig, ...args], env);
  await kube(['create', 'deployment', 'many', '--image=busybox', `--replicas=${pods}`, '--', 'sleep', '100000']);
  await kube(['rollout', 'status', 'deployment/many', '--timeout=600s']);
  const done = performance.now();
  const { mb, processes } = memoryOf(stateRoot);
  await weft(['down', '--name', NAME], env);
  return [
    `${nodes} nodes, ${pods} pods`,
    `${((ready - began) / 1000).toFixed(1)} s`,
    `${((done - ready) / 1000).toFixed(1)} s`,
    mb.toFixed(0),
    String(processes),
  ];
}

/** `weft up`, warm: from the command to the first DNS answer and the first HTTP reply of a demo Service. */
export async function up(args: readonly string[]): Promise<void> {
  const stateRoot = mkdtempSync(path.join(os.tmpdir(), 'weft-perf-'));
  const env = {
    ...process.env,
    WEFT_STATE_DIR: stateRoot,
    WEFT_RUN_DIR: path.join(stateRoot, 'run'),
    KUBECONFIG: path.join(stateRoot, 'kubeconfig'),
  };
  const runs = Number(args[0] ?? 5);
  try {
    // The first run makes images and compiles the shim.
    await weft(['up', '--name', NAME], env);
    await weft(['down', '--name', NAME], env);
    const seconds: number[] = [];
    const downs: number[] = [];
    let memory = { mb: 0, agentMb: 0, processes: 0 };
    for (let i = 0; i < runs; i++) {
      const began = performance.now();
      await weft(['up', '--name', NAME, '-o', 'json'], env);
      seconds.push((performance.now() - began) / 1000);
      memory = memoryOf(stateRoot);
      const ending = performance.now();
      await weft(['down', '--name', NAME], env);
      downs.push((performance.now() - ending) / 1000);
    }
    const shown = (values: readonly number[]): string =>
      `${median(values).toFixed(2)} s (${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)})`;
    printTable(
      ['cluster', 'up: command → DNS answer and HTTP reply', 'down', 'memory MB (PSS)', 'agent MB (PSS)', 'processes'],
      [
        [
          '3 nodes, demo',
          shown(seconds),
          shown(downs),
          memory.mb.toFixed(0),
          memory.agentMb.toFixed(0),
          String(memory.processes),
        ],
      ],
    );
    if (args.includes('--no-large')) return;
    printTable(
      ['cluster', 'up', 'pods Ready after', 'memory MB (PSS)', 'processes'],
      [await large(env, stateRoot, 50, 500)],
    );
  } finally {
    await weft(['down', '--name', NAME], env).catch(() => {});
    rmSync(stateRoot, { recursive: true, force: true });
  }
}
