import { rmSync } from 'node:fs';
import type { Pod } from '@weft/kube';
import type { Container, Runtime } from '../runtime/index.ts';
import { terminationLog } from './container-spec.ts';
import type { ContainerView } from './decide.ts';
import { readTerminationMessage } from './mounts.ts';
import { definitionOf } from './pod.ts';

/** Containers of one pod by name, oldest first. */
export function containersOf(runtime: Runtime, uid: string): Map<string, Container[]> {
  const out = new Map<string, Container[]>();
  for (const container of runtime.containers.list()) {
    if (container.labels.uid !== uid) continue;
    const list = out.get(container.name);
    if (list === undefined) out.set(container.name, [container]);
    else list.push(container);
  }
  for (const list of out.values()) list.sort((a, b) => a.attempt - b.attempt || a.createdAt - b.createdAt);
  return out;
}

/** The newest container of each name, as decisions need it. */
export function viewsOf(
  containers: ReadonlyMap<string, readonly Container[]>,
  sandboxId: string | undefined,
): Map<string, ContainerView> {
  const out = new Map<string, ContainerView>();
  for (const [name, list] of containers) {
    const newest = list.at(-1);
    if (newest === undefined) continue;
    const hash = newest.labels.hash;
    out.set(name, {
      id: newest.id,
      state: newest.state,
      ...(newest.exitCode === undefined ? {} : { exitCode: newest.exitCode }),
      ...(hash === undefined ? {} : { hash }),
      current: newest.sandboxId === sandboxId,
    });
  }
  return out;
}

/** Removes all but the two newest containers of a name; the older of them is what `kubectl logs --previous` shows. */
export async function pruneContainers(runtime: Runtime, list: readonly Container[]): Promise<void> {
  for (const old of list.slice(0, -2)) {
    if (old.state !== 'exited') continue;
    await runtime.containers.remove(old.id);
    rmSync(old.logPath, { force: true });
  }
}

/** What a container left behind as its last words, by id; `FallbackToLogsOnError` is left to the caller. */
export function lastWords(pod: Pod, podDir: string, container: Container): string | undefined {
  if (definitionOf(pod, container.name) === undefined) return undefined;
  return readTerminationMessage(terminationLog(podDir, container.name, container.attempt));
}
