import { diskIn, FRESH_DISK } from './device-side.js';
import { DATA_REGION, FRESH_RAM, offsetOf } from './guest-ram.js';
import { DESCRIPTOR_TABLE, HEADERS, type RingCase, STATUSES, writeCase } from './ring-case.js';

const WRITE_SECTOR_3 = HEADERS;
const READ_SECTOR_3 = HEADERS + 16;

/** A driver that does everything right: writes a sector and reads it back. */
export const GOOD_CASE: RingCase = {
  queueSize: 8,
  indirect: true,
  eventIdx: true,
  readOnly: false,
  ranges: true,
  start: 0,
  hold: 1,
  heads: [0, 3],
  ahead: 2,
  descriptors: [
    [DESCRIPTOR_TABLE, 0, WRITE_SECTOR_3, 16, 1, 1],
    [DESCRIPTOR_TABLE + 16, 0, DATA_REGION, 512, 1, 2],
    [DESCRIPTOR_TABLE + 32, 0, STATUSES, 1, 2, 0],
    [DESCRIPTOR_TABLE + 48, 0, READ_SECTOR_3, 16, 1, 4],
    [DESCRIPTOR_TABLE + 64, 0, DATA_REGION + 1024, 512, 3, 5],
    [DESCRIPTOR_TABLE + 80, 0, STATUSES + 1, 1, 2, 0],
  ],
  runs: [],
  words: [
    [WRITE_SECTOR_3, 1],
    [WRITE_SECTOR_3 + 4, 0],
    [WRITE_SECTOR_3 + 8, 3],
    [WRITE_SECTOR_3 + 12, 0],
    [READ_SECTOR_3, 0],
    [READ_SECTOR_3 + 4, 0],
    [READ_SECTOR_3 + 8, 3],
    [READ_SECTOR_3 + 12, 0],
  ],
};

/** Guest memory as this driver has it. */
export const GOOD_RAM = FRESH_RAM.slice();
writeCase(GOOD_CASE, new DataView(GOOD_RAM.buffer));

/** The same driver, reading alone: requests that are in flight together have no order. */
export const GOOD_READ: RingCase = { ...GOOD_CASE, heads: [3], ahead: 0 };

const STATUS = offsetOf(STATUSES);
const WRITTEN = offsetOf(DATA_REGION);
const READ = offsetOf(DATA_REGION + 1024);

/** Whether both have succeeded, and the sector was read as it was written. */
export const isGood = (ram: Uint8Array): boolean =>
  ram[STATUS] === 0 &&
  ram[STATUS + 1] === 0 &&
  Buffer.compare(ram.subarray(WRITTEN, WRITTEN + 512), ram.subarray(READ, READ + 512)) === 0;

/** Whether the one that only reads has got what a fresh disk holds. */
export const hasReadSector = (ram: Uint8Array): boolean =>
  ram[STATUS + 1] === 0 &&
  Buffer.compare(diskIn(FRESH_DISK).subarray(3 * 512, 4 * 512), ram.subarray(READ, READ + 512)) === 0;
