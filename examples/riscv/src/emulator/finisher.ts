import type { Registers, Width } from './bus.js';

export const FINISHER_PASS = 0x5555;
export const FINISHER_FAIL = 0x3333;

/** SiFive's test finisher: the guest says that it is done, and how it went. */
export class Finisher implements Registers {
  readonly #exit: (code: number) => void;

  constructor(exit: (code: number) => void) {
    this.#exit = exit;
  }

  read(): number {
    return 0;
  }

  /** A failure has its exit code in the upper half. */
  write(_offset: number, _width: Width, value: number): void {
    if ((value & 0xffff) === FINISHER_PASS) this.#exit(0);
    else if ((value & 0xffff) === FINISHER_FAIL) this.#exit(value >>> 16);
  }
}
