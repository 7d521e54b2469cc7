import { EventRecorder, type KubeClient } from '@weft/kube';
import type { Logger } from '@weft/plan';

/** Events that are written at a time, for all recorders of a client together. */
const IN_FLIGHT = 2;

type Writes = Pick<KubeClient, 'create' | 'patch'>;

/**
 * Lets few writes through at a time, the others in order behind them. Events tell what was done; they must not take the
 * server's time from the doing when five hundred pods are made at once.
 */
class PacedWrites implements Writes {
  readonly #client: KubeClient;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  readonly create: Writes['create'] = (...args) => this.#pace(() => this.#client.create(...args));
  readonly patch: Writes['patch'] = (...args) => this.#pace(() => this.#client.patch(...args));

  async #pace<T>(write: () => Promise<T>): Promise<T> {
    if (this.#running >= IN_FLIGHT) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      return await write();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}

const paced = new WeakMap<KubeClient, PacedWrites>();

/** An EventRecorder for `component` that shares the few event writes of its client with all others. */
export function eventRecorder(options: { client: KubeClient; log: Logger }, component: string): EventRecorder {
  const { client, log } = options;
  let writes = paced.get(client);
  if (writes === undefined) {
    writes = new PacedWrites(client);
    paced.set(client, writes);
  }
  return new EventRecorder({ client: writes, component, log });
}
