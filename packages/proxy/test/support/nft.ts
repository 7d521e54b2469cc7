import type { Expr, Verdict } from '@weft/kernel';
import { parsePrefix, parseIp, prefixContains } from '@weft/net';
import type { FamilyConfig } from '../../src/config.ts';
import { parseClassName } from '../../src/nftables/layout.ts';
import { RuleText } from '../../src/nftables/rules.ts';
import { type FakeKernel, registerKey } from './kernel.ts';
import type { Answer, Source, Target } from './oracle.ts';

/** What a packet has on its way through the rules, and what it remembers. */
interface Frame {
  readonly registers: Uint8Array;
  /** Clients that were given a slot. */
  readonly affinity: Map<string, Uint8Array>;
  priority: number;
  mark: number;
}

interface Packet {
  readonly source: string;
  readonly target: Target;
  readonly local: ReadonlySet<string>;
  readonly translated: boolean;
}

/** One way through a chain, with its probability. `end`: it came out at its end. */
interface Way {
  readonly verdict: 'end' | 'accept' | 'drop' | 'reject' | 'masquerade' | { readonly dnat: string };
  readonly frame: Frame;
  readonly chance: number;
}

const PROTOCOLS = { TCP: 6, UDP: 17 } as const;
const MAX_CHAINS = 16;

function u32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value >>> 0, true);
  return out;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const addressBytes = (text: string): Uint8Array => parseIp(text)?.bytes as Uint8Array;

/**
 * Carries packets of IPv4 through the very expressions that are written to the kernel, register by register, over the maps
 * and sets that a history of transactions has left. Every draw of lots is followed.
 */
export class RuleWalker {
  readonly #config: FamilyConfig;
  readonly #kernel: FakeKernel;
  readonly #chains = new Map<string, readonly (readonly Expr[])[]>();

  constructor(config: FamilyConfig, kernel: FakeKernel) {
    this.#config = config;
    this.#kernel = kernel;
    const text = new RuleText(config);
    for (const chain of text.fixedChains()) this.#chains.set(chain.name, chain.rules);
    for (const name of kernel.chains) {
      const parsed = parseClassName(name);
      if (parsed === undefined) continue;
      for (const chain of text.classChains(parsed.kind, parsed.endpoints, parsed.affinity))
        this.#chains.set(chain.name, chain.rules);
    }
    for (const name of kernel.firewallChains.keys())
      this.#chains.set(name, text.firewallChain(name, `r${name.slice(2)}`).rules);
  }

  /** What a first packet meets. `chances` add up to one where it is served. */
  meet(source: Source, target: Target, local: ReadonlySet<string>): Answer & { chances: ReadonlyMap<string, number> } {
    const packet: Packet = { source: source.address, target, local, translated: false };
    const hook = source.kind === 'node' ? 'nat-output' : 'nat-prerouting';
    const chances = new Map<string, number>();
    const masqueraded = new Map<string, boolean>();
    const verdicts = new Set<Answer['verdict']>();
    const frame = { registers: new Uint8Array(64), affinity: new Map<string, Uint8Array>(), priority: 0, mark: 0 };
    for (const way of this.#chain(hook, frame, packet, 1, 0)) {
      if (typeof way.verdict === 'string') {
        verdicts.add(way.verdict === 'drop' || way.verdict === 'reject' ? way.verdict : 'pass');
        continue;
      }
      const to = way.verdict.dnat;
      const [address = '', port] = to.split(':');
      const after = { ...packet, target: { ...target, address, port: Number(port) }, translated: true };
      const [last] = [...this.#chain('nat-postrouting', way.frame, after, 1, 0)];
      verdicts.add('serve');
      chances.set(to, (chances.get(to) ?? 0) + way.chance);
      masqueraded.set(to, last?.verdict === 'masquerade');
    }
    if (verdicts.size !== 1) throw new Error(`several verdicts: ${[...verdicts].join()}`);
    const endpoints = [...chances.keys()].sort();
    const [verdict] = verdicts;
    return {
      verdict: verdict as Answer['verdict'],
      endpoints,
      masqueraded: endpoints.map((endpoint) => masqueraded.get(endpoint) === true),
      chances,
    };
  }

  *#chain(name: string, frame: Frame, packet: Packet, chance: number, depth: number, from = 0): Generator<Way> {
    const rules = this.#chains.get(name);
    if (rules === undefined) throw new Error(`no chain ${name}`);
    if (depth > MAX_CHAINS) throw new Error(`the kernel follows no more than ${MAX_CHAINS} jumps: ${name}`);
    const [rule] = rules.slice(from);
    if (rule === undefined) {
      yield { verdict: 'end', frame, chance };
      return;
    }
    yield* this.#rule(name, from, rule, 0, frame, packet, chance, depth);
  }

  *#rule(
    name: string,
    index: number,
    rule: readonly Expr[],
    at: number,
    frame: Frame,
    packet: Packet,
    chance: number,
    depth: number,
  ): Generator<Way> {
    const next = (f: Frame, c: number): Generator<Way> => this.#chain(name, f, packet, c, depth, index + 1);
    for (let i = at; i < rule.length; i++) {
      const e = rule[i] as Expr;
      if (e.type === 'numgen') {
        for (let n = 0; n < e.modulus; n++) {
          const copy = { ...frame, registers: frame.registers.slice(), affinity: new Map(frame.affinity) };
          put(copy, e.dreg, u32(n));
          yield* this.#rule(name, index, rule, i + 1, copy, packet, chance / e.modulus, depth);
        }
        return;
      }
      const verdict = e.type === 'verdict' ? e.verdict : this.#step(e, frame, packet);
      if (verdict === 'next') continue;
      if (verdict === 'break') {
        yield* next(frame, chance);
        return;
      }
      if (typeof verdict === 'object' && 'dnat' in verdict) {
        yield { verdict, frame, chance };
        return;
      }
      if (verdict === 'return') {
        yield { verdict: 'end', frame, chance };
        return;
      }
      if (typeof verdict === 'string') {
        yield { verdict: verdict as 'accept', frame, chance };
        return;
      }
      if ('goto' in verdict) {
        yield* this.#chain(verdict.goto, frame, packet, chance, depth + 1);
        return;
      }
      if (!('jump' in verdict)) throw new Error(`verdict ${JSON.stringify(verdict)}`);
      for (const way of this.#chain(verdict.jump, frame, packet, chance, depth + 1)) {
        if (way.verdict === 'end') yield* next(way.frame, way.chance);
        else yield way;
      }
      return;
    }
    yield* next(frame, chance);
  }

  /** One expression: `next` goes on with the rule, `break` leaves it. */
  #step(
    e: Expr,
    frame: Frame,
    packet: Packet,
  ): Verdict | 'next' | 'break' | 'reject' | 'masquerade' | { dnat: string } {
    switch (e.type) {
      case 'meta':
        put(frame, e.dreg, this.#meta(e.key, frame, packet));
        return 'next';
      case 'metaSet':
        if (e.key === 'priority') frame.priority = number(frame, e.sreg);
        else if (e.key === 'mark') frame.mark = number(frame, e.sreg);
        else throw new Error(`set meta ${e.key}`);
        return 'next';
      case 'payload':
        put(frame, e.dreg, field(e, packet));
        return 'next';
      case 'ct':
        put(frame, e.dreg, u32(packet.translated ? 32 : 0));
        return 'next';
      case 'fib': {
        const address = e.flags.includes('saddr') ? packet.source : packet.target.address;
        put(frame, e.dreg, u32(packet.local.has(address) ? 2 : 1));
        return 'next';
      }
      case 'immediate':
        put(frame, e.dreg, e.data);
        return 'next';
      case 'bitwise': {
        const value = get(frame, e.sreg, e.mask.length);
        put(
          frame,
          e.dreg,
          value.map((byte, i) => (byte & (e.mask[i] as number)) ^ (e.xor[i] as number)),
        );
        return 'next';
      }
      case 'cmp': {
        const same = Buffer.compare(get(frame, e.sreg, e.data.length), e.data) === 0;
        return same === (e.op === 'eq') ? 'next' : 'break';
      }
      case 'lookup':
        return this.#lookup(e, frame);
      case 'dynset': {
        const key = latin1(get(frame, e.key, 8));
        if (e.op === 'delete') frame.affinity.delete(key);
        else frame.affinity.set(key, get(frame, e.data as number, 4));
        return 'next';
      }
      case 'reject':
      case 'masquerade':
        return e.type;
      case 'nat': {
        const address = [...get(frame, e.addrReg as number, 4)].join('.');
        const [high = 0, low = 0] = get(frame, e.portReg as number, 2);
        return { dnat: `${address}:${(high << 8) | low}` };
      }
      default:
        throw new Error(`expression ${e.type}`);
    }
  }

  #meta(key: string, frame: Frame, packet: Packet): Uint8Array {
    switch (key) {
      case 'l4proto':
        return Uint8Array.of(PROTOCOLS[packet.target.protocol]);
      case 'mark':
        return u32(frame.mark);
      case 'priority':
        return u32(frame.priority);
      case 'iif':
        return u32(packet.local.has(packet.source) ? 0 : 1);
      default:
        throw new Error(`meta ${key}`);
    }
  }

  #lookup(e: Extract<Expr, { type: 'lookup' }>, frame: Frame): Verdict | 'next' | 'break' {
    const { sets, classes, localClasses, firewall } = this.#kernel;
    switch (e.set) {
      case 'classes':
      case 'local-classes': {
        const found = number(frame, e.sreg) >>> 20;
        if (e.set === 'classes' && found === 1) return { goto: 'reject-it' };
        if (e.set === 'classes' && found === 2) return 'drop';
        const chain = (e.set === 'classes' ? classes : localClasses).get(found);
        return chain === undefined ? 'break' : { goto: chain };
      }
      case 'firewall': {
        const key = latin1(get(frame, e.sreg, 12));
        const chain = [...firewall].find(([short]) => registerKey(short) === key)?.[1];
        return chain === undefined ? 'next' : { jump: chain };
      }
      case 'affinity': {
        const value = frame.affinity.get(latin1(get(frame, e.sreg, 8)));
        if (value === undefined) return 'break';
        if (e.dreg !== undefined) put(frame, e.dreg, value);
        return 'next';
      }
      case 'pod-blocks': {
        const { detector } = this.#config;
        const blocks = detector.by === 'cidr' ? detector.cidrs : [];
        const inside = blocks.some((b) => prefixContains(b, { family: 4, bytes: get(frame, e.sreg, 4) }));
        return inside === (e.invert !== true) ? 'next' : 'break';
      }
      default:
    }
    if (e.set.startsWith('r-')) {
      const ranges = this.#kernel.firewallChains.get(`fw${e.set.slice(1)}`) ?? [];
      const ip = { family: 4 as const, bytes: get(frame, e.sreg, 4) };
      return ranges.some((range) => prefixContains(parsePrefix(range) as never, ip)) ? 'next' : 'break';
    }
    const width = { frontends: 12, nodeports: 8, local: 4, endpoints: 8, slots: 8, 'slot-endpoints': 4, hairpin: 8 };
    const set = sets[e.set as keyof typeof sets];
    const data = set.get(latin1(get(frame, e.sreg, width[e.set as keyof typeof width] ?? 4)));
    if (data === undefined) return 'break';
    if (e.dreg !== undefined) put(frame, e.dreg, Buffer.from(data, 'latin1'));
    return 'next';
  }
}

/** Registers by their numbers, as the kernel has them (NFT_REG_1 to 4 of 16 bytes, NFT_REG32_00 and on of 4). */
function offset(register: number): number {
  return register <= 4 ? (register - 1) * 16 : (register - 8) * 4;
}

/** Values fill whole registers: what is shorter is padded with zeros. */
function put(frame: Frame, register: number, value: Uint8Array): void {
  const at = offset(register);
  frame.registers.fill(0, at, at + ((value.length + 3) & ~3));
  frame.registers.set(value, at);
}

function get(frame: Frame, register: number, length: number): Uint8Array {
  const at = offset(register);
  return frame.registers.slice(at, at + length);
}

function number(frame: Frame, register: number): number {
  const bytes = get(frame, register, 4);
  return new DataView(bytes.buffer).getUint32(0, true);
}

function field(e: Extract<Expr, { type: 'payload' }>, { source, target }: Packet): Uint8Array {
  if (e.base === 'network' && e.offset === 12) return addressBytes(source);
  if (e.base === 'network' && e.offset === 16) return addressBytes(target.address);
  if (e.base === 'transport' && e.offset === 2) return Uint8Array.of(target.port >> 8, target.port & 0xff);
  throw new Error(`header field ${e.base} ${e.offset}`);
}
