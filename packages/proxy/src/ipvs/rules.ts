import type { FamilyConfig } from '../config.ts';
import { type Jump, markOutside, outsideRules } from '../iptables/base.ts';
import { FORWARD, MARK_MASQ, MARK_OUTSIDE, POSTROUTING, PROXY_FIREWALL, SERVICES } from '../iptables/names.ts';
import { kernelSet, SETS, type SetName } from './names.ts';

const NODE_PORT = 'KUBE-NODE-PORT';
const LOAD_BALANCER = 'KUBE-LOAD-BALANCER';
const SOURCE_RANGES = 'KUBE-SOURCE-RANGES-FIREWALL';
const IPVS_FILTER = 'KUBE-IPVS-FILTER';
const IPVS_OUT_FILTER = 'KUBE-IPVS-OUT-FILTER';

/** Chains of this mode by table; some have the names of the iptables mode's. */
export const CHAINS = {
  nat: [SERVICES, POSTROUTING, NODE_PORT, LOAD_BALANCER, MARK_MASQ, MARK_OUTSIDE],
  filter: [FORWARD, NODE_PORT, PROXY_FIREWALL, SOURCE_RANGES, IPVS_FILTER, IPVS_OUT_FILTER],
} as const;

/** What ties our chains to the kernel's; each is put at the head of its chain. */
export const JUMPS: readonly Jump[] = (
  [
    ['nat', 'OUTPUT', SERVICES, 'kubernetes service portals'],
    ['nat', 'PREROUTING', SERVICES, 'kubernetes service portals'],
    ['nat', 'POSTROUTING', POSTROUTING, 'kubernetes postrouting rules'],
    ['filter', 'FORWARD', FORWARD, 'kubernetes forwarding rules'],
    ['filter', 'INPUT', NODE_PORT, 'kubernetes health check rules'],
    ['filter', 'INPUT', PROXY_FIREWALL, 'kube-proxy firewall rules'],
    ['filter', 'FORWARD', PROXY_FIREWALL, 'kube-proxy firewall rules'],
    ['filter', 'INPUT', IPVS_FILTER, 'kubernetes ipvs access filter'],
    ['filter', 'OUTPUT', IPVS_OUT_FILTER, 'kubernetes ipvs access filter'],
  ] as const
).map(([table, from, to, comment]) => ({ table, from, rule: `-m comment --comment "${comment}" -j ${to}` }));

/** A load balancer address that the node itself may not use: `loadBalancerSourceRanges` leaves its addresses out. */
export interface ClosedToNode {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
}

/**
 * The rules of table `nat`. They lead nowhere by themselves: packets reach endpoints by IPVS, and the rules mark what has
 * to be masqueraded. kube-proxy leaves out rules whose set is empty, which mean nothing; here they are always there, so
 * that no change of a Service needs another program.
 */
function natRules(config: FamilyConfig): string[] {
  const { family } = config;
  const mark = `0x${config.masqueradeMark.toString(16).padStart(8, '0')}`;
  const matches = (name: SetName, how: string, extra = ''): string =>
    `${extra}-m comment --comment "${SETS[name].comment}" -m set --match-set ${kernelSet(name, family)} ${how}`;
  const nodePort = (name: SetName, protocol: string, target: string): string =>
    `-A ${NODE_PORT} ${matches(name, name.endsWith('HASH') ? 'dst,dst' : 'dst', `-p ${protocol} `)} -j ${target}`;
  const outside = markOutside(config.detector);
  const clusterIps = config.masqueradeAll
    ? `${matches('KUBE-CLUSTER-IP', 'dst,dst')} -j ${MARK_MASQ}`
    : outside !== undefined
      ? `${matches('KUBE-CLUSTER-IP', 'dst,dst')} ${outside}`
      : // The node's own connections have the Service address on both ends.
        `${matches('KUBE-CLUSTER-IP', 'src,dst')} -j ${MARK_MASQ}`;
  const external = (name: SetName): string[] => [
    `-A ${SERVICES} ${matches(name, 'dst,dst')} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT`,
    `-A ${SERVICES} ${matches(name, 'dst,dst')} -m addrtype --dst-type LOCAL -j ACCEPT`,
  ];
  return [
    `-A ${SERVICES} -s ${family === 4 ? '127.0.0.0/8' : '::1/128'} -j RETURN`,
    `-A ${POSTROUTING} ${matches('KUBE-LOOP-BACK', 'dst,dst,src')} -j MASQUERADE`,
    `-A ${SERVICES} ${matches('KUBE-LOAD-BALANCER', 'dst,dst')} -j ${LOAD_BALANCER}`,
    // Beyond kube-proxy: the node's own packets have the Service address for their source, which no answer finds.
    `-A ${LOAD_BALANCER} -m addrtype --src-type LOCAL -j ${MARK_MASQ}`,
    `-A ${LOAD_BALANCER} ${matches('KUBE-LOAD-BALANCER-LOCAL', 'dst,dst')} -j RETURN`,
    nodePort('KUBE-NODE-PORT-LOCAL-TCP', 'tcp', 'RETURN'),
    nodePort('KUBE-NODE-PORT-TCP', 'tcp', MARK_MASQ),
    nodePort('KUBE-NODE-PORT-LOCAL-UDP', 'udp', 'RETURN'),
    nodePort('KUBE-NODE-PORT-UDP', 'udp', MARK_MASQ),
    nodePort('KUBE-NODE-PORT-LOCAL-SCTP-HASH', 'sctp', 'RETURN'),
    nodePort('KUBE-NODE-PORT-SCTP-HASH', 'sctp', MARK_MASQ),
    `-A ${SERVICES} ${clusterIps}`,
    `-A ${SERVICES} ${matches('KUBE-EXTERNAL-IP', 'dst,dst')} -j ${MARK_MASQ}`,
    ...external('KUBE-EXTERNAL-IP'),
    `-A ${SERVICES} ${matches('KUBE-EXTERNAL-IP-LOCAL', 'dst,dst')} -m addrtype --src-type LOCAL -j ${MARK_MASQ}`,
    ...external('KUBE-EXTERNAL-IP-LOCAL'),
    `-A ${SERVICES} -m addrtype --dst-type LOCAL -j ${NODE_PORT}`,
    `-A ${LOAD_BALANCER} -j ${MARK_MASQ}`,
    `-A ${SERVICES} -m set --match-set ${kernelSet('KUBE-CLUSTER-IP', family)} dst,dst -j ACCEPT`,
    `-A ${SERVICES} -m set --match-set ${kernelSet('KUBE-LOAD-BALANCER', family)} dst,dst -j ACCEPT`,
    `-A ${POSTROUTING} -m mark ! --mark ${mark}/${mark} -j RETURN`,
    `-A ${POSTROUTING} -j MARK --xor-mark ${mark}`,
    `-A ${POSTROUTING} -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`,
    `-A ${MARK_MASQ} -j MARK --or-mark ${mark}`,
    ...outsideRules(config.detector),
  ];
}

function filterRules(config: FamilyConfig, closed: readonly ClosedToNode[]): string[] {
  const { family } = config;
  const mark = `0x${config.masqueradeMark.toString(16).padStart(8, '0')}`;
  const commented = (name: SetName, how: string): string =>
    `-m comment --comment "${SETS[name].comment}" -m set --match-set ${kernelSet(name, family)} ${how}`;
  const passes = (name: SetName, how: string): string =>
    `-A ${IPVS_FILTER} -m set --match-set ${kernelSet(name, family)} ${how} -j RETURN`;
  return [
    `-A ${PROXY_FIREWALL} ${commented('KUBE-LOAD-BALANCER-FW', 'dst,dst')} -j ${SOURCE_RANGES}`,
    `-A ${SOURCE_RANGES} ${commented('KUBE-LOAD-BALANCER-SOURCE-CIDR', 'dst,dst,src')} -j RETURN`,
    `-A ${SOURCE_RANGES} ${commented('KUBE-LOAD-BALANCER-SOURCE-IP', 'dst,dst,src')} -j RETURN`,
    `-A ${SOURCE_RANGES} -j DROP`,
    ...closed.map(
      ({ address, protocol, port }) =>
        `-A ${IPVS_OUT_FILTER} -s ${address} -m ipvs --vaddr ${address} --vproto ${protocol} --vport ${port} -j DROP`,
    ),
    `-A ${FORWARD} -m comment --comment "kubernetes forwarding rules" -m mark --mark ${mark}/${mark} -j ACCEPT`,
    `-A ${FORWARD} -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A ${NODE_PORT} ${commented('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT`,
    passes('KUBE-LOAD-BALANCER', 'dst,dst'),
    passes('KUBE-CLUSTER-IP', 'dst,dst'),
    passes('KUBE-EXTERNAL-IP', 'dst,dst'),
    passes('KUBE-EXTERNAL-IP-LOCAL', 'dst,dst'),
    passes('KUBE-HEALTH-CHECK-NODE-PORT', 'dst'),
    `-A ${IPVS_FILTER} -m conntrack --ctstate NEW -m set --match-set ${kernelSet('KUBE-IPVS-IPS', family)} dst -j REJECT`,
  ];
}

/** One restore of all rules; each table is one atomic change. `missing`: jumps that are not there yet. */
export function rulesText(
  config: FamilyConfig,
  closed: readonly ClosedToNode[],
  missing: readonly Jump[] = [],
): string {
  const table = (name: 'nat' | 'filter', rules: readonly string[]): string[] => [
    `*${name}`,
    ...CHAINS[name]
      .filter((chain) => chain !== MARK_OUTSIDE || outsideRules(config.detector).length > 0)
      .map((chain) => `:${chain} - [0:0]`),
    ...missing.filter((jump) => jump.table === name).map(({ from, rule }) => `-I ${from} ${rule}`),
    ...rules,
    'COMMIT',
  ];
  return [...table('nat', natRules(config)), ...table('filter', filterRules(config, closed)), ''].join('\n');
}
