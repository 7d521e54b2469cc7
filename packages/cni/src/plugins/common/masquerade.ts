import { lastAddress, parseInterfaceAddress, parsePrefix, prefixOf } from '@weft/net';
import { type Element, expr, type Expr, isKernelError, Nft, NftBatch, type SetSpec, values } from '@weft/kernel';
import type { Attachment, CniIp, PluginRequest } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import { differs } from './interface.ts';

const TABLE = { family: 'inet', name: 'weft-cni-masq' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;
const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const FAMILIES = [4, 6] as const;
const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;
/** Longest comment of an element, bytes. */
const COMMENT_MAX = 127;
const r = expr.reg32;

function setsOf(family: 4 | 6): { readonly pods: SetSpec; readonly near: SetSpec } {
  const address = ADDRESS[family];
  return {
    pods: {
      ...in_,
      name: `pods${family}`,
      key: address,
      comment: 'what they send far away gets the address of the node',
    },
    near: {
      ...in_,
      name: `near${family}`,
      key: [address, address],
      flags: { interval: true },
      comment: 'pods with what they reach by their own address',
    },
  };
}

const SETS = { 4: setsOf(4), 6: setsOf(6) } as const;

function rules(family: 4 | 6): Expr[][] {
  const h = family === 4 ? expr.header.ip : expr.header.ip6;
  const [source, destination] = family === 4 ? [r(0), r(1)] : [expr.reg(1), expr.reg(2)];
  const mine = [expr.meta('nfproto', r(8)), expr.cmp('eq', r(8), values.u8(family === 4 ? 2 : 10))];
  const pair = [expr.payload(h.saddr, source), expr.payload(h.daddr, destination)];
  return [
    [...mine, ...pair, expr.lookup({ set: SETS[family].near.name, sreg: source }), expr.verdict('accept')],
    [
      ...mine,
      ...pair,
      expr.lookup({ set: SETS[family].pods.name, sreg: source }),
      expr.masquerade({ flags: ['fully-random'] }),
    ],
  ];
}

/** Whose an element is: network, container and interface; cut where the kernel takes no more. */
export function attachmentComment(request: Attachment & { readonly network: string }): string {
  const text = `${request.network} ${request.containerId} ${request.ifname}`;
  return Buffer.from(text).subarray(0, COMMENT_MAX).toString('utf8');
}

/**
 * Masquerade of pods, for main plugins with `ipMasq`: two rules per family whatever the number of pods, and two elements
 * per address. Nothing is left behind by pods whose namespace went before DEL: elements carry whose they are.
 */
export class Masquerade {
  readonly #nft: Nft;

  private constructor(nft: Nft) {
    this.#nft = nft;
  }

  static async use<T>(node: NodeNetwork, work: (masquerade: Masquerade) => Promise<T>): Promise<T> {
    const nft = Nft.open(node.ns);
    try {
      return await work(new Masquerade(nft));
    } finally {
      nft.close();
    }
  }

  /** GC: takes away what belongs to attachments of the network that are not valid. */
  static async keepOnly(node: NodeNetwork, request: PluginRequest): Promise<void> {
    const { network, validAttachments } = request;
    if (validAttachments === undefined) return;
    const valid = new Set(validAttachments.map((attachment) => attachmentComment({ ...attachment, network })));
    await Masquerade.use(node, (masquerade) =>
      masquerade.remove((comment) => comment.startsWith(`${network} `) && !valid.has(comment)),
    );
  }

  async add(comment: string, ips: readonly CniIp[]): Promise<void> {
    const b = new NftBatch();
    for (const { set, element } of ips.flatMap((ip) => elementsOf(ip, comment))) b.addElements(set, [element]);
    try {
      await this.#nft.commit(b);
    } catch (error) {
      if (!isKernelError(error, 'ENOENT')) throw error;
      await this.#nft.commit(structure());
      await this.#nft.commit(b);
    }
  }

  async remove(which: (comment: string) => boolean): Promise<void> {
    const b = new NftBatch();
    let any = false;
    for (const set of FAMILIES.flatMap((family) => [SETS[family].pods, SETS[family].near])) {
      const gone = (await this.#list(set)).filter(({ comment }) => comment !== undefined && which(comment));
      if (gone.length === 0) continue;
      b.delElements(set, gone);
      any = true;
    }
    if (!any) return;
    try {
      await this.#nft.commit(b);
    } catch (error) {
      // Another call has taken them away.
      if (!isKernelError(error, 'ENOENT')) throw error;
    }
  }

  async check(comment: string, ips: readonly CniIp[]): Promise<void> {
    for (const { address } of ips) {
      const ip = parseInterfaceAddress(address)?.ip;
      if (ip === undefined) continue;
      const found = (await this.#list(SETS[ip.family].pods)).some(
        (e) => e.comment === comment && Buffer.compare(e.key, ip.bytes) === 0,
      );
      if (!found) throw differs(`${address} is not masqueraded`);
    }
  }

  async #list(set: SetSpec): Promise<readonly Element[]> {
    try {
      return await this.#nft.listElements(set);
    } catch (error) {
      if (isKernelError(error, 'ENOENT')) return [];
      throw error;
    }
  }
}

function elementsOf(ip: CniIp, comment: string): { readonly set: SetSpec; readonly element: Element }[] {
  const parsed = parseInterfaceAddress(ip.address);
  if (parsed === undefined) return [];
  const { family, bytes } = parsed.ip;
  const near = [prefixOf(parsed.ip, parsed.length), parsePrefix(MULTICAST[family])].flatMap((prefix) => prefix ?? []);
  return [
    { set: SETS[family].pods, element: { key: bytes, comment } },
    ...near.map((prefix) => ({
      set: SETS[family].near,
      element: {
        key: values.fields(bytes, prefix.ip.bytes),
        keyEnd: values.fields(bytes, lastAddress(prefix).bytes),
        comment,
      },
    })),
  ];
}

/** Table, sets, chain and rules; makes nothing twice. */
function structure(): NftBatch {
  const b = new NftBatch();
  b.addTable({ ...TABLE, comment: 'masquerade of CNI networks with ipMasq' });
  for (const family of FAMILIES) for (const set of Object.values(SETS[family])) b.addSet(set);
  const hook = { hook: 'postrouting', type: 'nat', priority: values.PRIORITY.srcnat } as const;
  const chain = { ...in_, name: 'postrouting' };
  b.addChain({ ...chain, hook });
  b.flushChain(chain);
  for (const family of FAMILIES) for (const exprs of rules(family)) b.addRule({ ...in_, chain: 'postrouting', exprs });
  return b;
}
