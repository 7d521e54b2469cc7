import { formatPrefix, parseInterfaceAddress, prefixOf } from '@weft/net';
import type { Attachment } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import { familyOf } from './conf.ts';
import type { Masquerading } from './masquerade.ts';
import { containerChain, containerComment, containersOf, eachXtables, quoted, Xtables } from './xtables.ts';

const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;

interface Plan {
  readonly rules: readonly string[];
  readonly entries: readonly string[];
}

/** Rules of the addresses of one family, as `iptables -S` prints them. */
function planOf(network: string, containerId: string, family: 4 | 6, addresses: readonly string[]): Plan {
  const chain = containerChain(network, containerId);
  const says = `-m comment --comment ${quoted(containerComment(network, containerId))}`;
  const own = addresses.flatMap((text) => {
    const parsed = familyOf(text) === family ? parseInterfaceAddress(text) : undefined;
    return parsed === undefined
      ? []
      : [{ host: text.split('/')[0], subnet: formatPrefix(prefixOf(parsed.ip, parsed.length)) }];
  });
  if (own.length === 0) return { rules: [], entries: [] };
  return {
    rules: [
      ...own.map(({ subnet }) => `-A ${chain} -d ${subnet} ${says} -j ACCEPT`),
      `-A ${chain} ! -d ${MULTICAST[family]} ${says} -j MASQUERADE`,
    ],
    entries: own.map(({ host }) => `-A POSTROUTING -s ${host}/${family === 4 ? 32 : 128} ${says} -j ${chain}`),
  };
}

/**
 * ipMasq by iptables: the reference plugins' chain per container. They are found by the chain's name, which needs no
 * address: nothing stays when the namespace is gone before DEL.
 */
export class IptablesMasquerade implements Masquerading {
  readonly #node: NodeNetwork;

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(network: string, { containerId }: Attachment, addresses: readonly string[]): Promise<void> {
    const chain = containerChain(network, containerId);
    for (const family of new Set(addresses.map(familyOf))) {
      const xtables = new Xtables(this.#node, family, 'nat');
      const present = await xtables.rules();
      const { rules, entries } = planOf(network, containerId, family, addresses);
      // A container with several interfaces in one network has one chain for all, as with the reference plugins.
      await xtables.change([
        ...(present.includes(`-N ${chain}`) ? [] : [`:${chain} - [0:0]`]),
        // What keeps a subnet's packets as they are comes first.
        ...rules.filter((rule) => !present.includes(rule)).map(inserted),
        ...entries.filter((rule) => !present.includes(rule)),
      ]);
    }
  }

  async remove(network: string, { containerId }: Attachment): Promise<void> {
    const own = containerChain(network, containerId);
    await eachXtables(this.#node, 'nat', (xtables) => xtables.removeChains((chain) => chain === own));
  }

  async keepOnly(network: string, valid: readonly Attachment[]): Promise<void> {
    const kept = new Set(valid.map(({ containerId }) => containerId));
    await eachXtables(this.#node, 'nat', async (xtables) => {
      const all = containersOf(network, await xtables.rules());
      const stale = new Set([...all].filter((id) => !kept.has(id)).map((id) => containerChain(network, id)));
      if (stale.size > 0) await xtables.removeChains((chain) => stale.has(chain));
    });
  }

  async has(network: string, { containerId }: Attachment, addresses: readonly string[]): Promise<boolean> {
    for (const family of new Set(addresses.map(familyOf))) {
      const present = await new Xtables(this.#node, family, 'nat').rules();
      const { rules, entries } = planOf(network, containerId, family, addresses);
      if (![...rules, ...entries].every((rule) => present.includes(rule))) return false;
    }
    return true;
  }
}

function inserted(rule: string): string {
  return rule.endsWith(' -j ACCEPT') ? rule.replace(/^-A /, '-I ') : rule;
}
