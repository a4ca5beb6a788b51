import type { Registers, Width } from './bus.js';

/** Registers of a 16550: what is sent, and the line's status. */
export const TRANSMIT = 0;
export const LINE_STATUS = 5;
/** Bit of the line's status: the next byte can be written. */
export const TRANSMITTER_EMPTY = 0x20;

/** The half of a 16550 that prints. */
export class Uart implements Registers {
  readonly #print: (text: string) => void;

  constructor(print: (text: string) => void) {
    this.#print = print;
  }

  read(offset: number, _width: Width): number {
    return offset === LINE_STATUS ? TRANSMITTER_EMPTY : 0;
  }

  write(offset: number, _width: Width, value: number): void {
    if (offset === TRANSMIT) this.#print(String.fromCharCode(value & 0xff));
  }
}
