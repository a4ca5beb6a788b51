import type { Bus } from './bus.js';
import {
  EXTERNAL_INTERRUPT,
  MCAUSE,
  MEPC,
  MHARTID,
  MIE,
  MIP,
  MSCRATCH,
  MSTATUS,
  MSTATUS_MIE,
  MSTATUS_MPIE,
  MSTATUS_MPP,
  MTVAL,
  MTVEC,
  TIME,
  TIMEH,
} from './csrs.js';
import { RAM_BASE, TIMEBASE_HZ } from './memory-map.js';
import { multiplyOrDivide } from './muldiv.js';
import {
  BREAKPOINT,
  ECALL_FROM_M,
  ILLEGAL_INSTRUCTION,
  INSTRUCTION_MISALIGNED,
  MACHINE_EXTERNAL_INTERRUPT,
  Trap,
} from './trap.js';

/** The major opcodes of RV32I. */
const LOAD = 0x03;
const MISC_MEM = 0x0f;
const OP_IMM = 0x13;
const AUIPC = 0x17;
const STORE = 0x23;
const OP = 0x33;
const LUI = 0x37;
const BRANCH = 0x63;
const JALR = 0x67;
const JAL = 0x6f;
const SYSTEM = 0x73;

/** SYSTEM instructions without operands. */
const ECALL = 0x0000_0073;
const EBREAK = 0x0010_0073;
const MRET = 0x3020_0073;
const WFI = 0x1050_0073;

/** Bits of funct7: the M extension; the other one of two (sub, sra). */
const FUNCT7_MULDIV = 0x01;
const FUNCT7_OTHER = 0x20;

/** A processor between two instructions: plain JSON. The interrupt's line is its device's to raise again. */
export interface CpuState {
  readonly pc: number;
  readonly x: readonly number[];
  readonly csrs: readonly (readonly [csr: number, value: number])[];
  readonly waiting: boolean;
}

/** A RISC-V hart: RV32IM and Zicsr, machine mode alone, one external interrupt. */
export class Cpu {
  /** x0 to x31. */
  readonly x = new Int32Array(32);
  pc = RAM_BASE;
  /** The guest waits for an interrupt, or has ended. */
  state: 'running' | 'waiting' | 'stopped' = 'running';
  readonly #bus: Bus;
  readonly #csrs = new Map([MSTATUS, MIE, MTVEC, MSCRATCH, MEPC, MCAUSE, MTVAL].map((csr) => [csr, 0]));
  #interruptLine = false;
  /** The line is high and the guest has enabled it: wfi goes on … */
  #pending = false;
  /** … and if interrupts are on altogether, it is taken. */
  #interrupted = false;
  #nextPc = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** The level of the external interrupt's line. */
  setInterrupt(level: boolean): void {
    this.#interruptLine = level;
    this.#lookForInterrupts();
  }

  /**
   * Executes instructions: `count` at most, fewer when the guest waits or ends.
   * @throws Error when the guest traps and has no trap handler
   */
  run(count: number): void {
    for (let left = count; left > 0 && this.state === 'running'; left--) this.step();
  }

  saveState(): CpuState {
    return { pc: this.pc, x: [...this.x], csrs: [...this.#csrs], waiting: this.state === 'waiting' };
  }

  restoreState(state: CpuState): void {
    this.pc = state.pc;
    this.x.set(state.x);
    for (const [csr, value] of state.csrs) this.#csrs.set(csr, value);
    this.state = state.waiting ? 'waiting' : 'running';
    this.#lookForInterrupts();
  }

  /** Executes one instruction, or takes an interrupt instead. @throws Error as `run` does */
  step(): void {
    if (this.#interrupted) {
      this.#trap(MACHINE_EXTERNAL_INTERRUPT, 0);
      return;
    }
    try {
      this.#nextPc = (this.pc + 4) >>> 0;
      this.#execute(this.#bus.fetch(this.pc));
      this.pc = this.#nextPc;
    } catch (error) {
      if (!(error instanceof Trap)) throw error;
      this.#trap(error.code, error.value);
    }
  }

  #execute(instruction: number): void {
    const { x } = this;
    const rd = (instruction >>> 7) & 31;
    const funct3 = (instruction >>> 12) & 7;
    const a = x[(instruction >>> 15) & 31]!;
    const b = x[(instruction >>> 20) & 31]!;
    const immediate = instruction >> 20;
    switch (instruction & 0x7f) {
      case OP_IMM: {
        // Shifts have a funct7, the others an immediate in its place.
        const funct7 = funct3 === 1 || funct3 === 5 ? instruction >>> 25 : 0;
        x[rd] = compute(instruction, funct3, funct7, a, immediate);
        break;
      }
      case OP: {
        const funct7 = instruction >>> 25;
        x[rd] =
          funct7 === FUNCT7_MULDIV
            ? multiplyOrDivide(funct3, a, b)
            : compute(instruction, funct3, funct7, a, b);
        break;
      }
      case LOAD:
        x[rd] = this.#load(instruction, funct3, (a + immediate) >>> 0);
        break;
      case STORE: {
        const offset = ((instruction >> 25) << 5) | rd;
        if (funct3 > 2) throw new Trap(ILLEGAL_INSTRUCTION, instruction);
        this.#bus.store((a + offset) >>> 0, funct3 === 0 ? 1 : funct3 === 1 ? 2 : 4, b);
        break;
      }
      case BRANCH:
        if (isTaken(instruction, funct3, a, b)) this.#jump(this.pc + branchOffset(instruction));
        break;
      case JAL:
        this.#jump(this.pc + jumpOffset(instruction));
        x[rd] = this.pc + 4;
        break;
      case JALR:
        this.#jump((a + immediate) & ~1);
        x[rd] = this.pc + 4;
        break;
      case LUI:
        x[rd] = instruction & 0xffff_f000;
        break;
      case AUIPC:
        x[rd] = this.pc + (instruction & 0xffff_f000);
        break;
      case MISC_MEM:
        // fence, and fence.i: no instruction is cached.
        if (funct3 > 1) throw new Trap(ILLEGAL_INSTRUCTION, instruction);
        this.#bus.fence();
        break;
      case SYSTEM:
        if (funct3 === 0) this.#system(instruction);
        else this.#accessCsr(instruction, funct3, rd, a);
        break;
      default:
        throw new Trap(ILLEGAL_INSTRUCTION, instruction);
    }
    x[0] = 0;
  }

  /** Without compressed instructions all of them are at multiples of 4. */
  #jump(target: number): void {
    if ((target & 3) !== 0) throw new Trap(INSTRUCTION_MISALIGNED, target);
    this.#nextPc = target >>> 0;
  }

  #load(instruction: number, funct3: number, address: number): number {
    switch (funct3) {
      case 0: // lb
        return (this.#bus.load(address, 1) << 24) >> 24;
      case 1: // lh
        return (this.#bus.load(address, 2) << 16) >> 16;
      case 2: // lw
        return this.#bus.load(address, 4);
      case 4: // lbu
        return this.#bus.load(address, 1);
      case 5: // lhu
        return this.#bus.load(address, 2);
      default:
        throw new Trap(ILLEGAL_INSTRUCTION, instruction);
    }
  }

  #system(instruction: number): void {
    if (instruction === WFI) {
      if (!this.#pending) this.state = 'waiting';
    } else if (instruction === MRET) {
      const mstatus = this.#csrs.get(MSTATUS)!;
      this.#csrs.set(
        MSTATUS,
        ((mstatus & MSTATUS_MPIE) === 0 ? 0 : MSTATUS_MIE) | MSTATUS_MPIE | MSTATUS_MPP,
      );
      this.#nextPc = this.#csrs.get(MEPC)! >>> 0;
      this.#lookForInterrupts();
    } else if (instruction === ECALL) throw new Trap(ECALL_FROM_M, 0);
    else if (instruction === EBREAK) throw new Trap(BREAKPOINT, this.pc);
    else throw new Trap(ILLEGAL_INSTRUCTION, instruction);
  }

  /** csrrw, csrrs, csrrc, and the same with five bits in place of a register. */
  #accessCsr(instruction: number, funct3: number, rd: number, register: number): void {
    const csr = instruction >>> 20;
    const rs1 = (instruction >>> 15) & 31;
    const operand = funct3 > 4 ? rs1 : register;
    const value = this.#readCsr(csr, instruction);
    // Setting or clearing nothing is no write.
    if ((funct3 & 3) === 1) this.#writeCsr(csr, operand, instruction);
    else if (rs1 !== 0)
      this.#writeCsr(csr, (funct3 & 3) === 2 ? value | operand : value & ~operand, instruction);
    this.x[rd] = value;
  }

  #readCsr(csr: number, instruction: number): number {
    if (csr === TIME) return timeNow() % 0x1_0000_0000;
    if (csr === TIMEH) return Math.floor(timeNow() / 0x1_0000_0000);
    if (csr === MHARTID) return 0;
    if (csr === MIP) return this.#interruptLine ? EXTERNAL_INTERRUPT : 0;
    const value = this.#csrs.get(csr);
    if (value === undefined) throw new Trap(ILLEGAL_INSTRUCTION, instruction);
    return value;
  }

  #writeCsr(csr: number, value: number, instruction: number): void {
    // Lines set the bits of mip, nobody else.
    if (csr === MIP) return;
    if (!this.#csrs.has(csr)) throw new Trap(ILLEGAL_INSTRUCTION, instruction);
    if (csr === MSTATUS) this.#csrs.set(csr, (value & (MSTATUS_MIE | MSTATUS_MPIE)) | MSTATUS_MPP);
    else if (csr === MTVEC || csr === MEPC) this.#csrs.set(csr, value & ~3);
    else this.#csrs.set(csr, value);
    this.#lookForInterrupts();
  }

  #lookForInterrupts(): void {
    this.#pending = this.#interruptLine && (this.#csrs.get(MIE)! & EXTERNAL_INTERRUPT) !== 0;
    this.#interrupted = this.#pending && (this.#csrs.get(MSTATUS)! & MSTATUS_MIE) !== 0;
    if (this.#pending && this.state === 'waiting') this.state = 'running';
  }

  #trap(cause: number, value: number): void {
    const handler = this.#csrs.get(MTVEC)! >>> 0;
    if (handler === 0) {
      const hex = (number: number): string => `0x${(number >>> 0).toString(16)}`;
      this.state = 'stopped';
      throw new Error(
        `the guest has no trap handler: mcause ${hex(cause)} at ${hex(this.pc)}, mtval ${hex(value)}`,
      );
    }
    const mstatus = this.#csrs.get(MSTATUS)!;
    this.#csrs.set(MSTATUS, ((mstatus & MSTATUS_MIE) === 0 ? 0 : MSTATUS_MPIE) | MSTATUS_MPP);
    this.#csrs.set(MEPC, this.pc);
    this.#csrs.set(MCAUSE, cause);
    this.#csrs.set(MTVAL, value);
    this.pc = handler;
    this.#lookForInterrupts();
  }
}

/** What OP and OP-IMM have in common. */
function compute(instruction: number, funct3: number, funct7: number, a: number, b: number): number {
  const other = funct7 === FUNCT7_OTHER;
  if (funct7 !== 0 && !(other && (funct3 === 0 || funct3 === 5)))
    throw new Trap(ILLEGAL_INSTRUCTION, instruction);
  switch (funct3) {
    case 0:
      return other ? a - b : a + b;
    case 1:
      return a << b;
    case 2:
      return a < b ? 1 : 0;
    case 3:
      return a >>> 0 < b >>> 0 ? 1 : 0;
    case 4:
      return a ^ b;
    case 5:
      return other ? a >> b : a >>> b;
    case 6:
      return a | b;
    default:
      return a & b;
  }
}

function isTaken(instruction: number, funct3: number, a: number, b: number): boolean {
  switch (funct3) {
    case 0:
      return a === b;
    case 1:
      return a !== b;
    case 4:
      return a < b;
    case 5:
      return a >= b;
    case 6:
      return a >>> 0 < b >>> 0;
    case 7:
      return a >>> 0 >= b >>> 0;
    default:
      throw new Trap(ILLEGAL_INSTRUCTION, instruction);
  }
}

/** The scattered bits of a branch's distance, and of a jump's. */
const branchOffset = (word: number): number =>
  ((word >> 31) << 12) | ((word & 0x80) << 4) | ((word >>> 20) & 0x7e0) | ((word >>> 7) & 0x1e);
const jumpOffset = (word: number): number =>
  ((word >> 31) << 20) | (word & 0xf_f000) | ((word >>> 9) & 0x800) | ((word >>> 20) & 0x7fe);

const timeNow = (): number => Math.floor((performance.now() * TIMEBASE_HZ) / 1000);
