import { formatIp, parseInterfaceAddress, prefixOf } from '@weft/net';
import type { Rtnl } from '@weft/kernel';
import type { Underlay } from './backend.ts';
import type { FabricNode } from './nodes.ts';

/** The interface that carries this node's InternalIP; undefined when none does. */
export async function findUnderlay(rtnl: Rtnl, self: FabricNode): Promise<Underlay | undefined> {
  const own = new Set(Object.values(self.ip));
  const addresses = await rtnl.addresses.list();
  const found = addresses.find((a) => own.has(ipOf(a.address)));
  if (found === undefined) return undefined;
  const link = await rtnl.links.get(found.index);
  if (link === undefined) return undefined;
  const subnets = addresses.flatMap((a) => {
    const parsed = a.index === found.index ? parseInterfaceAddress(a.address) : undefined;
    return parsed === undefined ? [] : [prefixOf(parsed.ip, parsed.length)];
  });
  return { name: link.name, mtu: link.mtu, subnets };
}

function ipOf(address: string): string {
  const parsed = parseInterfaceAddress(address);
  return parsed === undefined ? '' : formatIp(parsed.ip);
}
