import * as v from 'valibot';
import type { BlockDriver, BlockDriverContext } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import type { DriveOptions, ParsedDrive } from '../block-driver-types.js';
import { childOf, filterDrive, type FilterState } from '../filter/filter-drive.js';
import type { NestedDrives } from '../nested-drives.js';
import { parseOptions } from '../parse-options.js';
import { BlkdebugDriver } from './blkdebug-driver.js';
import type { FaultRule } from './fault-rule.js';
import { FaultRules } from './fault-rules.js';
import { FaultTable } from './fault-table.js';

/** A drive whose requests fail, wait or hang by rules. */
export interface BlkdebugDriveOptions {
  readonly driver: 'blkdebug';
  /** The drive below. */
  readonly image: DriveOptions;
  /** At most 64; or what changes them while the disk is in use. Default: none. */
  readonly rules?: readonly FaultRule[] | FaultRules | undefined;
  /** Of a list of rules: decides on chances. 32 bits; default 0. */
  readonly seed?: number | undefined;
}

const entries = { image: v.unknown(), rules: v.optional(v.unknown()), seed: v.optional(v.unknown()) };

interface BlkdebugOptions {
  readonly image: ParsedDrive;
  readonly rules: FaultRules;
}

/** The driver `blkdebug`. */
export class BlkdebugDriverType implements BlockDriverType<BlkdebugOptions> {
  readonly name = 'blkdebug';
  readonly #nested: NestedDrives;

  constructor(nested: NestedDrives) {
    this.#nested = nested;
  }

  parse(options: unknown, path: string): BlkdebugOptions {
    const { image, rules, seed } = parseOptions(entries, this.name, options, path);
    return { image: this.#nested.parse(image, `${path}.image`), rules: FaultRules.parse(rules, seed, path) };
  }

  async hold({ image, rules }: BlkdebugOptions, readOnly: boolean): Promise<HeldDrive> {
    return blkdebugDrive(await image.type.hold(image.options, readOnly), rules);
  }

  async open(prepared: PreparedDrive, context: BlockDriverContext): Promise<BlockDriver> {
    const drive = prepared as PreparedDrive<FilterState<SharedArrayBuffer>>;
    const faults = new FaultTable(drive.state.own, drive.offset);
    return new BlkdebugDriver(await this.#nested.open(childOf(drive), context), faults, context);
  }
}

/** Faults over a drive that is held already; closes with it. */
export const blkdebugDrive = (child: HeldDrive, rules: FaultRules): HeldDrive =>
  filterDrive('blkdebug', child, rules.buffer);
