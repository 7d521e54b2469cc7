// Calls that should never have been made: the code of the specification, nothing leaked, nothing else disturbed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mount, NetNs, umount2 } from '@weft/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CniRuntime } from '../../src/index.ts';
import { Bed, ipj, pings } from './bed.ts';

const MS_RDONLY = 1;
const MS_REMOUNT = 32;
const MS_BIND = 4096;

let bed: Bed;
let node: string;
beforeEach(async () => {
  bed = await Bed.open({ reuseDelayMs: 0 });
  node = join(bed.dir, 'node');
});
afterEach(async () => {
  await bed.close();
});

const links = (): string[] =>
  ipj(node, 'link')
    .map((link) => String(link['ifname']))
    .filter((name) => /^veth[0-9a-f]{8}$/.test(name));

/** A pod that must not notice anything. */
async function bystander(): Promise<() => Promise<void>> {
  const pod = bed.pod();
  await bed.runtime.add(bed.list(), pod);
  return async () => {
    await bed.server.flush();
    await bed.runtime.check(bed.list(), pod);
    expect(pings(pod.netns, '192.0.2.10')).toBe(true);
    expect(bed.server.attachments().map((a) => a.containerId)).toEqual([pod.containerId]);
    expect(links()).toHaveLength(1);
  };
}

describe('ADD', () => {
  const ipam = (ranges: object[]) => ({
    plugins: [{ type: 'weft', agentSocket: bed.socket, ipam: { type: 'host-local', ranges: [ranges] } }],
  });

  it('into a namespace that vanished or is none is refused with code 8', async () => {
    const undisturbed = await bystander();
    const gone = bed.pod();
    NetNs.remove(gone.netns);
    const file = join(bed.dir, 'no-namespace');
    writeFileSync(file, '');
    for (const netns of [gone.netns, file, bed.dir]) {
      await expect(bed.runtime.add(bed.list(), { ...gone, netns })).rejects.toMatchObject({ cniCode: 8 });
    }
    await undisturbed();
  });

  it('with overlapping, inverted or empty ranges is refused with code 7', async () => {
    const undisturbed = await bystander();
    const pod = bed.pod();
    const subnet = '10.250.0.0/24';
    for (const [ranges, message] of [
      [[{ subnet }, { subnet: '10.250.0.128/25' }], /ranges overlap/],
      [[{ subnet, rangeStart: '10.250.0.9', rangeEnd: '10.250.0.2' }], /rangeStart 10\.250\.0\.9 is after rangeEnd/],
      [[{ subnet, rangeStart: '10.251.0.1' }], /10\.251\.0\.1 is not in 10\.250\.0\.0\/24/],
      [[{ subnet: '10.250.0.0/31' }], /too small/],
      [[{ subnet: 'everywhere' }], /everywhere/],
      [[], /is empty/],
    ] as const) {
      await expect(bed.runtime.add(bed.list(ipam([...ranges])), pod)).rejects.toMatchObject({
        cniCode: 7,
        message: expect.stringMatching(message),
      });
    }
    await undisturbed();
  });

  it('for an address outside the pool is refused with code 7, for one that is taken with code 11', async () => {
    const undisturbed = await bystander();
    const pod = bed.pod();
    const add = (ips: unknown) => bed.runtime.add(bed.list(), { ...pod, capabilityArgs: { ips } });
    await expect(add(['10.9.9.9'])).rejects.toMatchObject({ cniCode: 7, message: expect.stringContaining('10.9.9.9') });
    await expect(add(['10.244.1.2'])).rejects.toMatchObject({ cniCode: 11 });
    await expect(add(['x'])).rejects.toMatchObject({ cniCode: 7 });
    await expect(add('10.244.1.9')).rejects.toMatchObject({ cniCode: 6 });
    await undisturbed();
  });

  it('with unknown CNI_ARGS is refused with code 4, unless they are to be ignored', async () => {
    const pod = bed.pod();
    const args = [['COLOUR', 'blue']] as const;
    await expect(bed.runtime.add(bed.list(), { ...pod, args })).rejects.toMatchObject({ cniCode: 4 });
    await bed.runtime.add(bed.list(), { ...pod, args: [...args, ['IgnoreUnknown', '1']] });
  });
});

describe('DEL', () => {
  it('in parallel with ADD leaves what one of them left, and a last DEL leaves nothing', async () => {
    const undisturbed = await bystander();
    // Another runtime: within one of them calls for a container wait for each other.
    const other = new CniRuntime({
      confDir: bed.dir,
      binDirs: [join(bed.dir, 'bin')],
      cacheDir: join(bed.dir, 'other'),
    });
    for (let i = 0; i < 10; i++) {
      const pod = { ...bed.pod(), capabilityArgs: { portMappings: [{ hostPort: 9000, containerPort: 80 }] } };
      await Promise.all([
        bed.runtime.add(bed.list(), pod).catch(() => undefined),
        other.del(bed.list(), pod),
        other.del(bed.list(), pod),
      ]);
      await bed.runtime.del(bed.list(), pod);
    }
    await undisturbed();
  });
});

describe('a read-only state directory', () => {
  it('stops an agent from starting, by name, and costs nobody anything', async () => {
    const undisturbed = await bystander();
    const state = join(bed.dir, 'state');
    await bed.server.stop();
    mount(state, state, 'none', MS_BIND, '');
    try {
      mount('none', state, 'none', MS_REMOUNT | MS_BIND | MS_RDONLY, '');
      await expect(bed.server.start()).rejects.toThrow(/read-only file system.*state\/lock/i);
    } finally {
      umount2(state);
    }
    await bed.server.start();
    await undisturbed();
  });
});
