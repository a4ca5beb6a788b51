import { type MemoryRegionOptions } from '@iothreads/core';

/** Bytes that belong to no region, before, between and behind the regions: nobody may write them. */
const GUARD_BYTES = 0x100;

/** Rings, headers, status bytes and short tables. */
export const RING_REGION = 0x1_0000;
/** Adjoins it: buffers may span the two. */
export const DATA_REGION = 0x1_1000;
/** Behind a hole. */
export const HOLE = 0x1_2000;
export const SECOND_DATA_REGION = 0x1_3000;
/** For tables that are longer than a chain may be. */
export const TABLE_REGION = 0x2_0000;
/** Above 4 GiB. */
export const FAR_REGION = 0x1_0000_0000;

/** Guest-physical address and bytes of each region. */
export const REGIONS = [
  [RING_REGION, 0x1000],
  [DATA_REGION, 0x1000],
  [SECOND_DATA_REGION, 0x800],
  [TABLE_REGION, 0x4800],
  [FAR_REGION, 0x800],
] as const;

/** Where each region begins in RAM. */
const OFFSETS: readonly number[] = REGIONS.map((_, index) =>
  REGIONS.slice(0, index).reduce((sum, [, size]) => sum + size + GUARD_BYTES, GUARD_BYTES),
);

/** The same as `REGIONS`, for what is asked all the time. */
const STARTS = Float64Array.from(REGIONS, ([start]) => start);
const ENDS = Float64Array.from(REGIONS, ([start, size]) => start + size);

export const RAM_BYTES = OFFSETS.at(-1)! + REGIONS.at(-1)![1] + GUARD_BYTES;

/** What RAM holds before a case has been written into it. */
export const FRESH_RAM: Uint8Array = Uint8Array.from(
  { length: RAM_BYTES },
  (_, i) => (i * 7 + (i >> 8) * 3 + 5) & 0xff,
);

export const regionsOf = (buffer: ArrayBuffer | SharedArrayBuffer): MemoryRegionOptions[] =>
  REGIONS.map(([guestAddress, size], index) => ({
    guestAddress,
    size,
    buffer,
    byteOffset: OFFSETS[index]!,
  }));

/** A part of RAM: where it begins, and its bytes. */
export type RamRange = readonly [offset: number, byteLength: number];

/**
 * Where a guest buffer is in RAM, written down as simply as can be: nothing of the product's.
 * @returns undefined where a byte of it is in no region
 */
export function locate(high: number, low: number, byteLength: number): RamRange[] | undefined {
  const ranges: RamRange[] = [];
  if (high >= 0x1000) return undefined;
  let address = high * 2 ** 32 + low;
  let left = byteLength;
  while (left > 0) {
    const index = indexOfRegion(address);
    if (index === -1) return undefined;
    const part = Math.min(left, ENDS[index]! - address);
    ranges.push([OFFSETS[index]! + address - STARTS[index]!, part]);
    address += part;
    left -= part;
  }
  return ranges;
}

/** Where in RAM a guest address is that is known to be in a region. */
export function offsetOf(address: number): number {
  const index = indexOfRegion(address);
  return OFFSETS[index]! + address - STARTS[index]!;
}

function indexOfRegion(address: number): number {
  for (let i = 0; i < STARTS.length; i++) {
    if (address >= STARTS[i]! && address < ENDS[i]!) return i;
  }
  return -1;
}
