import { BlockDriverError, type BlockDriver, type BlockDriverContext } from './block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from './block-driver-type.js';
import { BlkdebugDriverType, type BlkdebugDriveOptions } from './blkdebug/blkdebug-driver-type.js';
import {
  BlklogwritesDriverType,
  type BlklogwritesDriveOptions,
} from './blklogwrites/blklogwrites-driver-type.js';
import { FileDriverType, type FileDriveOptions } from './file/file-driver-type.js';
import { MemoryDriverType, type MemoryDriveOptions } from './memory/memory-driver-type.js';
import { ModuleDriverType, type ModuleDriveOptions } from './module/module-driver-type.js';
import { NestedDrives } from './nested-drives.js';
import { NullDriverType, type NullDriveOptions } from './null/null-driver-type.js';
import { describeValue, isPlainObject } from './parse-options.js';
import { RawDriverType, type RawDriveOptions } from './raw/raw-driver-type.js';

/** A disk as a user writes it down: `driver` says which kind, the other fields are that driver's options. */
export type DriveOptions =
  | BlkdebugDriveOptions
  | BlklogwritesDriveOptions
  | FileDriveOptions
  | MemoryDriveOptions
  | ModuleDriveOptions
  | NullDriveOptions
  | RawDriveOptions;

/** A drive whose options have been checked; defaults are filled in. */
export interface ParsedDrive {
  readonly type: BlockDriverType;
  /** What `type.parse` returned; means something to `type.hold` alone. */
  readonly options: unknown;
}

const nested = new NestedDrives(parseDrive, openDrive);

const types: ReadonlyMap<string, BlockDriverType> = new Map(
  [
    new FileDriverType(),
    new MemoryDriverType(),
    new ModuleDriverType(),
    new NullDriverType(),
    new RawDriverType(nested),
    new BlkdebugDriverType(nested),
    new BlklogwritesDriverType(nested),
  ].map((type): [string, BlockDriverType] => [type.name, type]),
);

/** @throws BlockDriverError `ERR_DRIVE_OPTION`, listing the known drivers, when there is none of that name. */
export function driverType(name: string): BlockDriverType {
  const type = types.get(name);
  if (type === undefined) throw new BlockDriverError('ERR_DRIVE_OPTION', unknownDriver(name));
  return type;
}

/**
 * Checks a drive that may come from anywhere: a literal, a JSON file, a command line.
 *
 * @param path what error messages call it; the fields follow behind a dot (`drive.size`)
 * @throws BlockDriverError `ERR_DRIVE_OPTION`, one line that names the field
 */
export function parseDrive(drive: unknown, path = 'drive'): ParsedDrive {
  if (!isPlainObject(drive)) {
    throw new BlockDriverError(
      'ERR_DRIVE_OPTION',
      `${path}: must be an object with the field "driver", got ${describeValue(drive)}`,
    );
  }
  const { driver, ...options } = drive;
  const type = typeof driver === 'string' ? types.get(driver) : undefined;
  if (type === undefined) {
    throw new BlockDriverError('ERR_DRIVE_OPTION', `${path}.driver: ${unknownDriver(driver)}`);
  }
  return { type, options: type.parse(options, path) };
}

/**
 * Opens and checks a drive once, on the controlling thread, for as long as a device or a node uses it. What its `prepared`
 * says survives structured cloning.
 *
 * @param readOnly the device is to be read-only whatever the disk allows
 * @param path what error messages call the drive
 * @throws BlockDriverError when an option is wrong or the disk can't be used
 */
export async function holdDrive(drive: DriveOptions, readOnly = false, path = 'drive'): Promise<HeldDrive> {
  const { type, options } = parseDrive(drive, path);
  return type.hold(options, readOnly);
}

/**
 * Opens a drive that is held on the thread that is to own it.
 *
 * @throws BlockDriverError when the disk can't be opened (any more)
 */
export async function openDrive(prepared: PreparedDrive, context: BlockDriverContext): Promise<BlockDriver> {
  return driverType(prepared.driver).open(prepared, context);
}

function unknownDriver(name: unknown): string {
  return `unknown driver ${describeValue(name)} (known: ${[...types.keys()].join(', ')})`;
}
