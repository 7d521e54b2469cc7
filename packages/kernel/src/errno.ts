import { constants } from 'node:os';

const NAMES = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) if (!NAMES.has(value)) NAMES.set(value, name);
// Names `os.constants` lacks, and the one of each alias pair that netlink documentation uses.
const EXTRA: Record<string, number> = {
  EAGAIN: 11,
  ERESTART: 85,
  EOPNOTSUPP: 95,
  ENOTUNIQ: 76,
  EUSERS: 87,
  ESHUTDOWN: 108,
  EUCLEAN: 117,
  ENOTSUPP: 524,
};
for (const [name, value] of Object.entries(EXTRA)) NAMES.set(value, name);

const TEXTS: Record<string, string> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such object',
  EINTR: 'interrupted',
  EIO: 'input/output error',
  EBADF: 'bad file descriptor',
  EAGAIN: 'try again',
  ENOMEM: 'out of memory',
  EACCES: 'permission denied',
  EBUSY: 'busy',
  EEXIST: 'already exists',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EINVAL: 'invalid argument',
  ENFILE: 'too many open files in the system',
  EMFILE: 'too many open files in the process',
  ENOSPC: 'no space left',
  ERANGE: 'out of range',
  ENAMETOOLONG: 'name too long',
  ENOTEMPTY: 'not empty',
  ELOOP: 'the chains would form a loop',
  EPROTONOSUPPORT: 'protocol not supported',
  EOPNOTSUPP: 'not supported by this kernel',
  EAFNOSUPPORT: 'address family not supported',
  EADDRNOTAVAIL: 'address not available',
  EADDRINUSE: 'address in use',
  ENETDOWN: 'network is down',
  ENETUNREACH: 'network is unreachable',
  ENOBUFS: 'no buffer space',
  EMSGSIZE: 'message too large',
  ERESTART: 'the rules changed in the meantime',
  ESRCH: 'no such entry',
  ENXIO: 'no such device or address',
};

/** Symbolic name of an errno (`EEXIST`), or `ERRNO_<n>` for one nobody named. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `ERRNO_${errno}`;
}

/** Short text of an errno. */
export function errnoText(errno: number): string {
  const name = errnoName(errno);
  return TEXTS[name] ?? name;
}

export const ENOENT = 2;
export const EINTR = 4;
export const EAGAIN = 11;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const EMSGSIZE = 90;
export const EPROTO = 71;
export const ENOBUFS = 105;
