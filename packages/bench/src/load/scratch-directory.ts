import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';

/** A directory for image files that is gone when it is disposed of, and at the latest with the process. */
export class ScratchDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #remove = (): void => {
    rmSync(this.path, { recursive: true, force: true });
  };

  private constructor(path: string) {
    this.path = path;
    process.once('exit', this.#remove);
  }

  static async create(parent: string, prefix: string): Promise<ScratchDirectory> {
    return new ScratchDirectory(await mkdtemp(join(parent, prefix)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#remove);
    this.#remove();
    return Promise.resolve();
  }
}
