import { BlockDriverError, type BlockDriver, type BlockDriverContext } from './block-driver.js';
import type { PreparedDrive } from './block-driver-type.js';
import type { ParsedDrive } from './block-driver-types.js';

/** Drives inside each other, at most: options may come from anywhere, and name themselves. */
export const MAX_NESTED_DRIVES = 16;

/** The drives that are made of another one: how they get at it. One for all kinds of them, since they may alternate. */
export class NestedDrives {
  /** Opens the drive inside, on the iothread. */
  readonly open: (prepared: PreparedDrive, context: BlockDriverContext) => Promise<BlockDriver>;
  readonly #parseDrive: (drive: unknown, path: string) => ParsedDrive;
  #depth = 0;

  constructor(parseDrive: NestedDrives['parse'], openDrive: NestedDrives['open']) {
    this.#parseDrive = parseDrive;
    this.open = openDrive;
  }

  /** Checks the drive inside. @throws BlockDriverError `ERR_DRIVE_OPTION` */
  parse(drive: unknown, path: string): ParsedDrive {
    if (this.#depth === MAX_NESTED_DRIVES) {
      throw new BlockDriverError(
        'ERR_DRIVE_OPTION',
        `${path}: more than ${MAX_NESTED_DRIVES} drives inside each other`,
      );
    }
    this.#depth++;
    try {
      return this.#parseDrive(drive, path);
    } finally {
      this.#depth--;
    }
  }
}
