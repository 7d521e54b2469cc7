import { createHash } from 'node:crypto';
import { formatIp, lastAddress, parseInterfaceAddress, prefixOf } from '@weft/net';
import {
  type Element,
  expr,
  type Expr,
  isKernelError,
  type NetNs,
  Nft,
  NftBatch,
  type SetSpec,
  values,
} from '@weft/kernel';
import { booleanField, field, type JsonObject, stringField } from '../../spec/json.ts';
import type { Attachment } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import { invalid } from './conf.ts';
import { IptablesMasquerade } from './masquerade-iptables.ts';

/** Translation of the source of packets that leave a network (`ipMasq`). */
export interface Masquerading {
  /** Masquerades what these addresses (each with its length) send out of their subnets. */
  add(network: string, attachment: Attachment, addresses: readonly string[]): Promise<void>;
  /** Takes back what `add` did for an attachment, whatever its addresses were. Nothing happens when nothing is there. */
  remove(network: string, attachment: Attachment): Promise<void>;
  /** Takes back what belongs to attachments of a network that are not valid. */
  keepOnly(network: string, valid: readonly Attachment[]): Promise<void>;
  /** Whether all that `add` did is in the kernel. */
  has(network: string, attachment: Attachment, addresses: readonly string[]): Promise<boolean>;
}

/** Whether packets that leave the network get the node's address (`ipMasq`); throws for an `ipMasqBackend` of nobody. */
export function readIpMasq(config: JsonObject): boolean {
  const backend = stringField(config, 'ipMasqBackend') ?? '';
  if (backend !== '' && backend !== 'nftables' && backend !== 'iptables') {
    throw invalid(`ipMasqBackend: "${backend}" is unknown; use "nftables" or "iptables"`);
  }
  return booleanField(config, 'ipMasq') ?? false;
}

/** The masquerading that a configuration asks for (`ipMasqBackend`, default nftables). */
export function masqueradingOf(node: NodeNetwork, config: JsonObject): Masquerading {
  return field(config, 'ipMasqBackend') === 'iptables' ? new IptablesMasquerade(node) : new Masquerade(node.ns);
}

const TABLE = { family: 'inet', name: 'weft-masquerade' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;
const FAMILIES = [4, 6] as const;
const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const r = expr.reg32;

interface Sets {
  /** Addresses whose packets leave with the node's address … */
  readonly pods: SetSpec;
  /** … unless they go to the same subnet. */
  readonly inside: SetSpec;
}

function sets(family: 4 | 6): Sets {
  return {
    pods: { ...in_, name: `pods${family}`, key: ADDRESS[family], comment: 'masqueraded sources' },
    inside: {
      ...in_,
      name: `inside${family}`,
      key: [ADDRESS[family], ADDRESS[family]],
      flags: { interval: true },
      comment: 'a source and its own subnet',
    },
  };
}

const SETS = { 4: sets(4), 6: sets(6) } as const;
const ALL: readonly SetSpec[] = FAMILIES.flatMap((family) => [SETS[family].pods, SETS[family].inside]);

function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** Mark of a network on its elements. */
function networkMark(network: string): string {
  return `${hash(network, 16)}:`;
}

/** Mark of an attachment on its elements, by which they are found again when nobody knows its addresses any more. */
function mark(network: string, attachment: Attachment): string {
  return networkMark(network) + hash(`${attachment.containerId}\0${attachment.ifname}`, 32);
}

function elements(
  addresses: readonly string[],
  comment: string,
): { readonly set: SetSpec; readonly element: Element }[] {
  return addresses.flatMap((text) => {
    const parsed = parseInterfaceAddress(text);
    if (parsed === undefined) return [];
    const { ip, length } = parsed;
    const bytes = (address: string): Uint8Array => (ip.family === 4 ? values.ip4(address) : values.ip6(address));
    const subnet = prefixOf(ip, length);
    const own = bytes(formatIp(ip));
    const key = values.fields(own, bytes(formatIp(subnet.ip)));
    const keyEnd = values.fields(own, bytes(formatIp(lastAddress(subnet))));
    return [
      { set: SETS[ip.family].pods, element: { key: own, comment } },
      { set: SETS[ip.family].inside, element: { key, keyEnd, comment } },
    ];
  });
}

function putStructure(b: NftBatch): void {
  b.addTable({ ...TABLE, comment: 'ipMasq of CNI networks' });
  for (const set of ALL) b.addSet(set);
  const chain = { ...in_, name: 'postrouting' };
  b.addChain({ ...chain, hook: { hook: 'postrouting', type: 'nat', priority: values.PRIORITY.srcnat } });
  // Another process may have made it since we looked; the rules must be there once.
  b.flushChain(chain);
  for (const family of FAMILIES) {
    const h = family === 4 ? expr.header.ip : expr.header.ip6;
    const width = family === 4 ? 1 : 4;
    const [saddr, daddr] = [family === 4 ? r(0) : expr.reg(1), family === 4 ? r(width) : expr.reg(2)];
    const own = [expr.meta('nfproto', r(12)), expr.cmp('eq', r(12), values.u8(family === 4 ? 2 : 10))];
    const rule = (exprs: Expr[], comment: string): void => {
      b.addRule({ ...in_, chain: 'postrouting', exprs: [...own, ...exprs], comment });
    };
    const [mask, group] =
      family === 4
        ? [Uint8Array.of(240, 0, 0, 0), Uint8Array.of(224, 0, 0, 0)]
        : [Uint8Array.of(255, 0, 0, 0), Uint8Array.of(255, 0, 0, 0)];
    rule(
      [
        expr.payload({ ...h.daddr, len: 4 }, r(0)),
        expr.bitwise({ sreg: r(0), dreg: r(0), mask }),
        expr.cmp('eq', r(0), group),
        expr.verdict('return'),
      ],
      'multicast keeps its source',
    );
    const ends = [expr.payload(h.saddr, saddr), expr.payload(h.daddr, daddr)];
    rule(
      [...ends, expr.lookup({ set: SETS[family].inside.name, sreg: r(0) }), expr.verdict('return')],
      'the same subnet',
    );
    rule(
      [expr.payload(h.saddr, saddr), expr.lookup({ set: SETS[family].pods.name, sreg: r(0) }), expr.masquerade()],
      'everything else',
    );
  }
}

interface Present {
  readonly set: SetSpec;
  readonly element: Element;
}

/**
 * Masquerading of CNI networks (`ipMasq`): one nftables table for all of them, with elements per attachment. The
 * reference plugins make an iptables chain per attachment and lose it when the namespace is gone before DEL.
 */
class Masquerade implements Masquerading {
  readonly #ns: NetNs | undefined;

  constructor(ns: NetNs | undefined) {
    this.#ns = ns;
  }

  async #with<T>(work: (nft: Nft) => Promise<T>): Promise<T> {
    const nft = Nft.open(this.#ns);
    try {
      return await work(nft);
    } finally {
      nft.close();
    }
  }

  async #list(nft: Nft): Promise<readonly Present[] | undefined> {
    if (!(await nft.listTables(TABLE.family)).some((table) => table.name === TABLE.name)) return undefined;
    const present: Present[] = [];
    for (const set of ALL) for (const element of await nft.listElements(set)) present.push({ set, element });
    return present;
  }

  async add(network: string, attachment: Attachment, addresses: readonly string[]): Promise<void> {
    await this.#with(async (nft) => {
      const present = await this.#list(nft);
      const wanted = elements(addresses, mark(network, attachment));
      const b = new NftBatch();
      if (present === undefined) putStructure(b);
      // An address that somebody else had, whose DEL never came, belongs to this attachment now.
      for (const { set, element } of present ?? []) {
        if (wanted.some((one) => one.set === set && sameKey(one.element, element))) b.delElements(set, [element]);
      }
      for (const { set, element } of wanted) b.addElements(set, [element]);
      await nft.commit(b);
    });
  }

  async remove(network: string, attachment: Attachment): Promise<void> {
    const own = mark(network, attachment);
    await this.#removeWhere((comment) => comment === own);
  }

  async keepOnly(network: string, valid: readonly Attachment[]): Promise<void> {
    const kept = new Set(valid.map((attachment) => mark(network, attachment)));
    await this.#removeWhere((comment) => comment.startsWith(networkMark(network)) && !kept.has(comment));
  }

  async has(network: string, attachment: Attachment, addresses: readonly string[]): Promise<boolean> {
    const own = mark(network, attachment);
    const present = (await this.#with((nft) => this.#list(nft))) ?? [];
    return elements(addresses, own).every((wanted) =>
      present.some((p) => p.set === wanted.set && p.element.comment === own && sameKey(p.element, wanted.element)),
    );
  }

  async #removeWhere(wanted: (comment: string) => boolean): Promise<void> {
    await this.#with(async (nft) => {
      const stale = ((await this.#list(nft)) ?? []).filter(({ element }) => wanted(element.comment ?? ''));
      if (stale.length === 0) return;
      const b = new NftBatch();
      for (const { set, element } of stale) b.delElements(set, [element]);
      try {
        await nft.commit(b);
      } catch (error) {
        // Somebody else removed them meanwhile.
        if (!isKernelError(error, 'ENOENT')) throw error;
      }
    });
  }
}

function sameKey(a: Element, b: Element): boolean {
  return Buffer.compare(a.key, b.key) === 0;
}
