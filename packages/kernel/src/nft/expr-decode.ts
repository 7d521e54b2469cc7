import { NlReader } from '../netlink/wire.ts';
import { readData } from './data.ts';
import * as T from './expr-tables.ts';
import type { CmpOp, CtKey, Expr, FibFlag, MetaKey, PayloadBase } from './expr-types.ts';

/** Attributes of one expression by number. */
class Attrs {
  readonly #at = new Map<number, { readonly u32: number; readonly reader: NlReader }>();

  constructor(bytes: Uint8Array, a: NlReader) {
    while (a.next()) {
      const reader = new NlReader(bytes, a.at - 4, a.end);
      reader.next();
      const length = reader.length;
      const u32 = length === 4 ? reader.u32be() : length === 2 ? reader.u16be() : length === 1 ? reader.u8() : 0;
      this.#at.set(a.type, { u32, reader });
    }
  }

  has(type: number): boolean {
    return this.#at.has(type);
  }

  num(type: number): number {
    return this.#at.get(type)?.u32 ?? 0;
  }

  str(type: number): string {
    return this.#at.get(type)?.reader.str() ?? '';
  }

  big(type: number): bigint {
    return this.#at.get(type)?.reader.u64be() ?? 0n;
  }

  reader(type: number): NlReader | undefined {
    return this.#at.get(type)?.reader;
  }

  value(type: number): Uint8Array {
    const reader = this.reader(type);
    const data = reader === undefined ? undefined : readData(reader);
    return data instanceof Uint8Array ? data : new Uint8Array(0);
  }

  /** `{ [name]: value }` when the attribute is there. */
  opt<K extends string>(name: K, type: number): Partial<Record<K, number>> {
    return this.has(type) ? ({ [name]: this.num(type) } as Partial<Record<K, number>>) : {};
  }
}

/** Reads a list of expressions. */
export function readExprs(bytes: Uint8Array, list: NlReader): Expr[] {
  const out: Expr[] = [];
  while (list.next()) out.push(readExpr(bytes, list.nested()));
  return out;
}

/** Reads one expression (name and data attributes). */
export function readExpr(bytes: Uint8Array, a: NlReader): Expr {
  let name = '';
  let raw = new Uint8Array(0);
  let attrs = new Attrs(bytes, new NlReader(bytes, 0, 0));
  while (a.next()) {
    if (a.type === 1) name = a.str();
    else if (a.type === 2) {
      raw = Uint8Array.from(a.data());
      attrs = new Attrs(bytes, a.nested());
    }
  }
  return decode(name, attrs, bytes) ?? { type: 'unknown', name, data: raw };
}

function familyOf(value: number): 'ip' | 'ip6' {
  return value === 10 ? 'ip6' : 'ip';
}

function decode(name: string, a: Attrs, bytes: Uint8Array): Expr | undefined {
  switch (name) {
    case 'meta': {
      const key = T.META_KEYS[a.num(2)] as MetaKey | undefined;
      if (key === undefined) return undefined;
      return a.has(3) ? { type: 'metaSet', key, sreg: a.num(3) } : { type: 'meta', key, dreg: a.num(1) };
    }
    case 'payload': {
      const base = T.BASES[a.num(2)] as PayloadBase | undefined;
      if (base === undefined) return undefined;
      const place = { base, offset: a.num(3), len: a.num(4) };
      if (!a.has(5)) return { type: 'payload', ...place, dreg: a.num(1) };
      return {
        type: 'payloadSet',
        ...place,
        sreg: a.num(5),
        csumType: a.num(6),
        csumOffset: a.num(7),
        csumFlags: a.num(8),
      };
    }
    case 'cmp':
      return { type: 'cmp', op: T.CMP_OPS[a.num(2)] as CmpOp, sreg: a.num(1), data: a.value(3) };
    case 'range':
      return { type: 'range', op: a.num(2) === 0 ? 'eq' : 'neq', sreg: a.num(1), from: a.value(3), to: a.value(4) };
    case 'bitwise': {
      const operation = a.num(6);
      if (operation === 0)
        return { type: 'bitwise', sreg: a.num(1), dreg: a.num(2), mask: a.value(4), xor: a.value(5) };
      const shift = a.value(7);
      if (operation > 2 || shift.length !== 4) return undefined;
      return {
        type: 'shift',
        sreg: a.num(1),
        dreg: a.num(2),
        len: a.num(3),
        direction: operation === 1 ? 'left' : 'right',
        bits: shift[0] as number,
      };
    }
    case 'lookup':
      return {
        type: 'lookup',
        set: a.str(1),
        sreg: a.num(2),
        ...a.opt('dreg', 3),
        ...((a.num(5) & 1) === 0 ? {} : { invert: true }),
      };
    case 'immediate': {
      const reader = a.reader(2);
      const data = reader === undefined ? undefined : readData(reader);
      if (data === undefined) return undefined;
      return data instanceof Uint8Array
        ? { type: 'immediate', dreg: a.num(1), data }
        : { type: 'verdict', verdict: data };
    }
    case 'nat': {
      const flags = T.natNames(a.num(7));
      return {
        type: 'nat',
        kind: a.num(1) === 0 ? 'snat' : 'dnat',
        family: familyOf(a.num(2)),
        ...a.opt('addrReg', 3),
        // The kernel lists the upper register even when it is the lower one.
        ...(a.num(4) === a.num(3) ? {} : a.opt('addrMaxReg', 4)),
        ...a.opt('portReg', 5),
        ...(a.num(6) === a.num(5) ? {} : a.opt('portMaxReg', 6)),
        ...(flags.length > 0 ? { flags } : {}),
      };
    }
    case 'masq':
    case 'redir': {
      const [min, max, bits] = name === 'masq' ? [2, 3, 1] : [1, 2, 3];
      const flags = T.natNames(a.num(bits as number));
      return {
        type: name === 'masq' ? 'masquerade' : 'redirect',
        ...a.opt('portReg', min as number),
        ...(a.num(max as number) === a.num(min as number) ? {} : a.opt('portMaxReg', max as number)),
        ...(flags.length > 0 ? { flags } : {}),
      };
    }
    case 'reject': {
      const kind = T.REJECTS[a.num(1)];
      return kind === undefined ? undefined : { type: 'reject', with: kind, code: a.num(2) };
    }
    default:
      return decodeMore(name, a, bytes);
  }
}

function decodeMore(name: string, a: Attrs, bytes: Uint8Array): Expr | undefined {
  switch (name) {
    case 'numgen':
      return {
        type: 'numgen',
        mode: a.num(3) === 0 ? 'inc' : 'random',
        modulus: a.num(2),
        offset: a.num(4),
        dreg: a.num(1),
      };
    case 'hash':
      return {
        type: 'hash',
        mode: a.num(7) === 0 ? 'jhash' : 'symhash',
        dreg: a.num(2),
        modulus: a.num(4),
        offset: a.num(6),
        ...a.opt('seed', 5),
        ...a.opt('sreg', 1),
        ...a.opt('len', 3),
      };
    case 'fib': {
      const result = T.FIB_RESULTS[a.num(2)];
      if (result === undefined || result === '') return undefined;
      const bits = a.num(3);
      const flags: FibFlag[] = T.FIB_FLAGS.filter((_, i) => (bits & (1 << i)) !== 0);
      return { type: 'fib', result, flags, dreg: a.num(1) };
    }
    case 'ct': {
      const key = T.CT_KEYS[a.num(2)] as CtKey | undefined;
      if (key === undefined) return undefined;
      const direction = a.has(3) ? { direction: a.num(3) === 0 ? ('original' as const) : ('reply' as const) } : {};
      return a.has(4)
        ? { type: 'ctSet', key, sreg: a.num(4), ...direction }
        : { type: 'ct', key, dreg: a.num(1), ...direction };
    }
    case 'counter':
      return { type: 'counter', bytes: a.big(1), packets: a.big(2) };
    case 'dynset': {
      const op = T.DYNSET_OPS[a.num(3)];
      if (op === undefined) return undefined;
      const one = a.reader(7);
      const many = a.reader(10);
      const exprs =
        many !== undefined
          ? readExprs(bytes, many.nested())
          : one !== undefined
            ? [readExpr(bytes, one.nested())]
            : undefined;
      return {
        type: 'dynset',
        set: a.str(1),
        op,
        key: a.num(4),
        ...a.opt('data', 5),
        ...(a.has(6) && a.big(6) > 0n ? { timeout: Number(a.big(6)) } : {}),
        ...(exprs === undefined ? {} : { exprs }),
        ...((a.num(9) & 1) === 0 ? {} : { invert: true }),
      };
    }
    case 'limit':
      return {
        type: 'limit',
        rate: Number(a.big(1)),
        per: Number(a.big(2)),
        burst: a.num(3),
        ...(a.num(4) === 1 ? { bytes: true } : {}),
        ...((a.num(5) & 1) === 1 ? { over: true } : {}),
      };
    case 'connlimit':
      return { type: 'connlimit', count: a.num(1), ...((a.num(2) & 1) === 1 ? { over: true } : {}) };
    case 'log':
      return {
        type: 'log',
        ...(a.has(2) ? { prefix: a.str(2) } : {}),
        ...a.opt('group', 1),
        ...a.opt('snaplen', 3),
        ...a.opt('queueThreshold', 4),
        ...a.opt('level', 5),
        ...a.opt('flags', 6),
      };
    case 'notrack':
      return { type: 'notrack' };
    case 'byteorder':
      return {
        type: 'byteorder',
        op: a.num(3) === 0 ? 'ntoh' : 'hton',
        sreg: a.num(1),
        dreg: a.num(2),
        len: a.num(4),
        size: a.num(5) as 2 | 4 | 8,
      };
    case 'queue':
      return {
        type: 'queue',
        num: a.num(1),
        total: a.num(2),
        ...((a.num(3) & 1) === 1 ? { bypass: true } : {}),
        ...((a.num(3) & 2) === 2 ? { fanout: true } : {}),
      };
    case 'tproxy':
      return {
        type: 'tproxy',
        ...(a.num(1) === 0 ? {} : { family: familyOf(a.num(1)) }),
        ...a.opt('addrReg', 2),
        ...a.opt('portReg', 3),
      };
    case 'socket': {
      const key = T.SOCKET_KEYS[a.num(1)];
      return key === undefined ? undefined : { type: 'socket', key, dreg: a.num(2), ...a.opt('level', 3) };
    }
    case 'rt': {
      const key = T.RT_KEYS[a.num(2)];
      return key === undefined ? undefined : { type: 'rt', key, dreg: a.num(1) };
    }
    case 'exthdr': {
      const op = T.EXTHDR_OPS[a.num(6)];
      if (op === undefined) return undefined;
      return {
        type: 'exthdr',
        op,
        header: a.num(2),
        offset: a.num(3),
        len: a.num(4),
        ...((a.num(5) & 1) === 1 ? { present: true } : {}),
        ...a.opt('dreg', 1),
        ...a.opt('sreg', 7),
      };
    }
    case 'dup':
      return { type: 'dup', ...a.opt('addrReg', 1), ...a.opt('devReg', 2) };
    case 'fwd':
      return {
        type: 'fwd',
        devReg: a.num(1),
        ...a.opt('addrReg', 2),
        ...(a.has(3) ? { family: familyOf(a.num(3)) } : {}),
      };
    default:
      return undefined;
  }
}
