import { performance } from 'node:perf_hooks';
import type { Clock } from '../server/plugin.ts';
import { type Handler, type KnownName, type Outcome, PASSED, type Reply } from '../server/handler.ts';
import { INTERNAL, type PacketContext, Request } from '../server/request.ts';
import type { Site, SiteZone } from '../server/site.ts';
import {
  copyReply,
  EDNS_DO,
  FLAG,
  isRejected,
  labelOffsets,
  type NameKey,
  nameKey,
  parseQuery,
  type Query,
  RCODE,
  replyBytes,
  TYPE,
} from '../wire/index.ts';
import { type Entry, givesForCase, LOWER_ONLY, type Shape, shapeOf } from './entry.ts';
import { ENTRY_FLAG, SERIALS, VARIANT } from './memory.ts';
import { type FastPlan, planFast } from './plan.ts';
import { Reader } from './reader.ts';
import type { Sorts } from './tallies.ts';
import { Table } from './table.ts';

/** Types that are kept: what clients of a cluster ask for. All others are few, and take the chain. */
const KEPT = new Set<number>([
  TYPE.A,
  TYPE.AAAA,
  TYPE.CNAME,
  TYPE.HTTPS,
  TYPE.MX,
  TYPE.NAPTR,
  TYPE.NS,
  TYPE.PTR,
  TYPE.SOA,
  TYPE.SRV,
  TYPE.SVCB,
  TYPE.TXT,
]);

/** Bytes of the largest answer that a reader gives. */
const MAX_LEARNED = 1480;

interface Block {
  readonly plan: FastPlan;
  /** Names the block at its address among all that are counted. */
  readonly id: string;
}

/**
 * The table of one address, kept in step with what its plugins say. Answers come into it when they are first asked for: the
 * chain answers, and what the planner allows is taken to pieces and kept until a plugin says that it has changed.
 */
export class FastPath {
  readonly table = new Table();
  readonly #address: string;
  readonly #sorts: Sorts;
  readonly #clock: Clock;
  readonly #reader: Reader;
  #site: Site | undefined;
  #blocks = new Map<SiteZone, Block>();
  #sources: Handler[] = [];
  #stops: (() => void)[] = [];
  #paused = false;

  /**
   * `address`: names what is served here among all addresses, also across reloads. `counts`: where this thread counts its
   * own answers.
   */
  constructor(address: string, sorts: Sorts, clock: Clock, counts = sorts.reader()) {
    this.#address = address;
    this.#sorts = sorts;
    this.#clock = clock;
    this.#reader = new Reader(this.table.memory, counts);
  }

  /** Follows another configuration: nothing that the former one said is answered any more. */
  follow(site: Site): void {
    this.#leave();
    this.#site = site;
    this.#blocks = new Map();
    this.#sources = [];
    for (const [zone, block] of site.zones.entries()) {
      const name = Buffer.from(zone, 'latin1');
      // A zone that is served by another block is never denied by the block of a zone around it.
      this.table.know([{ name, exists: true, closed: false, apex: true }]);
      // Where the block depends on the client, there is nothing to be said for all clients.
      const plan = site.choosy ? undefined : planFast(block.handlers, block.observers);
      if (plan === undefined) continue;
      const id = `${this.#address} ${zone}`;
      this.#blocks.set(block, { plan, id });
      this.#sorts.observe(id, plan.observers);
      plan.sources.forEach(({ handler }) =>
        this.#followSource(handler, zone, plan.sources[0]?.handler === handler, site),
      );
      const stop = plan.cache?.handler.cached?.onChange((key) => this.table.forget(cacheScope(id, key)));
      if (stop !== undefined) this.#stops.push(stop);
    }
    this.#enable();
  }

  /** Leaves all queries to the chain, while somebody looks at them. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#enable();
  }

  close(): void {
    this.#leave();
    this.#enable();
  }

  /** The answer of the chain, which the table learns. As `Site.respondInPlace`. */
  chain(site: Site, packet: Uint8Array, context: PacketContext): number | Promise<Buffer> {
    const answer = site.respondInPlace(packet, context);
    if (typeof answer !== 'number' || answer === 0) return answer;
    // Answers that had to be cut are cut for each client anew, and to learn them would cost as much again.
    if (answer > MAX_LEARNED || (replyBytes.readUInt16BE(2) & FLAG.TC) !== 0) return answer;
    // Learning writes where the answer lies.
    const bytes = copyReply(answer);
    try {
      this.learn(packet);
    } catch {
      // What cannot be learned is answered by the chain, which tells of its errors.
    }
    replyBytes.set(bytes);
    return answer;
  }

  /** As `Reader.respond`, in this thread. */
  respond(packet: Uint8Array, ipv6: boolean, out: Uint8Array): number {
    const started = performance.now();
    const size = this.#reader.respond(packet, 0, packet.length, out, 0, ipv6, this.#clock.now());
    if (size > 0) this.#reader.took((performance.now() - started) / 1000);
    return size;
  }

  /** Keeps the answer to a query that the chain has just answered, if it may be kept. */
  learn(packet: Uint8Array): void {
    const site = this.#site;
    if (site === undefined || !this.table.enabled) return;
    const query = parseQuery(packet);
    if (isRejected(query) || query.class !== 1 || !KEPT.has(query.type) || (query.flags & 0x7800) !== 0) return;
    const zone = site.zones.match(query.key, query.labels)?.value;
    const block = zone === undefined ? undefined : this.#blocks.get(zone);
    if (block === undefined || this.table.holds(query.key, query.type, variantOf(query))) return;
    const entry = this.#own(query, block) ?? this.#cached(query, block);
    if (entry !== undefined) this.table.keep(entry);
  }

  #leave(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#site = undefined;
    this.table.enabled = false;
    this.table.unknow();
    this.table.forgetAll();
  }

  #enable(): void {
    this.table.enabled = this.#site !== undefined && !this.#paused;
  }

  /** `first`: no other plugin answers names of this one's zones before it. */
  #followSource(handler: Handler, zone: NameKey, first: boolean, site: Site): void {
    const { answers } = handler;
    if (answers === undefined) return;
    let index = this.#sources.indexOf(handler);
    if (index < 0) index = this.#sources.push(handler) - 1;
    // Names that another block serves are not this one's to deny.
    const inZone = function* (names: Iterable<KnownName>): IterableIterator<KnownName> {
      if (!first) return;
      for (const known of names) {
        const key = nameKey(known.name);
        if (site.zones.find(key, labelOffsets(key)) === key.length - zone.length) yield known;
      }
    };
    const changed = (): void => {
      if (index < SERIALS) this.table.setSerial(index, answers.serial());
    };
    changed();
    this.table.know(inZone(answers.names()));
    const stop = answers.onChange((change) => {
      try {
        changed();
        if (change.scopes === undefined) this.table.forgetAll();
        else for (const scope of change.scopes) this.table.forget(`${index} ${scope}`);
        this.table.know(inZone(change.names ?? answers.names()));
      } catch {
        // Better none of these answers than an old one: the chain answers alone until the next configuration.
        this.#site = undefined;
        this.#enable();
      }
    });
    this.#stops.push(stop);
  }

  #own(query: Query, { plan, id }: Block): Entry | undefined {
    for (const { handler, adjust } of plan.sources) {
      const scope = handler.answers?.scopeOf(query);
      if (scope === undefined) continue;
      const index = this.#sources.indexOf(handler);
      if (scope === null || index >= SERIALS) return undefined;
      const ask = (asked: Query): Reply | undefined => {
        const outcome = handler.serve(new Request(asked, INTERNAL), () => PASSED);
        return isOwn(outcome, handler.name) ? adjust(asked, outcome) : undefined;
      };
      const lower = inCase(query, query.key);
      const reply = ask(lower);
      const shape = reply === undefined ? undefined : shapeOf(lower, reply, plan.spread);
      if (reply === undefined || shape === undefined) return undefined;
      const sort = this.#sorts.id({ zone: id, type: query.type, rcode: reply.rcode, by: reply.by, denial: false });
      if (sort === undefined) return undefined;
      // Names in answers come from the question or from elsewhere: asking in capitals tells.
      const upper = inCase(query, query.key.toUpperCase());
      const again = shape.rotate === undefined ? ask(upper) : reply;
      const follows = again !== undefined && (shape.rotate !== undefined || givesForCase(shape, upper, again));
      const denied = reply.rcode === RCODE.NXDOMAIN ? this.table.denies(query.key, query.labels) : -1;
      return {
        ...shape,
        name: lower.qname.subarray(Math.max(0, denied)),
        type: query.type,
        variant: denied >= 0 ? VARIANT.denial : VARIANT.any,
        scopes: denied >= 0 || scope === '' ? [] : [`${index} ${scope}`],
        sort,
        flags: shape.flags | (follows ? 0 : LOWER_ONLY),
        ttl: 0,
        storedAt: 0,
        serial: serialOf(shape, index),
      };
    }
    return undefined;
  }

  #cached(query: Query, { plan, id }: Block): Entry | undefined {
    const { cache } = plan;
    if (cache === undefined) return undefined;
    const variant = variantOf(query);
    const kept = cache.handler.cached?.peek(query, (variant & 1) !== 0);
    if (kept === undefined) return undefined;
    const scopes = [cacheScope(id, kept.key)];
    for (const { handler } of plan.sources) {
      const scope = handler.answers?.scopeOf(query);
      if (scope === null) return undefined;
      if (scope !== undefined && scope !== '') scopes.push(`${this.#sources.indexOf(handler)} ${scope}`);
    }
    const lower = inCase(query, query.key);
    const reply = cache.adjust(lower, { ...kept.reply, by: cache.handler.name });
    const shape = scopes.length > 2 ? undefined : shapeOf(lower, reply, plan.spread);
    if (shape === undefined) return undefined;
    const { type } = query;
    const sort = this.#sorts.id({ zone: id, type, rcode: reply.rcode, by: reply.by, denial: kept.denial });
    if (sort === undefined) return undefined;
    return {
      ...shape,
      // Only the question's own name follows its case; all others are the upstream's.
      echoes: shape.echoes.filter(({ length }) => length === query.qname.length),
      name: lower.qname,
      type,
      variant,
      scopes,
      sort,
      flags: shape.flags | (kept.keepTtl ? ENTRY_FLAG.keepTtl : 0),
      ttl: kept.ttl,
      storedAt: kept.storedAt,
      serial: undefined,
    };
  }
}

/** DO and CD, by which a cache tells its answers apart. */
function variantOf({ edns, flags }: Query): number {
  return (edns !== undefined && (edns.flags & EDNS_DO) !== 0 ? 1 : 0) | ((flags & FLAG.CD) === 0 ? 0 : 2);
}

/** Changes of one cache's entry; blocks may share neither their caches nor their scopes. */
function cacheScope(block: string, key: string): string {
  return `c ${block} ${key}`;
}

function isOwn(outcome: Outcome | Promise<Outcome>, by: string): outcome is Reply {
  return !(outcome instanceof Promise) && outcome.kind === 'reply' && outcome.own === true && outcome.by === by;
}

function serialOf(shape: Shape, source: number): Entry['serial'] {
  return shape.soaSerial === undefined ? undefined : { at: shape.soaSerial, source };
}

/** The plain query with its name in this case. */
function inCase(query: Query, name: string): Query {
  return { ...query, qname: Buffer.from(name, 'latin1'), edns: undefined };
}
