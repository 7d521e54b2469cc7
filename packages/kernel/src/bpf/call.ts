import { EAGAIN, EINTR } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { libc } from '../sys/libc.ts';

/** Commands of bpf(2) (linux/bpf.h). */
export const CMD = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  OBJ_GET_INFO_BY_FD: 15,
  BTF_LOAD: 18,
  MAP_LOOKUP_AND_DELETE_BATCH: 25,
  MAP_UPDATE_BATCH: 26,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  ENABLE_STATS: 32,
  LINK_DETACH: 34,
} as const;

const NUMBER: Partial<Record<string, number>> = { x64: 321, arm64: 280, riscv64: 280, loong64: 280 };
const RETRIES = 10;

/** Address of a buffer's first byte, for fields of the attribute. The caller keeps the buffer alive over the call. */
export function address(buffer: Uint8Array): bigint {
  return libc().koffi.address(buffer) as bigint;
}

/** A field of the attribute: its place, its width, its value. */
type Field = readonly [offset: number, width: 4 | 8, value: number | bigint];

/** The attribute of a call, `size` bytes of zeros but for the fields. */
export function attribute(size: number, fields: readonly Field[]): Buffer {
  const out = Buffer.alloc(size);
  for (const [offset, width, value] of fields) {
    if (width === 8) out.writeBigUInt64LE(BigInt(value), offset);
    else out.writeUInt32LE(Number(value) >>> 0, offset);
  }
  return out;
}

/** One call; -1 and the errno of a failure, else the result (a descriptor mostly). */
export function tryBpf(cmd: number, attr: Uint8Array): { readonly result: number; readonly errno: number } {
  const number = NUMBER[process.arch];
  if (number === undefined) return { result: -1, errno: 38 };
  const c = libc();
  for (let attempt = 0; ; attempt++) {
    const result = c.bpf(number, cmd, attr, attr.length);
    if (result >= 0) return { result, errno: 0 };
    const errno = c.errno();
    // The verifier gives up with EAGAIN when a signal is pending, as Node's profiler sends them.
    if ((errno === EAGAIN || errno === EINTR) && attempt < RETRIES) continue;
    return { result, errno };
  }
}

const RIGHTS = 'bpf(2) needs CAP_BPF and CAP_NET_ADMIN outside of user namespaces, and a kernel that allows it';

/** As `tryBpf`, with a failure as KernelError. */
export function bpf(cmd: number, attr: Uint8Array, operation: string, object: string): number {
  const { result, errno } = tryBpf(cmd, attr);
  if (result >= 0) return result;
  throw new KernelError({ errno, operation, object, ...(errno === 1 ? { hint: RIGHTS } : {}) });
}

/** A name as the kernel keeps it: at most 15 characters of letters, digits, `_` and `.`. */
export function objectName(name: string): Buffer {
  const out = Buffer.alloc(16);
  out.write(name.replace(/[^A-Za-z0-9_.]/g, '_').slice(0, 15), 'latin1');
  return out;
}
