import {
  type BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_IN,
  VIRTQ_DESC_F_INDIRECT,
} from '@iothreads/core';
import { expect } from 'vitest';
import { firstDifference } from '../support/first-difference.js';
import type { GuestRange } from '../support/memory-snapshot.js';
import type { DiskName } from './disks.js';
import {
  type Completion,
  diskPattern,
  freshDisk,
  type HostileGuest,
  NEXT,
  NO_STATUS,
  pattern,
  type RawDescriptor,
  WRITE,
} from './hostile-guest.js';

export const INDIRECT = VIRTQ_DESC_F_INDIRECT;

/** What a ring is to be like. */
export interface RingTraits {
  /** Default 8. */
  readonly queueSize?: number;
  /** Whether indirect descriptors are negotiated; default true. */
  readonly indirect?: boolean;
}

/** One row of the tables: what a driver puts into a ring, and everything that must come of it, whoever serves it. */
export interface Row {
  readonly what: string;
  /** Default `plain`. */
  readonly disk?: DiskName;
  readonly ring?: RingTraits;
  /** Of the header that is put into its place; default a read at sector 0. */
  readonly type?: number;
  readonly sector?: number | bigint;
  readonly reserved?: number;
  /** Prepares memory. @returns the descriptors, from index 0 on */
  readonly build: (guest: HostileGuest) => readonly RawDescriptor[];
  /** Heads made available; default 0 alone. */
  readonly heads?: readonly number[];
  /** undefined: the request's own status byte must not be touched. */
  readonly status?: number;
  /** Of head 0; or all that is given back. */
  readonly usedLength?: number;
  readonly completions?: readonly Completion[];
  /** What guest memory must hold afterwards; all else must be as it was. */
  readonly filled?: (guest: HostileGuest) => readonly (readonly [address: number, bytes: Uint8Array])[];
  /** What the disk must hold, by byte offset; all else must be as it was. */
  readonly written?: readonly [position: number, bytes: Uint8Array];
  /** Operations that reach the disk, where that can be told. */
  readonly operations?: readonly BlockOperation[];
}

export const headerOf = (guest: HostileGuest, flags: number = NEXT): RawDescriptor => ({
  address: guest.header,
  byteLength: 16,
  flags,
});
export const dataOf = (guest: HostileGuest, flags: number, byteLength: number = 512): RawDescriptor => ({
  address: guest.data,
  byteLength,
  flags,
});
export const statusOf = (guest: HostileGuest, flags: number = WRITE): RawDescriptor => ({
  address: guest.status,
  byteLength: 1,
  flags,
});
export const tableOf = (guest: HostileGuest, count: number, flags: number = INDIRECT): RawDescriptor => ({
  address: guest.table,
  byteLength: count * 16,
  flags,
});

/** What a fresh disk holds from a byte on. */
export const onDisk = (position: number, byteLength: number): Uint8Array =>
  Uint8Array.from({ length: byteLength }, (_, i) => diskPattern(position + i));
/** What a fresh guest's data buffer holds from a byte on. */
export const inMemory = (offset: number, byteLength: number): Uint8Array =>
  Uint8Array.from({ length: byteLength }, (_, i) => pattern(offset + i));

export const ok = { status: VIRTIO_BLK_S_OK, usedLength: 1 };
export const ioError = { status: VIRTIO_BLK_S_IOERR, usedLength: 1 };
export const unsupported = { status: VIRTIO_BLK_S_UNSUPP, usedLength: 1 };
export const lost = { usedLength: 0 };

/** Has a guest do what a row says, and looks at everything that came of it. */
export async function expectRow(guest: HostileGuest, row: Row): Promise<void> {
  guest.writeHeader(row.type ?? VIRTIO_BLK_T_IN, row.sector, row.reserved);
  guest.writeChain(row.build(guest));
  const completions = await guest.serve(...(row.heads ?? [0]));
  expect(completions.toSorted(byHead)).toEqual(
    (row.completions ?? [{ head: 0, usedLength: row.usedLength! }]).toSorted(byHead),
  );
  expect(guest.statusByte).toBe(row.status ?? NO_STATUS);
  const changed: GuestRange[] = row.status === undefined ? [] : [[guest.status, 1]];
  for (const [address, bytes] of row.filled?.(guest) ?? []) {
    expect(guest.copyOf(address, bytes.length)).toEqual(bytes);
    changed.push([address, bytes.length]);
  }
  expect(guest.strayWrites(...changed)).toEqual([]);
  const disk = guest.diskBytes;
  if (disk === undefined) return;
  const wanted = freshDisk();
  if (row.written !== undefined) wanted.set(row.written[1], row.written[0]);
  expect(firstDifference(disk, wanted)).toBe(-1);
}

/** Rings don't promise an order. */
const byHead = (a: Completion, b: Completion): number => a.head - b.head;
