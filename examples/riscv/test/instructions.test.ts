// Each instruction against what GNU as makes of it, and against what the manual says that it does.
import { Bus } from '@iothreads/example-riscv/emulator/bus';
import { Cpu } from '@iothreads/example-riscv/emulator/cpu';
import { MEPC, MIE, MSCRATCH, MSTATUS } from '@iothreads/example-riscv/emulator/csrs';
import { RAM_BASE } from '@iothreads/example-riscv/emulator/memory-map';
import {
  assemble,
  type Code,
  type Instruction,
  label,
  registers,
} from '@iothreads/example-riscv/guest/assembler';
import {
  add,
  addi,
  and,
  andi,
  auipc,
  beq,
  bge,
  bgeu,
  blt,
  bltu,
  bne,
  csrrc,
  csrrci,
  csrrs,
  csrrsi,
  csrrw,
  csrrwi,
  div,
  divu,
  ebreak,
  ecall,
  fence,
  jal,
  jalr,
  la,
  lb,
  lbu,
  lh,
  lhu,
  li,
  lui,
  lw,
  mret,
  mul,
  mulh,
  mulhsu,
  mulhu,
  or,
  ori,
  rem,
  remu,
  sb,
  sh,
  sll,
  slli,
  slt,
  slti,
  sltiu,
  sltu,
  sra,
  srai,
  srl,
  srli,
  sub,
  sw,
  wfi,
  xor,
  xori,
} from '@iothreads/example-riscv/guest/instructions';
import { describe, expect, test } from 'vitest';

const { zero, ra, a0, a1, a2, s11, t6 } = registers;
const LEAST = -0x8000_0000;
const MOST = 0x7fff_ffff;

function wordsOf(code: Code, origin = RAM_BASE): number[] {
  const program = assemble(origin, code);
  return [...new Uint32Array(program.buffer, program.byteOffset, program.length >> 2)];
}

/** Executes the program's first `count` instructions with values in a1 and a2. */
function execute(code: Code, a1Value: number, a2Value: number, count = 1): Cpu {
  const bus = new Bus(4096);
  new Uint8Array(bus.ram).set(assemble(RAM_BASE, code));
  const cpu = new Cpu(bus);
  cpu.x[a1.number] = a1Value;
  cpu.x[a2.number] = a2Value;
  cpu.run(count);
  return cpu;
}

/** Text for GNU as, the word that it makes; a1 and a2 before, a0 after. */
const arithmetic: readonly [string, number, Instruction, number, number, number][] = [
  ['add a0, a1, a2', 0x00c5_8533, add(a0, a1, a2), 5, -7, -2],
  ['add a0, a1, a2', 0x00c5_8533, add(a0, a1, a2), MOST, 1, LEAST],
  ['sub a0, a1, a2', 0x40c5_8533, sub(a0, a1, a2), 5, -7, 12],
  ['sub a0, a1, a2', 0x40c5_8533, sub(a0, a1, a2), LEAST, 1, MOST],
  ['sll a0, a1, a2', 0x00c5_9533, sll(a0, a1, a2), 1, 33, 2],
  ['slt a0, a1, a2', 0x00c5_a533, slt(a0, a1, a2), -1, 1, 1],
  ['slt a0, a1, a2', 0x00c5_a533, slt(a0, a1, a2), 1, -1, 0],
  ['sltu a0, a1, a2', 0x00c5_b533, sltu(a0, a1, a2), -1, 1, 0],
  ['sltu a0, a1, a2', 0x00c5_b533, sltu(a0, a1, a2), 1, -1, 1],
  ['xor a0, a1, a2', 0x00c5_c533, xor(a0, a1, a2), 12, 10, 6],
  ['srl a0, a1, a2', 0x00c5_d533, srl(a0, a1, a2), -1, 28, 15],
  ['sra a0, a1, a2', 0x40c5_d533, sra(a0, a1, a2), -16, 2, -4],
  ['or a0, a1, a2', 0x00c5_e533, or(a0, a1, a2), 12, 10, 14],
  ['and a0, a1, a2', 0x00c5_f533, and(a0, a1, a2), 12, 10, 8],
  ['mul a0, a1, a2', 0x02c5_8533, mul(a0, a1, a2), -3, 5, -15],
  ['mul a0, a1, a2', 0x02c5_8533, mul(a0, a1, a2), 0x1234_5678, 0x0765_4321, 0x70b88d78],
  ['mulh a0, a1, a2', 0x02c5_9533, mulh(a0, a1, a2), LEAST, LEAST, 0x4000_0000],
  ['mulh a0, a1, a2', 0x02c5_9533, mulh(a0, a1, a2), -1, 1, -1],
  ['mulh a0, a1, a2', 0x02c5_9533, mulh(a0, a1, a2), 0x1234_5678, -0x0765_4321, -0x0086a1ca],
  ['mulhsu a0, a1, a2', 0x02c5_a533, mulhsu(a0, a1, a2), -1, -1, -1],
  ['mulhsu a0, a1, a2', 0x02c5_a533, mulhsu(a0, a1, a2), 0x1234_5678, -0x0765_4321, 0x11adb4ae],
  ['mulhu a0, a1, a2', 0x02c5_b533, mulhu(a0, a1, a2), -1, -1, -2],
  ['mulhu a0, a1, a2', 0x02c5_b533, mulhu(a0, a1, a2), 0x1234_5678, -0x0765_4321, 0x11adb4ae],
  ['div a0, a1, a2', 0x02c5_c533, div(a0, a1, a2), -7, 2, -3],
  ['div a0, a1, a2', 0x02c5_c533, div(a0, a1, a2), 7, 0, -1],
  ['div a0, a1, a2', 0x02c5_c533, div(a0, a1, a2), LEAST, -1, LEAST],
  ['divu a0, a1, a2', 0x02c5_d533, divu(a0, a1, a2), -2, 2, MOST],
  ['divu a0, a1, a2', 0x02c5_d533, divu(a0, a1, a2), 7, 0, -1],
  ['rem a0, a1, a2', 0x02c5_e533, rem(a0, a1, a2), -7, 2, -1],
  ['rem a0, a1, a2', 0x02c5_e533, rem(a0, a1, a2), -7, 0, -7],
  ['rem a0, a1, a2', 0x02c5_e533, rem(a0, a1, a2), LEAST, -1, 0],
  ['remu a0, a1, a2', 0x02c5_f533, remu(a0, a1, a2), -1, 10, 5],
  ['remu a0, a1, a2', 0x02c5_f533, remu(a0, a1, a2), -7, 0, -7],
  ['addi a0, a1, -2048', 0x8005_8513, addi(a0, a1, -2048), 2048, 0, 0],
  ['addi a0, a1, 2047', 0x7ff5_8513, addi(a0, a1, 2047), 1, 0, 2048],
  ['slti a0, a1, -1', 0xfff5_a513, slti(a0, a1, -1), -2, 0, 1],
  ['slti a0, a1, -1', 0xfff5_a513, slti(a0, a1, -1), 0, 0, 0],
  ['sltiu a0, a1, -1', 0xfff5_b513, sltiu(a0, a1, -1), 5, 0, 1],
  ['sltiu a0, a1, 5', 0x0055_b513, sltiu(a0, a1, 5), -1, 0, 0],
  ['xori a0, a1, -1', 0xfff5_c513, xori(a0, a1, -1), 10, 0, -11],
  ['ori a0, a1, 0x70f', 0x70f5_e513, ori(a0, a1, 0x70f), 240, 0, 2047],
  ['andi a0, a1, -16', 0xff05_f513, andi(a0, a1, -16), 255, 0, 240],
  ['slli a0, a1, 31', 0x01f5_9513, slli(a0, a1, 31), 3, 0, LEAST],
  ['srli a0, a1, 31', 0x01f5_d513, srli(a0, a1, 31), -1, 0, 1],
  ['srai a0, a1, 31', 0x41f5_d513, srai(a0, a1, 31), -1, 0, -1],
  ['srai a0, a1, 4', 0x4045_d513, srai(a0, a1, 4), 256, 0, 16],
];

test.each(arithmetic)('%s', (_, encoded, instruction, before1, before2, after) => {
  expect(wordsOf(instruction)).toEqual([encoded]);
  const cpu = execute(instruction, before1, before2);
  expect(cpu.x[a0.number]).toBe(after);
  expect(cpu.pc).toBe(RAM_BASE + 4);
});

const others: readonly [string, number, Instruction][] = [
  ['lb a0, -1(a1)', 0xfff5_8503, lb(a0, a1, -1)],
  ['lh a0, 2(a1)', 0x0025_9503, lh(a0, a1, 2)],
  ['lw a0, 2044(a1)', 0x7fc5_a503, lw(a0, a1, 2044)],
  ['lbu t6, -2048(s11)', 0x800d_cf83, lbu(t6, s11, -2048)],
  ['lhu a0, 0(a1)', 0x0005_d503, lhu(a0, a1, 0)],
  ['sb a0, -1(a1)', 0xfea5_8fa3, sb(a0, a1, -1)],
  ['sh a0, 2046(a1)', 0x7ea5_9f23, sh(a0, a1, 2046)],
  ['sw t6, -2048(s11)', 0x81fd_a023, sw(t6, s11, -2048)],
  ['lui a0, 0xfffff', 0xffff_f537, lui(a0, 0xf_ffff)],
  ['auipc a0, 0x12345', 0x1234_5517, auipc(a0, 0x1_2345)],
  ['jalr ra, -4(a0)', 0xffc5_00e7, jalr(ra, a0, -4)],
  ['csrrw a0, mstatus, a1', 0x3005_9573, csrrw(a0, MSTATUS, a1)],
  ['csrrs a0, mepc, zero', 0x3410_2573, csrrs(a0, MEPC, zero)],
  ['csrrc zero, mie, a1', 0x3045_b073, csrrc(zero, MIE, a1)],
  ['csrrwi a0, mscratch, 31', 0x340f_d573, csrrwi(a0, MSCRATCH, 31)],
  ['csrrsi zero, mstatus, 8', 0x3004_6073, csrrsi(zero, MSTATUS, 8)],
  ['csrrci zero, mstatus, 8', 0x3004_7073, csrrci(zero, MSTATUS, 8)],
  ['fence', 0x0ff0_000f, fence()],
  ['ecall', 0x0000_0073, ecall()],
  ['ebreak', 0x0010_0073, ebreak()],
  ['mret', 0x3020_0073, mret()],
  ['wfi', 0x1050_0073, wfi()],
];

test.each(others)('%s: its word', (_, encoded, instruction) => {
  expect(wordsOf(instruction)).toEqual([encoded]);
});

/** Branches and jumps 2000 bytes back and 2404 bytes ahead. */
const jumps: readonly [string, number, Instruction][] = [
  ['beq a0, a1, back', 0x82b5_08e3, beq(a0, a1, 'back')],
  ['bne a0, a1, ahead', 0x16b5_12e3, bne(a0, a1, 'ahead')],
  ['blt a0, a1, back', 0x82b5_48e3, blt(a0, a1, 'back')],
  ['bge a0, a1, ahead', 0x16b5_52e3, bge(a0, a1, 'ahead')],
  ['bltu a0, a1, back', 0x82b5_68e3, bltu(a0, a1, 'back')],
  ['bgeu a0, a1, ahead', 0x16b5_72e3, bgeu(a0, a1, 'ahead')],
  ['jal ra, back', 0x831f_f0ef, jal(ra, 'back')],
  ['jal zero, ahead', 0x1650_006f, jal(zero, 'ahead')],
];

test.each(jumps)('%s: its word', (_, encoded, instruction) => {
  const nops = (count: number): Code => Array.from({ length: count }, () => addi(zero, zero, 0));
  expect(wordsOf([label('back'), nops(500), instruction, nops(600), label('ahead')])[500]).toBe(encoded);
});

test.each([
  ['0x12345678', 0x1234_5678, [0x1234_5537, 0x6785_0513]],
  ['0x12345fff', 0x1234_5fff, [0x1234_6537, 0xfff5_0513]],
  ['0x7fffffff', MOST, [0x8000_0537, 0xfff5_0513]],
  ['-2049', -2049, [0xffff_f537, 0x7ff5_0513]],
  ['2047', 2047, [0x7ff0_0513]],
])('li a0, %s', (_, value, encoded) => {
  expect(wordsOf(li(a0, value))).toEqual(encoded);
  expect(execute(li(a0, value), 0, 0, encoded.length).x[a0.number]).toBe(value);
});

describe('branches', () => {
  test.each([
    ['beq', beq, 1, 1, true],
    ['beq', beq, 1, 2, false],
    ['bne', bne, 1, 2, true],
    ['bne', bne, 1, 1, false],
    ['blt', blt, -1, 1, true],
    ['blt', blt, 1, 1, false],
    ['bge', bge, 1, 1, true],
    ['bge', bge, -1, 1, false],
    ['bltu', bltu, 1, -1, true],
    ['bltu', bltu, -1, 1, false],
    ['bgeu', bgeu, -1, 1, true],
    ['bgeu', bgeu, 1, -1, false],
  ] as const)('%s %#', (_, branch, first, second, taken) => {
    const cpu = execute([branch(a1, a2, 'there'), fence(), fence(), label('there')], first, second);
    expect(cpu.pc).toBe(RAM_BASE + (taken ? 12 : 4));
  });

  test('a loop: backwards', () => {
    const code = [label('again'), addi(a1, a1, -1), bne(a1, zero, 'again'), addi(a0, zero, 7)];
    const cpu = execute(code, 3, 0, 7);
    expect([cpu.x[a0.number], cpu.pc]).toEqual([7, RAM_BASE + 12]);
  });

  test('jal and jalr remember where they came from', () => {
    const code = [jal(ra, 'there'), fence(), label('there'), la(a1, 'end'), jalr(a0, a1, 4), label('end')];
    const jumped = execute(code, 0, 0, 1);
    expect([jumped.x[ra.number]! >>> 0, jumped.pc]).toEqual([RAM_BASE + 4, RAM_BASE + 8]);
    const again = execute(code, 0, 0, 4);
    expect([again.x[a0.number]! >>> 0, again.pc]).toEqual([RAM_BASE + 20, RAM_BASE + 24]);
  });

  test('jalr to the register that it writes', () => {
    const cpu = execute(jalr(a1, a1, 0), RAM_BASE + 16, 0);
    expect([cpu.x[a1.number]! >>> 0, cpu.pc]).toEqual([RAM_BASE + 4, RAM_BASE + 16]);
  });
});

test('lui and auipc', () => {
  expect(execute(lui(a0, 0xf_ffff), 0, 0).x[a0.number]).toBe(-4096);
  expect(execute(auipc(a0, 1), 0, 0).x[a0.number]! >>> 0).toBe(RAM_BASE + 4096);
});

test('loads extend, stores cut off', () => {
  const at = RAM_BASE + 1024;
  const stored = [sw(a2, a1, 0), sb(a2, a1, 4), sh(a2, a1, 8)];
  const loaded = (load: Instruction): number => execute([stored, load], at, 0x81f2_f3f4, 4).x[a0.number]!;
  expect(loaded(lw(a0, a1, 0))).toBe(0x81f2_f3f4 | 0);
  expect(loaded(lh(a0, a1, 0))).toBe(0xf3f4 - 65536);
  expect(loaded(lhu(a0, a1, 2))).toBe(0x81f2);
  expect(loaded(lb(a0, a1, 3))).toBe(0x81 - 256);
  expect(loaded(lbu(a0, a1, 3))).toBe(0x81);
  expect(loaded(lw(a0, a1, 4))).toBe(0xf4);
  expect(loaded(lw(a0, a1, 8))).toBe(0xf3f4);
});

test('x0 stays 0', () => {
  expect(execute([addi(zero, zero, 5), lw(zero, a1, 0)], RAM_BASE, 0, 2).x[0]).toBe(0);
});
