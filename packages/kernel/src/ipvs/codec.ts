// Attributes of the IPVS generic netlink family (linux/ip_vs.h).
import { formatIp, ipFromBytes } from '@weft/net';
import { GENL_HDRLEN } from '../netlink/genl.ts';
import { type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { AF_INET, AF_INET6, afOf, ipBytesOf } from '../rtnl/bytes.ts';
import type {
  IpvsDestination,
  IpvsDestinationState,
  IpvsKey,
  IpvsProtocol,
  IpvsService,
  IpvsServiceState,
  IpvsStats,
  IpvsTimeouts,
} from './types.ts';

export const IPVS_VERSION = 1;

export const CMD = {
  newService: 1,
  setService: 2,
  delService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  delDestination: 7,
  getDestination: 8,
  setConfig: 12,
  getConfig: 13,
  flush: 17,
} as const;

const ATTR_SERVICE = 1;
const ATTR_DEST = 2;
const ATTR_TIMEOUT_TCP = 4;
const ATTR_TIMEOUT_TCP_FIN = 5;
const ATTR_TIMEOUT_UDP = 6;

const SVC_AF = 1;
const SVC_PROTOCOL = 2;
const SVC_ADDR = 3;
const SVC_PORT = 4;
const SVC_FWMARK = 5;
const SVC_SCHED_NAME = 6;
const SVC_FLAGS = 7;
const SVC_TIMEOUT = 8;
const SVC_NETMASK = 9;
const SVC_STATS64 = 12;

const DEST_ADDR = 1;
const DEST_PORT = 2;
const DEST_FWD_METHOD = 3;
const DEST_WEIGHT = 4;
const DEST_U_THRESH = 5;
const DEST_L_THRESH = 6;
const DEST_ACTIVE = 7;
const DEST_INACTIVE = 8;
const DEST_ADDR_FAMILY = 11;
const DEST_STATS64 = 12;

const STATS_CONNS = 1;
const STATS_INPKTS = 2;
const STATS_OUTPKTS = 3;
const STATS_INBYTES = 4;
const STATS_OUTBYTES = 5;

/** IP_VS_CONN_F_MASQ: the server is reached by translating the destination. */
const MASQUERADE = 0;

const NO_STATS: IpvsStats = { connections: 0, packetsIn: 0, packetsOut: 0, bytesIn: 0, bytesOut: 0 };

/** An address in the 16 bytes that the family uses for both of its kinds. */
function union16(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  out.set(bytes);
  return out;
}

function keyAttributes(w: NlWriter, key: IpvsKey): Uint8Array {
  const bytes = ipBytesOf(key.address, 'address of virtual service');
  w.u16(SVC_AF, afOf(bytes));
  w.u16(SVC_PROTOCOL, key.protocol);
  w.data(SVC_ADDR, union16(bytes));
  w.u16be(SVC_PORT, key.port);
  return bytes;
}

export function putKey(w: NlWriter, key: IpvsKey): void {
  const nest = w.nest(ATTR_SERVICE);
  keyAttributes(w, key);
  w.endNest(nest);
}

export function putService(w: NlWriter, service: IpvsService): void {
  const nest = w.nest(ATTR_SERVICE);
  const bytes = keyAttributes(w, service);
  w.str(SVC_SCHED_NAME, service.scheduler);
  const flags = new Uint8Array(new Uint32Array([service.flags, 0xffffffff]).buffer);
  w.data(SVC_FLAGS, flags);
  w.u32(SVC_TIMEOUT, service.timeout);
  // A prefix length for IPv6, a mask for IPv4: each client by itself.
  w.u32(SVC_NETMASK, bytes.length === 4 ? 0xffffffff : 128);
  w.endNest(nest);
}

/** `full`: for a new or changed server; deletion takes address and port only. */
export function putDestination(w: NlWriter, server: IpvsDestination, full: boolean): void {
  const nest = w.nest(ATTR_DEST);
  const bytes = ipBytesOf(server.address, 'address of real server');
  w.data(DEST_ADDR, union16(bytes));
  w.u16be(DEST_PORT, server.port);
  w.u16(DEST_ADDR_FAMILY, afOf(bytes));
  if (full) {
    w.u32(DEST_FWD_METHOD, MASQUERADE);
    w.u32(DEST_WEIGHT, server.weight);
    w.u32(DEST_U_THRESH, 0);
    w.u32(DEST_L_THRESH, 0);
  }
  w.endNest(nest);
}

export function putTimeouts(w: NlWriter, timeouts: IpvsTimeouts): void {
  w.u32(ATTR_TIMEOUT_TCP, timeouts.tcp);
  w.u32(ATTR_TIMEOUT_TCP_FIN, timeouts.tcpFin);
  w.u32(ATTR_TIMEOUT_UDP, timeouts.udp);
}

function u64(a: NlReader): number {
  const bytes = a.data();
  return Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
}

function readStats(a: NlReader): IpvsStats {
  const stats: { -readonly [K in keyof IpvsStats]: number } = { ...NO_STATS };
  while (a.next()) {
    if (a.type === STATS_CONNS) stats.connections = u64(a);
    else if (a.type === STATS_INPKTS) stats.packetsIn = u64(a);
    else if (a.type === STATS_OUTPKTS) stats.packetsOut = u64(a);
    else if (a.type === STATS_INBYTES) stats.bytesIn = u64(a);
    else if (a.type === STATS_OUTBYTES) stats.bytesOut = u64(a);
  }
  return stats;
}

function addressText(af: number, bytes: Uint8Array): string {
  return formatIp(ipFromBytes(af === AF_INET6 ? bytes : bytes.subarray(0, 4)));
}

/** Undefined for a service by firewall mark, which has no address. */
export function readService(m: NlMessage): IpvsServiceState | undefined {
  const top = new NlReader(m.bytes, m.start + GENL_HDRLEN, m.end);
  while (top.next()) {
    if (top.type !== ATTR_SERVICE) continue;
    const a = top.nested();
    let af = AF_INET;
    let address = new Uint8Array(16);
    let protocol = 0;
    let port = 0;
    let scheduler = '';
    let flags = 0;
    let timeout = 0;
    let stats = NO_STATS;
    while (a.next()) {
      if (a.type === SVC_AF) af = a.u16();
      else if (a.type === SVC_FWMARK) return undefined;
      else if (a.type === SVC_PROTOCOL) protocol = a.u16();
      else if (a.type === SVC_ADDR) address = Uint8Array.from(a.data());
      else if (a.type === SVC_PORT) port = a.u16be();
      else if (a.type === SVC_SCHED_NAME) scheduler = a.str();
      else if (a.type === SVC_FLAGS) flags = a.u32();
      else if (a.type === SVC_TIMEOUT) timeout = a.u32();
      else if (a.type === SVC_STATS64) stats = readStats(a.nested());
    }
    return {
      address: addressText(af, address),
      protocol: protocol as IpvsProtocol,
      port,
      scheduler,
      flags,
      timeout,
      stats,
    };
  }
  return undefined;
}

/** `family` of the service: kernels before 3.18 do not name the server's own. */
export function readDestination(m: NlMessage, family: 4 | 6): IpvsDestinationState | undefined {
  const top = new NlReader(m.bytes, m.start + GENL_HDRLEN, m.end);
  while (top.next()) {
    if (top.type !== ATTR_DEST) continue;
    const a = top.nested();
    let af = family === 6 ? AF_INET6 : AF_INET;
    let address = new Uint8Array(16);
    const out = { port: 0, weight: 0, active: 0, inactive: 0 };
    let stats = NO_STATS;
    while (a.next()) {
      if (a.type === DEST_ADDR_FAMILY) af = a.u16();
      else if (a.type === DEST_ADDR) address = Uint8Array.from(a.data());
      else if (a.type === DEST_PORT) out.port = a.u16be();
      else if (a.type === DEST_WEIGHT) out.weight = a.u32();
      else if (a.type === DEST_ACTIVE) out.active = a.u32();
      else if (a.type === DEST_INACTIVE) out.inactive = a.u32();
      else if (a.type === DEST_STATS64) stats = readStats(a.nested());
    }
    return { address: addressText(af, address), ...out, stats };
  }
  return undefined;
}

export function readTimeouts(m: NlMessage): IpvsTimeouts {
  const a = new NlReader(m.bytes, m.start + GENL_HDRLEN, m.end);
  const out = { tcp: 0, tcpFin: 0, udp: 0 };
  while (a.next()) {
    if (a.type === ATTR_TIMEOUT_TCP) out.tcp = a.u32();
    else if (a.type === ATTR_TIMEOUT_TCP_FIN) out.tcpFin = a.u32();
    else if (a.type === ATTR_TIMEOUT_UDP) out.udp = a.u32();
  }
  return out;
}
