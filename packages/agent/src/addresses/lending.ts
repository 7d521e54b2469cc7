import { blockName, type Ipam, type IpPool, placeOf, type AddressView, type RangeSet } from '@weft/cni';
import { addressResources, type AddressLoan, isStatus, type KubeClient } from '@weft/kube';
import { parseIp, parsePrefix, type Prefix, prefixContains } from '@weft/net';
import { errorMessage, type Logger } from '@weft/plan';
import type { AddressCache } from './cache.ts';
import { addressText, ignore } from './keeper.ts';

/** How long a borrower waits for the answer of the other node, milliseconds. */
const ANSWER_MS = 5000;
/** How many addresses are asked for before giving up. */
const ASKS = 4;

export interface LendingOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly cache: AddressCache;
  readonly ipam: () => Ipam | undefined;
  /** What this node knows now, and the ranges of its own pod CIDRs. */
  readonly view: () => AddressView;
  readonly ranges: () => readonly RangeSet[];
  /** For whom an address is kept when no loan says otherwise. */
  readonly keptFor: (address: string) => string | undefined;
  readonly log: Logger;
}

/** Holder of an address that is on its way back to its own node. */
const RETURNING = 'the node that had lent it';

/** Holder of an address that is lent to a node. */
function lentTo(node: string): string {
  return `node ${node}, which has borrowed it`;
}

/**
 * Addresses that change nodes: the borrower makes an AddressLoan object, the node whose range it is in keeps the address
 * for it and says so in the status, and all nodes then route that one address to the borrower. The lender journals
 * before it answers, so that no crash of either gives an address twice.
 */
export class Lending {
  readonly #options: LendingOptions;
  readonly #log: Logger;
  readonly #answering = new Set<string>();
  readonly #returning = new Set<string>();

  constructor(options: LendingOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /** Addresses that this node may give to pods although they are in other nodes' ranges. */
  borrowed(): readonly string[] {
    const { cache, nodeName } = this.#options;
    return cache
      .loans()
      .filter((l) => l.spec.node === nodeName && l.status?.phase === 'Granted' && !this.#returning.has(l.spec.address))
      .map((l) => l.spec.address);
  }

  /** Borrows this very address for a pod. Undefined when it is there; else why not. */
  async borrow(address: string, pod?: AddressLoan['spec']['pod']): Promise<string | undefined> {
    const { client, cache, nodeName } = this.#options;
    const name = blockName(address);
    await cache.until(() => !this.#returning.has(address), ANSWER_MS);
    try {
      const spec = { address, node: nodeName, ...(pod === undefined ? {} : { pod }) };
      await client.create(addressResources.addressloans, { metadata: { name }, spec });
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) return `cannot ask for it: ${errorMessage(error)}`;
      await cache.until(() => cache.loan(name) !== undefined, ANSWER_MS);
      const loan = cache.loan(name);
      if (loan !== undefined && loan.spec.node !== nodeName) return `it is lent to node ${loan.spec.node}`;
    }
    await cache.until(() => cache.loan(name)?.status?.phase !== undefined, ANSWER_MS);
    const status = cache.loan(name)?.status;
    if (status?.phase === 'Granted') return undefined;
    await client.delete(addressResources.addressloans, undefined, name).catch(ignore('NotFound'));
    if (status?.phase === 'Refused') return status.message ?? 'the other node refused';
    return 'the node that has the range does not answer';
  }

  /** Borrows some address of a pool from another node's block. Undefined when there is one; else why not. */
  async borrowFrom(pool: IpPool, reserved: readonly Prefix[]): Promise<string | undefined> {
    const { cache, nodeName } = this.#options;
    if (cache.config().strictAffinity === true) return 'IPAMConfig default: strictAffinity is true';
    const candidates = cache
      .blocks()
      .filter((b) => b.node !== undefined && b.node !== nodeName && b.unallocated.length > 0)
      .map((b) => ({ ...b, prefix: parsePrefix(b.cidr) as Prefix }))
      .filter((b) => prefixContains(pool.prefix, b.prefix.ip))
      .sort((a, b) => b.unallocated.length - a.unallocated.length);
    let asks = 0;
    let why = `no other node has a free address of pool ${pool.name}`;
    for (const block of candidates) {
      // The block's own node takes them from the front.
      for (const at of [...block.unallocated].reverse()) {
        const address = addressText(block.prefix, at);
        const ip = parseIp(address);
        if (ip === undefined || reserved.some((r) => prefixContains(r, ip))) continue;
        if (cache.loan(blockName(address)) !== undefined) continue;
        const refused = await this.borrow(address);
        if (refused === undefined) return undefined;
        why = `node ${block.node} lends no address of ${block.cidr}: ${refused}`;
        if (++asks >= ASKS) return why;
        break;
      }
    }
    return why;
  }

  /** Gives borrowed addresses back that no pod has any more. */
  giveBack(addresses: readonly string[]): void {
    const { client, cache, ipam, nodeName } = this.#options;
    const store = ipam();
    if (store === undefined) return;
    for (const address of addresses) {
      const name = blockName(address);
      const loan = cache.loan(name);
      if (loan?.spec.node !== nodeName || loan.status?.phase !== 'Granted') continue;
      if (store.ownerOf(address) !== undefined || this.#returning.has(address)) continue;
      this.#returning.add(address);
      // An ADD under way may have chosen it before: it finds it kept.
      store.hold(address, RETURNING);
      void client
        .delete(addressResources.addressloans, undefined, name)
        .catch(ignore('NotFound'))
        .then(() => cache.until(() => cache.loan(name) === undefined, ANSWER_MS))
        .catch((error: unknown) => {
          this.#log.warn('cannot give a borrowed address back yet', { address, error: errorMessage(error) });
        })
        .finally(() => {
          this.#returning.delete(address);
          if (store.heldFor(address) === RETURNING) store.unhold(address);
        });
    }
  }

  /** Gives back all that no pod has, and withdraws what was asked for in an earlier life. */
  giveAllBack(): void {
    const { cache, client, nodeName } = this.#options;
    this.giveBack(this.borrowed());
    for (const { metadata, spec, status } of cache.loans()) {
      if (spec.node !== nodeName || status?.phase === 'Granted') continue;
      client
        .delete(addressResources.addressloans, undefined, metadata.name)
        .catch(ignore('NotFound'))
        .catch((error: unknown) => this.#log.warn('cannot withdraw a loan', { loan: metadata.name, error }));
    }
  }

  /** Answers a loan of an address of this node, and keeps or frees the address as loans and others say. */
  answer(name: string): void {
    const { cache, ipam } = this.#options;
    const store = ipam();
    if (store === undefined || !cache.synced) return;
    const loan = cache.loan(name);
    if (loan === undefined) return;
    const { address, node } = loan.spec;
    const ip = parseIp(address);
    if (ip === undefined || !this.isMine(address) || node === this.#options.nodeName) return;
    if (loan.status?.phase === 'Granted') {
      store.hold(address, lentTo(node));
      return;
    }
    if (loan.status?.phase !== undefined || this.#answering.has(name)) return;
    const owner = store.ownerOf(address);
    const held = store.heldFor(address);
    const forPod = loan.spec.pod === undefined ? undefined : podHolder(loan.spec.pod.namespace, loan.spec.pod.name);
    if (owner !== undefined) {
      const pod =
        owner.pod === undefined ? `container ${owner.containerId}` : `pod ${owner.pod.namespace}/${owner.pod.name}`;
      this.#say(name, { phase: 'Refused', message: `it is in use by ${pod} on node ${this.#options.nodeName}` });
    } else if (held !== undefined && held !== forPod && held !== lentTo(node)) {
      this.#say(name, { phase: 'Refused', message: `it is kept for ${held}` });
    } else {
      store.hold(address, lentTo(node));
      this.#say(name, { phase: 'Granted', message: '' });
    }
  }

  /** Ends holds of loans that are gone. */
  settle(addresses: readonly string[]): void {
    const { cache, ipam, keptFor } = this.#options;
    const store = ipam();
    if (store === undefined || !cache.synced) return;
    for (const address of addresses) {
      const held = store.heldFor(address);
      if (held === undefined) continue;
      const loan = cache.loan(blockName(address));
      const wanted =
        loan !== undefined && loan.status?.phase !== 'Refused' && loan.spec.node !== this.#options.nodeName
          ? lentTo(loan.spec.node)
          : keptFor(address);
      if (wanted === undefined) store.unhold(address);
      else if (wanted !== held) store.hold(address, wanted);
    }
  }

  /** True when the address is in a range that this node gives out. */
  isMine(address: string): boolean {
    const ip = parseIp(address);
    if (ip === undefined) return false;
    const { view, ranges } = this.#options;
    return placeOf({ ...view(), borrowed: [] }, ranges(), ip)?.at === 'here';
  }

  #say(name: string, answer: { readonly phase: 'Granted' | 'Refused'; readonly message: string }): void {
    const { client, nodeName } = this.#options;
    this.#answering.add(name);
    const status = { ...answer, lender: nodeName };
    client
      .patch(addressResources.addressloans, undefined, name, { status }, { subresource: 'status' })
      .catch(ignore('NotFound'))
      .catch((error: unknown) => {
        this.#log.warn('cannot answer who wants to borrow an address', { loan: name, error: errorMessage(error) });
      })
      .finally(() => this.#answering.delete(name));
  }
}

/** Holder of an address that a pod keeps although it is not there. */
export function podHolder(namespace: string, name: string): string {
  return `pod ${namespace}/${name}`;
}
