import { type Instruction, registers, type Register, type Target } from './assembler.js';

// RV32IM and Zicsr as functions that are called like the lines of an assembler: `lw(t0, a0, 8)` loads from a0 + 8.

type Encode = Instruction['encode'];

const instruction = (words: number, encode: Encode): Instruction => ({ words, encode });
const word = (value: number): Instruction => instruction(1, () => [value >>> 0]);

/** @throws RangeError for a number that is not `bits` wide, signed */
function signed(value: number, bits: number): number {
  if (!Number.isInteger(value) || value < -(2 ** (bits - 1)) || value >= 2 ** (bits - 1)) {
    throw new RangeError(`${value} does not fit into ${bits} signed bits`);
  }
  return value;
}

// The formats: what is where in an instruction (RISC-V unprivileged architecture, "Base instruction formats").

const encodeI = (opcode: number, funct3: number, rd: number, rs1: number, immediate: number): number =>
  (immediate << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;

type ThreeRegisters = (rd: Register, rs1: Register, rs2: Register) => Instruction;
const register =
  (funct7: number, funct3: number): ThreeRegisters =>
  (rd, rs1, rs2) =>
    word((funct7 << 25) | (rs2.number << 20) | (rs1.number << 15) | (funct3 << 12) | (rd.number << 7) | 0x33);

type Immediate = (rd: Register, rs1: Register, immediate: number) => Instruction;
const immediate =
  (funct3: number): Immediate =>
  (rd, rs1, value) =>
    word(encodeI(0x13, funct3, rd.number, rs1.number, signed(value, 12)));

const shift =
  (funct7: number, funct3: number): Immediate =>
  (rd, rs1, amount) =>
    word(encodeI(0x13, funct3, rd.number, rs1.number, (funct7 << 5) | (amount & 31)));

type Memory = (data: Register, base: Register, offset: number) => Instruction;
const load =
  (funct3: number): Memory =>
  (rd, base, offset) =>
    word(encodeI(0x03, funct3, rd.number, base.number, signed(offset, 12)));

const store =
  (funct3: number): Memory =>
  (data, base, offset) => {
    const bits = signed(offset, 12);
    const high = (bits >> 5) << 25;
    return word(
      high | (data.number << 20) | (base.number << 15) | (funct3 << 12) | ((bits & 31) << 7) | 0x23,
    );
  };

type Branch = (rs1: Register, rs2: Register, target: Target) => Instruction;
const branch =
  (funct3: number): Branch =>
  (rs1, rs2, target) =>
    instruction(1, (at, addressOf) => {
      const offset = signed(addressOf(target) - at, 13);
      const high = ((offset >> 12) << 31) | (((offset >> 5) & 0x3f) << 25);
      const low = (((offset >> 1) & 15) << 8) | (((offset >> 11) & 1) << 7);
      return [(high | (rs2.number << 20) | (rs1.number << 15) | (funct3 << 12) | low | 0x63) >>> 0];
    });

type Csr = (rd: Register, csr: number, operand: Register) => Instruction;
const csrAccess =
  (funct3: number): Csr =>
  (rd, csr, operand) =>
    word(encodeI(0x73, funct3, rd.number, operand.number, csr));

type CsrImmediate = (rd: Register, csr: number, bits: number) => Instruction;
const csrAccessImmediate =
  (funct3: number): CsrImmediate =>
  (rd, csr, bits) =>
    word(encodeI(0x73, funct3, rd.number, bits & 31, csr));

export const add = register(0, 0);
export const sub = register(0x20, 0);
export const sll = register(0, 1);
export const slt = register(0, 2);
export const sltu = register(0, 3);
export const xor = register(0, 4);
export const srl = register(0, 5);
export const sra = register(0x20, 5);
export const or = register(0, 6);
export const and = register(0, 7);

export const mul = register(1, 0);
export const mulh = register(1, 1);
export const mulhsu = register(1, 2);
export const mulhu = register(1, 3);
export const div = register(1, 4);
export const divu = register(1, 5);
export const rem = register(1, 6);
export const remu = register(1, 7);

export const addi = immediate(0);
export const slti = immediate(2);
export const sltiu = immediate(3);
export const xori = immediate(4);
export const ori = immediate(6);
export const andi = immediate(7);
export const slli = shift(0, 1);
export const srli = shift(0, 5);
export const srai = shift(0x20, 5);

export const lb = load(0);
export const lh = load(1);
export const lw = load(2);
export const lbu = load(4);
export const lhu = load(5);
export const sb = store(0);
export const sh = store(1);
export const sw = store(2);

export const beq = branch(0);
export const bne = branch(1);
export const blt = branch(4);
export const bge = branch(5);
export const bltu = branch(6);
export const bgeu = branch(7);

export const csrrw = csrAccess(1);
export const csrrs = csrAccess(2);
export const csrrc = csrAccess(3);
export const csrrwi = csrAccessImmediate(5);
export const csrrsi = csrAccessImmediate(6);
export const csrrci = csrAccessImmediate(7);

/** The upper 20 bits of a register; `value` is those bits. */
export const lui = (rd: Register, value: number): Instruction =>
  word((value << 12) | (rd.number << 7) | 0x37);
export const auipc = (rd: Register, value: number): Instruction =>
  word((value << 12) | (rd.number << 7) | 0x17);

export const jal = (rd: Register, target: Target): Instruction =>
  instruction(1, (at, addressOf) => {
    const offset = signed(addressOf(target) - at, 21);
    const high = ((offset >> 20) << 31) | (((offset >> 1) & 0x3ff) << 21);
    return [(high | (((offset >> 11) & 1) << 20) | (offset & 0xf_f000) | (rd.number << 7) | 0x6f) >>> 0];
  });
export const jalr = (rd: Register, base: Register, offset: number): Instruction =>
  word(encodeI(0x67, 0, rd.number, base.number, signed(offset, 12)));

/** Everything before is seen by devices before everything after. */
export const fence = (): Instruction => word(0x0ff0_000f);
export const ecall = (): Instruction => word(0x0000_0073);
export const ebreak = (): Instruction => word(0x0010_0073);
export const mret = (): Instruction => word(0x3020_0073);
/** Waits for an interrupt. */
export const wfi = (): Instruction => word(0x1050_0073);

// Pseudo-instructions, as every assembler has them.

const { zero, ra } = registers;

/** A number of 32 bits, signed or unsigned. */
export function li(rd: Register, value: number): Instruction {
  const bits = value | 0;
  if (bits >= -2048 && bits < 2048) return addi(rd, zero, bits);
  // addi sign-extends: what it takes away is added before.
  const low = (bits << 20) >> 20;
  const high = ((bits - low) >>> 12) & 0xf_ffff;
  return instruction(2, () => [
    ((high << 12) | (rd.number << 7) | 0x37) >>> 0,
    encodeI(0x13, 0, rd.number, rd.number, low) >>> 0,
  ]);
}

/** The address of a label or text. */
export const la = (rd: Register, target: Target): Instruction =>
  instruction(2, (at, addressOf) => {
    const offset = addressOf(target) - at;
    const low = (offset << 20) >> 20;
    const high = (offset - low) >>> 12;
    return [
      ((high << 12) | (rd.number << 7) | 0x17) >>> 0,
      encodeI(0x13, 0, rd.number, rd.number, low) >>> 0,
    ];
  });

export const mv = (rd: Register, rs: Register): Instruction => addi(rd, rs, 0);
export const beqz = (rs: Register, target: Target): Instruction => beq(rs, zero, target);
export const bnez = (rs: Register, target: Target): Instruction => bne(rs, zero, target);
export const j = (target: Target): Instruction => jal(zero, target);
export const call = (target: Target): Instruction => jal(ra, target);
export const ret = (): Instruction => jalr(zero, ra, 0);
export const csrr = (rd: Register, csr: number): Instruction => csrrs(rd, csr, zero);
export const csrw = (csr: number, rs: Register): Instruction => csrrw(zero, csr, rs);
