import { isKernelError, type Expr, expr, type NetNs, Nft, NftBatch, Rtnl, type RuleSpec, values } from '@weft/kernel';
import { ipBytes, parseIp } from '@weft/net';
import { WeftError } from '@weft/plan';
import type { NodeLocalOptions } from './options.ts';

const FAMILY = 'inet';
const TABLE = 'weft-node-local-dns';
const TCP = 6;
const UDP = 17;

type Chain = 'prerouting' | 'output';

/** One rule: packets of a protocol from or to a local address and port are not tracked. */
interface Untracked {
  readonly chain: Chain;
  readonly side: 'from' | 'to';
  readonly address: string;
  readonly protocol: typeof TCP | typeof UDP;
  readonly port: number;
  /** What asked for it. */
  readonly cause: string;
}

/**
 * What node-cache exempts from connection tracking: queries that come in or are made here, answers, and the health
 * check. Without a connection there is no translation either, so an address of a Service is answered here. Its rules that
 * accept the same packets have no counterpart: an `accept` of one nftables table does not overrule the drop of another.
 */
export function untracked(options: NodeLocalOptions): Untracked[] {
  return options.localIps.flatMap((address) => {
    const cause = `-localip ${address}`;
    const dns = ([UDP, TCP] as const).flatMap((protocol): Untracked[] => {
      const one = { address, protocol, port: options.port, cause };
      return [
        { ...one, chain: 'prerouting', side: 'to' },
        { ...one, chain: 'output', side: 'to' },
        { ...one, chain: 'output', side: 'from' },
      ];
    });
    const health = {
      chain: 'output',
      address,
      protocol: TCP,
      port: options.healthPort,
      cause: '-health-port',
    } as const;
    return [...dns, { ...health, side: 'to' }, { ...health, side: 'from' }];
  });
}

function ruleOf(rule: Untracked): RuleSpec {
  const { header, meta, cmp, payload, notrack, reg } = expr;
  const v6 = parseIp(rule.address)?.family === 6;
  const field = v6 ? header.ip6 : header.ip;
  const to = rule.side === 'to';
  const exprs: Expr[] = [
    meta('nfproto', reg(1)),
    cmp('eq', reg(1), Uint8Array.of(v6 ? 10 : 2)),
    meta('l4proto', reg(1)),
    cmp('eq', reg(1), Uint8Array.of(rule.protocol)),
    payload(to ? field.daddr : field.saddr, reg(1)),
    cmp('eq', reg(1), ipBytes(rule.address)),
    payload(to ? header.th.dport : header.th.sport, reg(1)),
    cmp('eq', reg(1), values.u16be(rule.port)),
    notrack(),
  ];
  return { family: FAMILY, table: TABLE, chain: rule.chain, exprs, comment: rule.cause };
}

/** Which part of the setup failed: the label of `coredns_nodecache_setup_errors_total`. */
export type SetupError = 'interface_add' | 'interface_check' | 'iptables';

/**
 * The link with the local addresses, and the rules. Whoever sets them up last owns them: when a new instance has taken
 * over, the old one leaves them alone, also at its end.
 */
export class NodeLocalNetwork {
  readonly #options: NodeLocalOptions;
  readonly #owner: string;
  readonly #rules: readonly Untracked[];
  readonly #rtnl: Rtnl;
  readonly #nft: Nft;

  /** `owner`: unique to this instance; at most 60 characters. */
  constructor(options: NodeLocalOptions, owner: string, ns?: NetNs) {
    this.#options = options;
    this.#owner = `weft dns ${owner}`;
    this.#rules = untracked(options);
    this.#rtnl = Rtnl.open(ns);
    this.#nft = Nft.open(ns);
  }

  /** Makes the link, or takes it over. From now on a server can listen; queries still take their usual way. */
  async claimLink(failed: (what: SetupError, error: unknown) => void): Promise<void> {
    await this.#try('interface_add', failed, () => this.#setUpLink(true));
  }

  /** Brings queries here: only when a server listens. */
  async claimRules(failed: (what: SetupError, error: unknown) => void): Promise<void> {
    await this.#try('iptables', failed, () => this.#setUpRules());
  }

  /** Puts back what has got lost. */
  async audit(failed: (what: SetupError, error: unknown) => void): Promise<void> {
    await this.#try('interface_check', failed, () => this.#setUpLink(false));
    await this.#try('iptables', failed, async () => {
      if (await this.#rulesMissing()) await this.#setUpRules();
    });
  }

  /** Takes the rules away when they are still this instance's: queries take their usual way again. */
  async tearDownRules(): Promise<void> {
    if (!this.#options.setupRules || (await this.#table())?.comment !== this.#owner) return;
    const batch = new NftBatch();
    batch.delTable({ family: FAMILY, name: TABLE });
    await this.#nft.commit(batch);
  }

  /** Takes the link away when it is still this instance's; answers cannot leave from its addresses any more. */
  async tearDownLink(): Promise<void> {
    const { interfaceName, setupInterface } = this.#options;
    if (setupInterface && (await this.#rtnl.links.get(interfaceName))?.alias === this.#owner)
      await this.#rtnl.links.del(interfaceName, { missingOk: true });
  }

  close(): void {
    this.#rtnl.close();
    this.#nft.close();
  }

  async #try(
    what: SetupError,
    failed: (what: SetupError, error: unknown) => void,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      failed(what, error);
    }
  }

  async #setUpLink(claim: boolean): Promise<void> {
    const { interfaceName: name, interfaceKind: kind, localIps, setupInterface } = this.#options;
    if (!setupInterface) return;
    const { links, addresses } = this.#rtnl;
    let link = await links.get(name);
    if (link === undefined) {
      await links.add({ name, kind, up: true, alias: this.#owner }).catch((error: unknown) => {
        if (!isKernelError(error, 'EOPNOTSUPP')) throw error;
        throw new WeftError({
          code: 'NODE_LOCAL_LINK',
          message: `-interfacename ${name}: this kernel has no links of kind ${kind}`,
          hint: 'load the module "dummy", or name a kind that the kernel has: -interfacekind bridge',
          cause: error,
        });
      });
      link = await links.get(name);
    } else if (claim) await links.set(name, { up: true, alias: this.#owner });
    else if (link.alias !== this.#owner) return;
    else if (!link.up) await links.set(name, { up: true });
    const index = link?.index ?? 0;
    for (const ip of localIps) {
      const v6 = ip.includes(':');
      await addresses.replace({ index, address: `${ip}/${v6 ? 128 : 32}`, ...(v6 ? { noDad: true } : {}) });
    }
  }

  async #table(): Promise<{ readonly name: string; readonly comment?: string } | undefined> {
    return (await this.#nft.listTables(FAMILY)).find(({ name }) => name === TABLE);
  }

  async #rulesMissing(): Promise<boolean> {
    if (!this.#options.setupRules) return false;
    const table = await this.#table();
    if (table === undefined) return true;
    if (table.comment !== this.#owner) return false;
    for (const chain of ['prerouting', 'output'] as const) {
      const there = await this.#nft.listRules({ family: FAMILY, name: TABLE }, chain).catch(() => []);
      if (there.length !== this.#rules.filter((rule) => rule.chain === chain).length) return true;
    }
    return false;
  }

  /** One transaction: no packet sees half of it. */
  async #setUpRules(): Promise<void> {
    if (!this.#options.setupRules) return;
    const batch = new NftBatch();
    batch.addTable({ family: FAMILY, name: TABLE });
    batch.delTable({ family: FAMILY, name: TABLE });
    batch.addTable({ family: FAMILY, name: TABLE, comment: this.#owner });
    for (const hook of ['prerouting', 'output'] as const) {
      const place = { hook, type: 'filter', priority: values.PRIORITY.raw } as const;
      batch.addChain({ family: FAMILY, table: TABLE, name: hook, hook: place });
    }
    for (const rule of this.#rules) batch.addRule(ruleOf(rule));
    await this.#nft.commit(batch);
  }
}
