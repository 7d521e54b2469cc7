import {
  type AddressAnswer,
  type AddressAuthority,
  type AddressQuestion,
  type AddressRequest,
  type AddressSource,
  type AddressView,
  CniCode,
  CniError,
  chooseAddresses,
  type FamilyChoice,
  type Ipam,
  type IpPool,
  type PodReference,
  readPodWish,
  type RangeSet,
  rangeOfSubnet,
  rangesOfBlock,
  readPools,
  setOfAddress,
} from '@weft/cni';
import type { EventRecorder, KubeClient } from '@weft/kube';
import { formatIp, formatPrefix, type Ip, parsePrefix, prefixContains, prefixSize } from '@weft/net';
import { errorMessage, type Logger, type Metrics } from '@weft/plan';
import { podCidrsOf } from '../nodes.ts';
import { Alarms, type SourceUsage } from './alarms.ts';
import type { AddressCache, CacheChange } from './cache.ts';
import { BlockKeeper } from './keeper.ts';
import { Lending, podHolder } from './lending.ts';
import { BlockPublisher } from './publisher.ts';
import { StickyKeeper } from './sticky.ts';

/** Longest an ADD waits after a start until the API's objects are known, milliseconds. */
const SYNC_MS = 10_000;
/** How often empty blocks, borrowed addresses and alarms are looked at, milliseconds. */
const TIDY_MS = 10_000;
/** How long pods are collected before blocks are claimed for them, milliseconds. */
const PREPARE_MS = 50;
/** A node claims its next block of a pool when it has fewer free addresses than this part of a block. */
const HEADROOM = 4n;

export interface AddressBookOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly cache: AddressCache;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Where the addresses of this node's pods come from: pools, pod CIDRs, other nodes; see chooseAddresses. */
export class AddressBook implements AddressAuthority {
  readonly #options: AddressBookOptions;
  readonly #log: Logger;
  readonly #cache: AddressCache;
  readonly #keeper: BlockKeeper;
  readonly #lending: Lending;
  readonly #publisher: BlockPublisher;
  readonly #sticky: StickyKeeper;
  readonly #alarms: Alarms;
  #ipam: Ipam | undefined;
  #pools: readonly IpPool[] | undefined;
  /** Of all nodes; read anew when a node has changed. */
  #podCidrs: AddressView['podCidrs'] | undefined;
  #problems = '';
  #preparing: NodeJS.Timeout | undefined;

  constructor(options: AddressBookOptions) {
    this.#options = options;
    const { nodeName, client, cache, metrics, events } = options;
    this.#log = options.log.child({ component: 'addresses' });
    this.#cache = cache;
    const ipam = (): Ipam | undefined => this.#ipam;
    const common = { nodeName, client, cache, ipam, log: this.#log };
    this.#keeper = new BlockKeeper({ ...common, claimed: () => this.#settle() });
    this.#sticky = new StickyKeeper({ ...common, isMine: (address) => this.#lending.isMine(address) });
    this.#lending = new Lending({
      ...common,
      view: () => this.view(),
      ranges: () => this.#ranges(),
      keptFor: (address) => this.#sticky.holderOf(address),
    });
    this.#publisher = new BlockPublisher({ ...common, blocks: () => this.#keeper.blocks(), metrics });
    this.#alarms = new Alarms({ nodeName, events, metrics, log: this.#log });
  }

  /** Follows the cache until `signal`. */
  start(signal: AbortSignal): void {
    const stop = this.#cache.onChange((change, key) => this.#noticed(change, key));
    const timer = setInterval(() => this.#tidy(), TIDY_MS);
    timer.unref();
    signal.addEventListener(
      'abort',
      () => {
        stop();
        clearInterval(timer);
        clearTimeout(this.#preparing);
        void this.#publisher.stop();
      },
      { once: true },
    );
    void this.#cache
      .until(() => this.#cache.synced && this.#ipam !== undefined, 2 ** 30)
      .then(() => {
        if (signal.aborted) return;
        this.#settle();
        void this.#keeper.recover().catch((error: unknown) => {
          this.#log.warn('cannot look after the blocks of an earlier life', { error: errorMessage(error) });
        });
        this.#lending.giveAllBack();
        this.#publisher.touchAll();
        this.#prepare();
        this.#tidy();
      });
  }

  begin(ipam: Ipam): void {
    this.#ipam = ipam;
    ipam.onChange((addresses) => {
      this.#sticky.keep(addresses);
      this.#lending.giveBack(addresses);
      this.#publisher.touch(addresses);
      this.#alarms.later(() => this.#usages());
    });
    this.#cache.poke();
  }

  /** What this node knows of addresses now. */
  view(): AddressView {
    const { nodeName } = this.#options;
    this.#podCidrs ??= this.#cache.nodes().flatMap((node) =>
      podCidrsOf(node).flatMap((text) => {
        const prefix = parsePrefix(text);
        return prefix === undefined ? [] : [{ node: node.metadata.name, prefix }];
      }),
    );
    return {
      node: nodeName,
      nodeLabels: this.#cache.node(nodeName)?.metadata.labels,
      pools: this.#readPools(),
      reserved: this.#keeper.reserved(),
      podCidrs: this.#podCidrs,
      blocks: this.#keeper.blocks(),
      borrowed: this.#lending.borrowed(),
    };
  }

  async choose(question: AddressQuestion): Promise<AddressAnswer> {
    if (!(await this.#cache.whenSynced(SYNC_MS))) {
      throw new CniError(
        CniCode.tryAgainLater,
        `node ${this.#options.nodeName} does not know the address pools yet: the API server has not answered`,
        'IPAM_NOT_SYNCED: look whether the agent reaches the API server',
      );
    }
    const annotations = this.#annotationsOf(question);
    const wish = readPodWish(annotations);
    if (wish.ipAddrsNoIpam.length > 0) {
      const requests = wish.ipAddrsNoIpam.map((ip) => ({ sets: [setOfAddress(ip)], exact: ip }));
      return { requests, mac: wish.mac, sticky: false };
    }
    const { pod } = question;
    const before = wish.sticky && pod !== undefined ? this.#sticky.addressesOf(pod.namespace, pod.name) : [];
    const holder = pod === undefined ? undefined : podHolder(pod.namespace, pod.name);
    const choices = this.#choices(question, annotations, before);
    const requests: AddressRequest[] = [];
    for (const choice of choices) requests.push(await this.#request(choice, question, holder));
    return { requests, mac: wish.mac, sticky: wish.sticky };
  }

  async grow(question: AddressQuestion): Promise<string | undefined> {
    const annotations = this.#annotationsOf(question);
    let why = '';
    for (const choice of this.#choices(question, annotations, [])) {
      if ('exact' in choice || this.#hasFree(choice.sources)) continue;
      const failed = await this.#obtain(choice.sources);
      if (failed !== undefined) why = failed;
    }
    return why === '' ? undefined : why;
  }

  /** Tells of addresses that were freed without their pod having been deleted: metric and event, with the pod's name. */
  leaked(pod: PodReference | undefined, containerId: string, addresses: readonly string[]): void {
    if (addresses.length > 0) this.#alarms.leaked(pod, containerId, addresses);
  }

  problem(ranges: readonly RangeSet[]): string | undefined {
    if (!this.#cache.synced) return 'the address pools are not known yet';
    const question = { network: '', containerId: '', ifname: '', pod: undefined, annotations: {}, configured: {} };
    try {
      for (const choice of this.#choices({ ...question, ranges, exact: [] }, {}, [])) {
        if ('exact' in choice || this.#hasFree(choice.sources)) continue;
        // A pool without a block here may have one to be claimed; only ADD finds out.
        if (choice.sources.some((source) => source.pool !== undefined)) continue;
        const usage = this.#ipam?.usage(choice.sources[0]?.set as RangeSet);
        return `no IP addresses available in ${usage?.range}: ${usage?.used} of ${usage?.total} are in use`;
      }
      return undefined;
    } catch (error) {
      return errorMessage(error);
    }
  }

  #choices(
    question: AddressQuestion,
    annotations: Readonly<Record<string, string>>,
    before: readonly Ip[],
  ): readonly FamilyChoice[] {
    const namespace = this.#cache.namespaces.get(question.pod?.namespace ?? '')?.metadata;
    const asked = {
      wish: readPodWish(annotations),
      pod: annotations,
      namespace: { annotations: namespace?.annotations ?? {}, labels: namespace?.labels },
      ranges: question.ranges,
      configured: question.configured,
    };
    const view = this.view();
    try {
      return chooseAddresses(view, { ...asked, exact: [...question.exact, ...before] });
    } catch (error) {
      // What the pod had before may be in no node's range any more: then it begins anew.
      if (before.length === 0) throw error;
      return chooseAddresses(view, { ...asked, exact: question.exact });
    }
  }

  /** Makes a choice into sets of addresses that are at this node, fetching what is not. */
  async #request(choice: FamilyChoice, question: AddressQuestion, holder: string | undefined): Promise<AddressRequest> {
    if ('exact' in choice) return this.#fetch(choice, question, holder);
    const sets = choice.sources.flatMap((source) => (source.set === undefined ? [] : [source.set]));
    if (sets.length > 0) return { sets };
    const why = await this.#obtain(choice.sources);
    const again = this.view();
    for (const { pool } of choice.sources) {
      const found = this.#choicesOfPool(again, pool);
      if (found !== undefined) return { sets: [found] };
    }
    throw new CniError(
      CniCode.tryAgainLater,
      `no IP addresses available in ${choice.sources.map((s) => `pool ${s.pool?.name}`).join(', ')}: ${why ?? 'they were taken meanwhile'}`,
      'IPAM_EXHAUSTED: enlarge the pool or create another, or delete pods',
    );
  }

  #choicesOfPool(view: AddressView, pool: IpPool | undefined): RangeSet | undefined {
    if (pool === undefined) return undefined;
    const asked = { annotations: {}, labels: undefined };
    const wish = readPodWish({});
    const [choice] = chooseAddresses(view, {
      wish,
      pod: { [`cni.projectcalico.org/ipv${pool.family}pools`]: JSON.stringify([pool.name]) },
      namespace: asked,
      ranges: [],
      configured: {},
      exact: [],
    });
    return choice === undefined || 'exact' in choice ? undefined : choice.sources[0]?.set;
  }

  /** Brings an address that is asked for by name to this node. */
  async #fetch(
    choice: Extract<FamilyChoice, { readonly exact: Ip }>,
    question: AddressQuestion,
    holder: string | undefined,
  ): Promise<AddressRequest> {
    const { exact, place } = choice;
    const address = formatIp(exact);
    const kept = holder === undefined ? {} : { holder };
    if (place.at === 'here') return { sets: [place.set], exact, ...kept };
    if (place.at === 'nowhere') {
      const claimed = await this.#keeper.claimBlock(place.pool, place.block);
      if ('block' in claimed) return { sets: [setOfAddress(exact)], exact, ...kept };
      throw new CniError(CniCode.tryAgainLater, `requested IP address ${address} cannot be had: ${claimed.why}`);
    }
    const pod = question.pod === undefined ? undefined : { ...question.pod };
    const why = await this.#lending.borrow(address, pod);
    if (why === undefined) return { sets: [setOfAddress(exact)], exact, ...kept };
    throw new CniError(
      CniCode.tryAgainLater,
      `requested IP address ${address} belongs to node ${place.node}, which does not lend it: ${why}`,
      `IPAM_NOT_LENT: delete the pod that has it, or let the pod run on node ${place.node}`,
    );
  }

  /** Gets more addresses of the sources: a block of the first pool that has one, else another node's address. */
  async #obtain(sources: readonly AddressSource[]): Promise<string | undefined> {
    const pools = sources.flatMap((source) => (source.pool === undefined ? [] : [source.pool]));
    const why: string[] = [];
    for (const pool of pools) {
      const claimed = await this.#keeper.claim(pool);
      if ('block' in claimed) return undefined;
      why.push(claimed.why);
    }
    for (const pool of pools) {
      const refused = await this.#lending.borrowFrom(pool, this.#keeper.reserved());
      if (refused === undefined) return undefined;
      why.push(refused);
    }
    return pools.length === 0 ? 'no pool serves this pod beside the pod CIDR of the node' : why.join('; ');
  }

  #hasFree(sources: readonly AddressSource[]): boolean {
    return sources.some((source) => {
      if (source.set === undefined || this.#ipam === undefined) return false;
      const { used, total } = this.#ipam.usage(source.set);
      return BigInt(used) < total;
    });
  }

  #annotationsOf(question: AddressQuestion): Readonly<Record<string, string>> {
    if (question.annotations !== undefined) return question.annotations;
    const { pod } = question;
    if (pod === undefined) return {};
    return this.#cache.pods.get(`${pod.namespace}/${pod.name}`)?.metadata.annotations ?? {};
  }

  #readPools(): readonly IpPool[] {
    if (this.#pools !== undefined) return this.#pools;
    const { pools, problems } = readPools(this.#cache.pools());
    this.#pools = pools;
    const text = problems.map((p) => `${p.pool}: ${p.message}`).join('\n');
    if (text !== this.#problems) {
      this.#problems = text;
      for (const { pool, message } of problems) {
        this.#log.warn('an address pool cannot be used', { pool, message });
        const about = { apiVersion: 'crd.projectcalico.org/v1', kind: 'IPPool', name: pool };
        this.#options.events.event(about, 'Warning', 'InvalidPool', message);
      }
    }
    return pools;
  }

  /** Ranges of this node's pod CIDRs, as its network configuration has them. */
  #ranges(): readonly RangeSet[] {
    return podCidrsOf(this.#cache.node(this.#options.nodeName)).flatMap((cidr) => {
      try {
        const range = rangeOfSubnet(cidr);
        return [{ family: range.prefix.ip.family, ranges: [range] }];
      } catch {
        return [];
      }
    });
  }

  #noticed(change: CacheChange, key: string): void {
    if (change === 'pools') this.#pools = undefined;
    if (change === 'nodes') this.#podCidrs = undefined;
    if (change === 'loans') {
      this.#lending.answer(key);
      const loan = this.#cache.loan(key);
      if (loan === undefined) this.#lending.settle([...(this.#ipam?.holds().keys() ?? [])]);
    }
    if (change === 'sticky') this.#sticky.settle(() => this.#lending.settle([...(this.#ipam?.holds().keys() ?? [])]));
    if (change === 'blocks') {
      this.#publisher.touchBlock(key);
      if (this.#keeper.blocks().get(key) === this.#options.nodeName) this.#settle();
    }
    if (change === 'pods' || change === 'pools') this.#prepareSoon();
  }

  /** Keeps what is lent or promised, of ranges that may be new. */
  #settle(): void {
    if (!this.#cache.synced) return;
    for (const loan of this.#cache.loans()) this.#lending.answer(loan.metadata.name);
    this.#sticky.settle(() => {});
    this.#lending.settle([...(this.#ipam?.holds().keys() ?? [])]);
  }

  /** Pods come in bursts: they are looked at together. What an ADD needs before, it fetches itself. */
  #prepareSoon(): void {
    this.#preparing ??= setTimeout(() => {
      this.#preparing = undefined;
      this.#prepare();
    }, PREPARE_MS);
    this.#preparing.unref();
  }

  /** Claims blocks before they are needed: for pods that are bound here, and when those there are run low. */
  #prepare(): void {
    if (!this.#cache.synced || this.#readPools().length === 0 || this.#ipam === undefined) return;
    const ranges = this.#ranges();
    for (const pod of this.#cache.pods.list()) {
      const annotations = pod.metadata.annotations ?? {};
      const { namespace = '', name } = pod.metadata;
      if (pod.hostNetwork) continue;
      try {
        const question = { network: '', containerId: '', ifname: '', annotations, configured: {}, exact: [] };
        for (const choice of this.#choices({ ...question, pod: { namespace, name }, ranges }, annotations, [])) {
          const [first] = 'exact' in choice ? [] : choice.sources;
          if (first?.pool !== undefined && first.set === undefined) this.#claimAhead(first.pool);
        }
      } catch {
        // Its ADD will say what is wrong.
      }
    }
    for (const pool of this.#readPools()) {
      const own = this.#keeper.own(pool);
      if (own.length === 0 || !pool.enabled) continue;
      const set = this.#choicesOfPool(this.view(), pool);
      if (set === undefined) continue;
      const { used, total } = this.#ipam.usage(set);
      const block = 1n << BigInt((pool.family === 4 ? 32 : 128) - pool.blockSize);
      if (total - BigInt(used) < (block + HEADROOM - 1n) / HEADROOM) this.#claimAhead(pool);
    }
  }

  #claimAhead(pool: IpPool): void {
    this.#keeper.claim(pool).then(
      (claimed) => {
        if ('why' in claimed) this.#log.debug('no further block', { pool: pool.name, why: claimed.why });
      },
      (error: unknown) => this.#log.warn('cannot claim a block', { pool: pool.name, error: errorMessage(error) }),
    );
  }

  #tidy(): void {
    if (!this.#cache.synced || this.#ipam === undefined) return;
    this.#settle();
    this.#prepare();
    void this.#keeper.tidy().catch(() => {});
    this.#alarms.look(this.#usages());
  }

  /** How full what this node gives out is, by source. */
  #usages(): readonly SourceUsage[] {
    const store = this.#ipam;
    if (store === undefined || !this.#cache.synced) return [];
    const view = this.view();
    const covered = (set: RangeSet): boolean =>
      set.ranges.some((r) => view.pools.some((p) => p.family === set.family && formatPrefix(p.prefix) === r.subnet));
    const cidrs = this.#ranges()
      .filter((set) => !covered(set))
      .map((set) => {
        const { range, used, total } = store.usage(set);
        return { source: range, used, total };
      });
    const pools = view.pools.flatMap((pool) => {
      const set = pool.enabled ? this.#choicesOfPool(view, pool) : undefined;
      if (set === undefined) return [];
      const { used, total } = store.usage(set);
      return [{ source: `pool ${pool.name}`, used, total, whole: this.#wholeOf(pool, store) }];
    });
    return [...cidrs, ...pools];
  }

  /** How full a pool is on all nodes together, as far as they have told. */
  #wholeOf(pool: IpPool, store: Ipam): { readonly used: number; readonly total: bigint } {
    let used = 0;
    for (const { cidr, node, unallocated } of this.#cache.blocks()) {
      const block = parsePrefix(cidr);
      if (block === undefined || !prefixContains(pool.prefix, block.ip)) continue;
      const own = node === this.#options.nodeName;
      const set = { family: pool.family, ranges: rangesOfBlock(block) };
      used += own ? store.usage(set).used : Number(prefixSize(block)) - unallocated.length;
    }
    return { used, total: prefixSize(pool.prefix) };
  }
}
