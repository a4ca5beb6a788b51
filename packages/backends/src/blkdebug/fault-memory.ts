import { MAX_FAULT_RULES } from './fault-limits.js';

/** Bytes of the rules as JSON, at most: one takes less than 256. */
const MAX_TEXT_BYTES = MAX_FAULT_RULES * 256;

/** Indexes of `words`. */
const GENERATION = 0;
const SEED = 1;
/** Of two texts. */
const TEXT_BYTES = 2;
const WORDS = 4;

/** What is counted of each rule: the requests that it applied to, and those among them that had the fault. */
export const Counter = { SEEN: 0, FIRED: 1 } as const;
export type Counter = (typeof Counter)[keyof typeof Counter];

/** Of one set of rules. */
const COUNTERS = MAX_FAULT_RULES * 2;
const COUNTERS_AT = WORDS * 4;
const TEXT_AT = COUNTERS_AT + 2 * COUNTERS * 8;

/** The rules of a disk, in memory that the controlling thread writes and iothreads read and count in. */
export const createFaultMemory = (): SharedArrayBuffer => new SharedArrayBuffer(TEXT_AT + 2 * MAX_TEXT_BYTES);

/**
 * The words of that memory. No lock, since an iothread may die at any moment: new rules are written beside those in force, and
 * hold as soon as the generation says so. A counter carries the generation that it counts for, so that who still works by the
 * rules before the last counts nothing of the next.
 */
export class FaultMemory {
  readonly #words: Int32Array;
  readonly #counters: BigInt64Array;
  readonly #text: Uint8Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#counters = new BigInt64Array(buffer, COUNTERS_AT, 2 * COUNTERS);
    this.#text = new Uint8Array(buffer, TEXT_AT);
  }

  /** Which rules are in force: another number after each change. */
  get generation(): number {
    return Atomics.load(this.#words, GENERATION);
  }

  get seed(): number {
    return Atomics.load(this.#words, SEED);
  }

  /** On the controlling thread alone. */
  write(text: string, seed: number): void {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > MAX_TEXT_BYTES) throw new RangeError('rules: too long');
    const generation = (this.generation + 1) | 0;
    const side = generation & 1;
    for (let i = 0; i < COUNTERS; i++) {
      Atomics.store(this.#counters, side * COUNTERS + i, counterOf(generation, 0));
    }
    Atomics.store(this.#words, TEXT_BYTES + side, bytes.length);
    for (let i = 0; i < bytes.length; i++) Atomics.store(this.#text, side * MAX_TEXT_BYTES + i, bytes[i]!);
    Atomics.store(this.#words, SEED, seed);
    Atomics.store(this.#words, GENERATION, generation);
  }

  /** The rules of that generation; undefined when others are in force by now. */
  read(generation: number): string | undefined {
    const side = generation & 1;
    const bytes = new Uint8Array(Atomics.load(this.#words, TEXT_BYTES + side));
    for (let i = 0; i < bytes.length; i++) bytes[i] = Atomics.load(this.#text, side * MAX_TEXT_BYTES + i);
    return this.generation === generation ? new TextDecoder().decode(bytes) : undefined;
  }

  /** Of the rules in force; for the thread that writes them. */
  count(rule: number, which: Counter): number {
    return countIn(Atomics.load(this.#counters, indexOf(this.generation, rule, which)));
  }

  /** Counts one more, unless `most` are. @returns how many there were; undefined when those rules are long gone */
  next(generation: number, rule: number, which: Counter, most: number): number | undefined {
    const index = indexOf(generation, rule, which);
    for (;;) {
      const found = Atomics.load(this.#counters, index);
      const count = countIn(found);
      if (found !== counterOf(generation, count)) return undefined;
      if (count === most) return count;
      const next = counterOf(generation, count + 1);
      if (Atomics.compareExchange(this.#counters, index, found, next) === found) return count;
    }
  }
}

const indexOf = (generation: number, rule: number, which: Counter): number =>
  (generation & 1) * COUNTERS + rule * 2 + which;

/** The generation above, the count below. */
const counterOf = (generation: number, count: number): bigint =>
  BigInt.asIntN(64, (BigInt(generation) << 32n) | BigInt(count));

const countIn = (counter: bigint): number => Number(counter & 0xffff_ffffn);
