import { errorMessage, type Logger } from '@weft/plan';
import { CLASS, encodeReply, isRejected, parseQuery, type Query, RCODE, TYPE } from '../wire/index.ts';
import { bareReply, type Outcome, type Reply, type Serve } from './handler.ts';
import type { Cell } from './metrics.ts';
import { type PacketContext, replyLimits, Request } from './request.ts';
import { ZoneMap } from './zoneset.ts';

/** Told about every finished query of a block. */
export interface Observer {
  finished(request: Request, reply: Reply, size: number, started: number): void;
}

/** Answers some queries of a block straight from a table. Undefined leaves the query to the chain. */
export interface FastPath {
  answer(query: Query, zoneOffset: number, context: PacketContext): Buffer | undefined;
}

/** A zone as served at one address. */
export interface SiteZone {
  /** Undefined for a block without plugins: all its names are refused. */
  readonly serve: Serve | undefined;
  readonly observers: readonly Observer[];
  readonly fast: FastPath | undefined;
}

/** What is served at one address: the one way from a packet to its answer, whatever the socket. */
export class Site {
  readonly zones = new ZoneMap<SiteZone>();
  /** True when a block wants queries of class CH. */
  chaos = false;
  readonly #log: Logger;
  readonly #panics: Cell;

  constructor(log: Logger, panics: Cell) {
    this.#log = log;
    this.#panics = panics;
  }

  /** The answer to a packet; undefined when it deserves none. */
  respond(packet: Uint8Array, context: PacketContext): Buffer | undefined | Promise<Buffer | undefined> {
    const query = parseQuery(packet);
    if (isRejected(query)) return query.drop ? undefined : Buffer.from(query.reply);
    if (query.class !== CLASS.IN && query.class !== CLASS.ANY && !(query.class === CLASS.CH && this.chaos)) {
      return encodeReply(query, bareReply(RCODE.REFUSED), replyLimits(query, context));
    }
    if (query.edns !== undefined && query.edns.version !== 0) {
      return encodeReply(query, bareReply(RCODE.BADVERS), replyLimits(query, context));
    }
    const match = this.#match(query);
    if (match === undefined || match.value.serve === undefined) {
      return encodeReply(query, bareReply(RCODE.REFUSED), replyLimits(query, context));
    }
    const zone = match.value;
    if (zone.fast !== undefined) {
      const bytes = zone.fast.answer(query, match.offset, context);
      if (bytes !== undefined) return bytes;
    }
    const started = zone.observers.length === 0 ? 0 : performance.now();
    const request = new Request(query, context);
    let outcome: Outcome | Promise<Outcome>;
    try {
      outcome = (zone.serve as Serve)(request);
    } catch (error) {
      return this.#finish(zone, request, this.#panicked(request, error), started);
    }
    if (!(outcome instanceof Promise)) return this.#finish(zone, request, outcome, started);
    return outcome.then(
      (settled) => this.#finish(zone, request, settled, started),
      (error: unknown) => this.#finish(zone, request, this.#panicked(request, error), started),
    );
  }

  /** The outcome of a query that the server asks itself. */
  ask(request: Request): Outcome | Promise<Outcome> {
    const serve = this.#match(request.query)?.value.serve;
    if (serve === undefined) return bareReply(RCODE.REFUSED);
    try {
      const outcome = serve(request);
      return outcome instanceof Promise ? outcome.catch((error: unknown) => this.#panicked(request, error)) : outcome;
    } catch (error) {
      return this.#panicked(request, error);
    }
  }

  #finish(zone: SiteZone, request: Request, outcome: Outcome, started: number): Buffer {
    const reply = outcome.kind === 'reply' ? outcome : bareReply(outcome.rcode, outcome.by);
    const bytes = encodeReply(request.query, reply, request.limits);
    for (let i = 0; i < zone.observers.length; i++) {
      (zone.observers[i] as Observer).finished(request, reply, bytes.length, started);
    }
    return bytes;
  }

  #panicked(request: Request, error: unknown): Reply {
    this.#panics.value += 1;
    this.#log.error(`answering ${request.name} failed: ${errorMessage(error)}`, { error });
    return bareReply(RCODE.SERVFAIL);
  }

  #match(query: Query): { value: SiteZone; offset: number } | undefined {
    const match = this.zones.match(query.key, query.labels);
    if (query.type !== TYPE.DS || match === undefined) return match;
    // DS records live in the parent zone (RFC 4035 section 3.1.4.1): take the widest zone below the root.
    let widest = match;
    for (;;) {
      const from = query.labels.indexOf(widest.offset) + 1;
      const next = from === 0 ? undefined : this.zones.match(query.key, query.labels, from);
      if (next === undefined || next.offset >= query.key.length - 1) return widest;
      widest = next;
    }
  }
}
