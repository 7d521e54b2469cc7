import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** The checkout: the bundle lies in its dist/. */
export const home: string = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Runs a program to its end and returns what it printed; throws with its error output. */
export async function run(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const { stdout } = await exec(file, args, { env, maxBuffer: 64 << 20 });
  return stdout;
}

export function weft(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  return run(path.join(home, 'weft'), args, env);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Left-aligned columns. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? '').length)));
  for (const row of [header, ...rows])
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}

/** kubectl of the machine. */
export function kubectlPath(): string {
  for (const name of ['/usr/lib/google-cloud-sdk/bin/kubectl.1.33', 'kubectl']) {
    if (spawnSync(name, ['version', '--client'], { stdio: 'ignore' }).status === 0) return name;
  }
  throw new Error('no kubectl on this machine');
}

interface Proc {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  /** Proportional set size in MB: shared pages count once in a sum. */
  readonly pssMb: number;
}

/** Every process of the machine. */
export function processes(): Proc[] {
  const out: Proc[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      const pss = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/smaps_rollup`, 'latin1'));
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      out.push({ pid: Number(name), parent, command, pssMb: Number(pss?.[1] ?? 0) / 1024 });
    } catch {
      // Gone meanwhile, or a kernel thread.
    }
  }
  return out;
}

/** A process and all it has started. */
export function familyOf(root: number, all: readonly Proc[] = processes()): Proc[] {
  const family = all.filter((p) => p.pid === root);
  for (let i = 0; i < family.length; i++) family.push(...all.filter((p) => p.parent === family[i]?.pid));
  return family;
}
