import { WeftError } from '@weft/plan';
import { keyToText, labelOffsets, type NameKey, nameKey, type Rr, type Soa, soaOf, TYPE } from '../wire/index.ts';

/** All records of one name, by type. */
interface Node {
  readonly owner: Uint8Array;
  readonly sets: Map<number, Rr[]>;
}

const NONE: readonly Rr[] = [];

/** What a zone says to a question, before aliases are followed. */
export interface ZoneAnswer {
  readonly kind: 'success' | 'nodata' | 'nxdomain' | 'delegation';
  readonly answers: readonly Rr[];
  readonly authority: readonly Rr[];
  readonly additional: readonly Rr[];
  /** Where an alias leads; the answer goes on there. */
  readonly target?: Uint8Array;
  /** A DNAME makes a name that is too long: YXDOMAIN (RFC 6672 section 2.2). */
  readonly tooLong?: true;
}

/** A zone in memory. Immutable: a changed zone is a new one. */
export class Zone {
  readonly origin: NameKey;
  readonly soa: Rr;
  readonly serial: number;
  readonly timers: Soa;
  readonly #nodes = new Map<NameKey, Node>();
  /** Names that exist only because names below them do (RFC 4592 section 2.2.2). */
  readonly #empty = new Set<NameKey>();
  readonly #ns: readonly Rr[];

  /**
   * Records outside of the zone are left out. @throws WeftError `DNS_ZONE` without a SOA record at the origin.
   */
  constructor(origin: NameKey, records: Iterable<Rr>) {
    this.origin = origin;
    for (const rr of records) this.#add(rr);
    const soa = this.#nodes.get(origin)?.sets.get(TYPE.SOA)?.[0];
    const timers = soa === undefined ? undefined : soaOf(soa);
    if (soa === undefined || timers === undefined) {
      throw new WeftError({
        code: 'DNS_ZONE',
        message: `zone ${keyToText(origin)} has no SOA record`,
        hint: 'a zone needs a SOA record at its origin',
      });
    }
    this.soa = soa;
    this.timers = timers;
    this.serial = timers.serial;
    this.#ns = this.#nodes.get(origin)?.sets.get(TYPE.NS) ?? NONE;
  }

  /** Every record, the SOA record first and once: what a transfer carries. */
  *records(): IterableIterator<Rr> {
    yield this.soa;
    for (const { sets } of this.#nodes.values()) {
      for (const [type, set] of sets) if (type !== TYPE.SOA) yield* set;
    }
  }

  /** Answers a question for a name at or below the origin. */
  lookup(qname: Uint8Array, type: number, dnssec = false): ZoneAnswer {
    const key = nameKey(qname);
    const labels = labelOffsets(key);
    const apexAt = key.length - this.origin.length;
    let encloser = this.origin;
    for (let i = labels.length - 1; i >= 0; i--) {
      const at = labels[i] as number;
      if (at >= apexAt) continue;
      const name = key.slice(at);
      const parent = this.#nodes.get(encloser);
      const dname = parent?.sets.get(TYPE.DNAME)?.[0];
      if (dname !== undefined) return this.#rename(qname, encloser, dname, type);
      const node = this.#nodes.get(name);
      if (node === undefined && !this.#empty.has(name)) return this.#wildcard(encloser, type);
      const cut = node?.sets.get(TYPE.NS);
      // DS records belong to this side of a zone cut.
      if (cut !== undefined && !(type === TYPE.DS && at === 0)) return this.#refer(cut, node, dnssec);
      encloser = name;
    }
    const node = this.#nodes.get(key);
    if (key === this.origin && type === TYPE.SOA) return this.#success([this.soa], this.#ns);
    return node === undefined ? this.#negative('nodata') : this.#answer(node, type);
  }

  #add(rr: Rr): void {
    const owner = rr.name;
    if (owner === undefined) return;
    const key = nameKey(owner);
    const labels = labelOffsets(key);
    const at = key.length - this.origin.length;
    if (!key.endsWith(this.origin) || (at !== key.length - 1 && !labels.includes(at))) return;
    let node = this.#nodes.get(key);
    if (node === undefined) {
      node = { owner, sets: new Map() };
      this.#nodes.set(key, node);
      this.#empty.delete(key);
      for (const offset of labels.slice(1)) {
        if (offset >= at) break;
        const above = key.slice(offset);
        if (!this.#nodes.has(above)) this.#empty.add(above);
      }
    }
    const set = node.sets.get(rr.type);
    if (set === undefined) node.sets.set(rr.type, [rr]);
    else if (!set.some((other) => Buffer.compare(other.rdata, rr.rdata) === 0)) set.push(rr);
  }

  #success(answers: readonly Rr[], authority: readonly Rr[], additional: readonly Rr[] = NONE): ZoneAnswer {
    return { kind: 'success', answers, authority, additional };
  }

  #negative(kind: 'nodata' | 'nxdomain'): ZoneAnswer {
    return { kind, answers: NONE, authority: [this.soa], additional: NONE };
  }

  #answer(node: Node, type: number): ZoneAnswer {
    const { sets } = node;
    // The owner is written in the letter case of the question.
    const own = (set: readonly Rr[]): Rr[] => set.map((rr) => ({ ...rr, name: undefined }));
    const alias = sets.get(TYPE.CNAME)?.[0];
    if (alias !== undefined && type !== TYPE.CNAME && type !== TYPE.ANY) {
      return { ...this.#success(own([alias]), this.#ns), target: alias.rdata };
    }
    const found = type === TYPE.ANY ? [...sets.values()].flat() : sets.get(type);
    if (found === undefined) return this.#negative('nodata');
    const apexNs = type === TYPE.NS && nameKey(node.owner) === this.origin;
    return this.#success(own(found), apexNs ? NONE : this.#ns, this.#extra(found));
  }

  #wildcard(encloser: NameKey, type: number): ZoneAnswer {
    const node = this.#nodes.get(`\u0001*${encloser}`);
    if (node === undefined) return this.#negative('nxdomain');
    return this.#answer(node, type);
  }

  #refer(cut: readonly Rr[], node: Node | undefined, dnssec: boolean): ZoneAnswer {
    const ds = dnssec ? (node?.sets.get(TYPE.DS) ?? NONE) : NONE;
    return { kind: 'delegation', answers: NONE, authority: [...cut, ...ds], additional: this.#extra(cut) };
  }

  #rename(qname: Uint8Array, owner: NameKey, dname: Rr, type: number): ZoneAnswer {
    const prefix = qname.subarray(0, qname.length - owner.length);
    if (prefix.length + dname.rdata.length > 255) {
      return { ...this.#success([dname], this.#ns), tooLong: true };
    }
    const target = new Uint8Array(prefix.length + dname.rdata.length);
    target.set(prefix);
    target.set(dname.rdata, prefix.length);
    const alias: Rr = { name: undefined, type: TYPE.CNAME, class: dname.class, ttl: dname.ttl, rdata: target };
    const answer = this.#success([dname, alias], this.#ns);
    return type === TYPE.CNAME || type === TYPE.ANY ? answer : { ...answer, target };
  }

  /** Addresses in this zone of the servers that records name (RFC 1034 section 4.3.2, step 6). */
  #extra(records: readonly Rr[]): readonly Rr[] {
    const out: Rr[] = [];
    const seen = new Set<NameKey>();
    for (const rr of records) {
      const skip = rr.type === TYPE.NS ? 0 : rr.type === TYPE.MX ? 2 : rr.type === TYPE.SRV ? 6 : -1;
      if (skip < 0) continue;
      const key = nameKey(rr.rdata.subarray(skip));
      if (seen.has(key)) continue;
      seen.add(key);
      const sets = this.#nodes.get(key)?.sets;
      out.push(...(sets?.get(TYPE.A) ?? NONE), ...(sets?.get(TYPE.AAAA) ?? NONE));
    }
    return out.length === 0 ? NONE : out;
  }
}
