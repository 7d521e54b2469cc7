// Plugins that keep files, on a disk that is full and on one that cannot be written.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mount, umount2 } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bed, ipj, sh } from './bed.ts';
import { network, podWith } from './side-by-side.ts';

const [MS_RDONLY, MS_REMOUNT, MNT_DETACH] = [1, 32, 2];

let bed: Bed;
let disk: string;
beforeEach(async () => {
  bed = await Bed.open();
  disk = mkdtempSync(join(tmpdir(), 'weft-disk-'));
  mount('tmpfs', disk, 'tmpfs', 0, 'size=64k');
  for (const name of ['networks', 'tuning', 'flannel']) mkdirSync(join(disk, name));
});
afterEach(async () => {
  await bed.close();
  umount2(disk, MNT_DETACH);
  rmSync(disk, { recursive: true, force: true });
});

function fill(): void {
  for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (let i = 0; ; i++) writeFileSync(join(disk, `ballast-${size}-${i}`), Buffer.alloc(size));
    } catch {
      // Full for this size.
    }
  }
}

const empty = (): void => {
  for (const name of readdirSync(disk).filter((file) => file.startsWith('ballast'))) rmSync(join(disk, name));
};
const list = () =>
  network('net', [
    {
      type: 'bridge',
      isGateway: true,
      ipam: { type: 'host-local', dataDir: join(disk, 'networks'), subnet: '10.88.0.0/24' },
    },
    { type: 'tuning', dataDir: join(disk, 'tuning'), mtu: 1300 },
  ]);
const pairs = (): string[] =>
  ipj(join(bed.dir, 'node'), 'link')
    .map((link) => String(link['ifname']))
    .filter((name) => name.startsWith('veth'));
const files = (name: string): string[] =>
  readdirSync(join(disk, name), { recursive: true, encoding: 'utf8' }).filter((file) => /10\.88|_eth0/.test(file));

describe.each([
  ['full', fill, empty],
  [
    'read-only',
    () => mount('none', disk, 'none', MS_REMOUNT | MS_RDONLY, ''),
    () => mount('none', disk, 'none', MS_REMOUNT, 'size=64k'),
  ],
])('a disk that is %s', (_what, spoil, mend) => {
  it('fails ADD with code 5 and leaves nothing, and lets those go that have nothing there', async () => {
    const [before, pod] = [podWith(bed), podWith(bed)];
    await bed.runtime.add(list(), before);
    spoil();
    await expect(bed.runtime.add(list(), pod)).rejects.toMatchObject({ cniCode: 5 });
    await bed.runtime.del(list(), pod);
    await bed.server.flush();
    expect(ipj(pod.netns, 'link').map((link) => link['ifname'])).toEqual(['lo']);
    await bed.runtime.check(list(), before);
    mend();
    expect(files('networks')).toEqual(['net/10.88.0.2']);
    await bed.runtime.add(list(), pod);
    for (const one of [before, pod]) await bed.runtime.del(list(), one);
    await bed.server.flush();
    expect([files('networks'), files('tuning'), pairs()]).toEqual([[], [], []]);
  });
});

it('a disk that is full does not keep pods from going', async () => {
  const pod = podWith(bed);
  await bed.runtime.add(list(), pod);
  fill();
  await bed.runtime.del(list(), pod);
  await bed.server.flush();
  expect([files('networks'), files('tuning'), pairs()]).toEqual([[], [], []]);
});

it('flannel says where it cannot write, and calls nobody', async () => {
  const subnetFile = join(disk, 'subnet.env');
  writeFileSync(
    subnetFile,
    'FLANNEL_NETWORK=10.88.0.0/16\nFLANNEL_SUBNET=10.88.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n',
  );
  fill();
  const pod = podWith(bed);
  const flannel = network('fl', [
    { type: 'flannel', subnetFile, dataDir: join(disk, 'flannel'), delegate: { isDefaultGateway: true } },
  ]);
  await expect(bed.runtime.add(flannel, pod)).rejects.toMatchObject({ cniCode: 5 });
  await bed.runtime.del(flannel, pod);
  expect(pairs()).toEqual([]);
  expect(sh(pod.netns, 'ip', '-br', 'link')).not.toContain('eth0');
});
