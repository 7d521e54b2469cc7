import { errorMessage, type Logger } from '@weft/plan';
import type { Target } from '../client/channel.ts';
import { fetchZone, querySoa } from '../client/transfer.ts';
import { keyToText, type NameKey, nameFromText, type Rr, type Soa } from '../wire/index.ts';
import { Zone } from './zone.ts';

/** What a secondary zone needs of the world; tests hand in their own. */
export interface SecondaryOptions {
  readonly origin: NameKey;
  readonly primaries: readonly Target[];
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly querySoa?: (target: Target, origin: Uint8Array) => Promise<Soa>;
  readonly fetchZone?: (target: Target, origin: Uint8Array, signal: AbortSignal) => Promise<Rr[]>;
}

/** First pause after a failure while there is no zone yet; it doubles up to the limit. */
const FIRST_RETRY_S = 1;
const MAX_FIRST_RETRY_S = 300;
/** Longest pause that a timer takes. */
const MAX_PAUSE_S = 2_000_000;

/**
 * A zone kept as a primary has it: asked for its serial at the SOA record's times (RFC 1035 section 3.3.13), fetched when
 * that is newer, and given up when no primary has answered for the time to expire.
 */
export class SecondaryZone {
  zone: Zone | undefined;
  readonly #options: SecondaryOptions;
  readonly #wire: Uint8Array;
  readonly #name: string;
  readonly #listeners = new Set<(zone: Zone | undefined) => void>();
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #again = false;
  #confirmed = 0;
  #failures = 0;

  constructor(options: SecondaryOptions) {
    this.#options = options;
    this.#name = keyToText(options.origin);
    this.#wire = nameFromText(this.#name);
  }

  /** Calls with the zone as it is and at every change. Returns how to stop it. */
  follow(listener: (zone: Zone | undefined) => void): () => void {
    this.#listeners.add(listener);
    listener(this.zone);
    return () => void this.#listeners.delete(listener);
  }

  /** Asks the primaries now: at the start, and when one of them says that the zone has changed. */
  check(): Promise<void> {
    if (this.#checking !== undefined) this.#again = true;
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
      if (!this.#again || this.#stop.signal.aborted) return;
      this.#again = false;
      void this.check();
    });
    return this.#checking;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#stop.abort();
    this.#listeners.clear();
  }

  async #check(): Promise<void> {
    clearTimeout(this.#timer);
    const { primaries, log, now } = this.#options;
    let confirmed = false;
    for (const primary of primaries) {
      try {
        await this.#takeFrom(primary);
        confirmed = true;
        break;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        log.warn(`plugin/secondary: ${this.#name} from ${primary.host}:${primary.port}: ${errorMessage(error)}`);
      }
    }
    if (this.#stop.signal.aborted) return;
    if (confirmed) {
      this.#confirmed = now();
      this.#failures = 0;
    } else this.#failures += 1;
    const { zone } = this;
    if (zone !== undefined && now() - this.#confirmed >= zone.timers.expire * 1000) {
      log.error(`plugin/secondary: ${this.#name} has expired: no primary answers`);
      this.#use(undefined);
    }
    this.#timer = setTimeout(() => void this.check(), this.#pause(confirmed) * 1000).unref();
  }

  /** Seconds until the next look. */
  #pause(confirmed: boolean): number {
    const { zone } = this;
    if (zone === undefined) return Math.min(MAX_FIRST_RETRY_S, FIRST_RETRY_S * 2 ** Math.min(this.#failures - 1, 16));
    const { refresh, retry, expire } = zone.timers;
    const left = expire - (this.#options.now() - this.#confirmed) / 1000;
    return Math.min(Math.max(1, Math.min(confirmed ? refresh : retry, left)), MAX_PAUSE_S);
  }

  async #takeFrom(primary: Target): Promise<void> {
    const { origin, log } = this.#options;
    if (this.zone !== undefined) {
      const soa = await (this.#options.querySoa ?? querySoa)(primary, this.#wire);
      if (!isNewer(soa.serial, this.zone.serial)) return;
    }
    const records = await (this.#options.fetchZone ?? fetchZone)(primary, this.#wire, this.#stop.signal);
    const zone = new Zone(origin, records);
    log.info(`plugin/secondary: ${this.#name} transferred from ${primary.host}:${primary.port}, serial ${zone.serial}`);
    this.#use(zone);
  }

  #use(zone: Zone | undefined): void {
    this.zone = zone;
    for (const listener of this.#listeners) listener(zone);
  }
}

/** Serial number arithmetic (RFC 1982). */
function isNewer(serial: number, than: number): boolean {
  const difference = (serial - than) >>> 0;
  return difference !== 0 && difference < 0x8000_0000;
}
