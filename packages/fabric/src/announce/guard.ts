import { formatIp, parseIp } from '@weft/net';
import { expr, type Expr, type Nft, NftBatch, type SetSpec, values } from '@weft/kernel';

const TABLE = { family: 'inet', name: 'weft-announce' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;
const r = expr.reg32;
const SETS: Readonly<Record<4 | 6, SetSpec>> = {
  4: { ...in_, name: 'announced4', key: 'ipv4_addr', comment: 'balancer addresses that this node answers for' },
  6: { ...in_, name: 'announced6', key: 'ipv6_addr', comment: 'balancer addresses that this node answers for' },
};

/** What comes to an announced address and was translated by no Service must not reach the node's own programs. */
function rules(family: 4 | 6): Expr[][] {
  const address = family === 4 ? r(0) : expr.reg(1);
  const untranslated = [
    expr.meta('nfproto', r(0)),
    expr.cmp('eq', r(0), values.u8(family === 4 ? 2 : 10)),
    expr.payload(family === 4 ? expr.header.ip.daddr : expr.header.ip6.daddr, address),
    expr.lookup({ set: SETS[family].name, sreg: address }),
    expr.ct('status', r(0)),
    expr.bitwise({ sreg: r(0), dreg: r(0), mask: values.u32ne(values.CT_STATUS.dnat) }),
    expr.cmp('eq', r(0), values.u32ne(0)),
    expr.meta('l4proto', r(0)),
  ];
  return [
    [...untranslated, expr.cmp('eq', r(0), values.u8(6)), expr.reject({ with: 'tcp reset' })],
    [...untranslated, expr.cmp('eq', r(0), values.u8(17)), expr.reject({ with: 'icmpx' })],
    [...untranslated, expr.cmp('eq', r(0), values.u8(132)), expr.reject({ with: 'icmpx' })],
  ];
}

/** The set of announced addresses in the kernel: guards the node, and tells the next agent what the last one announced. */
export class AnnounceGuard {
  readonly #nft: Nft;
  #present: boolean | undefined;

  constructor(nft: Nft) {
    this.#nft = nft;
  }

  /** Addresses that an earlier agent announced. */
  async read(): Promise<string[]> {
    const tables = await this.#nft.listTables(TABLE.family);
    this.#present = tables.some((table) => table.name === TABLE.name);
    if (!this.#present) return [];
    const found = await Promise.all([SETS[4], SETS[6]].map((set) => this.#nft.listElements(set)));
    return found.flat().map((element) => formatIp(element.key));
  }

  /** Makes the set hold exactly these addresses, in one transaction; without any the table goes. */
  async write(addresses: readonly string[]): Promise<void> {
    this.#present ??= (await this.read()).length >= 0 && this.#present;
    if (addresses.length === 0 && this.#present !== true) return;
    const b = new NftBatch();
    b.destroyTable(TABLE);
    if (addresses.length > 0) {
      b.addTable({ ...TABLE, comment: 'addresses of load balancers that this node announces' });
      b.addSet(SETS[4]);
      b.addSet(SETS[6]);
      const hook = { hook: 'input', type: 'filter', priority: values.PRIORITY.filter } as const;
      b.addChain({ ...in_, name: 'input', hook });
      for (const family of [4, 6] as const)
        for (const exprs of rules(family)) b.addRule({ ...in_, chain: 'input', exprs });
      for (const family of [4, 6] as const) {
        const keys = addresses.flatMap((text) => parseIp(text) ?? []).filter((ip) => ip.family === family);
        if (keys.length > 0)
          b.addElements(
            SETS[family],
            keys.map((ip) => ({ key: ip.bytes })),
          );
      }
    }
    await this.#nft.commit(b);
    this.#present = addresses.length > 0;
  }
}
