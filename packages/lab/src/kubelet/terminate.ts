import type { Pod } from '@weft/kube';
import type { Container } from '../runtime/index.ts';
import { type NodeContext, podEvent } from './context.ts';
import { runHook } from './hooks.ts';
import { definitionOf, isSidecar, uidOf } from './pod.ts';

/** After a preStop hook a container has at least this long, in milliseconds. */
const LEAST_MS = 2000;

export interface EndInput {
  readonly context: NodeContext;
  readonly pod: Pod;
  readonly podIP: string;
  /** One container; all of the pod's when absent. */
  readonly only?: string;
  /** The reason was told already. */
  readonly quiet?: boolean;
  /** When whoever still runs is killed; asked again while waiting, because a deletion can be hurried. */
  readonly graceEndsAt: () => number;
}

async function endOne(input: EndInput, container: Container): Promise<void> {
  const { context, pod } = input;
  const def = definitionOf(pod, container.name);
  if (input.quiet !== true) {
    podEvent(context, pod, 'Normal', 'Killing', `Stopping container ${container.name}`, container.name);
  }
  const { containers } = context.runtime;
  const left = (): number => input.graceEndsAt() - Date.now();
  const hook = def?.lifecycle?.preStop;
  let least = 0;
  if (hook !== undefined && def !== undefined && left() > 0) {
    const ask = { runtime: context.runtime, containerId: container.id, container: def, podIP: input.podIP };
    const failure = await runHook(hook, ask, left());
    if (failure !== undefined)
      podEvent(context, pod, 'Warning', 'FailedPreStopHook', 'PreStopHook failed', container.name);
    least = LEAST_MS;
  }
  // Hurried on while it waits: the stop is repeated with what is left.
  let done = false;
  const ended = containers.stop(container.id, Math.max(left(), least), def?.lifecycle?.stopSignal).finally(() => {
    done = true;
  });
  const hurry = setInterval(() => {
    if (!done && left() <= 0) containers.signal(container.id, 'SIGKILL');
  }, 200);
  try {
    await ended;
  } finally {
    clearInterval(hurry);
  }
}

/** Ends containers of a pod: preStop hooks, then the stop signal, then SIGKILL. Sidecars go last, in reverse order. */
export async function endContainers(input: EndInput): Promise<void> {
  const { context, pod } = input;
  const uid = uidOf(pod);
  const running = context.runtime.containers
    .list()
    .filter((c) => c.labels.uid === uid && c.state === 'running' && (input.only === undefined || c.id === input.only));
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map((c) => c.name);
  await Promise.all(running.filter((c) => !sidecars.includes(c.name)).map((c) => endOne(input, c)));
  for (const name of sidecars.reverse()) {
    await Promise.all(running.filter((c) => c.name === name).map((c) => endOne(input, c)));
  }
}
