import type { DeviceOptions } from '@iothreads/iothread';
import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { ScratchDirectory } from '../load/scratch-directory.js';
import type { Disk } from '../results.js';

const FILE_BYTES = 64 << 20;
const CHUNK_BYTES = 1 << 20;

/** The drives of the experiment. The file is made for the run and only read, is in the page cache by having been written, and goes after it. */
export class Disks {
  readonly #directory: ScratchDirectory;

  private constructor(directory: ScratchDirectory) {
    this.#directory = directory;
  }

  static async create(parent: string): Promise<Disks> {
    const disks = new Disks(await ScratchDirectory.create(parent, 'iothreads-bench-'));
    const file = await open(disks.#filename, 'w');
    try {
      const chunk = randomFillSync(new Uint8Array(CHUNK_BYTES));
      for (let at = 0; at < FILE_BYTES; at += CHUNK_BYTES) await file.write(chunk, 0, CHUNK_BYTES, at);
      // Dirty pages written back in the middle of a cell would be a disturbance of our own making.
      await file.sync();
    } finally {
      await file.close();
    }
    return disks;
  }

  get #filename(): string {
    return join(this.#directory.path, 'disk.img');
  }

  drive(disk: Disk): DeviceOptions['drive'] {
    switch (disk) {
      case 'null-30us':
        return { driver: 'null', latencyNs: 30_000 };
      case 'null-2us':
        return { driver: 'null', latencyNs: 2_000 };
      case 'file':
        return { driver: 'file', filename: this.#filename, readOnly: true };
    }
  }

  /** The file, by the thread pool or by an io_uring. */
  file(aio: 'threads' | 'io_uring'): DeviceOptions['drive'] {
    return { driver: 'file', filename: this.#filename, aio, readOnly: true };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#directory[Symbol.asyncDispose]();
  }
}
