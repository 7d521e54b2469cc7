import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { EbpfPlaces } from '@weft/agent';
import { MNT_DETACH, mount, umount2 } from '@weft/kernel';

const groupOf = (cluster: string): string => `weft-${cluster}`;

/**
 * Where programs that lead a node's sockets work. A node shares its kernel with others, so it gets a control group of its own
 * when it is first asked for, and all its processes are moved there; what they start is born there.
 */
export function nodeSockets(cluster: string, node: string, runDir: string): EbpfPlaces {
  return {
    pins: path.join(runDir, 'bpf'),
    cgroup: () => {
      const root = path.join(runDir, 'cgroup2');
      const group = path.join(root, groupOf(cluster), node);
      mkdirSync(root, { recursive: true });
      if (!existsSync(path.join(root, 'cgroup.procs'))) mount('cgroup2', root, 'cgroup2', 0);
      mkdirSync(group, { recursive: true });
      enterAll(path.join(group, 'cgroup.procs'));
      return group;
    },
  };
}

/** Moves every process of the caller's pid namespace, until none has been born outside meanwhile. */
function enterAll(procs: string): void {
  const inside = (): Set<string> => new Set(readFileSync(procs, 'latin1').split('\n'));
  for (let round = 0; round < 10; round++) {
    const there = inside();
    const outside = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !there.has(name));
    let moved = 0;
    for (const pid of outside) {
      try {
        writeFileSync(procs, pid);
        moved += 1;
      } catch {
        // It has ended.
      }
    }
    if (moved === 0) return;
  }
}

/**
 * Removes what nodes of a cluster have made, on the host, when all their processes have ended. `parent` is the control group
 * that the cluster was started in, as /proc/PID/cgroup names it.
 */
export function removeNodeCgroups(cluster: string, parent: string): void {
  const root = mkdtempSync(path.join(tmpdir(), 'weft-cgroup2-'));
  mount('cgroup2', root, 'cgroup2', 0);
  try {
    const group = path.join(root, parent, groupOf(cluster));
    if (!existsSync(group)) return;
    for (const entry of readdirSync(group, { withFileTypes: true })) {
      if (entry.isDirectory()) rmdirSync(path.join(group, entry.name));
    }
    rmdirSync(group);
  } finally {
    umount2(root, MNT_DETACH);
    rmdirSync(root);
  }
}
