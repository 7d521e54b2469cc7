/** Registers of the BPF machine: r0 result, r1–r5 arguments, r6–r9 kept over calls, r10 (FP) the frame, read only. */
export const R = { r0: 0, r1: 1, r2: 2, r3: 3, r4: 4, r5: 5, r6: 6, r7: 7, r8: 8, r9: 9, FP: 10 } as const;
export type Reg = (typeof R)[keyof typeof R];

/** Helper functions by number (linux/bpf.h). */
export const HELPER = {
  map_lookup_elem: 1,
  map_update_elem: 2,
  map_delete_elem: 3,
  ktime_get_ns: 5,
  get_prandom_u32: 7,
  redirect: 23,
  csum_diff: 28,
  xdp_adjust_head: 44,
  xdp_adjust_tail: 65,
  sk_lookup_tcp: 84,
  sk_release: 86,
  sk_storage_get: 107,
  xdp_load_bytes: 189,
  xdp_store_bytes: 190,
} as const;

const SIZE = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 } as const;
export type Width = keyof typeof SIZE;

const ALU = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  div: 0x30,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  mod: 0x90,
  xor: 0xa0,
  mov: 0xb0,
} as const; // prettier-ignore
export type AluOp = keyof typeof ALU;

const JMP = { eq: 0x10, gt: 0x20, ge: 0x30, set: 0x40, ne: 0x50, lt: 0xa0, le: 0xb0 } as const;
/** Unsigned comparisons; `set` asks whether any common bit is set. */
export type JumpOp = keyof typeof JMP;

const CLASS = { LD: 0x00, LDX: 0x01, ST: 0x02, STX: 0x03, ALU32: 0x04, JMP: 0x05, JMP32: 0x06, ALU64: 0x07 } as const;
const MEM = 0x60;
const X = 0x08;
const PSEUDO_MAP_FD = 1;

type Operand = { readonly reg: Reg } | number;

interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  readonly imm: number;
  /** Label that a jump leads to. */
  readonly to?: string;
}

/** The value of a register as an operand, to tell it from a number. */
export const reg = (r: Reg): { readonly reg: Reg } => ({ reg: r });

/**
 * Writes BPF programs (RFC 9669): one method per kind of instruction, jumps to labels. `build` gives what
 * `loadProgram` takes. Labels are known by name in any order.
 */
export class Assembler {
  readonly #code: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  /** 64-bit arithmetic: `dst = dst OP operand`; `mov` sets. Numbers are signed 32-bit and extended. */
  alu(op: AluOp, dst: Reg, operand: Operand): this {
    return this.#arithmetic(CLASS.ALU64, op, dst, operand);
  }

  /** 32-bit arithmetic; the upper half of `dst` becomes zero. */
  alu32(op: AluOp, dst: Reg, operand: Operand): this {
    return this.#arithmetic(CLASS.ALU32, op, dst, operand);
  }

  mov(dst: Reg, operand: Operand): this {
    return this.alu('mov', dst, operand);
  }

  /** Reorders the low bytes of `dst` between the machine's order and the network's; the rest becomes zero. */
  swap(dst: Reg, bits: 16 | 32 | 64): this {
    return this.#emit({ opcode: CLASS.ALU32 | 0xd0 | X, dst, src: 0, offset: 0, imm: bits });
  }

  /** `dst = *(width *)(base + offset)`, the rest zero. */
  load(width: Width, dst: Reg, base: Reg, offset: number): this {
    return this.#emit({ opcode: CLASS.LDX | MEM | SIZE[width], dst, src: base, offset, imm: 0 });
  }

  /** `*(width *)(base + offset) = value`. */
  store(width: Width, base: Reg, offset: number, value: Operand): this {
    return typeof value === 'number'
      ? this.#emit({ opcode: CLASS.ST | MEM | SIZE[width], dst: base, src: 0, offset, imm: value })
      : this.#emit({ opcode: CLASS.STX | MEM | SIZE[width], dst: base, src: value.reg, offset, imm: 0 });
  }

  /** A 64-bit constant. */
  constant(dst: Reg, value: bigint): this {
    return this.#wide(dst, 0, value);
  }

  /** The map behind a descriptor, as helpers take it. */
  map(dst: Reg, fd: number): this {
    return this.#wide(dst, PSEUDO_MAP_FD, BigInt(fd));
  }

  /** Jumps when `dst OP operand` holds (unsigned, 64 bits). */
  jump(op: JumpOp, dst: Reg, operand: Operand, to: string): this {
    return this.#branch(CLASS.JMP, op, dst, operand, to);
  }

  /** As `jump`, on the low 32 bits: for numbers of 2^31 and more. */
  jump32(op: JumpOp, dst: Reg, operand: Operand, to: string): this {
    return this.#branch(CLASS.JMP32, op, dst, operand, to);
  }

  goto(to: string): this {
    return this.#emit({ opcode: CLASS.JMP, dst: 0, src: 0, offset: 0, imm: 0, to });
  }

  call(helper: keyof typeof HELPER): this {
    return this.#emit({ opcode: CLASS.JMP | 0x80, dst: 0, src: 0, offset: 0, imm: HELPER[helper] });
  }

  exit(): this {
    return this.#emit({ opcode: CLASS.JMP | 0x90, dst: 0, src: 0, offset: 0, imm: 0 });
  }

  /** Names the place of the next instruction. */
  label(name: string): this {
    if (this.#labels.has(name)) throw new RangeError(`label ${name} is there twice`);
    this.#labels.set(name, this.#code.length);
    return this;
  }

  /** Number of instructions so far. */
  get length(): number {
    return this.#code.length;
  }

  /** The program as the kernel reads it: 8 bytes per instruction. @throws RangeError for a label that is nowhere. */
  build(): Buffer {
    const out = Buffer.alloc(this.#code.length * 8);
    this.#code.forEach((instruction, i) => {
      const { opcode, dst, src, imm, to } = instruction;
      let { offset } = instruction;
      if (to !== undefined) {
        const target = this.#labels.get(to);
        if (target === undefined) throw new RangeError(`no label ${to}`);
        offset = target - i - 1;
      }
      out.writeUInt8(opcode, i * 8);
      out.writeUInt8((src << 4) | dst, i * 8 + 1);
      out.writeInt16LE(offset, i * 8 + 2);
      out.writeInt32LE(imm | 0, i * 8 + 4);
    });
    return out;
  }

  #arithmetic(cls: number, op: AluOp, dst: Reg, operand: Operand): this {
    return typeof operand === 'number'
      ? this.#emit({ opcode: cls | ALU[op], dst, src: 0, offset: 0, imm: operand })
      : this.#emit({ opcode: cls | ALU[op] | X, dst, src: operand.reg, offset: 0, imm: 0 });
  }

  #branch(cls: number, op: JumpOp, dst: Reg, operand: Operand, to: string): this {
    return typeof operand === 'number'
      ? this.#emit({ opcode: cls | JMP[op], dst, src: 0, offset: 0, imm: operand, to })
      : this.#emit({ opcode: cls | JMP[op] | X, dst, src: operand.reg, offset: 0, imm: 0, to });
  }

  #wide(dst: Reg, src: number, value: bigint): this {
    this.#emit({ opcode: CLASS.LD | SIZE[8], dst, src, offset: 0, imm: Number(BigInt.asIntN(32, value)) });
    return this.#emit({ opcode: 0, dst: 0, src: 0, offset: 0, imm: Number(BigInt.asIntN(32, value >> 32n)) });
  }

  #emit(instruction: Instruction): this {
    this.#code.push(instruction);
    return this;
  }
}
