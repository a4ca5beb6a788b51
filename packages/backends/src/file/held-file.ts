import { close, ftruncate, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import { BlockDriverError } from '../block-driver.js';
import type { HeldDrive, PreparedDrive } from '../block-driver-type.js';
import { checkDiskSize } from '../parse-options.js';
import { imageSizeBytes } from './file-image.js';
import type { FileDriverState } from './image-file.js';
import type { Linux } from './load-linux.js';

/** An image in use: open, and locked as long as it is. All iothreads use its descriptor. */
export class HeldFile implements HeldDrive<FileDriverState> {
  readonly notices: readonly string[];
  readonly #linux: Linux | undefined;
  readonly #stats: Stats;
  readonly #unlock: () => void;
  #prepared: PreparedDrive<FileDriverState>;
  #closed = false;

  constructor(
    prepared: PreparedDrive<FileDriverState>,
    stats: Stats,
    notices: readonly string[],
    linux: Linux | undefined,
    unlock: () => void,
  ) {
    this.#prepared = prepared;
    this.#stats = stats;
    this.notices = notices;
    this.#linux = linux;
    this.#unlock = unlock;
  }

  get prepared(): PreparedDrive<FileDriverState> {
    return this.#prepared;
  }

  async resize(sizeBytes: number): Promise<PreparedDrive<FileDriverState>> {
    const { geometry, state } = this.#prepared;
    const { filename, fd } = state;
    checkDiskSize(filename, sizeBytes);
    if (this.#stats.isBlockDevice()) {
      const now = await imageSizeBytes(filename, { fd, stats: this.#stats }, this.#linux);
      if (sizeBytes !== now) {
        throw new BlockDriverError(
          'ERR_DRIVE_SIZE',
          `${filename}: is a block device of ${now} bytes; it can be given that size only`,
        );
      }
    } else {
      await this.#truncate(sizeBytes);
    }
    return (this.#prepared = { ...this.#prepared, geometry: { ...geometry, sizeBytes } });
  }

  async #truncate(sizeBytes: number): Promise<void> {
    const { geometry, state } = this.#prepared;
    const { filename, fd } = state;
    if (geometry.readOnly) {
      throw new BlockDriverError('ENOTSUP', `${filename}: is open read-only; its size can't be changed`);
    }
    try {
      await promisify(ftruncate)(fd, sizeBytes);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'EIO';
      throw new BlockDriverError(code, `${filename}: can't be given ${sizeBytes} bytes: ${code}`, { cause });
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { fd, direct } = this.#prepared.state;
    this.#unlock();
    await closeAll([fd, direct?.bufferedFd ?? fd]);
  }
}

/** Closes descriptors, each of them once. */
export async function closeAll(fds: readonly number[]): Promise<void> {
  for (const fd of new Set(fds)) await promisify(close)(fd);
}
