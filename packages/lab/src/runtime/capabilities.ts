import { readFileSync } from 'node:fs';

/** Linux capabilities in the order of their numbers (capability.h of Linux 6.x). */
const ALL = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
]; // prettier-ignore

/** What containerd gives a container that asks for nothing. */
const DEFAULT = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
]; // prettier-ignore

const plain = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');

/** The capabilities that a mask in the form of /proc/PID/status (`CapBnd`) has, without their prefix. */
export function capabilitiesIn(mask: string): Set<string> {
  const bits = BigInt(`0x${mask}`);
  return new Set(ALL.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n));
}

/** The capabilities that this process may hand on; undefined when the kernel does not say. */
export function ownCapabilities(): Set<string> | undefined {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  return mask === undefined ? undefined : capabilitiesIn(mask);
}

/**
 * Capabilities of a container, with their `CAP_` prefix, from what its securityContext adds and drops. "All" is all
 * there is to give (`available`), as containerd has it; one that is asked for by name and is not there stays in the set,
 * and the runtime says so.
 */
export function capabilitySet(options: {
  readonly privileged?: boolean;
  readonly available?: ReadonlySet<string> | undefined;
  readonly add?: readonly string[];
  readonly drop?: readonly string[];
}): string[] {
  const add = (options.add ?? []).map(plain);
  const drop = (options.drop ?? []).map(plain);
  const { available } = options;
  const all = available === undefined ? ALL : ALL.filter((name) => available.has(name));
  let set = new Set(options.privileged === true ? all : DEFAULT);
  if (add.includes('ALL')) set = new Set(all);
  if (drop.includes('ALL')) set = new Set();
  for (const name of drop) set.delete(name);
  for (const name of add) if (name !== 'ALL') set.add(name);
  // A capability this list does not know would make the runtime refuse the whole container.
  return ALL.filter((name) => set.has(name)).map((name) => `CAP_${name}`);
}
