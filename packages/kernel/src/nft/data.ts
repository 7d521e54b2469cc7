import { NlReader, type NlWriter } from '../netlink/wire.ts';
import type { Verdict } from './types.ts';

const DATA_VALUE = 1;
const DATA_VERDICT = 2;
const VERDICT_CODE = 1;
const VERDICT_CHAIN = 2;

const CODES = { drop: 0, accept: 1, continue: -1, break: -2, return: -5 } as const;
const JUMP = -3;
const GOTO = -4;

/** Nested attribute with plain bytes. */
export function putValue(w: NlWriter, type: number, bytes: Uint8Array): void {
  const mark = w.nest(type);
  w.data(DATA_VALUE, bytes);
  w.endNest(mark);
}

/** Nested attribute with a verdict. */
export function putVerdict(w: NlWriter, type: number, verdict: Verdict): void {
  const mark = w.nest(type);
  const inner = w.nest(DATA_VERDICT);
  if (typeof verdict === 'string') w.u32be(VERDICT_CODE, CODES[verdict]);
  else if ('jump' in verdict) {
    w.u32be(VERDICT_CODE, JUMP);
    w.str(VERDICT_CHAIN, verdict.jump);
  } else {
    w.u32be(VERDICT_CODE, GOTO);
    w.str(VERDICT_CHAIN, verdict.goto);
  }
  w.endNest(inner);
  w.endNest(mark);
}

/** Bytes or verdict of a data attribute. */
export function readData(a: NlReader): Uint8Array | Verdict | undefined {
  const inner = a.nested();
  while (inner.next()) {
    if (inner.type === DATA_VALUE) return inner.data();
    if (inner.type === DATA_VERDICT) return readVerdict(inner.nested());
  }
  return undefined;
}

function readVerdict(a: NlReader): Verdict {
  let code = 0;
  let chain = '';
  while (a.next()) {
    if (a.type === VERDICT_CODE) code = a.u32be() | 0;
    else if (a.type === VERDICT_CHAIN) chain = a.str();
  }
  if (code === JUMP) return { jump: chain };
  if (code === GOTO) return { goto: chain };
  return (Object.keys(CODES) as (keyof typeof CODES)[]).find((name) => CODES[name] === code) ?? 'continue';
}

/** Entries of the user data that `nft` keeps beside objects: type, length, bytes. */
export function readUserdata(bytes: Uint8Array): Map<number, Uint8Array> {
  const out = new Map<number, Uint8Array>();
  for (let at = 0; at + 2 <= bytes.length; ) {
    const length = bytes[at + 1] as number;
    out.set(bytes[at] as number, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return out;
}

const encoder = new TextEncoder();

/** A zero-terminated text as user data entry. */
export function textEntry(type: number, text: string): Uint8Array {
  const bytes = encoder.encode(text);
  // `nft` keeps comments below 128 bytes; a cut one is better than an object that cannot be made.
  const cut = bytes.length > 127 ? bytes.subarray(0, 127) : bytes;
  const out = new Uint8Array(cut.length + 3);
  out[0] = type;
  out[1] = cut.length + 1;
  out.set(cut, 2);
  return out;
}

export function entryText(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
}
