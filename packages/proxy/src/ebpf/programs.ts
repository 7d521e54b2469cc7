import { Assembler, R, reg, type SocketCall } from '@weft/kernel';
import type { Family } from '@weft/net';
import { BACKEND, ORIGIN, SERVICE, SERVICE_KEY } from './layout.ts';

const { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, FP } = R;

/** `struct bpf_sock_addr` (linux/bpf.h): the address that a call names, and its socket. */
const CALL = { ip4: 4, ip6: 8, port: 24, protocol: 36, socket: 64 } as const;
const TCP = 6;
/** Second-last word of an IPv4-mapped address, as this machine reads it. */
const MAPPED = 0xffff_0000 | 0;
/** `BPF_F_CURRENT_NETNS` */
const OWN_NAMESPACE = -1;
/** `BPF_SK_STORAGE_GET_F_CREATE` */
const CREATE = 1;

// The frame of a program.
const ORIGIN_AT = -ORIGIN.size;
const KEY_AT = ORIGIN_AT - 24;
const INDEX_AT = KEY_AT - 8;
/** `struct bpf_sock_tuple`: who connects and where to. */
const TUPLE_AT = INDEX_AT - 40;

export interface ProgramMaps {
  readonly services: Readonly<Record<Family, number>>;
  readonly backends: Readonly<Record<Family, number>>;
  readonly origins: number;
}

/** The program for a call. It always lets the call go on: what it does not lead is the packets' business. */
export function socketProgram(call: SocketCall, maps: ProgramMaps): Buffer {
  const a = new Assembler();
  a.mov(r6, reg(r1));
  switch (call) {
    case 'connect4':
      onlyTcp(a);
      connect(a, 4, CALL.ip4, maps);
      break;
    case 'connect6':
      onlyTcp(a);
      ifMapped(a, 'mapped');
      connect(a, 6, CALL.ip6, maps);
      a.label('mapped');
      connect(a, 4, CALL.ip6 + 12, maps);
      break;
    case 'getpeername4':
      origin(a, maps);
      tellOrigin(a, [[CALL.ip4, 12]]);
      break;
    default:
      origin(a, maps);
      tellOrigin(
        a,
        [0, 4, 8, 12].map((word) => [CALL.ip6 + word, word]),
      );
  }
  a.label('pass').mov(r0, 1).exit();
  return a.build();
}

function onlyTcp(a: Assembler): void {
  a.load(4, r2, r6, CALL.protocol).jump('ne', r2, TCP, 'pass');
}

function ifMapped(a: Assembler, to: string): void {
  a.load(4, r2, r6, CALL.ip6).jump('ne', r2, 0, 'native');
  a.load(4, r2, r6, CALL.ip6 + 4).jump('ne', r2, 0, 'native');
  a.load(4, r2, r6, CALL.ip6 + 8)
    .jump32('eq', r2, MAPPED, to)
    .label('native');
}

/**
 * Leads a connection to a frontend on to one of its endpoints, drawn by lot. A connection that would come back to the socket's
 * own namespace is left to the packets, which get another source address on that way.
 *
 * @param at where the call has the address
 */
function connect(a: Assembler, family: Family, at: number, { services, backends, origins }: ProgramMaps): void {
  const words = family === 4 ? [0] : [0, 4, 8, 12];
  const port = SERVICE_KEY[family] - 4;
  const name = (text: string): string => `${text}${family}`;
  for (const word of words) a.load(4, r2, r6, at + word).store(4, FP, KEY_AT + word, reg(r2));
  a.load(4, r2, r6, CALL.port).store(4, FP, KEY_AT + port, reg(r2));
  a.map(r1, services[family]).mov(r2, reg(FP)).alu('add', r2, KEY_AT).call('map_lookup_elem').jump('eq', r0, 0, 'pass');
  a.load(4, r8, r0, SERVICE.first).load(4, r9, r0, SERVICE.count).jump('eq', r9, 0, 'pass');
  a.call('get_prandom_u32').alu32('mod', r0, reg(r9)).alu32('add', r0, reg(r8)).store(4, FP, INDEX_AT, reg(r0));
  a.map(r1, backends[family]).mov(r2, reg(FP)).alu('add', r2, INDEX_AT).call('map_lookup_elem');
  a.jump('eq', r0, 0, 'pass').mov(r7, reg(r0));

  a.load(1, r1, r7, BACKEND[family].hairpin).jump('eq', r1, 0, name('lead'));
  // source address, destination address, source port, destination port: whoever listens there is found.
  const width = words.length * 4;
  for (const word of words) {
    a.store(4, FP, TUPLE_AT + word, 0);
    a.load(4, r1, r7, word).store(4, FP, TUPLE_AT + width + word, reg(r1));
  }
  a.store(2, FP, TUPLE_AT + 2 * width, 0);
  a.load(2, r1, r7, BACKEND[family].port).store(2, FP, TUPLE_AT + 2 * width + 2, reg(r1));
  a.mov(r1, reg(r6))
    .mov(r2, reg(FP))
    .alu('add', r2, TUPLE_AT)
    .mov(r3, 2 * width + 4)
    .mov(r4, OWN_NAMESPACE)
    .mov(r5, 0);
  a.call('sk_lookup_tcp').jump('eq', r0, 0, name('lead'));
  a.mov(r1, reg(r0)).call('sk_release').goto('pass');

  a.label(name('lead'));
  // The origin is noted first: where there is no memory for it, nothing is led.
  const whole = (where: number, word: (at: number) => void): void => {
    if (family === 4) {
      a.store(4, FP, ORIGIN_AT + where, 0).store(4, FP, ORIGIN_AT + where + 4, 0);
      a.store(4, FP, ORIGIN_AT + where + 8, MAPPED);
    }
    for (const at of words) {
      word(at);
      a.store(4, FP, ORIGIN_AT + where + at + (family === 4 ? 12 : 0), reg(r1));
    }
  };
  whole(ORIGIN.address, (word) => void a.load(4, r1, FP, KEY_AT + word));
  a.load(4, r1, FP, KEY_AT + port).store(4, FP, ORIGIN_AT + ORIGIN.port, reg(r1));
  whole(ORIGIN.backend, (word) => void a.load(4, r1, r7, word));
  a.load(2, r8, r7, BACKEND[family].port).store(4, FP, ORIGIN_AT + ORIGIN.backendPort, reg(r8));
  a.load(8, r2, r6, CALL.socket).jump('eq', r2, 0, 'pass');
  a.map(r1, origins).mov(r3, reg(FP)).alu('add', r3, ORIGIN_AT).mov(r4, CREATE).call('sk_storage_get');
  a.jump('eq', r0, 0, 'pass');
  // A socket that connects anew has one already, with what was.
  for (let word = 0; word < ORIGIN.size; word += 8) {
    a.load(8, r1, FP, ORIGIN_AT + word).store(8, r0, word, reg(r1));
  }
  for (const word of words) a.load(4, r1, r7, word).store(4, r6, at + word, reg(r1));
  a.store(4, r6, CALL.port, reg(r8)).goto('pass');
}

/** r7 = what is noted beside the socket. */
function origin(a: Assembler, { origins }: ProgramMaps): void {
  a.load(8, r2, r6, CALL.socket).jump('eq', r2, 0, 'pass');
  a.map(r1, origins).mov(r3, 0).mov(r4, 0).call('sk_storage_get').jump('eq', r0, 0, 'pass').mov(r7, reg(r0));
}

/**
 * Names the origin where the address is that of the endpoint.
 *
 * @param words where the call has a word of the address, and where the origin has it
 */
function tellOrigin(a: Assembler, words: readonly (readonly [call: number, origin: number])[]): void {
  for (const [call, word] of words) {
    a.load(4, r1, r6, call)
      .load(4, r2, r7, ORIGIN.backend + word)
      .jump('ne', r1, reg(r2), 'pass');
  }
  a.load(4, r1, r6, CALL.port).load(4, r2, r7, ORIGIN.backendPort).jump('ne', r1, reg(r2), 'pass');
  for (const [call, word] of words) a.load(4, r1, r7, ORIGIN.address + word).store(4, r6, call, reg(r1));
  a.load(4, r1, r7, ORIGIN.port).store(4, r6, CALL.port, reg(r1));
}
