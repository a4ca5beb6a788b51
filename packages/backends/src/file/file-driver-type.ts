import * as v from 'valibot';
import type { BlockDriver, BlockDriverContext } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import { parseOptions } from '../parse-options.js';
import { FileDriver } from './file-driver.js';
import { holdFile } from './hold-file.js';
import type { FileDriverState } from './image-file.js';

/**
 * A raw image in a file or on a block device. Other formats are never guessed: their bytes would be the disk's.
 *
 * The names are QEMU's. What needs Linux and `@iothreads/linux` is said with it; everything else works everywhere.
 */
export interface FileDriveOptions {
  readonly driver: 'file';
  /** Path, relative to the working directory; its size must be a positive multiple of 512. */
  readonly filename: string;
  /**
   * How asynchronous requests are done: by `io_uring` (Linux; the default there) or by `threads`. `native` is QEMU's name for
   * an older way, and is served by io_uring. Where io_uring can't be had threads take its place.
   */
  readonly aio?: 'io_uring' | 'threads' | 'native' | undefined;
  /** Past the page cache (Linux). Default false. */
  readonly cacheDirect?: boolean | undefined;
  /** Flushes do nothing: what is written is lost if the host crashes. Default false. */
  readonly cacheNoFlush?: boolean | undefined;
  /** Whether what the guest discards is given back to the file system (Linux). Default `ignore`. */
  readonly discard?: 'unmap' | 'ignore' | undefined;
  /**
   * Whether others are kept from writing to the image meanwhile, in QEMU's way, so that it is kept out as well (Linux).
   * `auto`, the default: where the file system has locks.
   */
  readonly locking?: 'on' | 'off' | 'auto' | undefined;
  /** Whatever the device says. Default false. */
  readonly readOnly?: boolean | undefined;
}

const boolean = v.boolean('must be true or false');

const entries = {
  filename: v.custom<string>(
    (value) => typeof value === 'string' && value.length > 0 && !value.includes('\0'),
    'must be a path',
  ),
  aio: v.optional(v.picklist(['io_uring', 'threads', 'native'], 'must be "io_uring", "threads" or "native"')),
  cacheDirect: v.optional(boolean, false),
  cacheNoFlush: v.optional(boolean, false),
  discard: v.optional(v.picklist(['unmap', 'ignore'], 'must be "unmap" or "ignore"'), 'ignore'),
  locking: v.optional(v.picklist(['on', 'off', 'auto'], 'must be "on", "off" or "auto"'), 'auto'),
  readOnly: v.optional(boolean, false),
};

/** `FileDriveOptions` once they have been checked. */
export interface FileOptions {
  readonly filename: string;
  readonly aio?: 'io_uring' | 'threads' | 'native' | undefined;
  readonly cacheDirect: boolean;
  readonly cacheNoFlush: boolean;
  readonly discard: 'unmap' | 'ignore';
  readonly locking: 'on' | 'off' | 'auto';
  readonly readOnly: boolean;
}

/** The driver `file`. */
export class FileDriverType implements BlockDriverType<FileOptions, FileDriverState> {
  readonly name = 'file';

  parse(options: unknown, path: string): FileOptions {
    return parseOptions(entries, this.name, options, path);
  }

  hold(options: FileOptions, readOnly: boolean): Promise<HeldDrive<FileDriverState>> {
    return holdFile(options, readOnly || options.readOnly);
  }

  async open(prepared: PreparedDrive<FileDriverState>, context: BlockDriverContext): Promise<BlockDriver> {
    const { access } = prepared.state;
    if (access === 'node') return new FileDriver(prepared);
    // Not before it is known that they can be loaded: they call C.
    const { openLinuxFile } = await import('./linux/open-linux-file.js');
    return openLinuxFile(prepared, context);
  }
}
