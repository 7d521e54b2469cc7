import { WeftError } from '@weft/plan';
import { MAX_ID } from './layout.ts';

/** A packet that is being looked up may still hold the id of a Service that was just deleted. */
export const REUSE_DELAY_MS = 1000;

/** Service ids. One that was given back rests for a second before it is handed out again. */
export class IdPool {
  #next = 1;
  #freed: { readonly id: number; readonly at: number }[] = [];
  #head = 0;

  /** `now` in milliseconds, of any steady clock. */
  take(now: number): number {
    const oldest = this.#freed[this.#head];
    if (oldest !== undefined && oldest.at + REUSE_DELAY_MS <= now) {
      this.#head += 1;
      if (this.#head > 1024) {
        this.#freed = this.#freed.slice(this.#head);
        this.#head = 0;
      }
      return oldest.id;
    }
    if (this.#next <= MAX_ID) return this.#next++;
    throw new WeftError({
      code: 'SERVICE_IDS_EXHAUSTED',
      message: `no free service id: the nftables data plane holds at most ${MAX_ID} service ports`,
      hint: 'wait a second if many Services were just deleted, or use the ebpf data plane',
    });
  }

  give(id: number, now: number): void {
    this.#freed.push({ id, at: now });
  }

  /** Gives back all ids below the highest reserved one that are not in use. */
  giveGaps(used: ReadonlySet<number>, now: number): void {
    for (let id = 1; id < this.#next; id++) if (!used.has(id)) this.give(id, now);
  }

  /** Ids in the kernel that an earlier agent handed out. They and all below are not handed out unless given back. */
  reserve(used: Iterable<number>): void {
    for (const id of used) if (id >= this.#next) this.#next = id + 1;
  }
}
