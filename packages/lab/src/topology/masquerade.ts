import { expr, NetNs, Nft, NftBatch, values } from '@weft/kernel';
import { WAY_OUT_LINK } from './wayout.ts';

const TABLE = { family: 'ip', table: 'weft-router' } as const;

/** In the router's own namespace: what leaves the lab carries the address of the way out, the only one it answers to. */
export async function masqueradeWayOut(routerPath: string): Promise<void> {
  const ns = NetNs.open(routerPath);
  const nft = Nft.open(ns);
  try {
    const batch = new NftBatch();
    batch.addTable({ family: TABLE.family, name: TABLE.table });
    batch.delTable({ family: TABLE.family, name: TABLE.table });
    batch.addTable({ family: TABLE.family, name: TABLE.table });
    batch.addChain({
      ...TABLE,
      name: 'postrouting',
      hook: { hook: 'postrouting', type: 'nat', priority: values.PRIORITY.srcnat },
    });
    const name = expr.reg(1);
    batch.addRule({
      ...TABLE,
      chain: 'postrouting',
      exprs: [expr.meta('oifname', name), expr.cmp('eq', name, values.ifname(WAY_OUT_LINK)), expr.masquerade()],
    });
    await nft.commit(batch);
  } finally {
    nft.close();
    ns.close();
  }
}
