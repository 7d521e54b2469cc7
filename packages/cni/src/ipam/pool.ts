import { addressAt, compareIp, formatIp, type Ip, indexIn, parseIp } from '@weft/net';
import { CniCode, CniError } from '../spec/errors.ts';
import { type AddressRange, formatRange, type RangeSet, rangeOf, rangeSetSize } from './range.ts';

/** How full a set of ranges is. */
export interface PoolUsage {
  readonly range: string;
  readonly used: number;
  /** Addresses freed so recently that they are not given out yet. */
  readonly cooling: number;
  readonly total: bigint;
}

/**
 * Which addresses are taken, and which comes next: round robin, so that an address rests as long as possible before
 * another pod gets it, and never within the delay unless nothing else is left. Pure memory; `Ipam` makes it durable.
 */
export class AddressPool {
  readonly #reuseDelayMs: number;
  /** Address → owner. */
  readonly #used = new Map<string, string>();
  /** Address → for whom it is kept; it is given to nobody else, and to nobody by itself. */
  readonly #held = new Map<string, string>();
  /** Address → time it was freed, oldest first. */
  readonly #cooling = new Map<string, number>();
  /** Text of a set → the address given out last. */
  readonly #last = new Map<string, Ip>();

  constructor(options: { readonly reuseDelayMs: number }) {
    this.#reuseDelayMs = options.reuseDelayMs;
  }

  ownerOf(address: string): string | undefined {
    return this.#used.get(address);
  }

  /** Marks an address as taken, as found at start. */
  claim(address: string, owner: string): void {
    this.#used.set(address, owner);
    this.#cooling.delete(address);
  }

  /** For whom an address is kept, if it is. */
  heldFor(address: string): string | undefined {
    return this.#held.get(address);
  }

  holds(): ReadonlyMap<string, string> {
    return this.#held;
  }

  /** Keeps an address for somebody: it is given out only to who names both. Whoever has it now keeps it. */
  hold(address: string, holder: string): void {
    this.#held.set(address, holder);
  }

  /** Ends that. The address rests from `now`, if nobody has it. */
  unhold(address: string, now: number | undefined): void {
    if (!this.#held.delete(address) || now === undefined || this.#used.has(address)) return;
    this.rest(address, now);
  }

  /** Frees an address of this owner: it rests from `now`, or can be given out at once when no time is given. */
  release(address: string, owner: string, now: number | undefined): void {
    if (this.#used.get(address) !== owner) return;
    this.#used.delete(address);
    if (now !== undefined) this.rest(address, now);
  }

  /** Marks a free address as freed at `at`. */
  rest(address: string, at: number): void {
    this.#cooling.delete(address);
    this.#cooling.set(address, at);
  }

  /** Tells the pool which address was given out last, so that a restart goes on behind it. */
  resume(address: string): void {
    const ip = parseIp(address);
    if (ip !== undefined) this.#last.set(`family ${ip.family}`, ip);
  }

  /** Takes an address of the set: the wanted one, else the next. */
  take(set: RangeSet, owner: string, now: number, wanted?: Ip): { address: string; range: AddressRange } {
    return this.takeFirst([set], owner, now, wanted);
  }

  /**
   * Takes an address of the first set that has a rested one, else of the first that has one at all; or the wanted one,
   * which may be kept for `holder`.
   */
  takeFirst(
    sets: readonly RangeSet[],
    owner: string,
    now: number,
    wanted?: Ip,
    holder?: string,
  ): { address: string; range: AddressRange } {
    this.#forgetRested(now);
    const found = wanted === undefined ? this.#next(sets) : this.#exactly(sets, wanted, holder);
    this.#used.set(found.address, owner);
    this.#cooling.delete(found.address);
    return found;
  }

  /** True when no address of the set is left, resting ones counted as left. Does not look at addresses one by one. */
  exhausted(set: RangeSet): boolean {
    const total = rangeSetSize(set);
    // Fewer are taken everywhere than this set has: the usual case, and the answer to a question asked every few seconds.
    if (BigInt(this.#used.size + this.#held.size) < total) return false;
    return BigInt(this.usage(set).used) >= total;
  }

  usage(set: RangeSet): PoolUsage {
    let used = 0;
    let cooling = 0;
    const within = (address: string): boolean => {
      const ip = parseIp(address);
      return ip !== undefined && rangeOf(set, ip) !== undefined;
    };
    for (const address of this.#used.keys()) if (within(address)) used += 1;
    // What is kept for somebody cannot be given to anybody else.
    for (const address of this.#held.keys()) if (!this.#used.has(address) && within(address)) used += 1;
    for (const address of this.#cooling.keys()) if (!this.#held.has(address) && within(address)) cooling += 1;
    return { range: set.ranges.map(formatRange).join(', '), used, cooling, total: rangeSetSize(set) };
  }

  #exactly(
    sets: readonly RangeSet[],
    wanted: Ip,
    holder: string | undefined,
  ): { address: string; range: AddressRange } {
    const address = formatIp(wanted);
    const range = sets.map((set) => rangeOf(set, wanted)).find((found) => found !== undefined);
    if (range === undefined) {
      throw new CniError(
        CniCode.invalidConfig,
        `requested IP address ${address} is not in ${sets.flatMap((set) => set.ranges.map(formatRange)).join(', ')}`,
      );
    }
    const owner = this.#used.get(address);
    if (owner !== undefined) {
      throw new CniError(CniCode.tryAgainLater, `requested IP address ${address} is in use by ${owner}`);
    }
    const held = this.#held.get(address);
    if (held !== undefined && held !== holder) {
      throw new CniError(CniCode.tryAgainLater, `requested IP address ${address} is kept for ${held}`);
    }
    return { address, range };
  }

  #next(sets: readonly RangeSet[]): { address: string; range: AddressRange } {
    for (const set of sets) {
      const found = this.#rested(set);
      if (found !== undefined) return found;
    }
    for (const set of sets) {
      const found = this.#resting(set);
      if (found !== undefined) return found;
    }
    const usages = sets.map((set) => this.usage(set));
    const used = usages.reduce((sum, usage) => sum + usage.used, 0);
    const total = usages.reduce((sum, usage) => sum + usage.total, 0n);
    throw new CniError(
      CniCode.tryAgainLater,
      `no IP addresses available in ${usages.map((usage) => usage.range).join(', ')}: ${used} of ${total} are in use`,
      'IPAM_EXHAUSTED: delete pods of this node, or give the node a larger pod CIDR',
    );
  }

  /** The next address of a set that nobody has and that has rested. */
  #rested(set: RangeSet): { address: string; range: AddressRange } | undefined {
    const key = set.ranges.map((range) => `${range.subnet} ${range.first} ${range.last}`).join(' ');
    const last = this.#last.get(key) ?? this.#last.get(`family ${set.family}`);
    // Every address that is passed over is taken, kept, resting or a gateway: so many steps always meet a free one.
    const steps = this.#used.size + this.#held.size + this.#cooling.size + set.ranges.length + 1;
    let seen = 0;
    for (const { ip, range } of walk(set, last)) {
      if (seen++ > steps) break;
      const address = formatIp(ip);
      if (this.#used.has(address) || this.#cooling.has(address) || this.#held.has(address)) continue;
      this.#last.set(key, ip);
      return { address, range };
    }
    return undefined;
  }

  /** The address of a set that has rested longest, of those that rest. */
  #resting(set: RangeSet): { address: string; range: AddressRange } | undefined {
    for (const address of this.#cooling.keys()) {
      const ip = this.#held.has(address) ? undefined : parseIp(address);
      const range = ip === undefined ? undefined : rangeOf(set, ip);
      if (range !== undefined) return { address, range };
    }
    return undefined;
  }

  #forgetRested(now: number): void {
    for (const [address, at] of this.#cooling) {
      if (at > now - this.#reuseDelayMs) return;
      this.#cooling.delete(address);
    }
  }
}

/** All addresses of a set in order, once round, starting behind `last`. */
function* walk(set: RangeSet, last: Ip | undefined): Generator<{ ip: Ip; range: AddressRange }> {
  const from = last === undefined ? -1 : set.ranges.findIndex((range) => rangeOf({ ...set, ranges: [range] }, last));
  const start = from < 0 ? 0 : from;
  const first = from < 0 ? undefined : indexIn((set.ranges[from] as AddressRange).prefix, last as Ip) + 1n;
  for (let i = 0; i <= set.ranges.length; i++) {
    const range = set.ranges[(start + i) % set.ranges.length] as AddressRange;
    const low = i === 0 && first !== undefined ? first : range.first;
    // The first range comes a second time for the part before the start.
    const high = i === set.ranges.length ? (first ?? range.first) - 1n : range.last;
    for (let at = low; at <= high; at++) {
      const ip = addressAt(range.prefix, at);
      if (compareIp(ip, range.gateway) !== 0) yield { ip, range };
    }
  }
}
