import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { processStart, type UnitRecord } from './units.ts';

/** The first process of a cluster and the `unshare` that made its namespaces, as the host numbers them. */
export interface ClusterPids {
  readonly unshare: UnitRecord;
  readonly init: UnitRecord;
  /** Control group in the cgroup2 hierarchy that it was started in. */
  readonly cgroup?: string;
}

/** Children of a process, from /proc. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** A process with its start time, or undefined when it is gone. */
export function recordOf(pid: number): UnitRecord | undefined {
  const started = processStart(pid);
  return started === undefined ? undefined : { pid, started };
}

/** The control group of this process in the cgroup2 hierarchy; undefined when the kernel has none. */
export function ownCgroup(): string | undefined {
  return /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
}

/** Arguments of `unshare` that make the namespaces a cluster lives in. With cgroups, pods do not see the host's groups by name. */
export function clusterNamespaceArgs(rootless: boolean, mapMany: boolean): string[] {
  const own = ['--mount', '--pid', '--cgroup', '--fork', '--mount-proc', '--propagation', 'private'];
  if (!rootless) return own;
  return ['--user', '--map-root-user', ...(mapMany ? ['--map-auto'] : []), ...own];
}

/** Arguments of `nsenter` that enter a cluster's namespaces from the host. */
export function enterClusterArgs(pid: number, rootless: boolean): string[] {
  return ['--target', String(pid), '--mount', '--pid', ...(rootless ? ['--user', '--preserve-credentials'] : [])];
}

/** Runs a program to its end. `output` holds what it printed on both streams. */
export function runProgram(file: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', (error) => resolve({ code: 127, output: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
