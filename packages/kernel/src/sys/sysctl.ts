import { readFileSync, writeFileSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { EINVAL } from '../errno.ts';
import type { NetNs } from './netns.ts';

/** `net.ipv4.ip_forward` or `net/ipv4/conf/eth0.1/forwarding` (the form for names with dots). */
function path(key: string): string {
  const relative = key.startsWith('/proc/sys/')
    ? key.slice('/proc/sys/'.length)
    : key.includes('/')
      ? key
      : key.replaceAll('.', '/');
  if (relative.split('/').includes('..'))
    throw new KernelError({ errno: EINVAL, operation: 'use sysctl', object: key });
  return `/proc/sys/${relative}`;
}

function act<T>(operation: string, key: string, ns: NetNs | undefined, fn: (file: string) => T): T {
  const file = path(key);
  try {
    return ns === undefined ? fn(file) : ns.run(() => fn(file));
  } catch (error) {
    if (error instanceof KernelError) throw error;
    const errno = -((error as NodeJS.ErrnoException).errno ?? -EINVAL);
    throw new KernelError({
      errno,
      operation,
      object: key,
      ...(errno === 30 ? { hint: '/proc/sys is mounted read-only here' } : {}),
    });
  }
}

/** Value of a kernel setting, in a network namespace when one is given (`net.*` keys). */
export function readSysctl(key: string, ns?: NetNs): string {
  return act('read sysctl', key, ns, (file) => readFileSync(file, 'utf8').trim());
}

export function writeSysctl(key: string, value: string, ns?: NetNs): void {
  act('write sysctl', key, ns, (file) => writeFileSync(file, `${value}\n`));
}
