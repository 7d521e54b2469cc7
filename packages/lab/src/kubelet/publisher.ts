import { isStatus, type Pod, type PodStatus, resources } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { NodeContext } from './context.ts';
import { namespaceOf, uidOf } from './pod.ts';

/** A pod that is about to run is reported after this time at the latest, in milliseconds. */
const CALM_MS = 120;
const RETRY_MS = 1000;

/**
 * Writes the status of one pod to the API server: the newest one, one write at a time, and only differences. The first
 * steps of a pod follow each other within milliseconds and are written as one.
 */
export class StatusPublisher {
  readonly #context: NodeContext;
  readonly #key: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly #onGone: () => void;
  #wanted: PodStatus | undefined;
  #written: PodStatus | undefined;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(context: NodeContext, pod: Pod, onGone: () => void) {
    this.#context = context;
    this.#key = { namespace: namespaceOf(pod), name: pod.metadata.name, uid: uidOf(pod) };
    this.#written = pod.status;
    this.#onGone = onGone;
  }

  /** The status that the API server has or will have. */
  get latest(): PodStatus | undefined {
    return this.#wanted ?? this.#written;
  }

  publish(status: PodStatus): void {
    if (this.#closed || sameValue(status, this.latest)) return;
    this.#wanted = status;
    const first = this.#written?.containerStatuses === undefined && status.phase === 'Pending';
    this.#schedule(first ? CALM_MS : 0);
  }

  /** Resolves when the newest status has been written, or cannot be. */
  async flush(): Promise<void> {
    if (this.#wanted === undefined && this.#running === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
    if (this.#wanted !== undefined && !this.#closed) await this.#start();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    if (this.#running !== undefined || this.#closed) return;
    if (ms === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      void this.#start();
    } else this.#timer ??= setTimeout(() => void this.#start(), ms);
  }

  #start(): Promise<void> {
    this.#timer = undefined;
    this.#running ??= this.#write().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #write(): Promise<void> {
    while (this.#wanted !== undefined && !this.#closed) {
      const status = this.#wanted;
      const { namespace, name, uid } = this.#key;
      try {
        const body = { metadata: { uid }, status };
        await this.#context.client.patch(resources.pods, namespace, name, body, {
          type: 'merge',
          subresource: 'status',
        });
        this.#written = status;
        if (this.#wanted === status) this.#wanted = undefined;
      } catch (error) {
        // A pod of the same name with another uid is another pod.
        if (isStatus(error, 'NotFound') || isStatus(error, 'Conflict')) {
          this.close();
          this.#onGone();
          return;
        }
        this.#context.log.warn('cannot write the status of a pod; it is tried again', {
          pod: `${namespace}/${name}`,
          error,
        });
        this.#timer = setTimeout(() => void this.#start(), RETRY_MS);
        return;
      }
    }
  }
}
