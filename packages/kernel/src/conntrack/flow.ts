import { formatIp } from '@weft/net';
import { type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { af, familyOf, ipBytesOf } from '../rtnl/bytes.ts';

/** One direction of a flow. */
export interface FlowEnds {
  readonly src: string;
  readonly dst: string;
  /** Ports; for ICMP the id in `sport` and 0 in `dport`. */
  readonly sport: number;
  readonly dport: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

/** What finds a flow: its original direction. */
export interface FlowTuple extends FlowEnds {
  readonly family: 4 | 6;
  /** IP protocol number. */
  readonly proto: number;
  readonly zone?: number;
}

export interface FlowCounters {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** A connection the kernel tracks. */
export interface Flow {
  readonly family: 4 | 6;
  /** IP protocol number. */
  readonly proto: number;
  /** As the first packet had it. */
  readonly orig: FlowEnds;
  /** As answers have it: after translation, `reply.src` is the real server. */
  readonly reply: FlowEnds;
  /** IPS_* bits (see `values.CT_STATUS`). */
  readonly status: number;
  readonly mark: number;
  /** Seconds until it is forgotten. */
  readonly timeout: number;
  readonly id: number;
  readonly zone?: number;
  /** TCP state number (1 SYN_SENT, 2 SYN_RECV, 3 ESTABLISHED, …, 7 TIME_WAIT). */
  readonly tcpState?: number;
  /** With net.netfilter.nf_conntrack_acct. */
  readonly counters?: { readonly orig: FlowCounters; readonly reply: FlowCounters };
  /** With net.netfilter.nf_conntrack_timestamp: nanoseconds since 1970. */
  readonly start?: bigint;
  readonly stop?: bigint;
}

const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  TIMEOUT: 7,
  MARK: 8,
  COUNTERS_ORIG: 9,
  COUNTERS_REPLY: 10,
  ID: 12,
  ZONE: 18,
  TIMESTAMP: 20,
} as const;
const TUPLE_IP = 1;
const TUPLE_PROTO = 2;
const V4_SRC = 1;
const V4_DST = 2;
const V6_SRC = 3;
const V6_DST = 4;
const ICMP = 1;
const ICMPV6 = 58;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `nfgenmsg` and the attributes that find a flow. */
export function encodeTuple(w: NlWriter, t: FlowTuple, id?: number): void {
  w.put8(af(t.family), 0, 0, 0);
  const tuple = w.nest(CTA.TUPLE_ORIG);
  const ip = w.nest(TUPLE_IP);
  w.data(t.family === 4 ? V4_SRC : V6_SRC, ipBytesOf(t.src, 'flow source'));
  w.data(t.family === 4 ? V4_DST : V6_DST, ipBytesOf(t.dst, 'flow destination'));
  w.endNest(ip);
  const proto = w.nest(TUPLE_PROTO);
  w.u8(1, t.proto);
  if (t.proto === ICMP || t.proto === ICMPV6) {
    const first = t.proto === ICMP ? 4 : 7;
    w.u16be(first, t.sport);
    w.u8(first + 1, t.icmpType ?? 0);
    w.u8(first + 2, t.icmpCode ?? 0);
  } else {
    w.u16be(2, t.sport);
    w.u16be(3, t.dport);
  }
  w.endNest(proto);
  w.endNest(tuple);
  if (t.zone !== undefined && t.zone !== 0) w.u16be(CTA.ZONE, t.zone);
  if (id !== undefined) w.u32be(CTA.ID, id);
}

interface Tuple {
  proto: number;
  ends: FlowEnds;
  zone?: number;
}

function readTuple(a: NlReader): Tuple {
  const ends: Mutable<FlowEnds> = { src: '', dst: '', sport: 0, dport: 0 };
  const tuple: Tuple = { proto: 0, ends };
  while (a.next()) {
    if (a.type === TUPLE_IP) {
      const ip = a.nested();
      while (ip.next()) {
        if (ip.type === V4_SRC || ip.type === V6_SRC) ends.src = formatIp(ip.data());
        else if (ip.type === V4_DST || ip.type === V6_DST) ends.dst = formatIp(ip.data());
      }
    } else if (a.type === TUPLE_PROTO) {
      const proto = a.nested();
      while (proto.next()) {
        switch (proto.type) {
          case 1:
            tuple.proto = proto.u8();
            break;
          case 2:
          case 4:
          case 7:
            ends.sport = proto.u16be();
            break;
          case 3:
            ends.dport = proto.u16be();
            break;
          case 5:
          case 8:
            ends.icmpType = proto.u8();
            break;
          case 6:
          case 9:
            ends.icmpCode = proto.u8();
            break;
          default:
        }
      }
    } else if (a.type === 3) tuple.zone = a.u16be();
  }
  return tuple;
}

function readCounters(a: NlReader): FlowCounters {
  const counters = { packets: 0n, bytes: 0n };
  while (a.next()) {
    if (a.type === 1) counters.packets = a.u64be();
    else if (a.type === 2) counters.bytes = a.u64be();
  }
  return counters;
}

/** Protocol and family of a listed flow without reading the rest, to pass over most of a long list. */
export function peekProto(m: NlMessage): number {
  const a = new NlReader(m.bytes, m.start + 4, m.end);
  while (a.next()) {
    if (a.type !== CTA.TUPLE_ORIG) continue;
    const tuple = a.nested();
    while (tuple.next()) {
      if (tuple.type !== TUPLE_PROTO) continue;
      const proto = tuple.nested();
      while (proto.next()) if (proto.type === 1) return proto.u8();
    }
  }
  return 0;
}

/** Reads a ctnetlink flow message. */
export function decodeFlow(m: NlMessage): Flow {
  const none: FlowEnds = { src: '', dst: '', sport: 0, dport: 0 };
  const flow: Mutable<Flow> = {
    family: familyOf(m.bytes[m.start] as number),
    proto: 0,
    orig: none,
    reply: none,
    status: 0,
    mark: 0,
    timeout: 0,
    id: 0,
  };
  let orig: FlowCounters | undefined;
  let reply: FlowCounters | undefined;
  const a = new NlReader(m.bytes, m.start + 4, m.end);
  while (a.next()) {
    switch (a.type) {
      case CTA.TUPLE_ORIG: {
        const tuple = readTuple(a.nested());
        flow.proto = tuple.proto;
        flow.orig = tuple.ends;
        break;
      }
      case CTA.TUPLE_REPLY:
        flow.reply = readTuple(a.nested()).ends;
        break;
      case CTA.STATUS:
        flow.status = a.u32be();
        break;
      case CTA.PROTOINFO: {
        const info = a.nested();
        while (info.next()) {
          if (info.type !== 1) continue;
          const tcp = info.nested();
          while (tcp.next()) if (tcp.type === 1) flow.tcpState = tcp.u8();
        }
        break;
      }
      case CTA.TIMEOUT:
        flow.timeout = a.u32be();
        break;
      case CTA.MARK:
        flow.mark = a.u32be();
        break;
      case CTA.COUNTERS_ORIG:
        orig = readCounters(a.nested());
        break;
      case CTA.COUNTERS_REPLY:
        reply = readCounters(a.nested());
        break;
      case CTA.ID:
        flow.id = a.u32be();
        break;
      case CTA.ZONE:
        flow.zone = a.u16be();
        break;
      case CTA.TIMESTAMP: {
        const stamp = a.nested();
        while (stamp.next()) {
          if (stamp.type === 1) flow.start = stamp.u64be();
          else if (stamp.type === 2) flow.stop = stamp.u64be();
        }
        break;
      }
      default:
    }
  }
  if (orig !== undefined && reply !== undefined) flow.counters = { orig, reply };
  return flow;
}
