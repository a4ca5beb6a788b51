import { rmSync, statSync, writeFileSync } from 'node:fs';
import { fixture } from '../../support/fixture.js';
import { until } from '../../support/within.js';

/** What is wrong with a disk's completions. */
export type Completes = 'once' | 'twice' | 'late' | 'never';

/** The gate of a `file-gated-disk.mjs` in another process: its requests stay in flight until it is opened. */
export class FileGate {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The `--blockdev` options of such a disk. */
  node(how: Completes): object {
    return {
      driver: 'module',
      url: fixture('file-gated-disk.mjs'),
      options: { gate: this.#path, how },
    };
  }

  /** Shuts it; nobody has come. */
  close(): void {
    for (const path of [this.#path, `${this.#path}.came`, `${this.#path}.went`])
      rmSync(path, { force: true });
  }

  open(): void {
    writeFileSync(this.#path, '');
  }

  /** Waits until so many requests have come to it. */
  async came(count: number): Promise<void> {
    await until(`request ${count} at the gate`, () => this.#count('came') >= count);
  }

  /** Waits until the disk has done so many requests, and whatever it does when they are done. */
  async went(count: number): Promise<void> {
    await until(`request ${count} behind the gate`, () => this.#count('went') >= count);
  }

  #count(what: string): number {
    return statSync(`${this.#path}.${what}`, { throwIfNoEntry: false })?.size ?? 0;
  }
}
