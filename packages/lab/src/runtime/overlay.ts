import { join } from 'node:path';
import { isKernelError, MNT_DETACH, mount, umount2 } from '@weft/kernel';

const escapeOverlay = (path: string): string => path.replace(/([\\:,])/g, '\\$1');

/** Mounts `<bundle>/rootfs` over `lower`, with what is written going to `<bundle>/upper`. */
export function mountOverlay(bundle: string, lower: string): void {
  const path = (name: string): string => escapeOverlay(join(bundle, name));
  const data = `lowerdir=${escapeOverlay(lower)},upperdir=${path('upper')},workdir=${path('work')}`;
  const target = join(bundle, 'rootfs');
  try {
    mount('overlay', target, 'overlay', 0, data);
  } catch (error) {
    // An unprivileged mount must keep its marks in user.* attributes where trusted.* ones are refused.
    if (!isKernelError(error, 'EPERM')) throw error;
    mount('overlay', target, 'overlay', 0, `${data},userxattr`);
  }
}

/** Takes the mount away; nothing happens when there is none. */
export function unmountOverlay(bundle: string): void {
  try {
    umount2(join(bundle, 'rootfs'), MNT_DETACH);
  } catch (error) {
    if (!isKernelError(error, 'EINVAL') && !isKernelError(error, 'ENOENT')) throw error;
  }
}
