import type { Family } from '@weft/net';
import { sameValue } from '@weft/plan';
import type { UpdateMessage } from '../codec/index.ts';
import { type Candidate, decide } from './decision.ts';
import { importRoute } from './import.ts';
import type { RibPeer, RibRoute, RibSelf } from './types.ts';

/** What became of a peer's routes. */
export interface PeerCount {
  readonly received: number;
  readonly accepted: number;
}

/** Routes that peers have sent (Adj-RIB-In) and our own, and which of them are used (Loc-RIB). No I/O. */
export class Rib {
  #self: RibSelf;
  readonly #peers = new Map<string, RibPeer>();
  /** Peer → prefix → route as it was sent. */
  readonly #raw = new Map<string, Map<string, RibRoute>>();
  /** Prefix → routes that may be used, one per peer. */
  readonly #usable = new Map<string, readonly RibRoute[]>();
  readonly #own = new Map<string, RibRoute>();
  readonly #best = new Map<string, readonly Candidate[]>();
  readonly #dirty = new Set<string>();

  constructor(self: RibSelf) {
    this.#self = self;
  }

  get self(): RibSelf {
    return this.#self;
  }

  /** Number of prefixes with a route in use. */
  get size(): number {
    return this.#best.size;
  }

  prefixes(): IterableIterator<string> {
    return this.#best.keys();
  }

  /** Routes in use for a prefix, the best first. */
  best(prefix: string): readonly Candidate[] {
    return this.#best.get(prefix) ?? [];
  }

  /** Routes of a peer as it sent them, with the reason where one is not used. */
  received(peer: string): readonly RibRoute[] {
    const info = this.#peers.get(peer);
    if (info === undefined) return [];
    return [...(this.#raw.get(peer)?.values() ?? [])].map((route) => importRoute(this.#self, info, route));
  }

  count(peer: string): PeerCount {
    const raw = this.#raw.get(peer);
    let accepted = 0;
    for (const prefix of raw?.keys() ?? [])
      if (this.#usable.get(prefix)?.some((route) => route.peer === peer) === true) accepted += 1;
    return { received: raw?.size ?? 0, accepted };
  }

  /** Changes who we are; everything is judged again. */
  setSelf(self: RibSelf): void {
    this.#self = self;
    for (const name of this.#peers.keys()) this.#judgeAll(name);
  }

  /** Makes a peer known, or changes what is known of it; its routes are judged again. */
  setPeer(peer: RibPeer): void {
    this.#peers.set(peer.name, peer);
    this.#judgeAll(peer.name);
  }

  peer(name: string): RibPeer | undefined {
    return this.#peers.get(name);
  }

  removePeer(name: string): void {
    this.clear(name);
    this.#raw.delete(name);
    this.#peers.delete(name);
  }

  /** Takes an UPDATE of a peer. Returns false when the peer has sent more than it may. */
  update(name: string, message: UpdateMessage): boolean {
    const peer = this.#peers.get(name);
    if (peer === undefined) return true;
    let raw = this.#raw.get(name);
    if (raw === undefined) this.#raw.set(name, (raw = new Map()));
    for (const { prefixes } of message.unreach) for (const prefix of prefixes) this.#remove(name, raw, prefix);
    const { attributes } = message;
    if (attributes === undefined) return true;
    for (const { family, nextHop, prefixes } of message.reach) {
      for (const prefix of prefixes) {
        const route: RibRoute = { prefix, family, nextHop, attributes, peer: name };
        raw.set(prefix, route);
        this.#judge(peer, route);
      }
    }
    return raw.size <= peer.maxPrefixes;
  }

  /** Sets our own routes; those that were there before and are not now are gone. */
  setOwn(routes: readonly RibRoute[]): void {
    const wanted = new Map(routes.map((route) => [route.prefix, route]));
    for (const prefix of this.#own.keys()) {
      if (wanted.has(prefix)) continue;
      this.#own.delete(prefix);
      this.#replace(prefix, undefined, undefined);
    }
    for (const [prefix, route] of wanted) {
      if (sameValue(this.#own.get(prefix), route)) continue;
      this.#own.set(prefix, route);
      this.#replace(prefix, undefined, route);
    }
  }

  /** Forgets what a peer sent, all of it or one family, or only what it has not confirmed since it restarted. */
  clear(name: string, which: { readonly family?: Family; readonly stale?: true } = {}): void {
    const raw = this.#raw.get(name);
    for (const [prefix, route] of raw ?? []) {
      if (which.family !== undefined && route.family !== which.family) continue;
      if (which.stale === true && route.stale !== true) continue;
      this.#remove(name, raw as Map<string, RibRoute>, prefix);
    }
  }

  /** The peer is away: its routes of these families stay in use, those of others go (RFC 4724 §4.2). */
  retain(name: string, families: readonly Family[]): void {
    const raw = this.#raw.get(name);
    for (const [prefix, route] of raw ?? []) {
      // What was stale before and has not been confirmed is not kept through a second restart.
      if (!families.includes(route.family) || route.stale === true)
        this.#remove(name, raw as Map<string, RibRoute>, prefix);
      else raw?.set(prefix, { ...route, stale: true });
    }
  }

  /** Number of routes that a peer has not confirmed since it restarted. */
  stale(name: string): number {
    let count = 0;
    for (const route of this.#raw.get(name)?.values() ?? []) if (route.stale === true) count += 1;
    return count;
  }

  /** Decides anew where something has changed. Returns the prefixes whose routes in use are others now. */
  settle(): readonly string[] {
    const changed: string[] = [];
    for (const prefix of this.#dirty) {
      const candidates = (this.#usable.get(prefix) ?? []).map((route): Candidate => {
        return { route, peer: route.peer === undefined ? undefined : this.#peers.get(route.peer) };
      });
      const next = decide(candidates);
      const before = this.#best.get(prefix) ?? [];
      if (next.length === before.length && next.every((c, i) => same(c, before[i]))) continue;
      if (next.length === 0) this.#best.delete(prefix);
      else this.#best.set(prefix, next);
      changed.push(prefix);
    }
    this.#dirty.clear();
    return changed;
  }

  #judgeAll(name: string): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    for (const route of this.#raw.get(name)?.values() ?? []) this.#judge(peer, route);
  }

  #judge(peer: RibPeer, raw: RibRoute): void {
    const route = importRoute(this.#self, peer, raw);
    this.#replace(raw.prefix, peer.name, route.rejected === undefined ? route : undefined);
  }

  #remove(name: string, raw: Map<string, RibRoute>, prefix: string): void {
    if (!raw.delete(prefix)) return;
    this.#replace(prefix, name, undefined);
  }

  #replace(prefix: string, peer: string | undefined, route: RibRoute | undefined): void {
    const before = this.#usable.get(prefix) ?? [];
    const others = before.length === 0 ? before : before.filter((r) => r.peer !== peer);
    if (route === undefined && others.length === before.length) return;
    const after = route === undefined ? others : [...others, route];
    if (after.length === 0) this.#usable.delete(prefix);
    else this.#usable.set(prefix, after);
    this.#dirty.add(prefix);
  }
}

/** The same route for all who see it; that it is stale does not show. */
function same(a: Candidate, b: Candidate | undefined): boolean {
  if (b === undefined || a.peer !== b.peer) return false;
  return a.route.attributes === b.route.attributes && a.route.nextHop === b.route.nextHop;
}
