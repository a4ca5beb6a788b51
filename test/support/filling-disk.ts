import type { DriveOptions, FileDriveOptions } from '@iothreads/backends';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture } from './fixture.js';
import { SmallFileSystem } from './small-file-system.js';

const BLOCK_BYTES = 4096;
const MODULE = fixture('limited-disk.mjs');

/**
 * An image that promises more than there is room for: in a file system that is too small, or, where none can be mounted, behind a disk
 * that says so.
 */
export class FillingDisk implements Disposable {
  readonly filename: string;
  /** In the words of `--blockdev`; devices of a runtime take it as well. */
  readonly node: DriveOptions & Readonly<Record<string, unknown>>;
  readonly #fileSystem: SmallFileSystem | undefined;
  readonly #directory: string | undefined;

  /**
   * @param roomBytes what of it can be written at first
   * @param options how its file is used, if it can be one
   */
  constructor(sizeBytes: number, roomBytes: number, options: Pick<FileDriveOptions, 'aio'> = {}) {
    this.#fileSystem = SmallFileSystem.mount(roomBytes);
    const directory = this.#fileSystem?.path ?? mkdtempSync(join(tmpdir(), 'iothreads-filling-'));
    this.filename = join(directory, 'disk.img');
    writeFileSync(this.filename, '');
    truncateSync(this.filename, sizeBytes);
    if (this.#fileSystem !== undefined) {
      this.node = { driver: 'file', filename: this.filename, discard: 'unmap', ...options };
      return;
    }
    this.#directory = directory;
    const names = { filename: this.filename, limit: join(directory, 'limit') };
    this.node = { driver: 'module', url: MODULE, options: names };
    this.makeRoom(roomBytes);
  }

  /** From now on so much of it can be written in all. */
  makeRoom(bytes: number): void {
    if (this.#fileSystem !== undefined) this.#fileSystem.resize(bytes);
    else writeFileSync(join(this.#directory!, 'limit'), String(Math.floor(bytes / BLOCK_BYTES)));
  }

  [Symbol.dispose](): void {
    this.#fileSystem?.[Symbol.dispose]();
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }
}
