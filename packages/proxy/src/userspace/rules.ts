import { type Family, formatPrefix, parsePrefix, prefixContains } from '@weft/net';
import type { FamilyConfig } from '../config.ts';
import { type Frontend, frontendAddress, type ServicePort, servicePortName } from '../model/types.ts';
import { formatAddress, portOf } from '../model/packed.ts';
import type { Jump } from '../iptables/base.ts';

const PORTALS_CONTAINER = 'KUBE-PORTALS-CONTAINER';
const PORTALS_HOST = 'KUBE-PORTALS-HOST';
const NODEPORT_CONTAINER = 'KUBE-NODEPORT-CONTAINER';
const NODEPORT_HOST = 'KUBE-NODEPORT-HOST';
const NODEPORT_NON_LOCAL = 'KUBE-NODEPORT-NON-LOCAL';
/** Ours: what is refused or dropped, where kube-proxy took connections and closed them. */
const PORTALS_FIREWALL = 'KUBE-PORTALS-FIREWALL';

const CHAINS = {
  filter: [NODEPORT_NON_LOCAL, PORTALS_FIREWALL],
  nat: [PORTALS_CONTAINER, PORTALS_HOST, NODEPORT_CONTAINER, NODEPORT_HOST],
} as const;

/** Whether a chain is one of the userspace mode's. */
export function isUserspaceChain(chain: string): boolean {
  return [...CHAINS.filter, ...CHAINS.nat].some((name) => name === chain);
}

/** A jump from one of the kernel's chains; `last`: it belongs behind all other rules. */
export interface PortalJump extends Jump {
  readonly last?: boolean;
}

const PORTALS = '-m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules"';
const NODEPORTS =
  '-m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain"';

export const JUMPS: readonly PortalJump[] = [
  ...['INPUT', 'FORWARD', 'OUTPUT'].map((from) => ({
    table: 'filter' as const,
    from,
    rule: `-m conntrack --ctstate NEW -m comment --comment "service portals that refuse" -j ${PORTALS_FIREWALL}`,
  })),
  {
    table: 'filter',
    from: 'INPUT',
    rule: `-m conntrack --ctstate NEW -m comment --comment "Ensure that non-local NodePort traffic can flow" -j ${NODEPORT_NON_LOCAL}`,
  },
  { table: 'nat', from: 'PREROUTING', rule: `${PORTALS} -j ${PORTALS_CONTAINER}` },
  { table: 'nat', from: 'OUTPUT', rule: `${PORTALS} -j ${PORTALS_HOST}` },
  { table: 'nat', from: 'PREROUTING', rule: `${NODEPORTS} -j ${NODEPORT_CONTAINER}`, last: true },
  { table: 'nat', from: 'OUTPUT', rule: `${NODEPORTS} -j ${NODEPORT_HOST}`, last: true },
];

/** Where the proxy listens for one service port: ports of the pools that have endpoints. */
export interface Sockets {
  readonly cluster?: number | string;
  readonly local?: number | string;
}

/** What the rules of a family depend on beside the service port. */
export interface Around {
  readonly config: FamilyConfig;
  /** Address of this node that the proxy listens on. */
  readonly host: string;
  /** Addresses that answer on NodePorts, when these are not all. */
  readonly nodeAddresses: readonly string[];
}

export interface PortRules {
  readonly filter: readonly string[];
  readonly nat: readonly string[];
}

function toHost(family: Family, host: string, port: number | string): string {
  return `-j DNAT --to-destination ${family === 6 ? `[${host}]` : host}:${port}`;
}

/** Matches of packets that come from pods within a range ('': all), one rule each; none when pods cannot be told. */
function podsWithin({ detector }: FamilyConfig, range: string): string[] {
  const src = range === '' ? '' : `-s ${range} `;
  switch (detector.by) {
    case 'cidr':
      // A rule has room for one source: of two blocks that meet, the smaller one.
      return detector.cidrs.flatMap((cidr) => {
        const other = range === '' ? undefined : parsePrefix(range);
        if (other === undefined) return [`-s ${formatPrefix(cidr)} `];
        const [small, large] = other.length >= cidr.length ? [other, cidr] : [cidr, other];
        return prefixContains(large, small.ip) ? [`-s ${formatPrefix(small)} `] : [];
      });
    case 'bridge':
      return [`${src}-i ${detector.name} `];
    case 'interfacePrefix':
      return [`${src}-i ${detector.prefix}+ `];
    case 'none':
      return [];
  }
}

/** Destinations of a frontend, as matches; a NodePort may have several. */
function destinations(f: Frontend, around: Around): string[] {
  const address = frontendAddress(f.key);
  if (address !== '') return [`-d ${formatAddress(address)} `];
  const { config, nodeAddresses } = around;
  if (!config.nodePorts.all) return nodeAddresses.map((a) => `-d ${a} `);
  if (config.family === 6) return ['! -d ::1/128 '];
  return [config.nodePorts.localhost === true ? '' : '! -d 127.0.0.0/8 '];
}

/**
 * The rules that lead the clients of one service port to the proxy's sockets, or refuse them. The proxy itself knows
 * nothing of frontends, policies and source ranges: which socket a client comes to says it all. Pure.
 */
export function compilePort(port: ServicePort, sockets: Sockets, around: Around): PortRules {
  const { family } = port;
  const nat: string[] = [];
  const filter: string[] = [];
  const protocol = port.protocol.toLowerCase();
  const comment = `-m comment --comment "${servicePortName(port)}"`;
  const refusal = port.protocol === 'TCP' ? '-j REJECT --reject-with tcp-reset' : '-j REJECT';
  for (const f of port.frontends) {
    const isNodePort = f.kind === 'NodePort';
    const match = `-p ${protocol} -m ${protocol} --dport ${portOf(f.key)} ${comment}`;
    const local = (f.kind === 'ClusterIP' ? port.internal : port.external) === 'Local';
    // Nothing is lost by going on from inside the cluster: pods and the node itself use all endpoints.
    const inside = local && f.kind === 'ClusterIP' ? sockets.local : sockets.cluster;
    const outside = local ? sockets.local : sockets.cluster;
    const ranges = f.kind === 'LoadBalancerIP' && port.sourceRanges.length > 0 ? port.sourceRanges : [''];
    for (const dst of destinations(f, around)) {
      for (const range of ranges) {
        const src = range === '' ? '' : `-s ${range} `;
        const lead = (chain: string, socket: number | string | undefined, who = src): void => {
          if (socket !== undefined) nat.push(`-A ${chain} ${who}${dst}${match} ${toHost(family, around.host, socket)}`);
        };
        const [container, host] = isNodePort ? [NODEPORT_CONTAINER, NODEPORT_HOST] : [PORTALS_CONTAINER, PORTALS_HOST];
        if (inside !== outside) {
          for (const pods of podsWithin(around.config, range)) lead(container, inside, pods);
        }
        lead(container, outside);
        lead(host, inside);
      }
      const whose = isNodePort && around.config.nodePorts.all ? '-m addrtype --dst-type LOCAL ' : '';
      if (!port.hasEndpoints) filter.push(`-A ${PORTALS_FIREWALL} ${dst}${whose}${match} ${refusal}`);
      else if (outside === undefined || ranges[0] !== '')
        filter.push(`-A ${PORTALS_FIREWALL} ${dst}${whose}${match} -j DROP`);
    }
  }
  for (const socket of [sockets.cluster, sockets.local]) {
    if (socket === undefined) continue;
    const match = `-d ${around.host} -p ${protocol} -m ${protocol} --dport ${socket} ${comment}`;
    // Whoever comes to the socket itself would be asked for no policy and no range.
    filter.push(
      `-A ${NODEPORT_NON_LOCAL} ${match} -m conntrack --ctstate DNAT -j ACCEPT`,
      `-A ${NODEPORT_NON_LOCAL} ${match} ${refusal}`,
    );
  }
  return { filter, nat };
}

/** The text of one restore: every chain of ours anew. `owner` says whose a line (from 1) is. */
export function restoreText(
  ports: ReadonlyMap<string, PortRules>,
  missing: readonly PortalJump[],
): { readonly text: string; readonly owner: (line: number) => string | undefined } {
  const lines: string[] = [];
  const owners = new Map<number, string>();
  for (const table of ['filter', 'nat'] as const) {
    lines.push(`*${table}`, ...CHAINS[table].map((chain) => `:${chain} - [0:0]`));
    for (const jump of missing) {
      if (jump.table === table) lines.push(`${jump.last === true ? '-A' : '-I'} ${jump.from} ${jump.rule}`);
    }
    for (const [key, rules] of ports) {
      for (const rule of rules[table]) {
        lines.push(rule);
        owners.set(lines.length, key);
      }
    }
    lines.push('COMMIT');
  }
  return { text: `${lines.join('\n')}\n`, owner: (line) => owners.get(line) };
}
