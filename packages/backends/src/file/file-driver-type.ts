import { resolve } from 'node:path';
import * as v from 'valibot';
import type { BlockDriver } from '../block-driver.js';
import type { BlockDriverType, PreparedDrive } from '../block-driver-type.js';
import { parseOptions } from '../parse-options.js';
import { FileDriver, type FileDriverState } from './file-driver.js';
import { imageSizeBytes, openImage } from './file-image.js';

/** A raw image in a file or on a block device. Other formats are never guessed: their bytes would be the disk's. */
export interface FileDriveOptions {
  readonly driver: 'file';
  /** Path, relative to the working directory; its size must be a positive multiple of 512. */
  readonly filename: string;
}

const entries = {
  filename: v.custom<string>(
    (value) => typeof value === 'string' && value.length > 0 && !value.includes('\0'),
    'must be a path',
  ),
};

interface FileOptions {
  readonly filename: string;
}

/** The driver `file`. */
export class FileDriverType implements BlockDriverType<FileOptions, FileDriverState> {
  readonly name = 'file';

  parse(options: unknown, path: string): FileOptions {
    return parseOptions(entries, this.name, options, path);
  }

  async prepare(options: FileOptions, readOnly: boolean): Promise<PreparedDrive<FileDriverState>> {
    // Absolute: the working directory may be another one by the time an iothread opens it.
    const filename = resolve(options.filename);
    const handle = await openImage(filename, readOnly);
    try {
      const sizeBytes = await imageSizeBytes(filename, handle);
      return {
        driver: this.name,
        geometry: { sizeBytes, readOnly, discard: !readOnly, writeZeroes: !readOnly },
        state: { filename },
      };
    } finally {
      await handle.close();
    }
  }

  async open(prepared: PreparedDrive<FileDriverState>): Promise<BlockDriver> {
    const { filename } = prepared.state;
    return new FileDriver(prepared.geometry, filename, await openImage(filename, prepared.geometry.readOnly));
  }
}
