import { Conntrack, type Flow, type NetNs, values } from '@weft/kernel';
import type { Family } from '@weft/net';
import type { Diff, Logger } from '@weft/plan';
import { type Packed, packAddress, packPort } from '../model/packed.ts';
import type { Planned } from '../model/types.ts';
import { ChangedFrontends, type UdpFlow } from './stale.ts';

const UDP = 17;
const RETRY_MS = 1000;

export interface UdpCleanerOptions {
  readonly families: readonly Family[];
  readonly ns?: NetNs;
  readonly log: Logger;
  /** Packed addresses of this node. */
  readonly nodeAddresses: () => readonly Packed[];
  /** Called after each look at the connection table. */
  readonly observe?: (seconds: number, deleted: number) => void;
}

function packFlow(flow: Flow): UdpFlow {
  return {
    destination: packAddress(flow.orig.dst) ?? '',
    destinationPort: flow.orig.dport,
    answers: (packAddress(flow.reply.src) ?? '') + packPort(flow.reply.sport),
    translated: (flow.status & values.CT_STATUS.dnat) !== 0,
  };
}

/**
 * Makes the kernel forget UDP flows to endpoints that are gone, after the rules have changed. Changes that arrive while
 * the connection table is read share the next reading.
 */
export class UdpCleaner {
  readonly #options: UdpCleanerOptions;
  #pending = new ChangedFrontends();
  #running: Promise<void> | undefined;
  #conntrack: Conntrack | undefined;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: UdpCleanerOptions) {
    this.#options = options;
  }

  /** Call after the change is in effect. Does not wait for the clean-up. */
  note(diff: Diff<Planned>): void {
    this.#pending.note(diff);
    this.#start();
  }

  /** Resolves when all that was noted has been cleaned, or has failed. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.idle();
    this.#conntrack?.close();
    this.#conntrack = undefined;
  }

  #start(): void {
    if (this.#pending.isEmpty || this.#running !== undefined || this.#stopped) return;
    this.#running = this.#clean().finally(() => {
      this.#running = undefined;
      if (this.#retry === undefined) this.#start();
    });
  }

  async #clean(): Promise<void> {
    const work = this.#pending;
    this.#pending = new ChangedFrontends();
    const started = performance.now();
    try {
      this.#conntrack ??= Conntrack.open(this.#options.ns);
      const addresses = new Set(this.#options.nodeAddresses());
      let deleted = 0;
      for (const family of this.#options.families) {
        deleted += await this.#conntrack.deleteWhere(
          { family, proto: UDP },
          (flow) => work.hasPort(flow.orig.dport) && work.isStale(packFlow(flow), addresses),
        );
      }
      this.#options.observe?.((performance.now() - started) / 1000, deleted);
      if (deleted > 0) this.#options.log.debug('forgot UDP flows to endpoints that are gone', { flows: deleted });
    } catch (error) {
      this.#options.log.warn('could not clean UDP flows, trying again', { error });
      this.#pending.restore(work);
      if (this.#stopped) return;
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#start();
      }, RETRY_MS);
      this.#retry.unref();
    }
  }
}
