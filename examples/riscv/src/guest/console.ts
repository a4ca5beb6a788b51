import { UART_BASE } from '../emulator/memory-map.js';
import { LINE_STATUS, TRANSMIT, TRANSMITTER_EMPTY } from '../emulator/uart.js';
import { type Code, label, registers } from './assembler.js';
import {
  addi,
  andi,
  beqz,
  blt,
  bnez,
  call,
  divu,
  j,
  la,
  lbu,
  li,
  mv,
  remu,
  lw,
  sb,
  sw,
} from './instructions.js';
import { routine } from './routine.js';

const { a0, a1, sp, t0, t1, t2 } = registers;

/** Prints a text that is known beforehand. */
export const print = (text: string): Code => [la(a0, { text }), call('print')];

/** The routines that print: `print` (a0: address of a text that ends with NUL), `printDecimal`, `printHex` (a0: a number). */
export const consoleRoutines: Code = [
  routine(
    'print',
    li(t0, UART_BASE),
    label('print.next'),
    lbu(t1, a0, 0),
    beqz(t1, 'print.end'),
    label('print.busy'),
    lbu(t2, t0, LINE_STATUS),
    andi(t2, t2, TRANSMITTER_EMPTY),
    beqz(t2, 'print.busy'),
    sb(t1, t0, TRANSMIT),
    addi(a0, a0, 1),
    j('print.next'),
    label('print.end'),
  ),

  routine('printDecimal', li(a1, 10), call('printNumber')),
  routine('printHex', sw(a0, sp, 0), print('0x'), lw(a0, sp, 0), li(a1, 16), call('printNumber')),

  // a0: a number, a1: its base. The last digit comes first: they are put onto the stack, from the end of a text on.
  routine(
    'printNumber',
    addi(sp, sp, -48),
    addi(t0, sp, 47),
    sb(registers.zero, t0, 0),
    label('printNumber.next'),
    remu(t1, a0, a1),
    divu(a0, a0, a1),
    li(t2, 10),
    blt(t1, t2, 'printNumber.digit'),
    addi(t1, t1, 'a'.charCodeAt(0) - '0'.charCodeAt(0) - 10),
    label('printNumber.digit'),
    addi(t1, t1, '0'.charCodeAt(0)),
    addi(t0, t0, -1),
    sb(t1, t0, 0),
    bnez(a0, 'printNumber.next'),
    mv(a0, t0),
    call('print'),
    addi(sp, sp, 48),
  ),
];
