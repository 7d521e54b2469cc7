import type { Container as ContainerDef, Pod } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Container } from '../runtime/index.ts';
import { BackoffTable, goDuration } from './backoff.ts';
import { type NodeContext, podEvent } from './context.ts';
import { allContainers, containerHash, definitionOf, podText } from './pod.ts';
import { StartError } from './starter.ts';
import type { Waiting } from './status.ts';

/** A definition that cannot be used is tried again after this time, or when an object it refers to changes. */
const CONFIG_RETRY_MS = 10_000;
/** How long `ErrImagePull` is shown before `ImagePullBackOff`. */
const PULL_ERROR_SHOWN_MS = 2000;

const keyOf = (def: ContainerDef): string => `${def.name}/${containerHash(def)}`;

/** What went wrong with the containers of a pod, how it is shown, and when they may be tried again. */
export class Setbacks {
  /** Why containers do not run, by name. */
  readonly waiting = new Map<string, Waiting>();
  readonly #context: NodeContext;
  readonly #pod: () => Pod;
  readonly #onChange: () => void;
  readonly #crashes = new BackoffTable();
  readonly #pulls = new BackoffTable();
  /** Not to be started before this time, for other reasons than a crash. */
  readonly #blocked = new Map<string, number>();
  #timers = new Set<NodeJS.Timeout>();

  constructor(context: NodeContext, pod: () => Pod, onChange: () => void) {
    this.#context = context;
    this.#pod = pod;
    this.#onChange = onChange;
  }

  /** When containers may be started again; names without a time may be at once. */
  until(containers: ReadonlyMap<string, readonly Container[]>, now: number): Map<string, number> {
    const out = new Map(this.#blocked);
    for (const { container: def } of allContainers(this.#pod())) {
      const newest = containers.get(def.name)?.at(-1);
      if (newest?.state !== 'exited') continue;
      const until = this.#crashes.until(keyOf(def), newest.finishedAt ?? 0, now);
      if (until !== undefined) out.set(def.name, Math.max(until, out.get(def.name) ?? 0));
    }
    return out;
  }

  /** A container is being started; after an earlier end of it, that counts. */
  starting(def: ContainerDef, last: Container | undefined): void {
    this.#blocked.delete(def.name);
    if (last !== undefined) this.#crashes.next(keyOf(def), last.finishedAt ?? 0, Date.now());
  }

  started(def: ContainerDef): void {
    this.waiting.delete(def.name);
    this.#pulls.forget(def.image ?? '');
  }

  failed(def: ContainerDef, error: unknown): void {
    const reason = error instanceof StartError ? error.reason : 'CreateContainerError';
    if (reason === 'PodTerminating') return;
    const message = errorMessage(error);
    if (!(error instanceof StartError)) {
      this.#context.log.error('cannot start a container', { pod: podText(this.#pod()), container: def.name, error });
    }
    this.waiting.set(def.name, { reason, message });
    const now = Date.now();
    if (reason === 'ErrImagePull') this.#pullFailed(def, message, now);
    else if (reason !== 'RunContainerError') this.#blocked.set(def.name, now + CONFIG_RETRY_MS);
  }

  /** Shows the wait of a container that crashed. */
  crashed(name: string, until: number): void {
    const blocked = this.#blocked.get(name);
    if (blocked !== undefined && blocked >= until) return;
    const pod = this.#pod();
    const def = definitionOf(pod, name);
    if (def === undefined) return;
    const delay = goDuration(this.#crashes.delay(keyOf(def)));
    const message = `back-off ${delay} restarting failed container=${name} pod=${podText(pod)}`;
    if (this.waiting.get(name)?.message === message) return;
    this.waiting.set(name, { reason: 'CrashLoopBackOff', message });
    const text = `Back-off restarting failed container ${name} in pod ${podText(pod)}`;
    podEvent(this.#context, pod, 'Warning', 'BackOff', text, name);
  }

  /** An object has changed: whoever may have waited for it need not wait any longer. */
  objectChanged(): void {
    for (const [name, { reason }] of this.waiting) {
      if (reason === 'CreateContainerConfigError') this.#blocked.delete(name);
    }
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #pullFailed(def: ContainerDef, message: string, now: number): void {
    const { name, image = '' } = def;
    this.#pulls.next(image, now, now);
    this.#blocked.set(name, now + this.#pulls.delay(image));
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.waiting.get(name)?.reason !== 'ErrImagePull') return;
      const pod = this.#pod();
      const text = `Back-off pulling image "${image}"`;
      this.waiting.set(name, { reason: 'ImagePullBackOff', message: `${text}: ErrImagePull: ${message}` });
      podEvent(this.#context, pod, 'Normal', 'BackOff', text, name);
      podEvent(this.#context, pod, 'Warning', 'Failed', 'Error: ImagePullBackOff', name);
      this.#onChange();
    }, PULL_ERROR_SHOWN_MS);
    timer.unref();
    this.#timers.add(timer);
  }
}
