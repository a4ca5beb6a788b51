import * as v from 'valibot';
import { BlockDriverError, type BlockDriver } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import type { DriveOptions, ParsedDrive } from '../block-driver-types.js';
import type { NestedDrives } from '../nested-drives.js';
import { checkDiskSize, describeValue, diskSizeSchema, isDiskSize, parseOptions } from '../parse-options.js';

/** A window onto another disk: byte n is byte `offset` + n of that one. */
export interface RawDriveOptions {
  readonly driver: 'raw';
  readonly file: DriveOptions;
  /** Where the window begins, bytes, a multiple of 512. Default 0. */
  readonly offset?: number | undefined;
  /** Bytes, a positive multiple of 512. Default: all that is behind `offset`. */
  readonly size?: number | undefined;
}

const entries = {
  file: v.unknown(),
  offset: v.optional(
    v.custom<number>((value) => value === 0 || isDiskSize(value), 'must be a multiple of 512 (bytes)'),
    0,
  ),
  size: v.optional(diskSizeSchema),
};

interface RawOptions {
  readonly file: ParsedDrive;
  readonly offset: number;
  readonly size: number | undefined;
  readonly path: string;
}

/**
 * The driver `raw`. No driver of its own on the iothreads: every driver can begin anywhere on its disk, so that a window
 * costs nothing.
 */
export class RawDriverType implements BlockDriverType<RawOptions> {
  readonly name = 'raw';
  readonly #nested: NestedDrives;

  constructor(nested: NestedDrives) {
    this.#nested = nested;
  }

  parse(options: unknown, path: string): RawOptions {
    const { file, offset, size } = parseOptions(entries, this.name, options, path);
    return { file: this.#nested.parse(file, `${path}.file`), offset, size, path };
  }

  async hold({ file, offset, size, path }: RawOptions, readOnly: boolean): Promise<HeldDrive> {
    const child = await file.type.hold(file.options, readOnly);
    let prepared: PreparedDrive;
    try {
      prepared = windowOnto(child.prepared, offset, size, path);
    } catch (error) {
      await child.close();
      throw error;
    }
    return {
      get prepared() {
        return prepared;
      },
      notices: child.notices,
      resize: async (sizeBytes) => {
        if (size !== undefined) {
          throw new BlockDriverError('ENOTSUP', `${path}: its size is fixed by the option "size"`);
        }
        checkDiskSize(path, sizeBytes);
        return (prepared = windowOnto(await child.resize(offset + sizeBytes), offset, size, path));
      },
      close: () => child.close(),
    };
  }

  /** Never called: what is prepared is the child's, with another beginning. */
  open(): Promise<BlockDriver> {
    return Promise.reject(
      new BlockDriverError('ENOTSUP', 'a window is opened by the driver of the disk it is on'),
    );
  }
}

/** @throws BlockDriverError `ERR_DRIVE_SIZE` when the window is not inside the disk */
function windowOnto(
  child: PreparedDrive,
  offset: number,
  size: number | undefined,
  path: string,
): PreparedDrive {
  const behind = child.geometry.sizeBytes - offset;
  if (behind <= 0) {
    throw new BlockDriverError(
      'ERR_DRIVE_SIZE',
      `${path}.offset: must be inside the disk of ${child.geometry.sizeBytes} bytes, got ${describeValue(offset)}`,
    );
  }
  const sizeBytes = size ?? behind;
  if (sizeBytes > behind) {
    throw new BlockDriverError(
      'ERR_DRIVE_SIZE',
      `${path}.size: the disk has ${behind} bytes behind the offset, got ${describeValue(sizeBytes)}`,
    );
  }
  return { ...child, offset: child.offset + offset, geometry: { ...child.geometry, sizeBytes } };
}
