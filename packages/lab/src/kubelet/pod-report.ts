import type { Pod } from '@weft/kube';
import type { Container } from '../runtime/index.ts';
import type { NodeContext } from './context.ts';
import type { PodHealth } from './health.ts';
import { definitionOf, uidOf } from './pod.ts';
import { containersOf, lastWords } from './pod-containers.ts';
import type { PodSandbox } from './pod-sandbox.ts';
import type { StatusPublisher } from './publisher.ts';
import type { Setbacks } from './setbacks.ts';
import { OWN_CONDITIONS, podStatus, type StatusInput } from './status.ts';

export interface PodReportOptions {
  readonly context: NodeContext;
  readonly podDir: string;
  readonly pod: () => Pod;
  readonly sandbox: PodSandbox;
  readonly health: PodHealth;
  readonly setbacks: Setbacks;
  /** Names of the containers whose start is under way. */
  readonly starting: () => ReadonlySet<string>;
  /** When the node accepted the pod; milliseconds since the epoch. */
  readonly acceptedAt: number;
  readonly publisher: StatusPublisher;
  readonly onChange: () => void;
}

/** Gathers what the status of one pod is made from, and hands it to the publisher. */
export class PodReport {
  readonly #options: PodReportOptions;
  /** Last words by container id. */
  readonly #words = new Map<string, string>();

  constructor(options: PodReportOptions) {
    this.#options = options;
  }

  /** Takes down the last words of a container that has ended. */
  async ended(container: Container): Promise<void> {
    if (this.adopted(container)) return;
    const def = definitionOf(this.#options.pod(), container.name);
    if (def?.terminationMessagePolicy !== 'FallbackToLogsOnError' || container.exitCode === 0) return;
    const { logTail } = await import('./log-tail.ts');
    const words = await logTail(container.logPath);
    if (words === '') return;
    this.#words.set(container.id, words);
    this.#options.onChange();
  }

  /** Takes down the words a container left in its file, if any. */
  adopted(container: Container): boolean {
    const words = lastWords(this.#options.pod(), this.#options.podDir, container);
    if (words !== undefined) this.#words.set(container.id, words);
    return words !== undefined;
  }

  /** Publishes the status as of now. `terminal`: nothing of the pod is started any more. */
  publish(failed: StatusInput['failed'], terminal: boolean): void {
    const { context, sandbox, health, setbacks, acceptedAt, publisher } = this.#options;
    const pod = this.#options.pod();
    const { current } = sandbox;
    const latest = publisher.latest ?? {};
    // Conditions of others come from the API server; our own may be older there than what was written from here.
    const own = (latest.conditions ?? []).filter((c) => OWN_CONDITIONS.has(c.type));
    const foreign = (pod.status?.conditions ?? []).filter((c) => !OWN_CONDITIONS.has(c.type));
    const status = podStatus(
      {
        pod: { ...pod, status: { ...latest, conditions: [...own, ...foreign] } },
        nodeIPs: context.nodeIPs,
        sandbox: current && { ready: sandbox.ready, ips: current.ips },
        containers: this.#shown(),
        waiting: setbacks.waiting,
        started: health.names((h) => h.started),
        ready: health.names((h) => h.ready),
        messages: this.#words,
        acceptedAt,
        failed,
        terminal,
      },
      Date.now(),
    );
    publisher.publish(status);
  }

  /** Containers as the status shows them: one whose postStart hook still runs has not started yet. */
  #shown(): Map<string, readonly Container[]> {
    const { context, health, pod, starting } = this.#options;
    const out = new Map<string, readonly Container[]>(containersOf(context.runtime, uidOf(pod())));
    for (const name of starting()) {
      const list = out.get(name) ?? [];
      const newest = list.at(-1);
      if (newest === undefined || newest.state === 'exited' || health.get(newest.id) !== undefined) continue;
      if (list.length === 1) out.delete(name);
      else out.set(name, list.slice(0, -1));
    }
    return out;
  }
}
