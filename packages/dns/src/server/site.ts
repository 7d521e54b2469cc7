import { errorMessage, type Logger } from '@weft/plan';
import {
  CLASS,
  copyReply,
  isRejected,
  type NameKey,
  parseQuery,
  type Query,
  RCODE,
  replyBytes,
  TYPE,
  writeReply,
} from '../wire/index.ts';
import { bareReply, type Handler, NO_ANSWER, type Outcome, type Reply, type Serve, type View } from './handler.ts';
import type { Cell } from './metrics.ts';
import { type PacketContext, replyLimits, Request, type ServedAt } from './request.ts';
import type { Quick } from './quick.ts';
import type { ListenSettings } from './settings.ts';
import { ZoneMap } from './zoneset.ts';

/** Told about every finished query of a block. */
export interface Observer {
  finished(request: Request, reply: Reply, size: number, started: number): void;
}

/** Queries of one kind that were answered elsewhere and are told of together. */
export interface BulkAnswers {
  readonly type: number;
  readonly rcode: number;
  /** The plugin whose answers these are. */
  readonly by: string;
  readonly count: number;
  /** Bytes of all queries; each had at most 100. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Each answer had at most so many bytes, and more than the next smaller bucket of the metric. */
  readonly responseSize: number;
}

/** An observer that can count without seeing each query. */
export interface BulkObserver extends Observer {
  bulk(answers: BulkAnswers): void;
}

/** A zone as served at one address. */
export interface SiteZone {
  /** Undefined for a block without plugins: all its names are refused. */
  readonly serve: Serve | undefined;
  readonly at: ServedAt;
  /** The plugins of the block, in the order of the chain. */
  readonly handlers: readonly Handler[];
  readonly observers: readonly Observer[];
  /** Answers that need no chain. */
  readonly quick: Quick | undefined;
  /** Which clients this block is for; undefined for all. */
  readonly view: View | undefined;
  /** Gathers what plugins know about a query, before a view is chosen. */
  readonly collect: ((request: Request) => void) | undefined;
  /** The block to try when the view does not take a query. */
  next: SiteZone | undefined;
}

/** What is served at one address: the one way from a packet to its answer, whatever the socket. */
export class Site {
  readonly zones = new ZoneMap<SiteZone>();
  /** True when a block wants queries of class CH. */
  chaos = false;
  /** Who counts the queries that no block is asked about. */
  dropped: Observer | undefined;
  /** How the sockets of this address behave. */
  readonly settings: ListenSettings = {};
  /** Where the site is served; `::` for all addresses. */
  bound: { readonly address: string; readonly port: number } = { address: '::', port: 0 };
  /** True when the block that answers depends on more than the name. */
  #choosy = false;
  /** Told about every finished query of all zones, while somebody looks. Nobody does most of the time. */
  watchers: ReadonlySet<Observer> = new Set();
  readonly #log: Logger;
  readonly #panics: Cell;

  constructor(log: Logger, panics: Cell) {
    this.#log = log;
    this.#panics = panics;
  }

  /** True when the block that answers depends on more than the name: nobody may answer who does not see the client. */
  get choosy(): boolean {
    return this.#choosy;
  }

  /** Serves a zone by one more block. */
  add(zone: string, block: SiteZone): void {
    if (block.view !== undefined || block.collect !== undefined) this.#choosy = true;
    let last = this.zones.get(zone);
    if (last === undefined) {
      this.zones.set(zone, block);
      return;
    }
    while (last.next !== undefined) last = last.next;
    last.next = block;
  }

  /** The answer to a packet; undefined when it deserves none. */
  respond(packet: Uint8Array, context: PacketContext): Buffer | undefined | Promise<Buffer | undefined> {
    const answer = this.respondInPlace(packet, context);
    return typeof answer === 'number' ? (answer === 0 ? undefined : copyReply(answer)) : answer;
  }

  /**
   * The length of the answer, which lies at the start of `replyBytes` until the next call; 0 when the packet deserves
   * none. A promise brings its answer in memory of its own.
   */
  respondInPlace(packet: Uint8Array, context: PacketContext): number | Promise<Buffer> {
    const query = parseQuery(packet);
    if (isRejected(query)) {
      if (query.drop) return 0;
      replyBytes.set(query.reply);
      return query.reply.length;
    }
    const refusal = this.#refusal(query);
    if (refusal >= 0) return this.#refuse(query, context, refusal);
    const request = new Request(query, context);
    request.bound = this.bound;
    const zone = this.#choosy ? this.#choose(request) : this.#match(query);
    if (zone?.serve === undefined) return this.#refuse(query, context, RCODE.REFUSED);
    request.served = zone.at;
    const started = zone.observers.length === 0 ? 0 : performance.now();
    try {
      const outcome = (query.flags & 0x7800) === 0 ? (zone.quick?.(query) ?? zone.serve(request)) : zone.serve(request);
      if (!(outcome instanceof Promise)) return this.#finish(zone, request, outcome, started);
      return outcome.then(
        (settled) => copyReply(this.#finish(zone, request, settled, started)),
        (error: unknown) => copyReply(this.#finish(zone, request, this.#panicked(request, error), started)),
      );
    } catch (error) {
      return this.#finish(zone, request, this.#panicked(request, error), started);
    }
  }

  /** The answer to a query that no block is asked about. */
  #refuse(query: Query, context: PacketContext, rcode: number): number {
    const reply = bareReply(rcode);
    const length = writeReply(query, reply, replyLimits(query, context));
    this.dropped?.finished(new Request(query, context), reply, length, performance.now());
    return length;
  }

  /** The zone that a query is answered from; undefined when all of them are of others. */
  zoneOf(query: Query): NameKey | undefined {
    const offset = this.#offset(query);
    return offset < 0 ? undefined : query.key.slice(offset);
  }

  /** The code to refuse a query with whatever its name is; -1 for none. */
  #refusal(query: Query): number {
    const known = query.class === CLASS.IN || query.class === CLASS.ANY || (query.class === CLASS.CH && this.chaos);
    if (!known) return RCODE.REFUSED;
    return query.edns !== undefined && query.edns.version !== 0 ? RCODE.BADVERS : -1;
  }

  /** The outcome of a query that the server asks itself. */
  ask(request: Request): Outcome | Promise<Outcome> {
    request.bound = this.bound;
    const zone = this.#choosy ? this.#choose(request) : this.#match(request.query);
    if (zone?.serve === undefined) return bareReply(RCODE.REFUSED);
    request.served = zone.at;
    try {
      const outcome = zone.serve(request);
      return outcome instanceof Promise ? outcome.catch((error: unknown) => this.#panicked(request, error)) : outcome;
    } catch (error) {
      return this.#panicked(request, error);
    }
  }

  #finish(zone: SiteZone, request: Request, outcome: Outcome, started: number): number {
    if (outcome.kind === 'failure' && outcome.rcode === NO_ANSWER) return 0;
    const reply = outcome.kind === 'reply' ? outcome : bareReply(outcome.rcode, outcome.by);
    const length = writeReply(request.query, reply, request.limits);
    for (let i = 0; i < zone.observers.length; i++) {
      (zone.observers[i] as Observer).finished(request, reply, length, started);
    }
    if (this.watchers.size > 0) for (const watcher of this.watchers) watcher.finished(request, reply, length, started);
    return length;
  }

  #panicked(request: Request, error: unknown): Reply {
    this.#panics.value += 1;
    this.#log.error(`answering ${request.name} failed: ${errorMessage(error)}`, { error });
    return bareReply(RCODE.SERVFAIL);
  }

  #match(query: Query): SiteZone | undefined {
    const offset = this.#offset(query);
    return offset < 0 ? undefined : this.zones.at(query.key, offset);
  }

  /** The first block whose view takes the query, from the longest zone to the shortest. */
  #choose(request: Request): SiteZone | undefined {
    const { query } = request;
    const { key, labels } = query;
    let offset = this.#offset(query);
    while (offset >= 0) {
      for (let zone: SiteZone | undefined = this.zones.at(key, offset); zone !== undefined; zone = zone.next) {
        if (zone.serve === undefined) return zone;
        zone.collect?.(request);
        if (zone.view === undefined || zone.view.accepts(request)) return zone;
      }
      if (offset === key.length - 1) return undefined;
      offset = this.zones.find(key, labels, labels.indexOf(offset) + 1);
    }
    return undefined;
  }

  #offset(query: Query): number {
    const { key, labels } = query;
    let offset = this.zones.find(key, labels);
    // DS records live in the parent zone (RFC 4035 section 3.1.4.1): take the widest zone below the root.
    while (offset >= 0 && query.type === TYPE.DS && labels.includes(offset)) {
      const wider = this.zones.find(key, labels, labels.indexOf(offset) + 1);
      if (wider < 0 || wider === key.length - 1) break;
      offset = wider;
    }
    return offset;
  }
}
