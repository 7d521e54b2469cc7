import type { NetNs } from '@weft/kernel';
import { type Diff, type Logger, type Plan, silentLogger } from '@weft/plan';
import type { FamilyConfig } from '../config.ts';
import type { Capabilities, DataPlane, StartReport } from '../dataplane.ts';
import type { Planned } from '../model/types.ts';
import { NftablesDataPlane } from '../nftables/dataplane.ts';
import { NO_CHANGE, wholePlan } from '../whole.ts';
import { type EbpfPlaces, removeSocketPrograms, removeSockets, SocketKernel } from './kernel.ts';
import { SocketMaps } from './sockets.ts';

export interface EbpfOptions {
  readonly places: EbpfPlaces;
  /** One configuration per family that is served. */
  readonly tables: readonly FamilyConfig[];
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly log?: Logger;
}

/**
 * Services by eBPF at sockets: a TCP connection to a ClusterIP is led to its endpoint when a program asks for it, and no
 * packet is translated. What sockets cannot be led to without a difference that clients or servers would see goes by the
 * table of the nftables data plane, which is always complete.
 */
export class EbpfDataPlane implements DataPlane {
  readonly name = 'ebpf';
  readonly capabilities: Capabilities;
  readonly sharesNftables = true;
  readonly #options: EbpfOptions;
  readonly #log: Logger;
  readonly #packets: NftablesDataPlane;
  #kernel: SocketKernel | undefined;
  /** Empty while not all of the plan is known, or when the maps are not as they should be. */
  #states: SocketMaps[] = [];
  #complete = false;

  constructor(options: EbpfOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#packets = new NftablesDataPlane(options);
    this.capabilities = this.#packets.capabilities;
  }

  async start(): Promise<StartReport> {
    this.#kernel = new SocketKernel(this.#options.places);
    return this.#packets.start();
  }

  async apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void> {
    await this.#packets.apply(diff, applied);
    // Before the whole plan is known, what an earlier agent left goes on.
    if (this.#complete) this.#lead(diff, applied);
  }

  async complete(applied: Plan<Planned>): Promise<void> {
    await this.#packets.complete(applied);
    this.#rebuild(wholePlan(NO_CHANGE, applied));
    this.#complete = true;
  }

  async audit(applied: Plan<Planned>): Promise<number> {
    const wrong = await this.#packets.audit(applied);
    if (!this.#complete) return wrong;
    if (this.#states.length === 0 && this.#led.length > 0) {
      this.#rebuild(wholePlan(NO_CHANGE, applied));
      return wrong + 1;
    }
    const sockets = this.#kernel?.audit(this.#states) ?? 0;
    if (sockets > 0) this.#log.warn('maps or programs of sockets were not as written', { entries: sockets });
    return wrong + sockets;
  }

  async stop(): Promise<void> {
    this.#kernel?.close();
    this.#kernel = undefined;
    this.#states = [];
    await this.#packets.stop();
  }

  async cleanup(next?: DataPlane): Promise<void> {
    this.#kernel?.close();
    this.#kernel = undefined;
    this.#states = [];
    this.#complete = false;
    removeSockets(this.#options.places.pins);
    await this.#packets.cleanup(next);
  }

  /** Families whose sockets are led: where everything is masqueraded, packets have to be. */
  get #led(): FamilyConfig[] {
    return this.#options.tables.filter((table) => !table.masqueradeAll);
  }

  #lead(diff: Diff<Planned>, applied: Plan<Planned>): void {
    const kernel = this.#kernel as SocketKernel;
    const now = performance.now();
    try {
      const changes = this.#states.map((state) => [state.family, state.update(diff, now)] as const);
      if (this.#states.length === 0 || changes.some(([, change]) => change === undefined)) {
        return this.#rebuild(wholePlan(diff, applied));
      }
      for (const [family, change] of changes) if (change !== undefined) kernel.write(family, change);
    } catch (error) {
      this.#fallBack(error);
    }
  }

  #rebuild(whole: Diff<Planned>): void {
    const kernel = this.#kernel as SocketKernel;
    const plan = [...whole.added.values()].map(({ value }) => value);
    try {
      const states = this.#led.map(({ family }) => new SocketMaps(family, plan));
      for (const state of states) {
        if (state.update(whole, performance.now()) === undefined)
          throw new Error('the maps are too small for the plan');
      }
      kernel.replace(states);
      this.#states = states;
    } catch (error) {
      this.#fallBack(error);
    }
  }

  /** Packets find their way without; an old map would lead sockets to endpoints that are gone. */
  #fallBack(error: unknown): void {
    this.#log.error('sockets cannot be led, packets are translated until the next change', { error });
    this.#states = [];
    removeSocketPrograms(this.#options.places.pins);
  }
}
