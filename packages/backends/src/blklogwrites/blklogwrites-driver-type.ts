import * as v from 'valibot';
import type { BlockDriver, BlockDriverContext } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import type { DriveOptions, ParsedDrive } from '../block-driver-types.js';
import { childOf, filterDrive, type FilterState } from '../filter/filter-drive.js';
import type { NestedDrives } from '../nested-drives.js';
import { parseOptions } from '../parse-options.js';
import { BlklogwritesDriver } from './blklogwrites-driver.js';
import { LogWriter } from './log-writer.js';
import { WriteLog, type WriteLogState } from './write-log.js';

/** A drive whose writes and flushes are recorded, in the format of Linux's dm-log-writes. */
export interface BlklogwritesDriveOptions {
  readonly driver: 'blklogwrites';
  /** The drive below. */
  readonly file: DriveOptions;
  /** The file to record into; or a log that is open already, and stays the caller's. */
  readonly log: string | WriteLog;
}

const entries = {
  file: v.unknown(),
  log: v.custom<string | WriteLog>(
    (value) =>
      value instanceof WriteLog || (typeof value === 'string' && value.length > 0 && !value.includes('\0')),
    'must be a path, or a WriteLog',
  ),
};

interface BlklogwritesOptions {
  readonly file: ParsedDrive;
  readonly log: string | WriteLog;
}

/** The driver `blklogwrites`. */
export class BlklogwritesDriverType implements BlockDriverType<BlklogwritesOptions> {
  readonly name = 'blklogwrites';
  readonly #nested: NestedDrives;

  constructor(nested: NestedDrives) {
    this.#nested = nested;
  }

  parse(options: unknown, path: string): BlklogwritesOptions {
    const { file, log } = parseOptions(entries, this.name, options, path);
    return { file: this.#nested.parse(file, `${path}.file`), log };
  }

  async hold({ file, log }: BlklogwritesOptions, readOnly: boolean): Promise<HeldDrive> {
    const child = await file.type.hold(file.options, readOnly);
    try {
      if (log instanceof WriteLog) return blklogwritesDrive(child, log);
      const own = new WriteLog(log);
      return filterDrive(this.name, child, own.state, () => {
        own.close();
      });
    } catch (error) {
      await child.close();
      throw error;
    }
  }

  async open(prepared: PreparedDrive, context: BlockDriverContext): Promise<BlockDriver> {
    const drive = prepared as PreparedDrive<FilterState<WriteLogState>>;
    const log = new LogWriter(drive.state.own, drive.offset);
    return new BlklogwritesDriver(await this.#nested.open(childOf(drive), context), log);
  }
}

/** A record of a drive that is held already; closes with it, while the log stays the caller's. */
export const blklogwritesDrive = (child: HeldDrive, log: WriteLog): HeldDrive =>
  filterDrive('blklogwrites', child, log.state);
