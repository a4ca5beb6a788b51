import type { DriveOptions } from '@iothreads/backends';
import { fixture } from './fixture.js';

const NAMES = ['', 'pread', 'pwrite', 'pwriteEnd', 'flush', 'flushEnd', 'zero'] as const;
export type Call = Exclude<(typeof NAMES)[number], ''>;

/** What disks of `logging-disk.mjs` were asked for, in their order; several disks may share one log. */
export class CallLog {
  readonly #buffer = new SharedArrayBuffer(4 * 65536);
  readonly #words = new Int32Array(this.#buffer);

  drive(options: { name?: number; slow?: boolean; failFlush?: boolean } = {}): DriveOptions {
    return {
      driver: 'module',
      url: fixture('logging-disk.mjs'),
      options: { size: 1 << 20, log: this.#buffer, ...options },
    };
  }

  /** All calls so far: which disk's, and what. */
  get entries(): { name: number; call: Call }[] {
    const count = Atomics.load(this.#words, 0);
    return Array.from(this.#words.slice(1, count + 1), (word) => ({
      name: word >> 4,
      call: NAMES[word & 15] as Call,
    }));
  }

  get calls(): Call[] {
    return this.entries.map(({ call }) => call);
  }

  count(call: Call): number {
    return this.calls.filter((each) => each === call).length;
  }
}
