import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** CPU time of a process with its threads in seconds, and its memory in MB. */
export function usage(pid: number): { cpuSeconds: number; rssMb: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100, rssMb: Number(rss) / 1024 };
}

export function pinned(cpu: number, command: string, args: readonly string[]): ChildProcess {
  return spawn('taskset', ['-c', String(cpu), command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
}

export function has(command: string): boolean {
  return spawnSync('which', [command]).status === 0;
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(child, 'close');
  return text;
}

export interface Load {
  readonly qps: number;
  /** Queries per second of the server's CPU time: what one core could answer. */
  readonly qpsPerCore: number;
  readonly lostPercent: number;
}

/** Asks the questions of a file for some seconds, 100 at a time; the server is the process `pid`. */
export async function dnsperf(pid: number, port: number, file: string, seconds: number): Promise<Load> {
  const args = ['-s', '127.0.0.1', '-p', String(port), '-d', file, '-q', '100', '-c', '8'];
  await output(pinned(1, 'dnsperf', [...args, '-l', '1']));
  const before = usage(pid);
  const text = await output(pinned(1, 'dnsperf', [...args, '-l', String(seconds)]));
  const cpu = usage(pid).cpuSeconds - before.cpuSeconds;
  const completed = Number(/Queries completed:\s+(\d+)/.exec(text)?.[1] ?? Number.NaN);
  return {
    qps: Number(/Queries per second:\s+([0-9.]+)/.exec(text)?.[1] ?? Number.NaN),
    qpsPerCore: completed / cpu,
    lostPercent: Number(/Queries lost:\s+\d+ \(([\d.]+)%\)/.exec(text)?.[1] ?? Number.NaN),
  };
}
