import { FLAG, type NameKey, type Query, RCODE, type ReplyContent, type Rr } from '../wire/index.ts';
import type { Provenance } from '@weft/plan';
import type { Request, ServedAt } from './request.ts';
import type { Observer } from './site.ts';

/** An answer that a plugin gives. Immutable: plugins that change answers make a new one. */
export interface Reply extends ReplyContent {
  readonly kind: 'reply';
  /** The plugin that gave it, for metrics and explanations. */
  readonly by: string;
  /** True for answers that a table in memory gives anew at any time: caching could only make them stale. */
  readonly own?: boolean;
}

/** Nobody answered: the server itself says `rcode` (SERVFAIL or REFUSED mostly), and `error` says why. */
export interface Failure {
  readonly kind: 'failure';
  readonly rcode: number;
  readonly by: string;
  readonly error?: Error;
}

/** In the place of a failure's code: the client gets no answer at all. */
export const NO_ANSWER = -1;

export type Outcome = Reply | Failure;

/** Answers that are ready stay synchronous: a promise per query would cost more than the answer. */
export type Serve = (request: Request) => Outcome | Promise<Outcome>;

/** Names that a plugin has answers for at any time, for those who keep answers where the chain is not asked. */
export interface NameSource {
  /** Names in wire form; with `changed` only those that this change concerns. */
  names(changed?: unknown): Iterable<Uint8Array>;
  /** Calls back at every change, with what `names` takes, once the new answers are there. Returns how to stop it. */
  onChange(listener: (changed: unknown) => void): () => void;
}

/** A name of which it is known whether it exists. */
export interface KnownName {
  /** Wire form. */
  readonly name: Uint8Array;
  readonly exists: boolean;
  /** Every name right below is known too: one that is not does not exist. */
  readonly closed: boolean;
  /** A zone of the plugin begins here: denials of names below are its own. */
  readonly apex?: boolean;
}

/** What has changed in the answers of a plugin. */
export interface AnswerChange {
  /** Answers that depend on these have; undefined for all answers. */
  readonly scopes: readonly string[] | undefined;
  /** Names that have come or gone; undefined when all of them are to be asked for again. */
  readonly names: Iterable<KnownName> | undefined;
}

/** A plugin whose answers may be kept by others until it says that they have changed. */
export interface AnswerSource {
  /**
   * What the answer to a query depends on. Undefined when the plugin hands it over to the next one; null when its answer must
   * not be kept.
   */
  scopeOf(query: Query): string | null | undefined;
  /** Names that exist, as far as the plugin can tell which do not. */
  names(): Iterable<KnownName>;
  /** Serial of the SOA records in its answers, which alone may change without a word. */
  serial(): number;
  /** Calls back once the new answers are there. Returns how to stop it. */
  onChange(listener: (change: AnswerChange) => void): () => void;
}

/** An answer that a cache would give now. */
interface KeptAnswer {
  /** With the names that stand in the question left out, and TTLs that do not matter. */
  readonly reply: Reply;
  /** Seconds that it was good for at `storedAt`, which is in milliseconds since the epoch. */
  readonly ttl: number;
  readonly storedAt: number;
  /** False when the TTL ages. */
  readonly keepTtl: boolean;
  readonly denial: boolean;
  /** Names the answer among all of the cache. */
  readonly key: string;
}

/** A cache whose answers may be given by others as long as they are fresh. */
export interface AnswerCache {
  /** The fresh answer to a query; `dnssec`: with the DO bit. Counts nothing. */
  peek(query: Query, dnssec: boolean): KeptAnswer | undefined;
  /** Calls back when the answer of a key is replaced or gone before its time. Returns how to stop it. */
  onChange(listener: (key: string) => void): () => void;
}

/** Zones that a plugin has whole and `transfer` may hand over. */
export interface TransferSource {
  /** Origins in lower case. */
  origins(): Iterable<NameKey>;
  /** The records of a zone, its SOA record first and only there. Undefined when the plugin has no such zone now. */
  zone(origin: NameKey): { readonly soa: Rr; readonly records: Iterable<Rr> } | undefined;
  /** Calls back when a zone has changed. Returns how to stop it. */
  onChange(listener: (origin: NameKey) => void): () => void;
}

/** A Service as `k8s_external` sees it. */
export interface ExternalService {
  /** Addresses outside of the cluster, and names of load balancers. */
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly name: string; readonly protocol: string; readonly port: number }[];
  readonly headless: boolean;
  /** Ready endpoints, of one port or of all. */
  endpoints(port?: string, protocol?: string): { readonly host: string; readonly port: number }[];
  /** The endpoint of this label, given as it stands in a NameKey. */
  endpoint(label: NameKey): { readonly host: string; readonly port: number }[];
}

/** Services and their addresses outside of the cluster. */
export interface ExternalSource {
  /** Is there a namespace of this label? */
  namespace(label: NameKey): boolean;
  /** The Service of these two labels, as they stand in a NameKey. */
  service(labels: NameKey): ExternalService | undefined;
  /** Seconds since the epoch of the last change. */
  serial(): number;
  ready(): boolean;
}

/** Which clients a block is for, and its name in the metrics. */
export interface View {
  readonly name: string;
  accepts(request: Request): boolean;
}

/** One plugin of a server block at work. */
export interface Handler {
  readonly name: string;
  /** Answers, or hands over to `next`. */
  serve(request: Request, next: Serve): Outcome | Promise<Outcome>;
  /**
   * Does this plugin answer the name from its own data right now? Asked by plugins that stand before it in the chain
   * and would otherwise answer from memory.
   */
  owns?(key: NameKey, labels: readonly number[]): boolean;
  /** An answer that needs neither the rest of the chain nor a client's address; undefined leaves it to `serve`. */
  quick?(query: Query): Reply | undefined;
  /**
   * True when an answer that a later plugin owns passes this one unchanged and unremembered. Only past such plugins may
   * `quick` be asked first.
   */
  readonly transparent?: true;
  /** Changes an answer on its way back and nothing else: what `serve` does after `next`. */
  adjust?(query: Query, reply: Reply): Reply;
  /** True when `adjust` depends on the question alone, and does nothing else. */
  readonly steady?: true;
  /** True when all that `adjust` does is to bring addresses and mail exchangers into any other order, except in SRV answers. */
  readonly spreads?: true;
  readonly answers?: AnswerSource;
  readonly cached?: AnswerCache;
  readonly source?: NameSource;
  readonly transfers?: TransferSource;
  readonly external?: ExternalSource;
  /** Search domains of the client that asks, for `autopath`; undefined when it is not known. */
  searchPath?(request: Request): readonly string[] | undefined;
  /** The API objects behind the answers to a name. */
  explain?(key: NameKey): readonly Provenance[];
  /** Leaves queries that it does not accept to other blocks of the zone. */
  readonly filter?: View;
  /** Says what it knows about a query; asked before the chain. */
  describe?(request: Request, say: (label: string, value: () => string) => void): void;
  /** Gathers what the plugins of the block know, for those who ask by label. */
  readonly collect?: (request: Request) => void;
  /** Who is told about every finished query at an address. */
  observer?(at: ServedAt): Observer;
  /** Tells the plugin which ones come after it, once, when the chain is made. */
  linked?(later: readonly Handler[]): void;
}

/** The end of a chain: nobody was responsible. */
const endOfChain: Serve = () => ({ kind: 'failure', rcode: RCODE.REFUSED, by: '' });

/** In the place of the next handler's outcome, for those who ask one handler alone. */
export const PASSED: Failure = { kind: 'failure', rcode: NO_ANSWER, by: '' };

/** Links handlers so that each can hand over to the one after it. */
export function chain(handlers: readonly Handler[], end: Serve = endOfChain): Serve {
  return handlers.reduceRight<Serve>((next, handler) => (request) => handler.serve(request, next), end);
}

/** Continues with an outcome, without a promise when it is there already. */
export function andThen<T>(
  outcome: Outcome | Promise<Outcome>,
  continuation: (outcome: Outcome) => T | Promise<T>,
): T | Promise<T> {
  return outcome instanceof Promise ? outcome.then(continuation) : continuation(outcome);
}

const NONE: readonly Rr[] = [];

/** An authoritative answer. */
export function authoritative(
  by: string,
  content: {
    rcode?: number;
    answers?: readonly Rr[];
    authority?: readonly Rr[];
    additional?: readonly Rr[];
    own?: boolean;
  },
): Reply {
  return {
    kind: 'reply',
    by,
    rcode: content.rcode ?? RCODE.NOERROR,
    flags: FLAG.AA,
    answers: content.answers ?? NONE,
    authority: content.authority ?? NONE,
    additional: content.additional ?? NONE,
    own: content.own ?? false,
  };
}

export function failure(by: string, rcode: number, error?: Error): Failure {
  return error === undefined ? { kind: 'failure', rcode, by } : { kind: 'failure', rcode, by, error };
}

/** What the server says when nobody answered: the code alone, not authoritative. */
export function bareReply(rcode: number, by = ''): Reply {
  return { kind: 'reply', by, rcode, flags: 0, answers: NONE, authority: NONE, additional: NONE };
}
