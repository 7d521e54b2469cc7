import { closeSync, openSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';

export const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOWNER = 0x400454cc;
const TUNSETGROUP = 0x400454ce;
export const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
export const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFREQ_SIZE = 40;
const IFNAMSIZ = 16;

/** A tun or tap device to make. */
export interface TuntapSpec {
  /** At most 15 bytes. */
  readonly name: string;
  /** Packets (`tun`) or frames (`tap`). */
  readonly mode: 'tun' | 'tap';
  readonly multiQueue?: boolean;
  /** Each frame begins with a virtio_net header. */
  readonly vnetHdr?: boolean;
  /** User id that may open it besides root. */
  readonly owner?: number;
  /** Group id whose members may open it. */
  readonly group?: number;
}

/**
 * Makes a persistent tun or tap device in a namespace (TUNSETIFF and TUNSETPERSIST of /dev/net/tun, as `ip tuntap add`
 * does). Throws KernelError; EBUSY when the name is taken.
 */
export function addTuntap(spec: TuntapSpec, ns?: NetNs): void {
  if (ns === undefined) make(spec);
  else ns.run(() => make(spec));
}

function make(spec: TuntapSpec): void {
  const c = libc();
  const operation = `add ${spec.mode} device`;
  const refuse = (errno: number): KernelError => new KernelError({ errno, operation, object: spec.name });
  const name = Buffer.from(spec.name);
  if (name.length === 0 || name.length >= IFNAMSIZ) throw refuse(22);
  let fd: number;
  try {
    fd = openSync('/dev/net/tun', 'r+');
  } catch (error) {
    throw new KernelError({
      errno: -((error as NodeJS.ErrnoException).errno ?? -2),
      operation: 'open',
      object: '/dev/net/tun',
      hint: 'the kernel may lack CONFIG_TUN, or the device file is missing',
    });
  }
  try {
    const request = new Uint8Array(IFREQ_SIZE);
    request.set(name);
    const flags =
      (spec.mode === 'tap' ? IFF_TAP : IFF_TUN) |
      IFF_NO_PI |
      (spec.multiQueue === true ? IFF_MULTI_QUEUE : 0) |
      (spec.vnetHdr === true ? IFF_VNET_HDR : 0);
    new DataView(request.buffer).setUint16(IFNAMSIZ, flags, true);
    if (c.ioctl(fd, TUNSETIFF, request) < 0) throw refuse(c.errno());
    if (spec.owner !== undefined && c.ioctlValue(fd, TUNSETOWNER, spec.owner) < 0) throw refuse(c.errno());
    if (spec.group !== undefined && c.ioctlValue(fd, TUNSETGROUP, spec.group) < 0) throw refuse(c.errno());
    if (c.ioctlValue(fd, TUNSETPERSIST, 1) < 0) throw refuse(c.errno());
  } finally {
    closeSync(fd);
  }
}
