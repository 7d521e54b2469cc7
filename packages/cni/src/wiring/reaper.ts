import type { Rtnl } from '@weft/kernel';
import type { Logger } from '@weft/plan';

/**
 * Deletes links in groups. The kernel takes some 20 ms to unregister a veth pair, and as long for a hundred of them
 * together, so whatever arrives while one group is on its way out leaves with the next.
 */
export class LinkReaper {
  readonly #rtnl: Rtnl;
  readonly #log: Logger;
  #waiting = new Map<string, { done: () => void; failed: (error: unknown) => void; promise: Promise<void> }>();
  #leaving = new Map<string, Promise<void>>();
  #running: Promise<void> | undefined;

  constructor(rtnl: Rtnl, log: Logger) {
    this.#rtnl = rtnl;
    this.#log = log;
  }

  /** Deletes a link by name; resolves when it is gone, also when it was. */
  remove(name: string): Promise<void> {
    const known = this.#waiting.get(name)?.promise ?? this.#leaving.get(name);
    if (known !== undefined) return known;
    let done: () => void = () => {};
    let failed: (error: unknown) => void = () => {};
    const promise = new Promise<void>((resolve, reject) => {
      done = resolve;
      failed = reject;
    });
    this.#waiting.set(name, { done, failed, promise });
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return promise;
  }

  /** Resolves when a link of this name is not on its way out, or not any more. */
  async settled(name: string): Promise<void> {
    await (this.#waiting.get(name)?.promise ?? this.#leaving.get(name))?.catch(() => {});
  }

  /** Resolves when nothing is left to delete. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const group = this.#waiting;
      this.#waiting = new Map();
      this.#leaving = new Map([...group].map(([name, entry]) => [name, entry.promise]));
      try {
        const indexes: number[] = [];
        for (const name of group.keys()) {
          const link = await this.#rtnl.links.get(name);
          if (link !== undefined) indexes.push(link.index);
        }
        await this.#rtnl.links.delMany(indexes);
        for (const entry of group.values()) entry.done();
      } catch (error) {
        this.#log.warn('cannot delete links', { links: [...group.keys()], error });
        for (const entry of group.values()) entry.failed(error);
      }
      this.#leaving = new Map();
    }
  }
}
