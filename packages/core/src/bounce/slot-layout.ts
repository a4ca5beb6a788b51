import {
  availRingBytes,
  DESCRIPTOR_BYTES,
  usedRingBytes,
  type VirtqueueAddresses,
} from '../virtqueue/split-ring.js';
import { REQUEST_HEADER_BYTES } from '../virtio-blk/constants.js';

/**
 * The shared memory that a device's requests are copied through. Each queue has a part of its own:
 *
 * descriptor table, avail ring, used ring | a header for each slot | a status for each slot | the slots' data
 */

export const DEFAULT_SLOTS = 32;
export const DEFAULT_SLOT_BYTES = 512 * 1024;

/** Descriptors of a slot, always chained in this order: those that a request doesn't need have no length. */
export const SLOT_DESCRIPTORS = 4;
export const HEADER_DESCRIPTOR = 0;
export const OUT_DESCRIPTOR = 1;
export const IN_DESCRIPTOR = 2;
export const STATUS_DESCRIPTOR = 3;

/** Headers and statuses of different slots don't share this many bytes. */
const CELL_BYTES = REQUEST_HEADER_BYTES;
/** Data begins at pages: disks that bypass the page cache want that. */
const DATA_ALIGNMENT = 4096;
/** The least that Linux accepts as size_max; no page is split. */
const LEAST_SIZE_MAX = 4096;
/** Data segments of a request: enough for a slot of the default size in scattered pages. */
const MOST_SEGMENTS = 128;

/** Where the parts of one queue are, in bytes from the beginning of the shared memory. */
export interface QueueLayout {
  readonly ring: VirtqueueAddresses;
  readonly headers: number;
  readonly statuses: number;
  readonly data: number;
}

const align = (offset: number, alignment: number): number => Math.ceil(offset / alignment) * alignment;

/** Lays out queue `index`; `end` is where the next one begins. */
export function layOutQueue(
  index: number,
  slots: number,
  slotBytes: number,
): QueueLayout & { readonly end: number } {
  // A power of two, as `slots` is.
  const size = slots * SLOT_DESCRIPTORS;
  const availRing = size * DESCRIPTOR_BYTES;
  const usedRing = align(availRing + availRingBytes(size), 64);
  const headers = align(usedRing + usedRingBytes(size), 64);
  const statuses = headers + slots * CELL_BYTES;
  const data = align(statuses + slots * CELL_BYTES, DATA_ALIGNMENT);
  const start = index * (data + slots * slotBytes);
  return {
    ring: { size, descriptorTable: start, availRing: start + availRing, usedRing: start + usedRing },
    headers: start + headers,
    statuses: start + statuses,
    data: start + data,
    end: start + data + slots * slotBytes,
  };
}

export const headerAt = (layout: QueueLayout, slot: number): number => layout.headers + slot * CELL_BYTES;
export const statusAt = (layout: QueueLayout, slot: number): number => layout.statuses + slot * CELL_BYTES;

/** What drivers are told so that their requests fit: `sizeMax` times `segMax` is at most `slotBytes`. */
export function limitsOfSlots(
  slotBytes: number,
  queueSize: number,
): { readonly sizeMax: number; readonly segMax: number } {
  const segMax = Math.max(1, Math.min(MOST_SEGMENTS, queueSize - 2, slotBytes / LEAST_SIZE_MAX));
  return { segMax, sizeMax: 2 ** Math.floor(Math.log2(slotBytes / segMax)) };
}
