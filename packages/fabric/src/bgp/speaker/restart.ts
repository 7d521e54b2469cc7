import type { Family } from '@weft/net';
import type { Negotiated } from '../fsm/index.ts';
import type { Rib } from '../rib/index.ts';

/** Longest time that a peer which is back may take to tell its routes, milliseconds. */
const CONFIRM_MS = 360_000;

/** Keeps a peer's routes while it restarts (RFC 4724 §4.2, the receiving speaker). */
export class RestartHelper {
  readonly #peer: string;
  readonly #host: { readonly rib: Rib; changed(): void };
  #timer: NodeJS.Timeout | undefined;

  constructor(peer: string, host: { readonly rib: Rib; changed(): void }) {
    this.#peer = peer;
    this.#host = host;
  }

  /** The session has ended. */
  down(negotiated: Negotiated | undefined, graceful: boolean): void {
    const restart = negotiated?.capabilities.gracefulRestart;
    if (!graceful || restart === undefined || restart.time === 0) {
      this.#stopTimer();
      this.#host.rib.clear(this.#peer);
      return;
    }
    const { rib } = this.#host;
    rib.retain(
      this.#peer,
      restart.families.map(({ family }) => family),
    );
    this.#purgeAfter(restart.time * 1000);
  }

  /** The peer is back. What it has not kept forwarding is not true any more. */
  up({ capabilities: { gracefulRestart }, families }: Negotiated): void {
    this.#stopTimer();
    for (const family of [4, 6] as const) {
      const kept = gracefulRestart?.families.find((f) => f.family === family)?.forwarding === true;
      if (!kept || !families.includes(family)) this.#host.rib.clear(this.#peer, { family, stale: true });
    }
    if (this.#host.rib.stale(this.#peer) > 0) this.#purgeAfter(CONFIRM_MS);
    this.#host.changed();
  }

  /** The peer has told all routes of a family. */
  ended(family: Family): void {
    this.#host.rib.clear(this.#peer, { family, stale: true });
  }

  close(): void {
    this.#stopTimer();
  }

  #purgeAfter(ms: number): void {
    this.#stopTimer();
    this.#timer = setTimeout(() => {
      this.#host.rib.clear(this.#peer, { stale: true });
      this.#host.changed();
    }, ms);
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
