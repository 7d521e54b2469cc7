import { createHash } from 'node:crypto';
import type { Protocol } from '../model/types.ts';

/** Chains that are there from the start. */
export const SERVICES = 'KUBE-SERVICES';
export const EXTERNAL_SERVICES = 'KUBE-EXTERNAL-SERVICES';
export const NODEPORTS = 'KUBE-NODEPORTS';
export const POSTROUTING = 'KUBE-POSTROUTING';
export const MARK_MASQ = 'KUBE-MARK-MASQ';
export const FORWARD = 'KUBE-FORWARD';
export const PROXY_FIREWALL = 'KUBE-PROXY-FIREWALL';
export const KUBELET_FIREWALL = 'KUBE-FIREWALL';
/** A chain without rules in each table: where it is gone, somebody has flushed the tables. */
export const CANARY = 'KUBE-PROXY-CANARY';

/** Ours: marks what does not come from pods, where pods have several blocks. A rule can only say what one of them is not. */
export const MARK_OUTSIDE = 'WEFT-MARK-OUTSIDE';

/** In kubelet's chains there is this one: what has its name beside ours is kubelet's. */
export const KUBELET_CANARY = 'KUBE-KUBELET-CANARY';
/** Ours: a chain without rules in table mangle says that it was us who had the kernel route 127.0.0.0/8. */
export const LOCALNET_MARK = 'WEFT-ROUTE-LOCALNET';

/** Named counters of the kernel (nfacct), as kube-proxy has them. */
export const INVALID_DROPPED = 'ct_state_invalid_dropped_pkts';
export const LOCALHOST_ACCEPTED = 'localhost_nps_accepted_pkts';

/** First part of the names of the chains of a service port. */
export type ChainKind = 'KUBE-SVC-' | 'KUBE-SVL-' | 'KUBE-EXT-' | 'KUBE-FW-' | 'KUBE-SEP-';

/** Names of chains that belong to service ports; `KUBE-XLB-` is what kube-proxy before 1.24 left. */
export const SERVICE_CHAIN = /^KUBE-(SVC|SVL|EXT|FW|SEP|XLB)-/;

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 characters of the base32 form (RFC 4648) of the text's SHA-256: what kube-proxy names chains by. */
export function chainHash(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  let out = '';
  // 16 characters of five bits each: the first ten bytes.
  for (let bit = 0; bit < 80; bit += 5) {
    const pair = ((digest[bit >> 3] as number) << 8) | (digest[(bit >> 3) + 1] as number);
    out += BASE32.charAt((pair >> (11 - (bit & 7))) & 31);
  }
  return out;
}

/** Name of a chain of the service port `ns/name:port`. */
export function serviceChain(kind: ChainKind, servicePort: string, protocol: Protocol): string {
  return kind + chainHash(servicePort + protocol.toLowerCase());
}

/** Name of the chain of one endpoint, `ip:port`, of a service port. */
export function endpointChain(servicePort: string, protocol: Protocol, endpoint: string): string {
  return `KUBE-SEP-${chainHash(servicePort + protocol.toLowerCase() + endpoint)}`;
}
