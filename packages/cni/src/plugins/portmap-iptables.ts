import { formatPrefix, parseInterfaceAddress, prefixOf } from '@weft/net';
import type { CniResult, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { differs } from './common/interface.ts';
import { containerChain, containerComment, containersOf, eachXtables, quoted, Xtables } from './common/xtables.ts';
import type { PortmapConf } from './portmap-conf.ts';
import { podAddresses, type PortMapping } from './ports.ts';

const DNAT = 'CNI-HOSTPORT-DNAT';
const SET_MARK = 'CNI-HOSTPORT-SETMARK';
const MASQ = 'CNI-HOSTPORT-MASQ';
/** Ports that one match `multiport` takes. */
const PORTS_PER_RULE = 15;
const COMMENT = 'dnat ';

interface Pod {
  readonly family: 4 | 6;
  /** With its length. */
  readonly address: string;
}

/** A chain's rules, as `iptables -S` prints them. */
interface Plan {
  readonly chain: string;
  readonly entries: readonly string[];
  readonly rules: readonly string[];
}

/**
 * Host ports by the reference plugin's chains of iptables: one for all, one per container, and two that translate the
 * source of marked packets. They are found again by names and comments, so that either plugin takes down what the other
 * has made.
 */
export class IptablesPorts {
  readonly #node: NodeNetwork;

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(
    request: PluginRequest,
    conf: PortmapConf,
    mappings: readonly PortMapping[],
    result: CniResult,
  ): Promise<void> {
    for (const pod of podsOf(result, request.ifname)) {
      const xtables = new Xtables(this.#node, pod.family, 'nat');
      const present = await xtables.rules();
      const plan = planOf(request, conf, mappings, pod);
      const old = present.filter((rule) => rule.endsWith(` -j ${plan.chain}`));
      await xtables.change([
        ...frame(present, conf),
        ...old.map((rule) => rule.replace(/^-A /, '-D ')),
        // Declaring a chain empties it.
        `:${plan.chain} - [0:0]`,
        ...plan.rules,
        ...plan.entries,
      ]);
    }
  }

  async del(request: PluginRequest): Promise<void> {
    const { network, containerId } = request;
    const chains = new Set(['DN-', 'SN-'].map((prefix) => containerChain(network, containerId, prefix)));
    await eachXtables(this.#node, 'nat', (xtables) => xtables.removeChains((chain) => chains.has(chain)));
  }

  async check(
    request: PluginRequest,
    conf: PortmapConf,
    mappings: readonly PortMapping[],
    result: CniResult,
  ): Promise<void> {
    for (const pod of podsOf(result, request.ifname)) {
      const present = await new Xtables(this.#node, pod.family, 'nat').rules();
      const plan = planOf(request, conf, mappings, pod);
      const lacks = plan.rules.find((rule) => !present.includes(rule));
      if (lacks !== undefined) throw differs(`iptables lacks the rule of a host port: ${lacks}`);
      const leading = present.filter((rule) => rule.endsWith(` -j ${plan.chain}`)).length;
      if (leading < plan.entries.length || frame(present, conf).length > 0) {
        throw differs(`chain ${plan.chain} of iptables is not reached by host ports`);
      }
    }
  }

  async gc(request: PluginRequest): Promise<void> {
    const { network, validAttachments } = request;
    if (validAttachments === undefined) return;
    const valid = new Set(validAttachments.map((attachment) => attachment.containerId));
    await eachXtables(this.#node, 'nat', async (xtables) => {
      const all = containersOf(network, await xtables.rules(), COMMENT);
      const stale = new Set([...all].filter((id) => !valid.has(id)).map((id) => containerChain(network, id, 'DN-')));
      if (stale.size > 0) await xtables.removeChains((chain) => stale.has(chain));
    });
  }
}

function podsOf(result: CniResult, ifname: string): Pod[] {
  const { v4, v6 } = podAddresses(result, ifname);
  return [
    ...(v4 === undefined ? [] : [{ family: 4 as const, address: v4 }]),
    ...(v6 === undefined ? [] : [{ family: 6 as const, address: v6 }]),
  ];
}

/** What is missing of the chains that all containers share. */
function frame(present: readonly string[], conf: PortmapConf): string[] {
  const own = conf.snat && conf.setMarkChain === undefined;
  const chains = own ? [DNAT, SET_MARK, MASQ] : [DNAT];
  const mark = `0x${(2 ** conf.markBit).toString(16)}`;
  const rules = ['PREROUTING', 'OUTPUT'].map((from) => `-A ${from} -m addrtype --dst-type LOCAL -j ${DNAT}`);
  if (own) {
    rules.push(
      `-A ${SET_MARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}/${mark}`,
      `-A ${MASQ} -m mark --mark ${mark}/${mark} -j MASQUERADE`,
      // Before the rules of ipMasq, which would take these packets for their own.
      `-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j ${MASQ}`,
    );
  }
  return [
    ...chains.filter((chain) => !present.includes(`-N ${chain}`)).map((chain) => `:${chain} - [0:0]`),
    ...rules.filter((rule) => !present.includes(rule)).map((rule) => rule.replace(/^-A (POSTROUTING) /, '-I $1 ')),
  ];
}

function planOf(request: PluginRequest, conf: PortmapConf, mappings: readonly PortMapping[], pod: Pod): Plan {
  const { network, containerId } = request;
  const chain = containerChain(network, containerId, 'DN-');
  const mine = mappings.filter(({ hostIp }) => hostIp === undefined || hostIp.includes(':') === (pod.family === 6));
  return {
    chain,
    entries: entriesOf(chain, network, containerId, conf, mappings, pod),
    rules: rulesOf(chain, conf, mine, pod),
  };
}

function entriesOf(
  chain: string,
  network: string,
  containerId: string,
  conf: PortmapConf,
  mappings: readonly PortMapping[],
  { family }: Pod,
): string[] {
  const comment = quoted(containerComment(network, containerId, COMMENT));
  const more = conf.conditions[family].map((word) => ` ${quoted(word)}`).join('');
  return [...new Set(mappings.map(({ protocol }) => protocol))].sort().flatMap((protocol) => {
    const ports = [...new Set(mappings.filter((m) => m.protocol === protocol).map(({ hostPort }) => hostPort))];
    const groups = Array.from({ length: Math.ceil(ports.length / PORTS_PER_RULE) }, (_, i) =>
      ports.slice(i * PORTS_PER_RULE, (i + 1) * PORTS_PER_RULE).join(','),
    );
    return groups.map(
      (group) =>
        `-A ${DNAT} -p ${protocol} -m comment --comment ${comment} -m multiport --dports ${group}${more} -j ${chain}`,
    );
  });
}

function rulesOf(
  chain: string,
  conf: PortmapConf,
  mappings: readonly PortMapping[],
  { family, address }: Pod,
): string[] {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined) return [];
  const host = address.split('/')[0] as string;
  const subnet = formatPrefix(prefixOf(parsed.ip, parsed.length));
  const mark = conf.setMarkChain ?? SET_MARK;
  return mappings.flatMap(({ hostIp, protocol, hostPort, containerPort }) => {
    const to = hostIp === undefined ? '' : ` -d ${hostIp}/${family === 4 ? 32 : 128}`;
    const rule = (source: string, target: string): string =>
      `-A ${chain}${source === '' ? '' : ` -s ${source}`}${to} -p ${protocol} -m ${protocol} --dport ${hostPort} -j ${target}`;
    const marked = conf.masqAll
      ? [rule('', mark)]
      : [rule(subnet, mark), ...(family === 4 ? [rule('127.0.0.1/32', mark)] : [])];
    const pod = family === 4 ? host : `[${host}]`;
    return [...(conf.snat ? marked : []), rule('', `DNAT --to-destination ${pod}:${containerPort}`)];
  });
}
