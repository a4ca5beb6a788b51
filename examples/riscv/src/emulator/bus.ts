import { RAM_BASE } from './memory-map.js';
import {
  INSTRUCTION_FAULT,
  LOAD_FAULT,
  LOAD_MISALIGNED,
  STORE_FAULT,
  STORE_MISALIGNED,
  Trap,
} from './trap.js';

/** How many bytes an access has. */
export type Width = 1 | 2 | 4;

/** Something with registers. Values are unsigned. */
export interface Registers {
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

interface Mapping {
  readonly base: number;
  readonly size: number;
  readonly registers: Registers;
}

/** The guest's address space: RAM, and registers that are mapped beside it. */
export class Bus {
  /** Shared: iothreads read and write it while the guest runs. */
  readonly ram: SharedArrayBuffer;
  // Typed arrays, not a DataView: a guest's aligned access must be one access here too, since others watch.
  readonly #bytes: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #words: Uint32Array;
  readonly #mappings: Mapping[] = [];
  readonly #barrier = new Int32Array(new SharedArrayBuffer(4));

  constructor(ramBytes: number) {
    this.ram = new SharedArrayBuffer(ramBytes);
    this.#bytes = new Uint8Array(this.ram);
    this.#halves = new Uint16Array(this.ram);
    this.#words = new Uint32Array(this.ram);
  }

  /** What is mapped later covers what was there. */
  map(base: number, size: number, registers: Registers): void {
    this.#mappings.push({ base, size, registers });
  }

  /** The instruction at an address, a multiple of 4. @throws Trap when there is no RAM */
  fetch(address: number): number {
    const instruction = this.#words[(address - RAM_BASE) / 4];
    if (instruction === undefined) throw new Trap(INSTRUCTION_FAULT, address);
    return instruction;
  }

  /** @returns the value, unsigned. @throws Trap when nothing is there, or the address is not a multiple of the width */
  load(address: number, width: Width): number {
    if (address % width !== 0) throw new Trap(LOAD_MISALIGNED, address);
    const offset = address - RAM_BASE;
    if (offset >= 0 && offset < this.#bytes.length) {
      if (width === 4) return this.#words[offset >>> 2]!;
      return width === 2 ? this.#halves[offset >>> 1]! : this.#bytes[offset]!;
    }
    const mapping = this.#find(address);
    if (mapping === undefined) throw new Trap(LOAD_FAULT, address);
    return mapping.registers.read(address - mapping.base, width);
  }

  /** @throws Trap as `load` does */
  store(address: number, width: Width, value: number): void {
    if (address % width !== 0) throw new Trap(STORE_MISALIGNED, address);
    const offset = address - RAM_BASE;
    if (offset >= 0 && offset < this.#bytes.length) {
      if (width === 4) this.#words[offset >>> 2] = value;
      else if (width === 2) this.#halves[offset >>> 1] = value;
      else this.#bytes[offset] = value;
      return;
    }
    const mapping = this.#find(address);
    if (mapping === undefined) throw new Trap(STORE_FAULT, address);
    mapping.registers.write(
      address - mapping.base,
      width,
      width === 4 ? value >>> 0 : value & (256 ** width - 1),
    );
  }

  /** What the guest did before is seen by other threads before what it does next: JavaScript's only barriers are its atomics. */
  fence(): void {
    Atomics.add(this.#barrier, 0, 0);
  }

  #find(address: number): Mapping | undefined {
    return this.#mappings.findLast(({ base, size }) => address >= base && address - base < size);
  }
}
