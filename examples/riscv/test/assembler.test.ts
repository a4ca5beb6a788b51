import { assemble, label, registers } from '@iothreads/example-riscv/guest/assembler';
import { addi, beq, j, la, lw } from '@iothreads/example-riscv/guest/instructions';
import { expect, test } from 'vitest';

const { zero, a0 } = registers;

test('texts stand behind the program, each once', () => {
  const code = [la(a0, { text: 'hé' }), la(a0, { text: 'x' }), la(a0, { text: 'hé' })];
  const program = assemble(0x1000, code);
  expect(new TextDecoder().decode(program.subarray(24))).toBe('hé\0x\0');
  const word = (index: number): number => new DataView(program.buffer).getUint32(index * 4, true);
  // auipc 0, and the distance in the upper bits of addi.
  expect([1, 3, 5].map((index) => word(index) >>> 20)).toEqual([24, 20, 8]);
});

test.each([
  ['a label that is missing', j('nowhere'), "there is no label 'nowhere'"],
  ['two labels of one name', [label('a'), label('a')], "there are two labels 'a'"],
  ['an offset too large', () => lw(a0, a0, 2048), '2048 does not fit into 12 signed bits'],
  ['a number that is none', () => addi(a0, zero, NaN), 'NaN does not fit into 12 signed bits'],
  [
    'a branch too far',
    [label('a'), Array.from({ length: 1025 }, () => addi(zero, zero, 0)), beq(zero, zero, 'a')],
    '-4100 does not fit into 13 signed bits',
  ],
])('%s is told', (_, code, message) => {
  expect(() => assemble(0, typeof code === 'function' ? code() : code)).toThrow(message);
});
