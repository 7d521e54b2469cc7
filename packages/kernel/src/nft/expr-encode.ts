import type { NlWriter } from '../netlink/wire.ts';
import { FAMILIES } from './constants.ts';
import { putValue, putVerdict } from './data.ts';
import * as T from './expr-tables.ts';
import type { Expr } from './expr-types.ts';

const EXPR_NAME = 1;
const EXPR_DATA = 2;
const LIST_ELEM = 1;

/** Writes a list of expressions as nested attribute `type`. */
export function putExprs(w: NlWriter, type: number, exprs: readonly Expr[]): void {
  const list = w.nest(type);
  for (const e of exprs) putExpr(w, LIST_ELEM, e);
  w.endNest(list);
}

/** Name the kernel knows an expression by. */
function kernelName(e: Expr): string {
  switch (e.type) {
    case 'metaSet':
      return 'meta';
    case 'payloadSet':
      return 'payload';
    case 'ctSet':
      return 'ct';
    case 'shift':
      return 'bitwise';
    case 'verdict':
      return 'immediate';
    case 'masquerade':
      return 'masq';
    case 'redirect':
      return 'redir';
    case 'unknown':
      return e.name;
    default:
      return e.type;
  }
}

export function putExpr(w: NlWriter, type: number, e: Expr): void {
  const outer = w.nest(type);
  w.str(EXPR_NAME, kernelName(e));
  const data = w.nest(EXPR_DATA);
  body(w, e);
  w.endNest(data);
  w.endNest(outer);
}

/** A 32-bit attribute, left out when undefined. */
function opt(w: NlWriter, type: number, value: number | undefined): void {
  if (value !== undefined) w.u32be(type, value);
}

function body(w: NlWriter, e: Expr): void {
  switch (e.type) {
    case 'meta':
      w.u32be(1, e.dreg);
      w.u32be(2, T.META_KEYS.indexOf(e.key));
      return;
    case 'metaSet':
      w.u32be(2, T.META_KEYS.indexOf(e.key));
      w.u32be(3, e.sreg);
      return;
    case 'payload':
      w.u32be(1, e.dreg);
      w.u32be(2, T.BASES.indexOf(e.base));
      w.u32be(3, e.offset);
      w.u32be(4, e.len);
      return;
    case 'payloadSet':
      w.u32be(2, T.BASES.indexOf(e.base));
      w.u32be(3, e.offset);
      w.u32be(4, e.len);
      w.u32be(5, e.sreg);
      w.u32be(6, e.csumType ?? 0);
      w.u32be(7, e.csumOffset ?? 0);
      if (e.csumFlags !== undefined && e.csumFlags !== 0) w.u32be(8, e.csumFlags);
      return;
    case 'cmp':
      w.u32be(1, e.sreg);
      w.u32be(2, T.CMP_OPS.indexOf(e.op));
      putValue(w, 3, e.data);
      return;
    case 'range':
      w.u32be(1, e.sreg);
      w.u32be(2, e.op === 'eq' ? 0 : 1);
      putValue(w, 3, e.from);
      putValue(w, 4, e.to);
      return;
    case 'bitwise':
      w.u32be(1, e.sreg);
      w.u32be(2, e.dreg);
      w.u32be(3, e.mask.length);
      putValue(w, 4, e.mask);
      putValue(w, 5, e.xor);
      return;
    case 'shift':
      w.u32be(1, e.sreg);
      w.u32be(2, e.dreg);
      w.u32be(3, e.len);
      w.u32be(6, e.direction === 'left' ? 1 : 2);
      putValue(w, 7, new Uint8Array(Uint32Array.of(e.bits).buffer));
      return;
    case 'lookup':
      w.str(1, e.set);
      w.u32be(2, e.sreg);
      opt(w, 3, e.dreg);
      if (e.invert === true) w.u32be(5, 1);
      return;
    case 'immediate':
      w.u32be(1, e.dreg);
      putValue(w, 2, e.data);
      return;
    case 'verdict':
      w.u32be(1, 0);
      putVerdict(w, 2, e.verdict);
      return;
    case 'nat': {
      w.u32be(1, e.kind === 'snat' ? 0 : 1);
      w.u32be(2, FAMILIES[e.family]);
      opt(w, 3, e.addrReg);
      opt(w, 4, e.addrMaxReg);
      opt(w, 5, e.portReg);
      opt(w, 6, e.portMaxReg);
      const flags = T.natBits(e.flags);
      if (flags !== 0) w.u32be(7, flags);
      return;
    }
    case 'masquerade': {
      const flags = T.natBits(e.flags);
      if (flags !== 0) w.u32be(1, flags);
      opt(w, 2, e.portReg);
      opt(w, 3, e.portMaxReg);
      return;
    }
    case 'redirect': {
      opt(w, 1, e.portReg);
      opt(w, 2, e.portMaxReg);
      const flags = T.natBits(e.flags);
      if (flags !== 0) w.u32be(3, flags);
      return;
    }
    case 'reject':
      w.u32be(1, T.REJECTS.indexOf(e.with));
      w.u8(2, e.code);
      return;
    default:
      bodyMore(w, e);
  }
}

function bodyMore(w: NlWriter, e: Expr): void {
  switch (e.type) {
    case 'numgen':
      w.u32be(1, e.dreg);
      w.u32be(2, e.modulus);
      w.u32be(3, e.mode === 'inc' ? 0 : 1);
      w.u32be(4, e.offset ?? 0);
      return;
    case 'hash':
      opt(w, 1, e.sreg);
      w.u32be(2, e.dreg);
      opt(w, 3, e.len);
      w.u32be(4, e.modulus);
      opt(w, 5, e.seed);
      w.u32be(6, e.offset ?? 0);
      w.u32be(7, e.mode === 'jhash' ? 0 : 1);
      return;
    case 'fib':
      w.u32be(1, e.dreg);
      w.u32be(2, T.FIB_RESULTS.indexOf(e.result));
      w.u32be(3, T.fibBits(e.flags));
      return;
    case 'ct':
      w.u32be(1, e.dreg);
      w.u32be(2, T.CT_KEYS.indexOf(e.key));
      if (e.direction !== undefined) w.u8(3, e.direction === 'original' ? 0 : 1);
      return;
    case 'ctSet':
      w.u32be(2, T.CT_KEYS.indexOf(e.key));
      if (e.direction !== undefined) w.u8(3, e.direction === 'original' ? 0 : 1);
      w.u32be(4, e.sreg);
      return;
    case 'counter':
      w.u64be(1, e.bytes ?? 0n);
      w.u64be(2, e.packets ?? 0n);
      return;
    case 'dynset':
      w.str(1, e.set);
      w.u32be(3, T.DYNSET_OPS.indexOf(e.op));
      w.u32be(4, e.key);
      opt(w, 5, e.data);
      if (e.timeout !== undefined) w.u64be(6, e.timeout);
      if (e.exprs?.length === 1) putExpr(w, 7, e.exprs[0] as Expr);
      if (e.invert === true || (e.exprs?.length ?? 0) > 0)
        w.u32be(9, (e.invert === true ? 1 : 0) | ((e.exprs?.length ?? 0) > 0 ? 2 : 0));
      if (e.exprs !== undefined && e.exprs.length > 1) putExprs(w, 10, e.exprs);
      return;
    case 'limit':
      w.u64be(1, e.rate);
      w.u64be(2, e.per);
      w.u32be(3, e.burst ?? 0);
      w.u32be(4, e.bytes === true ? 1 : 0);
      w.u32be(5, e.over === true ? 1 : 0);
      return;
    case 'connlimit':
      w.u32be(1, e.count);
      w.u32be(2, e.over === true ? 1 : 0);
      return;
    case 'log':
      if (e.group !== undefined) w.u16be(1, e.group);
      if (e.prefix !== undefined) w.str(2, e.prefix);
      opt(w, 3, e.snaplen);
      if (e.queueThreshold !== undefined) w.u16be(4, e.queueThreshold);
      opt(w, 5, e.level);
      opt(w, 6, e.flags);
      return;
    case 'notrack':
      return;
    case 'byteorder':
      w.u32be(1, e.sreg);
      w.u32be(2, e.dreg);
      w.u32be(3, e.op === 'ntoh' ? 0 : 1);
      w.u32be(4, e.len);
      w.u32be(5, e.size);
      return;
    case 'queue':
      w.u16be(1, e.num);
      w.u16be(2, e.total ?? 1);
      w.u16be(3, (e.bypass === true ? 1 : 0) | (e.fanout === true ? 2 : 0));
      return;
    case 'tproxy':
      w.u32be(1, e.family === undefined ? 0 : FAMILIES[e.family]);
      opt(w, 2, e.addrReg);
      opt(w, 3, e.portReg);
      return;
    case 'socket':
      w.u32be(1, T.SOCKET_KEYS.indexOf(e.key));
      w.u32be(2, e.dreg);
      opt(w, 3, e.level);
      return;
    case 'rt':
      w.u32be(1, e.dreg);
      w.u32be(2, T.RT_KEYS.indexOf(e.key));
      return;
    case 'exthdr':
      opt(w, 1, e.dreg);
      w.u8(2, e.header);
      w.u32be(3, e.offset);
      w.u32be(4, e.len);
      if (e.present === true) w.u32be(5, 1);
      w.u32be(6, T.EXTHDR_OPS.indexOf(e.op));
      opt(w, 7, e.sreg);
      return;
    case 'dup':
      opt(w, 1, e.addrReg);
      opt(w, 2, e.devReg);
      return;
    case 'fwd':
      w.u32be(1, e.devReg);
      opt(w, 2, e.addrReg);
      opt(w, 3, e.family === undefined ? undefined : FAMILIES[e.family]);
      return;
    case 'unknown':
      w.raw(e.data);
      return;
    default:
      throw new TypeError(`expression ${e.type} has no encoding`);
  }
}
