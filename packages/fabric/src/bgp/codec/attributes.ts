import { formatIp } from '@weft/net';
import { mergeAs4Path, readAsPath } from './as-path.ts';
import { Reader, ShortRead } from './bytes.ts';
import { BgpError, NOTIFY } from './errors.ts';
import { familyOfAfi, readPrefixes } from './prefixes.ts';
import {
  AS_TRANS,
  type AsSegment,
  type LargeCommunity,
  type PathAttributes,
  type Reach,
  type Unreach,
} from './types.ts';

/** Numbers of the path attributes (IANA registry "BGP Path Attributes"). */
export const ATTRIBUTE = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPref: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  as4Path: 17,
  as4Aggregator: 18,
  largeCommunities: 32,
} as const;

export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extended: 0x10 } as const;
const KIND = FLAG.optional | FLAG.transitive;
const WELL_KNOWN = FLAG.transitive;
const TRANSITIVE = FLAG.optional | FLAG.transitive;

/** Optional and transitive flags that an attribute must have. */
const FLAGS: Readonly<Record<number, number>> = {
  1: WELL_KNOWN,
  2: WELL_KNOWN,
  3: WELL_KNOWN,
  4: FLAG.optional,
  5: WELL_KNOWN,
  6: WELL_KNOWN,
  7: TRANSITIVE,
  8: TRANSITIVE,
  9: FLAG.optional,
  10: FLAG.optional,
  14: FLAG.optional,
  15: FLAG.optional,
  17: TRANSITIVE,
  18: TRANSITIVE,
  32: TRANSITIVE,
};

/** What two speakers have agreed on that decides how attributes are read. */
export interface AttributeContext {
  /** Both understand four-octet AS numbers. */
  readonly as4: boolean;
  /** Both are in one AS. */
  readonly internal: boolean;
}

/** Attributes of an UPDATE as they were read. */
export interface ReadAttributes {
  readonly attributes: Partial<PathAttributes>;
  readonly reach?: Reach;
  readonly unreach?: Unreach;
  /** Why the routes count as withdrawn (RFC 7606). */
  readonly withdraw: readonly string[];
  /** Attributes that were left out, and why. */
  readonly discarded: readonly string[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A fault of one attribute: its routes count as withdrawn, or it is left out. */
class Fault extends Error {
  readonly discard: boolean;

  constructor(message: string, discard = false) {
    super(message);
    this.discard = discard;
  }
}

function exactly(r: Reader, bytes: number, name: string, discard = false): void {
  if (r.left !== bytes) throw new Fault(`${name} of ${r.left} bytes`, discard);
}

function multipleOf(r: Reader, bytes: number, name: string): void {
  if (r.left === 0 || r.left % bytes !== 0) throw new Fault(`${name} of ${r.left} bytes`);
}

class AttributeReader {
  readonly attributes: Mutable<Partial<PathAttributes>> = {};
  readonly withdraw: string[] = [];
  readonly discarded: string[] = [];
  reach?: Reach;
  unreach?: Unreach;
  readonly #context: AttributeContext;
  readonly #seen = new Set<number>();
  readonly #unknown: { type: number; value: Uint8Array }[] = [];
  #as4Path: readonly AsSegment[] | undefined;
  #as4Aggregator: PathAttributes['aggregator'];

  constructor(context: AttributeContext) {
    this.#context = context;
  }

  /** Reads one attribute; ShortRead when the list is cut off. */
  next(r: Reader): void {
    const flags = r.u8();
    const type = r.u8();
    const body = r.part((flags & FLAG.extended) === 0 ? r.u8() : r.u16());
    const expected = FLAGS[type];
    if (this.#seen.has(type)) {
      if (type === ATTRIBUTE.mpReach || type === ATTRIBUTE.mpUnreach)
        throw new BgpError(NOTIFY.update, 1, `attribute ${type} is there twice`);
      this.discarded.push(`attribute ${type} is there twice`);
      return;
    }
    this.#seen.add(type);
    if (expected === undefined) {
      this.#foreign(flags, type, body);
      return;
    }
    try {
      if ((flags & KIND) !== expected) throw new Fault(`attribute ${type} with flags 0x${flags.toString(16)}`);
      this.#known(type, body);
    } catch (error) {
      if (type === ATTRIBUTE.mpReach || type === ATTRIBUTE.mpUnreach) {
        if (error instanceof BgpError) throw error;
        throw new BgpError(NOTIFY.update, 9, `attribute ${type}: ${(error as Error).message}`);
      }
      if (error instanceof Fault && error.discard) this.discarded.push(error.message);
      else if (error instanceof Fault || error instanceof RangeError) this.withdraw.push(error.message);
      else throw error;
    }
  }

  finish(): void {
    const { attributes } = this;
    if (this.#unknown.length > 0) attributes.unknown = this.#unknown;
    if (this.#context.as4) return;
    const { aggregator, asPath } = attributes;
    if (aggregator !== undefined && this.#as4Aggregator !== undefined) {
      // Somebody aggregated without knowing of four octets: what came before it is of no use (RFC 6793 §4.2.3).
      if (aggregator.as !== AS_TRANS) return;
      attributes.aggregator = this.#as4Aggregator;
    }
    if (asPath !== undefined && this.#as4Path !== undefined) attributes.asPath = mergeAs4Path(asPath, this.#as4Path);
  }

  #foreign(flags: number, type: number, body: Reader): void {
    if ((flags & FLAG.optional) === 0) throw new BgpError(NOTIFY.update, 2, `attribute ${type}`);
    // Optional attributes that are not transitive end here (RFC 4271 §5).
    if ((flags & FLAG.transitive) !== 0) this.#unknown.push({ type, value: body.take(body.left).slice() });
  }

  #known(type: number, r: Reader): void {
    const { attributes } = this;
    const { as4, internal } = this.#context;
    switch (type) {
      case ATTRIBUTE.origin: {
        exactly(r, 1, 'ORIGIN');
        const origin = (['igp', 'egp', 'incomplete'] as const)[r.u8()];
        if (origin === undefined) throw new Fault('ORIGIN is unknown');
        attributes.origin = origin;
        break;
      }
      case ATTRIBUTE.asPath:
        try {
          attributes.asPath = readAsPath(r, as4);
        } catch (error) {
          throw new Fault(`AS_PATH: ${(error as Error).message}`);
        }
        break;
      case ATTRIBUTE.nextHop:
        exactly(r, 4, 'NEXT_HOP');
        attributes.nextHop = r.ip4();
        break;
      case ATTRIBUTE.med:
        exactly(r, 4, 'MULTI_EXIT_DISC');
        attributes.med = r.u32();
        break;
      case ATTRIBUTE.localPref:
        if (!internal) throw new Fault('LOCAL_PREF from another AS', true);
        exactly(r, 4, 'LOCAL_PREF');
        attributes.localPref = r.u32();
        break;
      case ATTRIBUTE.atomicAggregate:
        exactly(r, 0, 'ATOMIC_AGGREGATE', true);
        attributes.atomicAggregate = true;
        break;
      case ATTRIBUTE.aggregator:
        exactly(r, as4 ? 8 : 6, 'AGGREGATOR', true);
        attributes.aggregator = { as: as4 ? r.u32() : r.u16(), routerId: r.ip4() };
        break;
      case ATTRIBUTE.communities:
        multipleOf(r, 4, 'COMMUNITIES');
        attributes.communities = Array.from({ length: r.left / 4 }, () => r.u32());
        break;
      case ATTRIBUTE.originatorId:
        if (!internal) throw new Fault('ORIGINATOR_ID from another AS', true);
        exactly(r, 4, 'ORIGINATOR_ID');
        attributes.originatorId = r.ip4();
        break;
      case ATTRIBUTE.clusterList:
        if (!internal) throw new Fault('CLUSTER_LIST from another AS', true);
        multipleOf(r, 4, 'CLUSTER_LIST');
        attributes.clusterList = Array.from({ length: r.left / 4 }, () => r.ip4());
        break;
      case ATTRIBUTE.largeCommunities:
        multipleOf(r, 12, 'LARGE_COMMUNITY');
        attributes.largeCommunities = Array.from(
          { length: r.left / 12 },
          (): LargeCommunity => [r.u32(), r.u32(), r.u32()],
        );
        break;
      case ATTRIBUTE.mpReach:
        this.#reach(r);
        break;
      case ATTRIBUTE.mpUnreach: {
        const family = familyOfAfi(r.u16(), r.u8());
        if (family !== undefined) this.unreach = { family, prefixes: readPrefixes(r, family) };
        break;
      }
      default:
        this.#fourOctet(type, r);
    }
  }

  #fourOctet(type: number, r: Reader): void {
    const name = type === ATTRIBUTE.as4Path ? 'AS4_PATH' : 'AS4_AGGREGATOR';
    if (this.#context.as4) throw new Fault(`${name} from a speaker that needs none`, true);
    if (type === ATTRIBUTE.as4Aggregator) {
      exactly(r, 8, name, true);
      this.#as4Aggregator = { as: r.u32(), routerId: r.ip4() };
      return;
    }
    try {
      this.#as4Path = readAsPath(r, true);
    } catch (error) {
      throw new Fault(`${name}: ${(error as Error).message}`, true);
    }
  }

  #reach(r: Reader): void {
    const family = familyOfAfi(r.u16(), r.u8());
    const hop = r.take(r.u8());
    const reserved = r.u8();
    if (family === undefined) return;
    // A link-local next hop may follow the global one (RFC 2545 §3).
    const length = family === 4 ? 4 : 16;
    if (hop.length !== length && !(family === 6 && hop.length === 32))
      throw new RangeError(`next hop of ${hop.length} bytes`);
    if (reserved !== 0) this.discarded.push('the reserved byte of MP_REACH_NLRI is set');
    const nextHop = formatIp(hop.subarray(0, length));
    this.reach = { family, nextHop, prefixes: readPrefixes(r, family) };
  }
}

/**
 * Reads the path attributes of an UPDATE with the error handling of RFC 7606. Throws BgpError for what ends a session;
 * everything else is told in `withdraw` and `discarded`.
 */
export function readAttributes(r: Reader, context: AttributeContext): ReadAttributes {
  const reader = new AttributeReader(context);
  while (r.left > 0) {
    try {
      reader.next(r);
    } catch (error) {
      if (!(error instanceof ShortRead)) throw error;
      reader.withdraw.push('an attribute is longer than the list');
      break;
    }
  }
  reader.finish();
  const { attributes, withdraw, discarded, reach, unreach } = reader;
  return {
    attributes,
    withdraw,
    discarded,
    ...(reach === undefined ? {} : { reach }),
    ...(unreach === undefined ? {} : { unreach }),
  };
}
