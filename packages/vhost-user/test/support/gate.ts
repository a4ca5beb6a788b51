import type { DriveOptions } from '@iothreads/backends';
import { until } from './until.js';

/** A disk whose requests stay in flight until it is opened. */
export class Gate {
  readonly #buffer = new SharedArrayBuffer(8);
  readonly #words = new Int32Array(this.#buffer);

  drive(size: number = 1 << 20): DriveOptions {
    const url = new URL('../fixtures/gated-disk.mjs', import.meta.url).href;
    return { driver: 'module', url, options: { size, gate: this.#buffer } };
  }

  /** Waits until so many requests have come to it in all. */
  came(count: number): Promise<void> {
    return until(`request ${count} at the gate`, () => Atomics.load(this.#words, 1) >= count);
  }

  open(): void {
    Atomics.store(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
  }
}
