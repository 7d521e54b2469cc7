import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { auxiliaryDevice, interfacesOfDevice, pciDevice } from '../src/index.ts';

let sysfs: string;
let bus: string;
beforeEach(() => {
  sysfs = mkdtempSync(join(tmpdir(), 'weft-sysfs-'));
  bus = join(sysfs, 'bus/pci/devices');
  for (const dir of [
    '0000:03:00.0/net/ens1',
    '0000:03:02.0/net/ens1v0',
    '0000:03:02.1',
    '0000:04:00.0/virtio7/net/eth3',
  ])
    mkdirSync(join(bus, dir), { recursive: true });
  symlinkSync('../0000:03:02.1', join(bus, '0000:03:00.0/virtfn10'));
  symlinkSync('../0000:03:02.0', join(bus, '0000:03:00.0/virtfn2'));
  symlinkSync('../0000:03:00.0', join(bus, '0000:03:02.0/physfn'));
  symlinkSync('../../../bus/pci/drivers/mlx5_core', join(bus, '0000:03:00.0/driver'));
  symlinkSync('../../../bus/pci/drivers/vfio-pci', join(bus, '0000:03:02.1/driver'));
});
afterEach(() => {
  rmSync(sysfs, { recursive: true });
});

test('a physical function with its virtual functions in their order', () => {
  expect(pciDevice('0000:03:00.0', sysfs)).toEqual({
    address: '0000:03:00.0',
    driver: 'mlx5_core',
    interfaces: ['ens1'],
    physicalFunction: undefined,
    virtualFunctions: ['0000:03:02.0', '0000:03:02.1'],
  });
});

test('virtual functions, with and without an interface', () => {
  expect(pciDevice('0000:03:02.0', sysfs)).toMatchObject({ physicalFunction: '0000:03:00.0', interfaces: ['ens1v0'] });
  expect(pciDevice('0000:03:02.1', sysfs)).toMatchObject({ driver: 'vfio-pci', interfaces: [] });
});

test('interfaces of a virtio card', () => {
  expect(pciDevice('0000:04:00.0', sysfs)?.interfaces).toEqual(['eth3']);
});

test('what is not there, and what would leave the directory', () => {
  for (const address of ['0000:09:00.0', '..', '', '../devices/0000:03:00.0'])
    expect(pciDevice(address, sysfs)).toBeUndefined();
  expect(auxiliaryDevice('mlx5_core.sf.4', sysfs)).toBeUndefined();
  mkdirSync(join(sysfs, 'bus/auxiliary/devices/mlx5_core.sf.4/net/en3f0'), { recursive: true });
  const found = auxiliaryDevice('mlx5_core.sf.4', sysfs);
  expect(interfacesOfDevice(found ?? '')).toEqual(['en3f0']);
});
