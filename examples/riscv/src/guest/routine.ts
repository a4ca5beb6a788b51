import { type Code, label, registers } from './assembler.js';
import { addi, lw, ret, sw } from './instructions.js';

const { ra, sp } = registers;

/**
 * Something to `call`, with arguments and result in a0 to a3. It may call others: where to return to is kept on the stack. What it
 * does to t registers is its own affair; s registers are what the whole program agrees on.
 */
export const routine = (name: string, ...body: Code[]): Code => [
  label(name),
  addi(sp, sp, -16),
  sw(ra, sp, 12),
  ...body,
  lw(ra, sp, 12),
  addi(sp, sp, 16),
  ret(),
];
