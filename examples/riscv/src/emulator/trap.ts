/** Why the processor traps: values of mcause (RISC-V privileged architecture, table "Machine cause register values"). */
export const INSTRUCTION_MISALIGNED = 0;
export const INSTRUCTION_FAULT = 1;
export const ILLEGAL_INSTRUCTION = 2;
export const BREAKPOINT = 3;
export const LOAD_MISALIGNED = 4;
export const LOAD_FAULT = 5;
export const STORE_MISALIGNED = 6;
export const STORE_FAULT = 7;
export const ECALL_FROM_M = 11;
export const MACHINE_EXTERNAL_INTERRUPT = 0x8000_000b;

/** An instruction can't be completed. Thrown wherever that is found out, caught by the processor. */
export class Trap extends Error {
  /** One of the numbers above. */
  readonly code: number;
  /** What mtval tells: the address, or the instruction. */
  readonly value: number;

  constructor(code: number, value: number) {
    super(`trap ${code} (0x${(value >>> 0).toString(16)})`);
    this.code = code;
    this.value = value;
  }
}
