import * as v from 'valibot';
import { BlockDriverError, type BlockDriver } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import { fixedDrive } from '../fixed-drive.js';
import { diskSizeSchema, isDiskSize, parseOptions } from '../parse-options.js';
import { MemoryDriver, type MemoryDriverState } from './memory-driver.js';

/** A disk in memory, gone with the process. Either `size` or `buffer` is needed. */
export interface MemoryDriveOptions {
  readonly driver: 'memory';
  /** Bytes, a positive multiple of 512; beside `buffer` it must be the buffer's own. */
  readonly size?: number | undefined;
  /** The disk's contents, shared with whoever made it. Without it the disk begins as zeroes. */
  readonly buffer?: SharedArrayBuffer | undefined;
}

const entries = {
  size: v.optional(diskSizeSchema),
  buffer: v.optional(v.instance(SharedArrayBuffer, 'must be a SharedArrayBuffer')),
};

interface MemoryOptions {
  readonly size: number;
  readonly buffer: SharedArrayBuffer | undefined;
}

/** The driver `memory`. */
export class MemoryDriverType implements BlockDriverType<MemoryOptions, MemoryDriverState> {
  readonly name = 'memory';

  parse(options: unknown, path: string): MemoryOptions {
    const { size, buffer } = parseOptions(entries, this.name, options, path);
    if (buffer === undefined) {
      if (size === undefined) {
        throw new BlockDriverError('ERR_DRIVE_OPTION', `${path}.size: needed where there is no buffer`);
      }
      return { size, buffer };
    }
    if (!isDiskSize(buffer.byteLength)) {
      throw new BlockDriverError(
        'ERR_DRIVE_OPTION',
        `${path}.buffer: must have a positive multiple of 512 bytes, has ${buffer.byteLength}`,
      );
    }
    if (size !== undefined && size !== buffer.byteLength) {
      throw new BlockDriverError(
        'ERR_DRIVE_OPTION',
        `${path}.size: is ${size}, but the buffer has ${buffer.byteLength} bytes; leave one of the two out`,
      );
    }
    return { size: buffer.byteLength, buffer };
  }

  async hold({ size, buffer }: MemoryOptions, readOnly: boolean): Promise<HeldDrive<MemoryDriverState>> {
    return fixedDrive('a memory disk', {
      driver: this.name,
      geometry: { sizeBytes: size, readOnly, discard: !readOnly, writeZeroes: !readOnly },
      offset: 0,
      state: { buffer: buffer ?? allocate(size) },
    });
  }

  async open(prepared: PreparedDrive<MemoryDriverState>): Promise<BlockDriver> {
    return new MemoryDriver(prepared);
  }
}

function allocate(size: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(size);
  } catch (error) {
    throw new BlockDriverError('ERR_DRIVE_SIZE', `memory disk: can't allocate ${size} bytes`, {
      cause: error,
    });
  }
}
