import { mkdirSync, readFileSync } from 'node:fs';
import { mount } from '@weft/kernel';
import type { EbpfPlaces } from './kernel.ts';

/** Where a node of its own machine has pins, and a view of its control groups if nobody else has mounted one. */
const RUN = '/run/weft';

/** Directory of the first cgroup2 that may be written; undefined when there is none. */
export function cgroup2Root(mounts: string = readFileSync('/proc/self/mounts', 'utf8')): string | undefined {
  for (const line of mounts.split('\n')) {
    const [, directory = '', type, flags = ''] = line.split(' ');
    if (type === 'cgroup2' && flags.split(',')[0] === 'rw') return directory.replaceAll(String.raw`\040`, ' ');
  }
  return undefined;
}

/** The whole of a node that is a machine: every process is led. */
export const NODE_PLACES: EbpfPlaces = {
  pins: `${RUN}/bpf`,
  cgroup: () => {
    const found = cgroup2Root();
    if (found !== undefined) return found;
    const own = `${RUN}/cgroup2`;
    mkdirSync(own, { recursive: true });
    mount('cgroup2', own, 'cgroup2', 0);
    return own;
  },
};
