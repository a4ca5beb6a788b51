import type { DriveOptions } from '@iothreads/backends';
import { fixture } from './fixture.js';
import { until } from './within.js';

/** The gate of a `gated-disk.mjs`: its requests stay in flight until it is opened. */
export class Gate {
  readonly #buffer = new SharedArrayBuffer(12);
  readonly #words = new Int32Array(this.#buffer);

  drive(size = 1 << 20): DriveOptions {
    return { driver: 'module', url: fixture('gated-disk.mjs'), options: { size, gate: this.#buffer } };
  }

  /** Requests that have come to it in all. */
  get arrived(): number {
    return Atomics.load(this.#words, 1);
  }

  /** Waits until so many requests have come to it in all. */
  async came(count: number): Promise<void> {
    await until(`request ${count} at the gate`, () => this.arrived >= count);
  }

  /** Waits until so many requests have left it in all. */
  async went(count: number): Promise<void> {
    await until(`request ${count} behind the gate`, () => Atomics.load(this.#words, 2) >= count);
  }

  open(): void {
    Atomics.store(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
  }

  close(): void {
    Atomics.store(this.#words, 0, 0);
  }
}
