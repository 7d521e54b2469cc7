import { type Element, expr, type Expr, isKernelError, Nft, NftBatch, type SetSpec, values } from '@weft/kernel';
import type { NodeNetwork } from '../../wiring/node.ts';

const TABLE = { family: 'bridge', name: 'weft-cni-spoof' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;
const ETHERNET_SOURCE = { base: 'link', offset: 6, len: 6 } as const;
const IFNAME_BYTES = 16;
const PORTS: SetSpec = { ...in_, name: 'ports', key: 'ifname', comment: 'ports with a MAC address of their own' };
const OWN: SetSpec = { ...in_, name: 'own', key: ['ifname', 'ether_addr'], comment: 'ports with that address' };

/** Frames of a checked port with another source address than its own are dropped: two rules whatever the number of ports. */
export class SpoofCheck {
  readonly #nft: Nft;

  private constructor(nft: Nft) {
    this.#nft = nft;
  }

  static async use<T>(node: NodeNetwork, work: (check: SpoofCheck) => Promise<T>): Promise<T> {
    const nft = Nft.open(node.ns);
    try {
      return await work(new SpoofCheck(nft));
    } finally {
      nft.close();
    }
  }

  async add(comment: string, port: string, mac: string): Promise<void> {
    const b = new NftBatch();
    b.addElements(OWN, [{ key: values.fields(ifname(port), bytes(mac)), comment }]);
    b.addElements(PORTS, [{ key: ifname(port), comment }]);
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
    for (const set of [PORTS, OWN]) {
      const gone = (await this.#list(set)).filter(({ comment }) => comment !== undefined && which(comment));
      if (gone.length === 0) continue;
      b.delElements(set, gone);
      any = true;
    }
    if (!any) return;
    try {
      await this.#nft.commit(b);
    } catch (error) {
      if (!isKernelError(error, 'ENOENT')) throw error;
    }
  }

  async #list(set: SetSpec): Promise<readonly Element[]> {
    try {
      return await this.#nft.listElements(set);
    } catch (error) {
      // No table yet, or a kernel without tables of bridges.
      if (isKernelError(error, 'ENOENT') || isKernelError(error, 'EOPNOTSUPP')) return [];
      throw error;
    }
  }
}

function ifname(name: string): Uint8Array {
  const out = new Uint8Array(IFNAME_BYTES);
  out.set(Buffer.from(name).subarray(0, IFNAME_BYTES - 1));
  return out;
}

function bytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
}

function rule(): Expr[] {
  // The name takes four words, the address two.
  const name = expr.reg(1);
  const address = expr.reg(2);
  return [
    expr.meta('iifname', name),
    expr.lookup({ set: PORTS.name, sreg: name }),
    expr.payload(ETHERNET_SOURCE, address),
    expr.lookup({ set: OWN.name, sreg: name, invert: true }),
    expr.verdict('drop'),
  ];
}

function structure(): NftBatch {
  const b = new NftBatch();
  b.addTable({ ...TABLE, comment: 'MAC addresses of CNI networks with macspoofchk' });
  b.addSet(PORTS);
  b.addSet(OWN);
  const chain = { ...in_, name: 'prerouting' };
  b.addChain({ ...chain, hook: { hook: 'prerouting', type: 'filter', priority: -300 } });
  b.flushChain(chain);
  b.addRule({ ...in_, chain: 'prerouting', exprs: rule() });
  return b;
}
