import { BlockOperation } from '@iothreads/core';
import { type HostileGuest, NEXT, type RawDescriptor, WRITE } from './hostile-guest.js';
import { inMemory, ok, onDisk, type Row } from './row.js';

/** A buffer of a request: name of its place in the guest's memory, offset in it, bytes, and whether the device writes it. */
export type Part = readonly [
  place: 'header' | 'data' | 'status',
  offset: number,
  byteLength: number,
  flags?: number,
];

/** One request as a driver frames it, and everything that must come of it. */
export interface FramedRequest extends Omit<Row, 'build' | 'filled'> {
  readonly type: number;
  readonly parts: readonly Part[];
  /** Ranges of a discard or write-zeroes, put into the data buffer: sector, sectors, flags. */
  readonly ranges?: readonly (readonly [sector: number | bigint, sectors: number, flags: number])[];
  /** What the data buffer must hold afterwards, from its first byte on; all else must be as it was. */
  readonly data?: Uint8Array;
}

export const HEADER: Part = ['header', 0, 16];
export const STATUS: Part = ['status', 0, 1, WRITE];
export const readInto = (byteLength: number, offset: number = 0): Part => ['data', offset, byteLength, WRITE];
export const writeFrom = (byteLength: number, offset: number = 0): Part => ['data', offset, byteLength];

export const readOk = (sector: number, byteLength: number) => ({
  ...ok,
  sector,
  usedLength: byteLength + 1,
  operations: [BlockOperation.READ],
  data: onDisk(sector * 512, byteLength),
});
export const writeOk = (sector: number, bytes: Uint8Array = inMemory(0, 512)) => ({
  ...ok,
  sector,
  operations: [BlockOperation.WRITE],
  written: [sector * 512, bytes] as const,
});
export const done = (operation: BlockOperation) => ({ ...ok, operations: [operation] });

/** Each part is a descriptor. */
export const rowsOf = (requests: readonly FramedRequest[]): readonly Row[] => requests.map(rowOf);

const rowOf = ({ parts, ranges, data, ...row }: FramedRequest): Row => ({
  ...row,
  build: (guest) => {
    putRanges(guest, ranges ?? []);
    return parts.map(([place, offset, byteLength, flags = 0], i): RawDescriptor => ({
      address: guest[place] + offset,
      byteLength,
      flags: flags | (i + 1 < parts.length ? NEXT : 0),
    }));
  },
  ...(data === undefined ? {} : { filled: (guest: HostileGuest) => [[guest.data, data] as const] }),
});

function putRanges(guest: HostileGuest, ranges: NonNullable<FramedRequest['ranges']>): void {
  const view = guest.allocator.view(guest.data, 8192);
  for (const [i, [sector, sectors, flags]] of ranges.entries()) {
    view.setBigUint64(i * 16, BigInt(sector), true);
    view.setUint32(i * 16 + 8, sectors, true);
    view.setUint32(i * 16 + 12, flags, true);
  }
}
