import type { Registers, Width } from './bus.js';

/** Offsets (RISC-V platform-level interrupt controller specification 1.0); one hart, in machine mode. */
export const PLIC_PRIORITY = 0x0;
const PENDING = 0x1000;
export const PLIC_ENABLE = 0x2000;
const THRESHOLD = 0x20_0000;
export const PLIC_CLAIM = 0x20_0004;
export const PLIC_SIZE = 0x21_0000;

const SOURCES = 32;

/** The interrupt controller: many lines from devices, one to the processor. */
export class Plic implements Registers {
  readonly #setInterrupt: (level: boolean) => void;
  readonly #priorities = new Uint8Array(SOURCES);
  /** A bit for each source: its line is high … */
  #levels = 0;
  #enabled = 0;
  /** … and the guest is busy with it. */
  #claimed = 0;
  #threshold = 0;

  constructor(setInterrupt: (level: boolean) => void) {
    this.#setInterrupt = setInterrupt;
  }

  /** A device raises or lowers its line. @param source 1 to 31 */
  setLevel(source: number, level: boolean): void {
    this.#levels = level ? this.#levels | (1 << source) : this.#levels & ~(1 << source);
    this.#update();
  }

  read(offset: number, _width: Width): number {
    if (offset === PENDING) return (this.#levels & ~this.#claimed) >>> 0;
    if (offset === PLIC_ENABLE) return this.#enabled >>> 0;
    if (offset === THRESHOLD) return this.#threshold;
    if (offset === PLIC_CLAIM) return this.#claim();
    return offset < SOURCES * 4 ? this.#priorities[offset >> 2]! : 0;
  }

  write(offset: number, _width: Width, value: number): void {
    if (offset === PLIC_ENABLE) this.#enabled = value & ~1;
    else if (offset === THRESHOLD) this.#threshold = value;
    else if (offset === PLIC_CLAIM) this.#claimed &= ~(1 << value);
    else if (offset < SOURCES * 4) this.#priorities[offset >> 2] = value;
    this.#update();
  }

  /** The guest takes the most urgent interrupt. @returns its source; 0 when there is none */
  #claim(): number {
    const source = this.#mostUrgent();
    this.#claimed |= (1 << source) & ~1;
    this.#update();
    return source;
  }

  #mostUrgent(): number {
    const wanted = this.#levels & this.#enabled & ~this.#claimed;
    let best = 0;
    let priority = this.#threshold;
    for (let source = 1; source < SOURCES; source++) {
      if (((wanted >>> source) & 1) === 0 || this.#priorities[source]! <= priority) continue;
      best = source;
      priority = this.#priorities[source]!;
    }
    return best;
  }

  #update(): void {
    this.#setInterrupt(this.#mostUrgent() !== 0);
  }
}
