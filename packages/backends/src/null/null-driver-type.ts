import * as v from 'valibot';
import type { BlockDriver, BlockDriverContext } from '../block-driver.js';
import type { BlockDriverType, HeldDrive, PreparedDrive } from '../block-driver-type.js';
import { checkDiskSize, diskSizeSchema, parseOptions } from '../parse-options.js';
import { NullDriver, type NullDriverState } from './null-driver.js';

/** A disk that holds nothing: writes go nowhere, reads bring nothing, and everything takes the same time. */
export interface NullDriveOptions {
  readonly driver: 'null';
  /** Bytes, a positive multiple of 512. Default 1 GiB. */
  readonly size?: number | undefined;
  /** How long every request takes, nanoseconds. Default 0: complete at once. */
  readonly latencyNs?: number | undefined;
  /** Whether reads give zeroes; by default they leave the guest's buffer as it is, which costs nothing. */
  readonly readZeroes?: boolean | undefined;
}

const entries = {
  size: v.optional(diskSizeSchema, 1024 ** 3),
  latencyNs: v.optional(
    v.custom<number>(
      (value) => Number.isSafeInteger(value) && (value as number) >= 0,
      'must be a whole number of nanoseconds, 0 or more',
    ),
    0,
  ),
  readZeroes: v.optional(v.boolean('must be true or false'), false),
};

interface NullOptions extends NullDriverState {
  readonly size: number;
}

/** The driver `null`. */
export class NullDriverType implements BlockDriverType<NullOptions, NullDriverState> {
  readonly name = 'null';

  parse(options: unknown, path: string): NullOptions {
    return parseOptions(entries, this.name, options, path);
  }

  async hold(
    { size, latencyNs, readZeroes }: NullOptions,
    readOnly: boolean,
  ): Promise<HeldDrive<NullDriverState>> {
    const prepare = (sizeBytes: number): PreparedDrive<NullDriverState> => ({
      driver: this.name,
      geometry: { sizeBytes, readOnly, discard: !readOnly, writeZeroes: !readOnly },
      offset: 0,
      state: { latencyNs, readZeroes },
    });
    let prepared = prepare(size);
    return {
      get prepared() {
        return prepared;
      },
      notices: [],
      resize: async (sizeBytes) => {
        checkDiskSize('null disk', sizeBytes);
        return (prepared = prepare(sizeBytes));
      },
      close: async () => {},
    };
  }

  async open(prepared: PreparedDrive<NullDriverState>, context: BlockDriverContext): Promise<BlockDriver> {
    return new NullDriver(prepared.geometry, prepared.state, context);
  }
}
