import { readdirSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

/** A PCI function as sysfs shows it. */
export interface PciDevice {
  /** `0000:03:02.1`. */
  readonly address: string;
  /** Driver it is bound to (`mlx5_core`, `vfio-pci`); undefined when it has none. */
  readonly driver: string | undefined;
  /** Its network interfaces that are in the namespace whose sysfs this is. */
  readonly interfaces: readonly string[];
  /** SR-IOV: address of the physical function that this virtual function belongs to. */
  readonly physicalFunction: string | undefined;
  /** SR-IOV: addresses of its virtual functions, in their order. */
  readonly virtualFunctions: readonly string[];
}

function names(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

/** Network interfaces below a device's directory; those of virtio cards are one level deeper. */
export function interfacesOfDevice(dir: string): readonly string[] {
  const direct = names(join(dir, 'net'));
  if (direct.length > 0) return direct;
  const virtio = names(dir).filter((name) => name.startsWith('virtio'));
  return virtio.flatMap((name) => names(join(dir, name, 'net')));
}

/** A PCI function by its address; undefined when there is none. `sysfs` is where sysfs is mounted. */
export function pciDevice(address: string, sysfs = '/sys'): PciDevice | undefined {
  const bus = join(sysfs, 'bus/pci/devices');
  if (!names(bus).includes(address)) return undefined;
  const dir = join(bus, address);
  const virtual = names(dir)
    .map((name) => /^virtfn(\d+)$/.exec(name))
    .filter((match) => match !== null)
    .sort((a, b) => Number(a[1]) - Number(b[1]));
  return {
    address,
    driver: linkName(join(dir, 'driver')),
    interfaces: interfacesOfDevice(dir),
    physicalFunction: linkName(join(dir, 'physfn')),
    virtualFunctions: virtual.map((match) => linkName(join(dir, match[0]))).filter((name) => name !== undefined),
  };
}

/** Directory of a device of the auxiliary bus (subfunctions); undefined when there is none. */
export function auxiliaryDevice(name: string, sysfs = '/sys'): string | undefined {
  const bus = join(sysfs, 'bus/auxiliary/devices');
  return names(bus).includes(name) ? join(bus, name) : undefined;
}
