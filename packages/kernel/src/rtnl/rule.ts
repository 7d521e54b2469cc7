import { formatIp } from '@weft/net';
import { get16, get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { addressOf, af, AF_INET, afOf, familyOf } from './bytes.ts';
import type { Rule } from './types.ts';

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  GOTO: 4,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
} as const;
const FIB_RULE_INVERT = 2;
const ACTIONS = { lookup: 1, goto: 2, nop: 3, blackhole: 6, unreachable: 7, prohibit: 8 } as const;

function portRange(range: readonly [number, number]): Uint8Array {
  return new Uint8Array(Uint16Array.from(range).buffer);
}

/** Body of RTM_NEWRULE / RTM_DELRULE. */
export function encodeRule(w: NlWriter, r: Rule): void {
  const from = r.from === undefined ? undefined : addressOf(r.from, 'rule source');
  const to = r.to === undefined ? undefined : addressOf(r.to, 'rule destination');
  const example = from ?? to;
  const family = example !== undefined ? afOf(example.ip.bytes) : r.family === undefined ? AF_INET : af(r.family);
  const action = r.action ?? 'lookup';
  const table = action === 'lookup' ? (r.table ?? 254) : (r.table ?? 0);
  w.put8(family, to?.length ?? 0, from?.length ?? 0, r.tos ?? 0);
  w.put8(table < 256 ? table : 252, 0, 0, ACTIONS[action]);
  w.put32(r.invert === true ? FIB_RULE_INVERT : 0);
  if (to !== undefined) w.data(FRA.DST, to.ip.bytes);
  if (from !== undefined) w.data(FRA.SRC, from.ip.bytes);
  if (table >= 256) w.u32(FRA.TABLE, table);
  if (r.priority !== undefined) w.u32(FRA.PRIORITY, r.priority);
  if (r.fwmark !== undefined) w.u32(FRA.FWMARK, r.fwmark);
  if (r.fwmask !== undefined) w.u32(FRA.FWMASK, r.fwmask);
  if (r.iif !== undefined) w.str(FRA.IIFNAME, r.iif);
  if (r.oif !== undefined) w.str(FRA.OIFNAME, r.oif);
  if (r.goto !== undefined) w.u32(FRA.GOTO, r.goto);
  if (r.suppressPrefixLength !== undefined) w.u32(FRA.SUPPRESS_PREFIXLEN, r.suppressPrefixLength);
  if (r.protocol !== undefined) w.u8(FRA.PROTOCOL, r.protocol);
  if (r.ipProto !== undefined) w.u8(FRA.IP_PROTO, r.ipProto);
  if (r.sport !== undefined) w.data(FRA.SPORT_RANGE, portRange(r.sport));
  if (r.dport !== undefined) w.data(FRA.DPORT_RANGE, portRange(r.dport));
}

export function encodeRuleDump(w: NlWriter, filter: { readonly family?: 4 | 6 }): void {
  w.put8(af(filter.family));
  w.put32(0);
  w.put32(0);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function decodeRule(m: NlMessage): Rule {
  const b = m.bytes;
  const s = m.start;
  const action = b[s + 7] as number;
  const rule: Mutable<Rule> = {
    family: familyOf(b[s] as number),
    priority: 0,
    table: b[s + 4] as number,
    action: (Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]).find((name) => ACTIONS[name] === action) ?? 'nop',
  };
  const dstLength = b[s + 1] as number;
  const srcLength = b[s + 2] as number;
  if (b[s + 3] !== 0) rule.tos = b[s + 3] as number;
  if ((get32(b, s + 8) & FIB_RULE_INVERT) !== 0) rule.invert = true;
  const a = new NlReader(b, s + 12, m.end);
  while (a.next()) {
    switch (a.type) {
      case FRA.DST:
        rule.to = `${formatIp(a.data())}/${dstLength}`;
        break;
      case FRA.SRC:
        rule.from = `${formatIp(a.data())}/${srcLength}`;
        break;
      case FRA.TABLE:
        rule.table = a.u32();
        break;
      case FRA.PRIORITY:
        rule.priority = a.u32();
        break;
      case FRA.FWMARK:
        rule.fwmark = a.u32();
        break;
      case FRA.FWMASK:
        rule.fwmask = a.u32();
        break;
      case FRA.IIFNAME:
        rule.iif = a.str();
        break;
      case FRA.OIFNAME:
        rule.oif = a.str();
        break;
      case FRA.GOTO:
        rule.goto = a.u32();
        break;
      case FRA.SUPPRESS_PREFIXLEN:
        // All ones means that nothing is suppressed.
        if (a.u32() !== 0xffffffff) rule.suppressPrefixLength = a.u32();
        break;
      case FRA.PROTOCOL:
        rule.protocol = a.u8();
        break;
      case FRA.IP_PROTO:
        rule.ipProto = a.u8();
        break;
      case FRA.SPORT_RANGE:
        rule.sport = [get16(b, a.at), get16(b, a.at + 2)];
        break;
      case FRA.DPORT_RANGE:
        rule.dport = [get16(b, a.at), get16(b, a.at + 2)];
        break;
      default:
    }
  }
  return rule;
}
