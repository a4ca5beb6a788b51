import { Bus } from '@iothreads/example-riscv/emulator/bus';
import { Cpu, type CpuState } from '@iothreads/example-riscv/emulator/cpu';
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
  MTVAL,
  MTVEC,
  TIME,
  TIMEH,
} from '@iothreads/example-riscv/emulator/csrs';
import { RAM_BASE } from '@iothreads/example-riscv/emulator/memory-map';
import * as trap from '@iothreads/example-riscv/emulator/trap';
import {
  assemble,
  type Code,
  type Instruction,
  label,
  registers,
} from '@iothreads/example-riscv/guest/assembler';
import {
  addi,
  csrr,
  csrrc,
  csrrci,
  csrrs,
  csrrsi,
  csrrw,
  csrrwi,
  csrw,
  ebreak,
  ecall,
  fence,
  j,
  jalr,
  la,
  li,
  lw,
  mret,
  sh,
  sw,
  wfi,
} from '@iothreads/example-riscv/guest/instructions';
import { describe, expect, test } from 'vitest';

const { zero, a0, a1, a2, a3, t0 } = registers;

function boot(code: Code): Cpu {
  const bus = new Bus(4096);
  new Uint8Array(bus.ram).set(assemble(RAM_BASE, code));
  return new Cpu(bus);
}

const word = (value: number): Instruction => ({ words: 1, encode: () => [value] });

/** Has traps handled by code that leaves mcause in a1, mtval in a2 and mepc in a3, and waits. */
const handled = (code: Code): Code => [
  la(t0, 'handler'),
  csrw(MTVEC, t0),
  code,
  label('handler'),
  csrr(a1, MCAUSE),
  csrr(a2, MTVAL),
  csrr(a3, MEPC),
  wfi(),
];

describe('traps', () => {
  const OUTSIDE = 0x4000_0000;
  /** mcause and mtval; mepc is the last instruction of the code. */
  const table: readonly [string, readonly Instruction[], number, number][] = [
    ['an instruction that does not exist', [word(0)], trap.ILLEGAL_INSTRUCTION, 0],
    ['a compressed instruction', [word(0x0001_0001)], trap.ILLEGAL_INSTRUCTION, 0x0001_0001],
    ['mul with a strange funct7', [word(0x04c5_8533)], trap.ILLEGAL_INSTRUCTION, 0x04c5_8533],
    ['slli with the bit of srai', [word(0x41f5_9513)], trap.ILLEGAL_INSTRUCTION, 0x41f5_9513],
    ['a load of eight bytes', [word(0x0005_b503)], trap.ILLEGAL_INSTRUCTION, 0x0005_b503],
    ['a store of eight bytes', [word(0x00a5_b023)], trap.ILLEGAL_INSTRUCTION, 0x00a5_b023],
    ['a branch that does not exist', [word(0x00b5_2463)], trap.ILLEGAL_INSTRUCTION, 0x00b5_2463],
    ['a register that is not there', [csrr(a0, 0x123)], trap.ILLEGAL_INSTRUCTION, 0x1230_2573],
    ['ecall', [ecall()], trap.ECALL_FROM_M, 0],
    ['ebreak', [ebreak()], trap.BREAKPOINT, RAM_BASE + 12],
    ['a load where nothing is', [li(a0, OUTSIDE), lw(a0, a0, 4)], trap.LOAD_FAULT, OUTSIDE + 4],
    ['a load behind RAM', [li(a0, RAM_BASE + 4096), lw(a0, a0, 0)], trap.LOAD_FAULT, RAM_BASE + 4096],
    ['a store where nothing is', [li(a0, OUTSIDE), sw(a0, a0, 0)], trap.STORE_FAULT, OUTSIDE],
    ['a misaligned load', [li(a0, RAM_BASE), lw(a0, a0, 2)], trap.LOAD_MISALIGNED, RAM_BASE + 2],
    ['a misaligned store', [li(a0, RAM_BASE), sh(a0, a0, 1)], trap.STORE_MISALIGNED, RAM_BASE + 1],
    [
      'a jump to half an instruction',
      [li(a0, RAM_BASE), jalr(a0, a0, 2)],
      trap.INSTRUCTION_MISALIGNED,
      RAM_BASE + 2,
    ],
  ];

  test.each(table)('%s', (_, code, cause, value) => {
    const cpu = boot(handled(code));
    cpu.run(100);
    const last = 3 + code.reduce((sum, { words }) => sum + words, 0) - 1;
    expect([cpu.x[a1.number], cpu.x[a2.number]! >>> 0, cpu.x[a3.number]! >>> 0]).toEqual([
      cause,
      value,
      RAM_BASE + last * 4,
    ]);
  });

  test('an instruction where no RAM is', () => {
    const cpu = boot(handled([li(a0, 0x4000_0000), jalr(zero, a0, 0)]));
    cpu.run(100);
    expect([cpu.x[a1.number], cpu.x[a3.number]]).toEqual([trap.INSTRUCTION_FAULT, 0x4000_0000]);
  });

  test('without a handler the machine hears of it', () => {
    const cpu = boot(ecall());
    expect(() => {
      cpu.run(1);
    }).toThrow('the guest has no trap handler: mcause 0xb at 0x80000000, mtval 0x0');
    expect(cpu.state).toBe('stopped');
  });

  test('a fault changes no register', () => {
    const cpu = boot(handled([li(a0, 0x4000_0000), lw(a0, a0, 0)]));
    cpu.run(100);
    expect(cpu.x[a0.number]).toBe(0x4000_0000);
  });
});

test('control registers are read before they are written', () => {
  const cpu = boot([
    csrrwi(zero, MSCRATCH, 0b1100),
    csrrsi(a0, MSCRATCH, 0b0011),
    csrrci(a1, MSCRATCH, 0b0101),
    li(t0, 0b10000),
    csrrs(a2, MSCRATCH, t0),
    csrrc(a3, MSCRATCH, t0),
    csrrw(t0, MSCRATCH, zero),
  ]);
  cpu.run(7);
  expect([a0, a1, a2, a3, t0].map(({ number }) => cpu.x[number])).toEqual([
    0b1100, 0b1111, 0b1010, 0b11010, 0b1010,
  ]);
});

test('the hart is number 0, and its time goes on', () => {
  const cpu = boot([
    csrr(a0, MHARTID),
    csrr(a1, TIME),
    csrr(a2, TIMEH),
    label('again'),
    csrr(a3, TIME),
    j('again'),
  ]);
  cpu.run(4);
  const before = cpu.x[a1.number]!;
  expect([cpu.x[a0.number], cpu.x[a2.number]]).toEqual([0, 0]);
  // Bounded by the test's deadline: ten million ticks are a second.
  while (cpu.x[a3.number] === before) cpu.run(2);
  expect(cpu.x[a3.number]! - before).toBeGreaterThan(0);
});

describe('the external interrupt', () => {
  const enable = (on: Code): Code => [
    la(t0, 'handler'),
    csrw(MTVEC, t0),
    li(t0, EXTERNAL_INTERRUPT),
    csrw(MIE, t0),
    on,
    label('loop'),
    addi(a0, a0, 1),
    j('loop'),
    label('handler'),
    csrr(a1, MCAUSE),
    csrr(a2, MSTATUS),
    csrr(a3, MIP),
    mret(),
  ];
  const on = csrrsi(zero, MSTATUS, MSTATUS_MIE);

  test('is taken where it is enabled, once the line is high, and comes again until it is low', () => {
    const cpu = boot(enable(on));
    cpu.run(20);
    expect(cpu.x[a1.number]).toBe(0);
    const at = cpu.pc;
    cpu.setInterrupt(true);
    cpu.run(4);
    expect(cpu.x[a1.number]).toBe(trap.MACHINE_EXTERNAL_INTERRUPT | 0);
    expect(cpu.x[a3.number]).toBe(EXTERNAL_INTERRUPT);
    // Inside the handler none is taken.
    expect(cpu.x[a2.number]! & MSTATUS_MIE).toBe(0);
    cpu.run(1);
    expect(cpu.pc).toBe(at);
    cpu.x[a1.number] = 0;
    cpu.run(2);
    expect(cpu.x[a1.number]).not.toBe(0);
    cpu.run(10);
    cpu.setInterrupt(false);
    cpu.run(10);
    cpu.x[a1.number] = 0;
    cpu.run(20);
    expect(cpu.x[a1.number]).toBe(0);
  });

  test('waits while mstatus has it off', () => {
    const cpu = boot(enable([fence()]));
    cpu.setInterrupt(true);
    cpu.run(20);
    expect(cpu.x[a1.number]).toBe(0);
  });

  test('waits while mie has it off', () => {
    const cpu = boot(enable([csrw(MIE, zero), on]));
    cpu.setInterrupt(true);
    cpu.run(20);
    expect(cpu.x[a1.number]).toBe(0);
  });

  test('ends wfi, taken or not', () => {
    const cpu = boot([li(t0, EXTERNAL_INTERRUPT), csrw(MIE, t0), wfi(), li(a0, 7), label('end'), j('end')]);
    cpu.run(100);
    expect(cpu.state).toBe('waiting');
    cpu.setInterrupt(true);
    expect(cpu.state).toBe('running');
    cpu.run(2);
    expect(cpu.x[a0.number]).toBe(7);
  });

  test('does not let wfi wait when it came before', () => {
    const cpu = boot([li(t0, EXTERNAL_INTERRUPT), csrw(MIE, t0), wfi(), li(a0, 7), label('end'), j('end')]);
    cpu.setInterrupt(true);
    cpu.run(100);
    expect([cpu.state, cpu.x[a0.number]]).toEqual(['running', 7]);
  });
});

test('goes on in another processor where its state was saved', () => {
  const code = [
    li(a0, 7),
    csrw(MSCRATCH, a0),
    li(a0, EXTERNAL_INTERRUPT),
    csrw(MIE, a0),
    wfi(),
    csrr(a1, MSCRATCH),
    wfi(),
  ];
  const before = boot(code);
  before.run(100);
  const after = boot(code);
  after.restoreState(JSON.parse(JSON.stringify(before.saveState())) as CpuState);
  expect([after.state, after.pc]).toEqual(['waiting', before.pc]);
  after.setInterrupt(true);
  after.run(1);
  expect([after.x[a0.number], after.x[a1.number]]).toEqual([EXTERNAL_INTERRUPT, 7]);
});
