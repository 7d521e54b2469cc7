import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 0x1000;
export const MS_MOVE = 0x2000;
export const MS_REC = 0x4000;
export const MS_UNBINDABLE = 1 << 17;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;

/** mount(2). `source`, `type` and `data` may be empty where the flags need none. */
export function mount(source: string, target: string, type: string, flags: number, data?: string): void {
  const c = libc();
  if (c.mount(source || null, target, type || null, flags, data ?? null) !== 0)
    throw new KernelError({ errno: c.errno(), operation: `mount ${type || source || 'flags'} on`, object: target });
}

/** umount2(2); `MNT_DETACH` lets users of the mount finish. */
export function umount2(target: string, flags = 0): void {
  const c = libc();
  if (c.umount2(target, flags) !== 0) throw new KernelError({ errno: c.errno(), operation: 'unmount', object: target });
}
