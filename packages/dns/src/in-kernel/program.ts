import { Assembler, R, reg } from '@weft/kernel';
import { COUNTER, CONTROL, KEY, MAX_QUESTION, SIZES, TAIL, VALUE } from './layout.ts';

const { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, FP } = R;

const XDP_PASS = 2;
const XDP_TX = 3;

// Ethernet, IPv4 without options, UDP, DNS header: offsets in the frame.
const IP = 14;
const UDP = 34;
const DNS = 42;
const QUESTION = DNS + 12;
const OPT = 11;

// The frame of the program: everything below FP.
const KEY_AT = -KEY;
const ORIGINAL_AT = -2 * KEY;
/** 16 bytes: the OPT record of the query. */
const OPT_AT = ORIGINAL_AT - 16;
/** u64: 11 when the query has an OPT record, else 0. */
const OPT_LENGTH_AT = OPT_AT - 8;
/** u64: length of the answer's DNS message. */
const ANSWER_LENGTH_AT = OPT_LENGTH_AT - 8;
/** u64: length of the name to copy. */
const NAME_LENGTH_AT = ANSWER_LENGTH_AT - 8;
/** u64: length of the answer's tail. */
const TAIL_LENGTH_AT = NAME_LENGTH_AT - 8;
/** Keys of arrays. */
const INDEX_AT = TAIL_LENGTH_AT - 8;

const fold = (text: string): bigint => BigInt(`0x${text.repeat(8)}`);
const network16 = (value: number): number => ((value & 0xff) << 8) | (value >> 8);

interface ProgramMaps {
  /** Answers that the server keeps up to date one by one. */
  readonly answers: number;
  /** Answers that were asked for, good for one epoch. */
  readonly learned: number;
  /** Questions that had no answer here. */
  readonly missed: number;
  readonly control: number;
  readonly counters: number;
}

export interface ProgramOptions {
  readonly maps: ProgramMaps;
  /** IPv4 addresses to answer at, as numbers in network order of their bytes read by this machine. */
  readonly addresses: readonly number[];
  readonly port: number;
}

/**
 * The XDP program: answers plain DNS queries over UDP and IPv4 from maps and lets everything else pass.
 *
 * The answer goes into the frame of the query, so question, id and letter case are the client's. The UDP checksum is left
 * out (zero, RFC 768): frames of this machine were never summed, and those of others need not be.
 */
export function answerProgram({ maps, addresses, port }: ProgramOptions): Buffer {
  const a = new Assembler();
  parse(a, addresses, port);
  readQuestion(a);
  foldCase(a);
  lookUp(a, maps);
  grow(a);
  rewrite(a);
  count(a, maps);
  a.mov(r0, XDP_TX).exit();
  // A question without an answer here is noted, so that the server can give one.
  a.label('miss').store(4, FP, INDEX_AT, 1).map(r1, maps.missed).mov(r2, reg(FP)).alu('add', r2, KEY_AT);
  a.mov(r3, reg(FP)).alu('add', r3, INDEX_AT).mov(r4, 1).call('map_update_elem');
  a.label('pass').mov(r0, XDP_PASS).exit();
  return a.build();
}

/** r6 = context, r9 = length of the question, the OPT record's length on the stack; anything else passes. */
function parse(a: Assembler, addresses: readonly number[], port: number): void {
  a.mov(r6, reg(r1)).load(4, r7, r6, 0).load(4, r8, r6, 4);
  a.mov(r1, reg(r7)).alu('add', r1, QUESTION).jump('gt', r1, reg(r8), 'pass');
  a.load(2, r1, r7, 12).jump('ne', r1, network16(0x0800), 'pass');
  a.load(1, r1, r7, IP).jump('ne', r1, 0x45, 'pass');
  a.load(2, r1, r7, IP + 6)
    .alu('and', r1, network16(0x3fff))
    .jump('ne', r1, 0, 'pass');
  a.load(1, r1, r7, IP + 9).jump('ne', r1, 17, 'pass');
  a.load(4, r1, r7, IP + 16);
  for (const address of addresses) a.jump32('eq', r1, address | 0, 'ours');
  a.goto('pass').label('ours');
  a.load(2, r1, r7, UDP + 2).jump('ne', r1, network16(port), 'pass');
  // A client at port 0 cannot be answered.
  a.load(2, r1, r7, UDP).jump('eq', r1, 0, 'pass');
  a.load(2, r9, r7, UDP + 4).swap(r9, 16);
  a.load(2, r1, r7, IP + 2)
    .swap(r1, 16)
    .alu('sub', r1, 20)
    .jump('ne', r1, reg(r9), 'pass');
  a.mov(r1, reg(r8)).alu('sub', r1, reg(r7)).alu('sub', r1, UDP).jump('ne', r1, reg(r9), 'pass');
  // A query (opcode 0) of one question and nothing but an OPT record behind it.
  a.load(1, r1, r7, DNS + 2)
    .alu('and', r1, 0xf8)
    .jump('ne', r1, 0, 'pass');
  a.load(2, r1, r7, DNS + 4).jump('ne', r1, network16(1), 'pass');
  a.load(4, r1, r7, DNS + 6).jump('ne', r1, 0, 'pass');
  a.load(2, r1, r7, DNS + 10)
    .alu('sub', r9, 20)
    .store(8, FP, OPT_LENGTH_AT, 0);
  a.jump('eq', r1, 0, 'sized').jump('ne', r1, network16(1), 'pass');
  a.alu('sub', r9, OPT).store(8, FP, OPT_LENGTH_AT, OPT);
  a.label('sized').jump('lt', r9, 5, 'pass').jump('gt', r9, MAX_QUESTION, 'pass');
}

/** Copies question and OPT record to the stack; only a plain OPT record goes on. */
function readQuestion(a: Assembler): void {
  for (let at = 0; at < KEY; at += 8) a.store(8, FP, ORIGINAL_AT + at, 0);
  a.mov(r1, reg(r6)).mov(r2, QUESTION).mov(r3, reg(FP)).alu('add', r3, ORIGINAL_AT).mov(r4, reg(r9));
  a.call('xdp_load_bytes').jump('ne', r0, 0, 'pass');
  a.load(8, r1, FP, OPT_LENGTH_AT).jump('eq', r1, 0, 'read');
  a.store(8, FP, OPT_AT, 0).store(8, FP, OPT_AT + 8, 0);
  a.mov(r1, reg(r6)).mov(r2, reg(r9)).alu('add', r2, QUESTION).mov(r3, reg(FP)).alu('add', r3, OPT_AT).mov(r4, OPT);
  a.call('xdp_load_bytes').jump('ne', r0, 0, 'pass');
  // Root name, type 41, any size, no extended code, version 0, no flags, no options.
  a.load(8, r1, FP, OPT_AT).constant(r2, 0xffff_ff00_00ff_ffffn).alu('and', r1, reg(r2));
  a.jump('ne', r1, 0x29_0000, 'pass');
  a.load(8, r1, FP, OPT_AT + 8).jump('ne', r1, 0, 'pass');
  a.label('read');
}

/** Writes the key: the question with A–Z made small, eight bytes at a time. r8 becomes non-zero where that changed it. */
function foldCase(a: Assembler): void {
  a.constant(r3, fold('7f')).constant(r4, fold('3f')).constant(r5, fold('25')).constant(r7, fold('80')).mov(r8, 0);
  for (let at = 0; at < KEY; at += 8) {
    // Bytes from A have the high bit after adding 0x3f, bytes beyond Z after adding 0x25; those that had it are no ASCII.
    a.load(8, r0, FP, ORIGINAL_AT + at)
      .mov(r1, reg(r0))
      .alu('and', r1, reg(r3));
    a.mov(r2, reg(r1)).alu('add', r2, reg(r4)).alu('add', r1, reg(r5)).alu('xor', r1, reg(r2));
    a.alu('and', r1, reg(r7)).mov(r2, reg(r0)).alu('xor', r2, -1).alu('and', r1, reg(r2)).alu('rsh', r1, 2);
    a.alu('or', r8, reg(r1))
      .alu('or', r0, reg(r1))
      .store(8, FP, KEY_AT + at, reg(r0));
  }
}

/** r7 = the answer; its lengths on the stack. */
function lookUp(a: Assembler, maps: ProgramMaps): void {
  a.store(4, FP, INDEX_AT, 0).map(r1, maps.control).mov(r2, reg(FP)).alu('add', r2, INDEX_AT).call('map_lookup_elem');
  a.jump('eq', r0, 0, 'pass').load(4, r1, r0, CONTROL.enabled).jump('eq', r1, 0, 'pass');
  // The epoch waits where the lengths will be.
  a.load(4, r1, r0, CONTROL.epoch).store(8, FP, NAME_LENGTH_AT, reg(r1));
  for (const map of [maps.answers, maps.learned]) {
    const found = `found${map}`;
    a.map(r1, map).mov(r2, reg(FP)).alu('add', r2, KEY_AT).call('map_lookup_elem').jump('ne', r0, 0, found);
    if (map === maps.answers) a.goto('learned');
    else a.goto('miss');
    a.label(found).mov(r7, reg(r0)).goto('found');
    if (map === maps.answers) a.label('learned');
  }
  a.label('found').load(4, r1, r7, VALUE.epoch).jump('eq', r1, 0, 'current');
  a.load(8, r2, FP, NAME_LENGTH_AT).jump('ne', r1, reg(r2), 'miss');
  a.label('current').jump('eq', r8, 0, 'cased');
  a.load(1, r1, r7, VALUE.caseExact).jump('ne', r1, 0, 'pass');
  a.label('cased').load(2, r1, r7, VALUE.length).jump('eq', r1, 0, 'pass').jump('gt', r1, TAIL, 'pass');
  a.store(8, FP, TAIL_LENGTH_AT, reg(r1));
  a.mov(r2, 0).load(1, r3, r7, VALUE.copyName).jump('eq', r3, 0, 'named').mov(r2, reg(r9)).alu('sub', r2, 4);
  a.label('named').store(8, FP, NAME_LENGTH_AT, reg(r2));
  a.alu('add', r2, reg(r1)).mov(r8, reg(r2)).load(8, r1, FP, OPT_LENGTH_AT);
  a.alu('add', r2, reg(r1)).alu('add', r2, reg(r9)).alu('add', r2, 12).store(8, FP, ANSWER_LENGTH_AT, reg(r2));
}

/** Makes room (r8 bytes) and writes what comes behind the question. */
function grow(a: Assembler): void {
  a.mov(r1, reg(r6)).mov(r2, reg(r8)).call('xdp_adjust_tail').jump('ne', r0, 0, 'pass');
  a.mov(r8, reg(r9)).alu('add', r8, QUESTION);
  const append = (source: () => void, lengthAt: number, most: number, next: string): void => {
    a.load(8, r4, FP, lengthAt).jump('eq', r4, 0, next).jump('gt', r4, most, 'drop');
    a.mov(r1, reg(r6)).mov(r2, reg(r8));
    source();
    a.alu('add', r8, reg(r4)).call('xdp_store_bytes').jump('ne', r0, 0, 'drop').label(next);
  };
  append(() => a.mov(r3, reg(FP)).alu('add', r3, ORIGINAL_AT), NAME_LENGTH_AT, KEY, 'tail');
  append(() => a.mov(r3, reg(r7)).alu('add', r3, VALUE.tail), TAIL_LENGTH_AT, TAIL, 'opt');
  append(() => a.mov(r3, reg(FP)).alu('add', r3, OPT_AT), OPT_LENGTH_AT, OPT, 'written');
  // The frame is half an answer by now: it may neither pass nor go out. Never seen; the verifier wants a way out.
  a.goto('headers').label('drop').mov(r0, 1).exit().label('headers');
}

/** Turns the headers round: from the server to the client, with the answer's lengths, flags and counts. */
function rewrite(a: Assembler): void {
  a.load(4, r1, r6, 0).load(4, r2, r6, 4).mov(r3, reg(r1)).alu('add', r3, QUESTION).jump('gt', r3, reg(r2), 'drop');
  a.load(4, r2, r1, 0).load(2, r3, r1, 4).load(4, r4, r1, 6).load(2, r5, r1, 10);
  a.store(4, r1, 0, reg(r4)).store(2, r1, 4, reg(r5)).store(4, r1, 6, reg(r2)).store(2, r1, 10, reg(r3));
  a.load(4, r2, r1, IP + 12)
    .load(4, r3, r1, IP + 16)
    .store(4, r1, IP + 12, reg(r3))
    .store(4, r1, IP + 16, reg(r2));
  a.load(2, r2, r1, UDP)
    .load(2, r3, r1, UDP + 2)
    .store(2, r1, UDP, reg(r3))
    .store(2, r1, UDP + 2, reg(r2));
  a.load(8, r8, FP, ANSWER_LENGTH_AT).mov(r2, reg(r8)).alu('add', r2, 8).swap(r2, 16);
  a.store(2, r1, UDP + 4, reg(r2)).store(2, r1, UDP + 6, 0);
  a.mov(r2, reg(r8))
    .alu('add', r2, 28)
    .swap(r2, 16)
    .store(2, r1, IP + 2, reg(r2));
  a.store(2, r1, IP + 6, network16(0x4000))
    .store(1, r1, IP + 8, 64)
    .store(2, r1, IP + 10, 0);
  a.mov(r2, 0);
  for (let at = 0; at < 20; at += 2) if (at !== 10) a.load(2, r3, r1, IP + at).alu('add', r2, reg(r3));
  for (let i = 0; i < 2; i++) a.mov(r3, reg(r2)).alu('rsh', r3, 16).alu('and', r2, 0xffff).alu('add', r2, reg(r3));
  a.alu('xor', r2, -1).store(2, r1, IP + 10, reg(r2));
  // RD and CD are the client's.
  a.load(2, r2, r1, DNS + 2)
    .alu('and', r2, network16(0x0110))
    .load(2, r3, r7, VALUE.flags)
    .alu('or', r2, reg(r3));
  a.store(2, r1, DNS + 2, reg(r2));
  a.load(4, r2, r7, VALUE.counts)
    .store(4, r1, DNS + 6, reg(r2))
    .load(2, r2, r7, VALUE.counts + 4);
  a.load(8, r3, FP, OPT_LENGTH_AT).jump('eq', r3, 0, 'counted').alu('add', r2, network16(1));
  a.label('counted').store(2, r1, DNS + 10, reg(r2));
}

/** Adds the answer to its counter. */
function count(a: Assembler, maps: ProgramMaps): void {
  a.load(2, r1, r7, VALUE.slot);
  SIZES.slice(0, -1).forEach((size, i) => {
    a.jump('le', r8, size, 'slot').alu('add', r1, 1);
    if (i === SIZES.length - 2) a.label('slot');
  });
  a.store(4, FP, INDEX_AT, reg(r1)).map(r1, maps.counters).mov(r2, reg(FP)).alu('add', r2, INDEX_AT);
  a.call('map_lookup_elem').jump('eq', r0, 0, 'sent');
  const add = (at: number, value: () => void): void => {
    value();
    a.load(8, r2, r0, at).alu('add', r2, reg(r1)).store(8, r0, at, reg(r2));
  };
  add(COUNTER.count, () => a.mov(r1, 1));
  add(COUNTER.requestBytes, () => a.load(8, r1, FP, OPT_LENGTH_AT).alu('add', r1, reg(r9)).alu('add', r1, 12));
  add(COUNTER.responseBytes, () => a.mov(r1, reg(r8)));
  a.label('sent');
}
