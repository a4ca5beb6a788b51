import * as v from 'valibot';
import { BlockDriverError, type BlockDriver } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import { fixedDrive } from '../fixed-drive.js';
import { parseOptions } from '../parse-options.js';
import { ModuleDriver } from './module-driver.js';
import { loadUserDisk, messageOf, moduleError, resolveModuleUrl } from './module-loader.js';
import type { UserDisk } from './user-disk.js';

/** A disk of your own: a module whose default export, or export `createDisk`, is a `UserDisk` or makes one. */
export interface ModuleDriveOptions {
  readonly driver: 'module';
  /** A file URL, a path (a relative one begins with `./` or `../`) or the name of a package. */
  readonly url: string;
  /** Handed to the module's function; anything that survives structured cloning. */
  readonly options?: unknown;
}

const entries = {
  url: v.custom<string>(
    (value) => typeof value === 'string' && value.length > 0,
    'must be a file URL, a path or the name of a package',
  ),
  options: v.optional(v.unknown()),
};

interface ModuleOptions {
  readonly url: string;
  readonly options?: unknown;
}

/** What an iothread needs to load the disk. */
export interface ModuleDriverState {
  /** What to import: a URL, whatever the working directory is. */
  readonly url: string;
  readonly options: unknown;
  /** What the disk said its size was, bytes. */
  readonly size: number;
}

/** The driver `module`. */
export class ModuleDriverType implements BlockDriverType<ModuleOptions, ModuleDriverState> {
  readonly name = 'module';

  parse(options: unknown, path: string): ModuleOptions {
    const parsed = parseOptions(entries, this.name, options, path);
    try {
      return { url: parsed.url, options: structuredClone(parsed.options) };
    } catch (error) {
      throw new BlockDriverError(
        'ERR_DRIVE_OPTION',
        `${path}.options: must survive structured cloning: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  async hold(options: ModuleOptions, readOnly: boolean): Promise<HeldDrive<ModuleDriverState>> {
    const url = resolveModuleUrl(options.url);
    // A clone of its own, like the one an iothread gets: what the module does to it stays there.
    const disk = await loadUserDisk(url, structuredClone(options.options));
    const writable = !readOnly && disk.readOnly !== true && disk.pwrite !== undefined;
    const prepared = {
      driver: this.name,
      geometry: {
        sizeBytes: disk.size,
        readOnly: !writable,
        discard: writable && disk.trim !== undefined,
        writeZeroes: writable,
      },
      offset: 0,
      state: { url, options: options.options, size: disk.size },
    };
    await closeDisk(url, disk);
    return fixedDrive(url, prepared);
  }

  async open(prepared: PreparedDrive<ModuleDriverState>): Promise<BlockDriver> {
    const { url, options, size } = prepared.state;
    const disk = await loadUserDisk(url, structuredClone(options));
    const sizeNow = disk.size;
    if (sizeNow !== size) {
      await closeDisk(url, disk);
      throw moduleError(url, `the disk's size was ${size} and is ${sizeNow} now`);
    }
    return new ModuleDriver(prepared.geometry, prepared.offset, disk);
  }
}

async function closeDisk(url: string, disk: UserDisk): Promise<void> {
  try {
    await disk.close?.();
  } catch (error) {
    throw moduleError(url, `the disk could not be closed: ${messageOf(error)}`, error);
  }
}
