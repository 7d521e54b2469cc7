import { endpointWidth, formatAddress, type Packed, portOf, unpackList } from '../model/packed.ts';
import type { Family } from '@weft/net';

/** An endpoint as a socket wants it. */
export interface Target {
  /** Packed endpoint: its identity. */
  readonly key: Packed;
  readonly address: string;
  readonly port: number;
}

/** Clients remembered from which on those whose time is over are looked for. */
const SWEEP_AT = 1024;

/** Which endpoint each client of a service port stays with (sessionAffinity ClientIP), in all its pools. */
export class Affinity {
  /** Milliseconds; 0: clients are not kept. */
  #ttl = 0;
  readonly #clients = new Map<string, { readonly key: Packed; readonly at: number }>();
  #sweepAt = SWEEP_AT;
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  set seconds(seconds: number) {
    this.#ttl = seconds * 1000;
    if (seconds === 0) this.#clients.clear();
  }

  get size(): number {
    return this.#clients.size;
  }

  of(client: string): Packed | undefined {
    const known = this.#clients.get(client);
    return known !== undefined && this.#now() - known.at < this.#ttl ? known.key : undefined;
  }

  set(client: string, key: Packed): void {
    if (this.#ttl === 0) return;
    const now = this.#now();
    if (this.#clients.size >= this.#sweepAt) {
      for (const [other, { at }] of this.#clients) if (now - at >= this.#ttl) this.#clients.delete(other);
      this.#sweepAt = Math.max(SWEEP_AT, this.#clients.size * 2);
    }
    this.#clients.set(client, { key, at: now });
  }

  forget(client: string): void {
    this.#clients.delete(client);
  }
}

/** The endpoints behind one listening socket, taken in turns. */
export class Pool {
  readonly #family: Family;
  readonly #affinity: Affinity;
  readonly #random: () => number;
  #targets: readonly Target[] = [];
  #list: Packed = '';
  #next = 0;

  constructor(family: Family, affinity: Affinity, random: () => number = Math.random) {
    this.#family = family;
    this.#affinity = affinity;
    this.#random = random;
  }

  get size(): number {
    return this.#targets.length;
  }

  /** Takes other endpoints, in a new order: nodes that learn of them at once must not all begin with the same one. */
  set(list: Packed): void {
    if (list === this.#list) return;
    this.#list = list;
    const targets = unpackList(list, endpointWidth(this.#family)).map((key) => ({
      key,
      address: formatAddress(key.slice(0, -2)),
      port: portOf(key),
    }));
    for (let i = targets.length - 1; i > 0; i--) {
      const other = Math.floor(this.#random() * (i + 1));
      [targets[i], targets[other]] = [targets[other] as Target, targets[i] as Target];
    }
    this.#targets = targets;
    this.#next = 0;
  }

  /** Where a client's next connection goes; undefined without endpoints. */
  take(client: string): Target | undefined {
    const friend = this.#affinity.of(client);
    const kept = friend === undefined ? undefined : this.#targets.find(({ key }) => key === friend);
    const target = kept ?? this.#targets[this.#next % Math.max(1, this.#targets.length)];
    if (target === undefined) return undefined;
    if (kept === undefined) this.#next = (this.#next + 1) % this.#targets.length;
    this.#affinity.set(client, target.key);
    return target;
  }

  /** The client's endpoint did not answer: the next one is to be tried. */
  failed(client: string): void {
    this.#affinity.forget(client);
  }
}
