/** Numbers of control and status registers, and their bits (RISC-V privileged architecture, machine mode). */
export const MSTATUS = 0x300;
export const MIE = 0x304;
export const MTVEC = 0x305;
export const MSCRATCH = 0x340;
export const MEPC = 0x341;
export const MCAUSE = 0x342;
export const MTVAL = 0x343;
export const MIP = 0x344;
export const TIME = 0xc01;
export const TIMEH = 0xc81;
export const MHARTID = 0xf14;

/** mstatus: interrupts are taken, and whether they were before a trap. */
export const MSTATUS_MIE = 1 << 3;
export const MSTATUS_MPIE = 1 << 7;
/** mstatus: the mode before a trap, always machine mode here. */
export const MSTATUS_MPP = 3 << 11;
/** mie, mip: the external interrupt. */
export const EXTERNAL_INTERRUPT = 1 << 11;
