import { formatPrefix } from '@weft/net';
import type { FamilyConfig, LocalDetector } from '../config.ts';
import {
  EXTERNAL_SERVICES,
  FORWARD,
  INVALID_DROPPED,
  KUBELET_FIREWALL,
  MARK_MASQ,
  MARK_OUTSIDE,
  NODEPORTS,
  POSTROUTING,
  PROXY_FIREWALL,
  SERVICES,
} from './names.ts';

export type TableName = 'filter' | 'nat' | 'mangle';

/** Matches of packets that come from pods, one rule each; none when they cannot be told. */
export function ifLocal(detector: LocalDetector): string[] {
  switch (detector.by) {
    case 'cidr':
      return detector.cidrs.map((cidr) => `-s ${formatPrefix(cidr)}`);
    case 'bridge':
      return [`-i ${detector.name}`];
    case 'interfacePrefix':
      return [`-i ${detector.prefix}+`];
    case 'none':
      return [];
  }
}

/** What marks all other packets: the end of a rule. Undefined when pods cannot be told. */
export function markOutside(detector: LocalDetector): string | undefined {
  const [first, second] = ifLocal(detector);
  if (first === undefined) return undefined;
  return second === undefined ? `! ${first} -j ${MARK_MASQ}` : `-j ${MARK_OUTSIDE}`;
}

/** Rules of `MARK_OUTSIDE`; none where it is not needed. */
export function outsideRules(detector: LocalDetector): string[] {
  const local = ifLocal(detector);
  if (local.length < 2) return [];
  return [...local.map((match) => `-A ${MARK_OUTSIDE} ${match} -j RETURN`), `-A ${MARK_OUTSIDE} -j ${MARK_MASQ}`];
}

/** A rule in a chain of the kernel that leads to one of ours. */
export interface Jump {
  readonly table: 'filter' | 'nat';
  /** Chain of the kernel. */
  readonly from: string;
  /** Everything but table and chain, as iptables takes it. */
  readonly rule: string;
}

/** What ties our chains to the kernel's, in kube-proxy's order; each is put at the head of its chain. */
export function jumps(config: FamilyConfig): Jump[] {
  const out: Jump[] = [];
  const add = (table: Jump['table'], chains: readonly string[], fresh: boolean, comment: string, to: string): void => {
    const state = fresh ? '-m conntrack --ctstate NEW ' : '';
    for (const from of chains) out.push({ table, from, rule: `${state}-m comment --comment "${comment}" -j ${to}` });
  };
  add('filter', ['INPUT', 'FORWARD'], true, 'kubernetes externally-visible service portals', EXTERNAL_SERVICES);
  add('filter', ['INPUT'], false, 'kubernetes health check service ports', NODEPORTS);
  add('filter', ['FORWARD', 'OUTPUT'], true, 'kubernetes service portals', SERVICES);
  add('filter', ['FORWARD'], false, 'kubernetes forwarding rules', FORWARD);
  add('filter', ['INPUT', 'OUTPUT', 'FORWARD'], true, 'kubernetes load balancer firewall', PROXY_FIREWALL);
  add('nat', ['OUTPUT', 'PREROUTING'], false, 'kubernetes service portals', SERVICES);
  add('nat', ['POSTROUTING'], false, 'kubernetes postrouting rules', POSTROUTING);
  if (answersLocalhost(config)) {
    for (const from of ['INPUT', 'OUTPUT']) out.push({ table: 'filter', from, rule: `-j ${KUBELET_FIREWALL}` });
  }
  return out;
}

/** NodePorts on 127.0.0.1: IPv4 only, since the kernel routes ::1 nowhere. */
export function answersLocalhost(config: FamilyConfig): boolean {
  return config.family === 4 && config.nodePorts.localhost === true;
}

export function baseChains(table: TableName, config: FamilyConfig): string[] {
  switch (table) {
    case 'filter':
      return [
        SERVICES,
        EXTERNAL_SERVICES,
        FORWARD,
        NODEPORTS,
        PROXY_FIREWALL,
        ...(answersLocalhost(config) ? [KUBELET_FIREWALL] : []),
      ];
    case 'nat':
      return [
        SERVICES,
        NODEPORTS,
        POSTROUTING,
        MARK_MASQ,
        ...(outsideRules(config.detector).length > 0 ? [MARK_OUTSIDE] : []),
      ];
    case 'mangle':
      return [];
  }
}

export const CANARY_TABLES: readonly TableName[] = ['mangle', 'nat', 'filter'];

/** `0x00004000`: eight digits, as kube-proxy prints a mark. */
function mark(config: FamilyConfig): string {
  return `0x${config.masqueradeMark.toString(16).padStart(8, '0')}`;
}

/** The first rules of table `nat`. */
export function natHead(config: FamilyConfig): string[] {
  const m = mark(config);
  return [
    `-A ${POSTROUTING} -m mark ! --mark ${m}/${m} -j RETURN`,
    `-A ${POSTROUTING} -j MARK --xor-mark ${m}`,
    `-A ${POSTROUTING} -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`,
    `-A ${MARK_MASQ} -j MARK --or-mark ${m}`,
    ...outsideRules(config.detector),
  ];
}

/** `nodeAddresses`: the addresses that answer on NodePorts, when these are not all. The last rules of table `nat`. */
export function natTail(config: FamilyConfig, nodeAddresses: readonly string[]): string[] {
  const head = `-A ${SERVICES} -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"`;
  if (!config.nodePorts.all) return nodeAddresses.map((address) => `${head} -d ${address} -j ${NODEPORTS}`);
  const loopback = config.family === 6 ? ' ! -d ::1/128' : answersLocalhost(config) ? '' : ' ! -d 127.0.0.0/8';
  return [`${head} -m addrtype --dst-type LOCAL${loopback} -j ${NODEPORTS}`];
}

/** The first rules of table `filter`. */
export function filterHead(config: FamilyConfig): string[] {
  if (!answersLocalhost(config)) return [];
  // With route_localnet on, other hosts could reach what listens on 127.0.0.1 (CVE-2020-8558).
  return [
    `-A ${KUBELET_FIREWALL} -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
  ];
}

/** `dropInvalid`: false where the kernel takes TCP liberally, or packets are known to take other ways back. */
export function filterTail(config: FamilyConfig, dropInvalid: boolean): string[] {
  const m = mark(config);
  const counts = config.counters === true ? ` -m nfacct --nfacct-name ${INVALID_DROPPED}` : '';
  return [
    ...(dropInvalid ? [`-A ${FORWARD} -m conntrack --ctstate INVALID${counts} -j DROP`] : []),
    `-A ${FORWARD} -m comment --comment "kubernetes forwarding rules" -m mark --mark ${m}/${m} -j ACCEPT`,
    `-A ${FORWARD} -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  ];
}
