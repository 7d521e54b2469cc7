import { join } from 'node:path';
import { type Ip, parseIp } from '@weft/net';
import type { Logger } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import type { Attachment } from '../spec/types.ts';
import { Journal, type JournalContents, type JournalStamp } from './journal.ts';
import { AddressPool, type PoolUsage } from './pool.ts';
import type { AddressRange, RangeSet } from './range.ts';

/**
 * What an attachment holds, from before the first change to the kernel until after the last.
 *
 * - `wiring`: addresses are set aside; the kernel may or may not have been changed. No runtime was told.
 * - `ready`: wired, and the runtime was told or is about to be.
 * - `removing`: being taken down; the addresses are still set aside.
 */
export interface Allocation extends Attachment {
  readonly network: string;
  /** `wired` by the main plugin, or `address` only (given to some other main plugin by host-local). */
  readonly kind: 'wired' | 'address';
  readonly state: 'wiring' | 'ready' | 'removing';
  readonly addresses: readonly string[];
  /** Name of the node's end of the veth pair. */
  readonly link?: string;
  /** Inode of the sandbox's network namespace, as text. */
  readonly sandbox?: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** The pod, when the runtime said which. */
  readonly pod?: PodReference;
  /** The pod keeps its addresses when it is made anew. */
  readonly sticky?: true;
}

/** A pod by name, as runtimes tell it in CNI_ARGS. */
export interface PodReference {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

/** One address that is to be set aside. */
export interface AddressRequest {
  /** The first of these with a free address gives it. */
  readonly sets: readonly RangeSet[];
  /** This very address. */
  readonly exact?: Ip;
  /** Who may have it although it is kept for somebody. */
  readonly holder?: string;
}

export interface IpamOptions {
  readonly stateDir: string;
  readonly stamp: JournalStamp;
  readonly log: Logger;
  /** Rest of a freed address before it is given out again. Default 30 s. */
  readonly reuseDelayMs?: number;
  readonly now?: () => number;
}

export interface Reservation {
  readonly allocation: Allocation;
  /** One per range set: the address and the range it came from. */
  readonly given: readonly { readonly address: string; readonly range: AddressRange }[];
}

/** Key of an attachment within its network. */
export function attachmentKey(network: string, attachment: Attachment): string {
  return `${network}/${attachment.containerId}/${attachment.ifname}`;
}

/**
 * The addresses of one node: a pool in memory under a journal on disk.
 *
 * Crash safety is the order of steps: an address is journaled before the kernel hears of it (`reserve`), a success is
 * journaled before the runtime hears of it (`ready`), and an address is freed after the kernel has let go (`release`).
 * Whatever was under way at a crash is therefore still in the journal, marked `wiring` or `removing`.
 */
export class Ipam {
  readonly #journal: Journal<Allocation>;
  readonly #pool: AddressPool;
  readonly #records = new Map<string, Allocation>();
  readonly #holds: Journal<string>;
  readonly #listeners = new Set<(addresses: readonly string[]) => void>();
  readonly #now: () => number;
  readonly #log: Logger;
  /** What the journal said when it was opened. */
  readonly found: JournalContents<Allocation>;

  constructor(options: IpamOptions) {
    this.#now = options.now ?? Date.now;
    this.#log = options.log;
    const reuseDelayMs = options.reuseDelayMs ?? 30_000;
    this.#pool = new AddressPool({ reuseDelayMs });
    const path = join(options.stateDir, 'allocations.journal');
    const { journal, contents } = Journal.open<Allocation>(path, options.stamp, options.log);
    this.#journal = journal;
    this.found = contents;
    const holds = Journal.open<string>(join(options.stateDir, 'holds.journal'), options.stamp, options.log);
    this.#holds = holds.journal;
    for (const [address, holder] of holds.contents.records) this.#pool.hold(address, holder);
    this.#load(contents, reuseDelayMs);
    if (contents.dropped !== undefined) {
      options.log.info('dropped address allocations of an earlier life of this node', { ...contents.dropped });
    }
    if (contents.damagedLines > 0) {
      options.log.warn('the allocation journal has unreadable lines', { path, lines: contents.damagedLines });
    }
  }

  get(network: string, attachment: Attachment): Allocation | undefined {
    return this.#records.get(attachmentKey(network, attachment));
  }

  list(): readonly Allocation[] {
    return [...this.#records.values()];
  }

  /** True when the next ADD would find no address in the set. */
  exhausted(set: RangeSet): boolean {
    return this.#pool.exhausted(set);
  }

  usage(set: RangeSet): PoolUsage {
    return this.#pool.usage(set);
  }

  /** Who has an address, if somebody has. */
  ownerOf(address: string): Allocation | undefined {
    const key = this.#pool.ownerOf(address);
    return key === undefined ? undefined : this.#records.get(key);
  }

  heldFor(address: string): string | undefined {
    return this.#pool.heldFor(address);
  }

  /** Addresses that are kept for somebody. */
  holds(): ReadonlyMap<string, string> {
    return this.#pool.holds();
  }

  /** Keeps an address for somebody, durably, from now on. Throws CniError code 5 when that cannot be written. */
  hold(address: string, holder: string): void {
    if (this.#pool.heldFor(address) === holder) return;
    this.#holds.put(address, holder);
    this.#pool.hold(address, holder);
    this.#changed([address]);
  }

  /** Ends that; the address then rests. */
  unhold(address: string): void {
    if (this.#pool.heldFor(address) === undefined) return;
    this.#pool.unhold(address, this.#now());
    this.#holds.remove(address, this.#now());
    this.#changed([address]);
  }

  /** Calls back whenever addresses are taken or freed. Returns the way to stop. */
  onChange(listener: (addresses: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Sets one address of every set aside, durably. Nothing is taken when it throws. */
  reserve(
    request: Omit<Allocation, 'state' | 'addresses' | 'since'>,
    sets: readonly RangeSet[],
    wanted: readonly Ip[] = [],
  ): Reservation {
    const stray = wanted.find((ip) => !sets.some((set) => set.family === ip.family));
    if (stray !== undefined) {
      throw new CniError(
        CniCode.invalidConfig,
        `an IPv${stray.family} address is requested, but there is no such range`,
      );
    }
    const requests = sets.map((set): AddressRequest => {
      const exact = wanted.find((ip) => ip.family === set.family);
      return exact === undefined ? { sets: [set] } : { sets: [set], exact };
    });
    return this.reserveFrom(request, requests);
  }

  /** Sets one address aside for each request, durably. Nothing is taken when it throws. */
  reserveFrom(
    request: Omit<Allocation, 'state' | 'addresses' | 'since'>,
    requests: readonly AddressRequest[],
  ): Reservation {
    const key = attachmentKey(request.network, request);
    if (this.#records.has(key)) {
      throw new CniError(CniCode.interfaceExists, `${key} has an allocation already`);
    }
    const given: { address: string; range: AddressRange }[] = [];
    try {
      for (const { sets, exact, holder } of requests) {
        given.push(this.#pool.takeFirst(sets, key, this.#now(), exact, holder));
      }
      const addresses = given.map((g) => g.address);
      const allocation: Allocation = { ...request, state: 'wiring', addresses, since: this.#now() };
      this.#journal.put(key, allocation);
      this.#records.set(key, allocation);
      this.#changed(addresses);
      return { allocation, given };
    } catch (error) {
      for (const { address } of given) this.#pool.release(address, key, undefined);
      throw error;
    }
  }

  /** The kernel has what the allocation describes; the runtime may be told. */
  ready(allocation: Allocation): void {
    this.#store({ ...allocation, state: 'ready' });
  }

  /** The allocation is about to be taken down. */
  removing(allocation: Allocation): void {
    this.#store({ ...allocation, state: 'removing' });
  }

  /** The kernel has let go; the addresses may be given out again after their rest. */
  release(allocation: Allocation): void {
    const key = attachmentKey(allocation.network, allocation);
    const current = this.#records.get(key);
    if (current === undefined || current.since !== allocation.since) return;
    const now = this.#now();
    this.#records.delete(key);
    // What was ready was used by a pod; a failed attempt never carried traffic and needs no rest.
    const rests = current.state !== 'wiring';
    for (const address of current.addresses) this.#pool.release(address, key, rests ? now : undefined);
    this.#journal.remove(key, rests ? now : 0);
    this.#changed(current.addresses);
  }

  /** Takes over an attachment that the kernel has and the journal has lost. */
  adopt(allocation: Allocation): void {
    const key = attachmentKey(allocation.network, allocation);
    for (const address of allocation.addresses) this.#pool.claim(address, key);
    this.#store(allocation);
    this.#changed(allocation.addresses);
  }

  close(): void {
    this.#journal.close();
    this.#holds.close();
  }

  #changed(addresses: readonly string[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(addresses);
      } catch (error) {
        // What is set aside is set aside, whatever others make of it.
        this.#log.error('cannot follow a change of addresses', { addresses, error });
      }
    }
  }

  #store(allocation: Allocation): void {
    const key = attachmentKey(allocation.network, allocation);
    // What is true in the kernel is true here, whether or not it can be written down.
    this.#records.set(key, allocation);
    this.#journal.put(key, allocation);
  }

  #load(contents: JournalContents<Allocation>, reuseDelayMs: number): void {
    const resting = [...contents.removed.values()].sort((a, b) => a.at - b.at);
    for (const { at, record } of resting) {
      if (at <= this.#now() - reuseDelayMs) continue;
      for (const address of record?.addresses ?? []) this.#pool.rest(address, at);
    }
    const records = [...contents.records].sort(([, a], [, b]) => a.since - b.since);
    for (const [key, record] of records) {
      this.#records.set(key, record);
      for (const address of record.addresses) {
        this.#pool.claim(address, key);
        this.#pool.resume(address);
      }
    }
  }
}

/** Addresses a runtime asks for by name: capability `ips`, `args.cni.ips` or CNI_ARGS `IP=`; lengths are ignored. */
export function parseWanted(texts: readonly string[]): readonly Ip[] {
  return texts.map((text) => {
    const ip = parseIp(text.split('/')[0] as string);
    if (ip === undefined) throw new CniError(CniCode.invalidConfig, `requested IP is not an address: ${text}`);
    return ip;
  });
}
