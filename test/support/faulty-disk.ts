import type { DriveOptions } from '@iothreads/backends';
import { fixture } from './fixture.js';
import { until } from './within.js';

const ERRORS = ['none', 'ENOSPC', 'EIO', 'EDQUOT', 'without a code'] as const;
const CALLS = { read: 1, write: 2, flush: 4, discard: 8, zero: 16 } as const;

/** A `full-disk.mjs`, and what this thread knows of it. */
export class FaultyDisk {
  readonly #bytes: SharedArrayBuffer;
  readonly #state = new SharedArrayBuffer(4 * 4096);
  readonly #words = new Int32Array(this.#state);

  constructor(size = 1 << 20) {
    this.#bytes = new SharedArrayBuffer(size);
  }

  get drive(): DriveOptions {
    const options = { bytes: this.#bytes, state: this.#state };
    return { driver: 'module', url: fixture('full-disk.mjs'), options };
  }

  /** From now on these calls fail, or all that change the disk. */
  fail(error: (typeof ERRORS)[number], ...calls: (keyof typeof CALLS)[]): void {
    const which = calls.length === 0 ? (['write', 'flush', 'discard', 'zero'] as const) : calls;
    Atomics.store(
      this.#words,
      1,
      which.reduce((bits, call) => bits | CALLS[call], 0),
    );
    Atomics.store(this.#words, 0, ERRORS.indexOf(error));
  }

  mend(): void {
    Atomics.store(this.#words, 0, 0);
  }

  /** Calls wait from now on, in the disk. */
  hold(): void {
    Atomics.store(this.#words, 4, 1);
  }

  letGo(): void {
    Atomics.store(this.#words, 4, 0);
    Atomics.notify(this.#words, 4);
  }

  /** Ends the threads that have it open, one after the other. */
  die(): void {
    Atomics.notify(this.#words, 6, 1);
  }

  get calls(): number {
    return Atomics.load(this.#words, 2);
  }

  get failures(): number {
    return Atomics.load(this.#words, 3);
  }

  /** Waits until so many calls have come in all. */
  async came(count: number): Promise<void> {
    await until(`call ${count} of the disk`, () => this.calls >= count);
  }

  /** Waits until so many calls have failed in all. */
  async failed(count: number): Promise<void> {
    await until(`failure ${count} of the disk`, () => this.failures >= count);
  }

  /** The sectors that writes have gone to, in order. */
  get written(): number[] {
    return [...this.#words.subarray(16, 16 + Atomics.load(this.#words, 5))];
  }

  byteAt(sector: number): number {
    return new Uint8Array(this.#bytes)[sector * 512]!;
  }
}
