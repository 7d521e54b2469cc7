import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Start time in clock ticks since boot (proc(5), stat field 22), with the boot's id. */
  readonly start: string;
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return boot;
}

/** Fields of /proc/PID/stat after the command's name, which may itself contain blanks and brackets. */
function stat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** Identity of a running process, or undefined when there is none. */
export function identify(pid: number): ProcessId | undefined {
  const fields = stat(pid);
  return fields === undefined ? undefined : { pid, start: `${bootId()}/${fields[19]}` };
}

/** True while that very process runs; a zombie does not. */
export function isAlive(id: ProcessId): boolean {
  const fields = stat(id.pid);
  return fields !== undefined && fields[0] !== 'Z' && fields[0] !== 'X' && id.start === `${bootId()}/${fields[19]}`;
}

/** True while a process of that number runs the program of that name. */
export function runsProgram(pid: number, name: string): boolean {
  const state = stat(pid)?.[0];
  if (state === undefined || state === 'Z' || state === 'X') return false;
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === `${name}\n`;
  } catch {
    return false;
  }
}

/** Sends a signal if that very process still runs. True when it was sent. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals | number): boolean {
  if (!isAlive(id)) return false;
  try {
    return process.kill(id.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Children of a process, as its main thread has them. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((t) => t !== '')
      .map(Number);
  } catch {
    return [];
  }
}

/** Identity of one of a process's namespaces, such as `mnt:[4026531841]`. */
export function namespaceOf(pid: number, type: 'mnt' | 'net' | 'pid' | 'ipc' | 'uts'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${type}`);
  } catch {
    return undefined;
  }
}

/** Processes inside a mount namespace: what is left of a container whose first process is gone. */
export function processesInMountNs(namespace: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => namespaceOf(pid, 'mnt') === namespace);
}
