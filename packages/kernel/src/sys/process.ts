import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';

export const CLONE_NEWNS = 0x20000;
export const CLONE_NEWUTS = 0x4000000;
export const CLONE_NEWIPC = 0x8000000;
export const CLONE_NEWUSER = 0x10000000;
export const CLONE_NEWPID = 0x20000000;
export const CLONE_NEWCGROUP = 0x2000000;

/** Starts a child inside a network namespace: a fork takes the namespace of the thread that forks. */
export function spawnInNetNs(ns: NetNs, cmd: string, args: readonly string[], opts: SpawnOptions = {}): ChildProcess {
  return ns.run(() => spawn(cmd, [...args], opts));
}

function check(result: number, operation: string, object: string): number {
  if (result < 0) throw new KernelError({ errno: libc().errno(), operation, object });
  return result;
}

/** unshare(2) for the calling thread. User and pid namespaces cannot be left by a process of several threads. */
export function unshare(flags: number): void {
  check(libc().unshare(flags), 'unshare namespaces', `0x${flags.toString(16)}`);
}

/** setns(2): moves the calling thread into the namespace behind `fd`. Prefer `NetNs.run`. */
export function setns(fd: number, type = 0): void {
  check(libc().setns(fd, type), 'enter namespace', `fd ${fd}`);
}

/** Name of the calling thread as `ps` shows it (at most 15 bytes). */
export function setProcessName(name: string): void {
  check(libc().prctlString(15, name, 0, 0, 0), 'set process name', name);
}

/** The signal this process gets when the thread that started it ends; 0 for none. */
export function setParentDeathSignal(signal: number): void {
  check(libc().prctl(1, signal, 0, 0, 0), 'set parent death signal', String(signal));
}

/** Orphaned descendants become children of this process, which must then wait for them. */
export function setChildSubreaper(on: boolean): void {
  check(libc().prctl(36, on ? 1 : 0, 0, 0, 0), 'set child subreaper', String(on));
}

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

/** flock(2). True when taken; with `LOCK_NB`, false when somebody else holds it. Without it the thread blocks. */
export function flock(fd: number, operation: number): boolean {
  const c = libc();
  if (c.flock(fd, operation) === 0) return true;
  const errno = c.errno();
  if (errno === 11) return false;
  throw new KernelError({ errno, operation: 'lock file', object: `fd ${fd}` });
}

/** mknod(2) of a device: `mode` with its `S_IF*` type bits, and the device's numbers. */
export function mknod(path: string, mode: number, major: number, minor: number): void {
  const dev = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);
  check(libc().mknod(path, mode, dev >>> 0), 'make device node', path);
}

/** Host name of the calling thread's UTS namespace. */
export function sethostname(name: string): void {
  check(libc().sethostname(name, Buffer.byteLength(name)), 'set host name', name);
}

const SYS_PIDFD_OPEN = 434;

/** A descriptor that becomes readable when the process ends (pidfd_open(2)). Close it after use. */
export function pidfdOpen(pid: number): number {
  return check(libc().syscall3(SYS_PIDFD_OPEN, pid, 0, 0), 'open pidfd of', `process ${pid}`);
}
