import { networkInterfaces } from 'node:os';
import { BpfMap, type BpfLink, BpfProgram, isKernelError, type NetNs, type ProgramStats, Rtnl } from '@weft/kernel';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import type { NameSource } from '../server/handler.ts';
import type { BulkObserver, Site, SiteZone } from '../server/site.ts';
import type { DnsMetrics } from '../server/metrics.ts';
import { type Query, RCODE, TYPE } from '../wire/index.ts';
import { entryOf, queryOfKey, questionKey } from './entry.ts';
import { BLOCKS, CONTROL, COUNTER, KEY, SLOTS, slotMeaning, VALUE } from './layout.ts';
import { answerProgram } from './program.ts';

/** How the kernel is to answer. */
export interface InKernelOptions {
  /** Link where queries come in. */
  readonly link: string;
  /** IPv4 addresses to answer at. Default: those of the link. */
  readonly addresses?: readonly string[];
  /** Run in the link's driver instead of above it: faster on a real card, not possible on every link. */
  readonly native?: boolean;
  /** Network namespace of the link. Default: the calling thread's. */
  readonly ns?: NetNs;
}

const ANSWERS = 262_144;
const LEARNED = 65_536;
const MISSED = 1024;
/** Questions that the kernel could not answer are looked at this often, in milliseconds. */
const LEARN_MS = 50;
/** Entries per call when the map is filled. */
const BATCH = 512;

const RCODES = { answer: RCODE.NOERROR, nodata: RCODE.NOERROR, nxdomain: RCODE.NXDOMAIN } as const;

/**
 * Answers in the kernel, before a packet reaches the server: addresses of Services from a map that follows the table, and
 * what else was asked and needs no chain (names that do not exist, mostly) for as long as nothing changes.
 *
 * What the kernel says is cut out of what the server would send (`entryOf`), and only where the planner has proved that
 * the chain gives the same answer to everybody.
 */
export class InKernel {
  readonly #log: Logger;
  readonly #maps: Record<'answers' | 'learned' | 'missed' | 'control' | 'counters', BpfMap>;
  readonly #program: BpfProgram;
  readonly #link: BpfLink;
  readonly #timer: NodeJS.Timeout;
  readonly #stopMetrics: () => void;
  readonly #metrics: DnsMetrics;
  /** Counters as last read. */
  readonly #seen: bigint[] = Array.from({ length: SLOTS * 3 }, () => 0n);
  #site: Site | undefined;
  #unsubscribe: (() => void)[] = [];
  /** Server blocks by number; those of former configurations stay for their counters. */
  #blocks: SiteZone[] = [];
  #epoch = 1;
  #paused = false;

  /**
   * Begins to answer at a link; without an answer until it is told what to `follow`.
   * @throws WeftError `DNS_IN_KERNEL` when the kernel, or the rights of this process, do not allow it
   */
  static async open(options: InKernelOptions, port: number, log: Logger, metrics: DnsMetrics): Promise<InKernel> {
    return new InKernel(options, await linkIndex(options), port, log, metrics);
  }

  private constructor(options: InKernelOptions, ifindex: number, port: number, log: Logger, metrics: DnsMetrics) {
    this.#log = log;
    this.#metrics = metrics;
    const opened: { close(): void }[] = [];
    const keep = <T extends { close(): void }>(thing: T): T => {
      opened.push(thing);
      return thing;
    };
    try {
      const map = (
        name: string,
        type: 'hash' | 'lru_hash' | 'array' | 'percpu_array',
        key: number,
        value: number,
        entries: number,
      ): BpfMap =>
        keep(
          BpfMap.create({
            type,
            name,
            keySize: key,
            valueSize: value,
            maxEntries: entries,
            noPreallocation: type === 'hash',
          }),
        ); // prettier-ignore
      this.#maps = {
        answers: map('dns_answers', 'hash', KEY, VALUE.size, ANSWERS),
        learned: map('dns_learned', 'lru_hash', KEY, VALUE.size, LEARNED),
        missed: map('dns_missed', 'hash', KEY, 4, MISSED),
        control: map('dns_control', 'array', 4, CONTROL.size, 1),
        counters: map('dns_counters', 'percpu_array', 4, COUNTER.size, SLOTS),
      };
      const { answers, learned, missed, control, counters } = this.#maps;
      const code = answerProgram({
        maps: {
          answers: answers.fd,
          learned: learned.fd,
          missed: missed.fd,
          control: control.fd,
          counters: counters.fd,
        },
        addresses: addressesOf(options).map(networkNumber),
        port,
      });
      this.#program = keep(BpfProgram.load({ type: 'xdp', name: 'weft_dns', code }));
      const mode = options.native === true ? 'native' : 'generic';
      this.#link = keep(within(options.ns, () => this.#program.attachXdp(ifindex, mode)));
    } catch (error) {
      for (const thing of opened.reverse()) thing.close();
      if (!isKernelError(error)) throw error;
      throw new WeftError({
        code: 'DNS_IN_KERNEL',
        message: `cannot answer in the kernel at ${options.link}: ${errorMessage(error)}`,
        hint:
          error.code === 'EPERM'
            ? 'it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON'
            : (error.hint ?? 'start without -in-kernel'),
        cause: error,
      });
    }
    this.#timer = setInterval(() => this.#learn(), LEARN_MS);
    this.#timer.unref();
    this.#stopMetrics = metrics.beforeRender(() => this.#collect());
  }

  /** Runs of the program, while the kernel counts (`countRuns`). */
  stats(): ProgramStats {
    return this.#program.stats();
  }

  /** Follows another configuration: what the former one said is answered by the kernel no more. */
  follow(site: Site, sources: readonly NameSource[]): void {
    this.#collect();
    this.#forget();
    this.#site = site;
    for (const source of sources) {
      this.#unsubscribe.push(source.onChange((changed) => this.#changed(source, changed)));
      this.#changed(source, undefined);
    }
  }

  /** Leaves all queries to the server, for example while somebody looks at them. */
  pause(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    this.#control();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#collect();
    this.#stopMetrics();
    for (const stop of this.#unsubscribe.splice(0)) stop();
    this.#link.close();
    this.#program.close();
    for (const map of Object.values(this.#maps)) map.close();
  }

  #forget(): void {
    for (const stop of this.#unsubscribe.splice(0)) stop();
    this.#site = undefined;
    this.#blocks = [];
    this.#control();
    while (this.#maps.answers.take(BATCH).length > 0);
  }

  /** Begins a new epoch: nothing that was learned holds any more. */
  #control(): void {
    this.#epoch = this.#epoch >= 0xffff_fffe ? 1 : this.#epoch + 1;
    const block = Buffer.alloc(CONTROL.size);
    block.writeUInt32LE(this.#epoch, CONTROL.epoch);
    block.writeUInt32LE(this.#paused || this.#site === undefined ? 0 : 1, CONTROL.enabled);
    this.#maps.control.set(Buffer.alloc(4), block);
  }

  #changed(source: NameSource, changed: unknown): void {
    try {
      this.#control();
      this.#fill(source.names(changed));
    } catch (error) {
      // Better no answer of the kernel than an old one.
      this.#log.error(`answers in the kernel cannot follow, the server answers alone: ${errorMessage(error)}`, {
        error,
      });
      this.#site = undefined;
      this.#control();
    }
  }

  /** Sets or deletes the answers for names. */
  #fill(names: Iterable<Uint8Array>): void {
    let keys: Buffer[] = [];
    let values: Buffer[] = [];
    const flush = (): void => {
      if (keys.length === 1) this.#maps.answers.set(keys[0] as Buffer, values[0] as Buffer);
      else this.#maps.answers.setMany(Buffer.concat(keys), Buffer.concat(values), keys.length);
      keys = [];
      values = [];
    };
    for (const name of names) {
      for (const type of [TYPE.A, TYPE.AAAA]) {
        const key = questionKey(name, type);
        const query = key === undefined ? undefined : queryOfKey(key);
        if (key === undefined || query === undefined) continue;
        const value = this.#entry(query, 0);
        if (value === undefined || value.readUInt8(VALUE.copyName) === 0) {
          this.#maps.answers.delete(key);
          continue;
        }
        keys.push(key);
        values.push(value);
        if (keys.length === BATCH) flush();
      }
    }
    if (keys.length > 0) flush();
  }

  /** Gives the kernel answers to what it was asked and did not know. */
  #learn(): void {
    if (this.#site === undefined || this.#paused) return;
    for (const { key } of this.#maps.missed.take(MISSED)) {
      const query = queryOfKey(key);
      const value = query === undefined ? undefined : this.#entry(query, this.#epoch);
      if (value !== undefined) this.#maps.learned.set(key, value);
    }
  }

  #entry(query: Query, epoch: number): Buffer | undefined {
    if (this.#site === undefined || this.#site.choosy) return undefined;
    const zone = this.#site.zones.match(query.key, query.labels)?.value;
    const reply = zone?.quick?.(query);
    if (zone === undefined || reply === undefined) return undefined;
    // Every answer is told to those who count; others (a log) want to see it.
    if (zone.observers.some((observer) => !('bulk' in observer))) return undefined;
    let block = this.#blocks.indexOf(zone);
    if (block < 0) {
      if (this.#blocks.length === BLOCKS) return undefined;
      block = this.#blocks.push(zone) - 1;
    }
    return entryOf(query, reply, { epoch, block });
  }

  /** Adds what the program counted to the metrics of the server. */
  #collect(): void {
    const family = this.#metrics.counter('weft_dns_in_kernel_answers_total', 'Queries answered in the kernel.', [
      'type',
      'rcode',
    ]);
    const index = Buffer.alloc(4);
    for (let slot = 0; slot < SLOTS; slot++) {
      index.writeUInt32LE(slot);
      const cells = this.#maps.counters.get(index) as Buffer;
      const fresh = [COUNTER.count, COUNTER.requestBytes, COUNTER.responseBytes].map((field, i) => {
        let sum = 0n;
        for (let at = field; at < cells.length; at += COUNTER.size) sum += cells.readBigUInt64LE(at);
        const grown = sum - (this.#seen[slot * 3 + i] as bigint);
        this.#seen[slot * 3 + i] = sum;
        return Number(grown);
      });
      const [count = 0, requestBytes = 0, responseBytes = 0] = fresh;
      if (count === 0) continue;
      const { block, ipv6, kind, size } = slotMeaning(slot);
      const type = ipv6 ? TYPE.AAAA : TYPE.A;
      family.cell(ipv6 ? 'AAAA' : 'A', kind === 'nxdomain' ? 'NXDOMAIN' : 'NOERROR').value += count;
      for (const observer of this.#blocks[block]?.observers ?? []) {
        (observer as Partial<BulkObserver>).bulk?.({
          type,
          rcode: RCODES[kind],
          by: 'kubernetes',
          count,
          requestBytes,
          responseBytes,
          responseSize: size,
        });
      }
    }
  }
}

function addressesOf({ link, addresses, ns }: InKernelOptions): string[] {
  if (addresses !== undefined) return [...addresses];
  const found = within(ns, networkInterfaces)[link]?.filter(({ family }) => family === 'IPv4') ?? [];
  return found.length > 0 ? found.map(({ address }) => address) : noLink(link);
}

/** Without a namespace no call that needs CAP_SYS_ADMIN: a pod does not have it. */
function within<T>(ns: NetNs | undefined, work: () => T): T {
  return ns === undefined ? work() : ns.run(work);
}

function noLink(link: string): never {
  throw new WeftError({
    code: 'DNS_IN_KERNEL',
    message: `link ${link} is not there, not up, or has no IPv4 address to answer at`,
    hint: 'ip -4 address shows the links that have one',
  });
}

/** An address as the program compares it: its four bytes read by this machine. */
function networkNumber(address: string): number {
  return Buffer.from(address.split('.').map(Number)).readUInt32LE();
}

async function linkIndex({ link, ns }: InKernelOptions): Promise<number> {
  const rt = Rtnl.open(ns);
  try {
    return (await rt.links.get(link))?.index ?? noLink(link);
  } finally {
    rt.close();
  }
}
