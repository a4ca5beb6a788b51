import { Finisher } from '@iothreads/example-riscv/emulator/finisher';
import { Plic, PLIC_CLAIM, PLIC_ENABLE } from '@iothreads/example-riscv/emulator/plic';
import { Uart } from '@iothreads/example-riscv/emulator/uart';
import { expect, test } from 'vitest';

test('the UART prints what is transmitted, and is always ready to', () => {
  let printed = '';
  const uart = new Uart((text) => (printed += text));
  for (const byte of new TextEncoder().encode('Hello')) uart.write(0, 1, byte);
  uart.write(1, 1, 33);
  expect(printed).toBe('Hello');
  expect(uart.read(5, 1) & 0x20).toBe(0x20);
});

test.each([
  [0x5555, [0]],
  [(3 << 16) | 0x3333, [3]],
  [0x1234, []],
])('the finisher: 0x%x', (value, codes) => {
  const seen: number[] = [];
  new Finisher((code) => seen.push(code)).write(0, 4, value);
  expect(seen).toEqual(codes);
});

test('the interrupt controller: enabled, most urgent first, once until it is completed', () => {
  let line = false;
  const plic = new Plic((level) => (line = level));
  const claim = (): number => plic.read(PLIC_CLAIM, 4);
  plic.setLevel(1, true);
  plic.setLevel(3, true);
  expect([line, claim()]).toEqual([false, 0]);
  plic.write(4, 4, 1);
  plic.write(12, 4, 2);
  plic.write(PLIC_ENABLE, 4, 0b1010);
  expect(line).toBe(true);
  expect([claim(), claim(), claim()]).toEqual([3, 1, 0]);
  expect(line).toBe(false);
  // Still high when it is completed: it comes again.
  plic.write(PLIC_CLAIM, 4, 3);
  expect([line, claim()]).toEqual([true, 3]);
  plic.setLevel(3, false);
  plic.write(PLIC_CLAIM, 4, 3);
  expect([line, claim()]).toEqual([false, 0]);
  plic.setLevel(1, false);
  plic.write(PLIC_CLAIM, 4, 1);
  expect(line).toBe(false);
});

test('the interrupt controller: nothing below the threshold', () => {
  let line = false;
  const plic = new Plic((level) => (line = level));
  plic.write(4, 4, 1);
  plic.write(PLIC_ENABLE, 4, 0b10);
  plic.write(0x20_0000, 4, 1);
  plic.setLevel(1, true);
  expect(line).toBe(false);
  plic.write(4, 4, 2);
  expect(line).toBe(true);
});
