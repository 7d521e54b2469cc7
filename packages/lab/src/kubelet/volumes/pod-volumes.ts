import type { Pod } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { NodeContext } from '../context.ts';
import { uidOf } from '../pod.ts';
import { hasPayload, type PayloadContext, referencedObjects } from './payload.ts';
import { setUpVolume, tearDownVolumes } from './volumes.ts';

/** Waits between tries, in milliseconds; a change of an object that the pod refers to ends the wait. */
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

/** The volumes of one pod. */
export class PodVolumes {
  readonly #context: NodeContext;
  readonly #podDir: string;
  readonly #onFailure: (message: string) => void;
  #ready: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #objects = new Set<string>();
  #refreshing = false;
  #again = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: NodeContext, podDir: string, onFailure: (message: string) => void) {
    this.#context = context;
    this.#podDir = podDir;
    this.#onFailure = onFailure;
  }

  /** True for `configmaps/ns/name` or `secrets/ns/name` that a volume is made from. */
  refersTo(key: string): boolean {
    return this.#objects.has(key);
  }

  /** Resolves once all volumes are set up; tries again until they are, or until `stopped`. */
  ready(pod: Pod, stopped: () => boolean): Promise<void> {
    this.#ready ??= this.#setUp(pod, stopped);
    return this.#ready;
  }

  /** Brings files up to date with the objects they are made from. */
  async refresh(pod: Pod): Promise<void> {
    this.#wake?.();
    // Before the first set-up there is nothing to bring up to date.
    if (this.#ready === undefined) return;
    await this.#ready;
    if (this.#refreshing) {
      this.#again = true;
      return;
    }
    this.#refreshing = true;
    try {
      do {
        this.#again = false;
        for (const volume of pod.spec.volumes ?? []) {
          if (hasPayload(volume)) await setUpVolume(this.#podDir, volume, this.#payload(pod));
        }
      } while (this.#again);
    } catch (error) {
      this.#onFailure(errorMessage(error));
    } finally {
      this.#refreshing = false;
      this.#renewTokens(pod);
    }
  }

  /** Ends waiting; nothing is set up any more. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  remove(pod: Pod): void {
    this.cancel();
    tearDownVolumes(this.#podDir, pod);
  }

  async #setUp(pod: Pod, stopped: () => boolean): Promise<void> {
    this.#objects = referencedObjects(pod);
    const payload = this.#payload(pod);
    for (let tries = 0; !stopped(); tries++) {
      const results = await Promise.allSettled(
        (pod.spec.volumes ?? []).map((volume) => setUpVolume(this.#podDir, volume, payload)),
      );
      const failure = results.find((r) => r.status === 'rejected');
      if (failure === undefined) {
        this.#renewTokens(pod);
        return;
      }
      this.#onFailure(errorMessage(failure.reason));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  #payload(pod: Pod): PayloadContext {
    const { objects, nodeIPs, allocatable, tokens } = this.#context;
    return {
      pod,
      objects,
      addresses: { podIPs: [], hostIPs: nodeIPs },
      allocatable,
      token: (audience, seconds) => tokens.get(pod, audience, seconds),
    };
  }

  #renewTokens(pod: Pod): void {
    clearTimeout(this.#timer);
    const at = this.#context.tokens.nextRenewal(uidOf(pod));
    if (at === undefined) return;
    this.#timer = setTimeout(() => void this.refresh(pod), Math.max(10_000, Math.min(at - Date.now(), 0x7fffffff)));
    this.#timer.unref();
  }
}
