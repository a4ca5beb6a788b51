import { SECTOR_SIZE } from './constants.js';

/** What a virtio-blk device promises its driver, and holds requests to. */
export interface BlockLimits {
  /** Capacity in 512-byte sectors, at most `MAX_CAPACITY_SECTORS`. */
  readonly capacitySectors: number;
  readonly readOnly: boolean;
  /** VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES are offered. */
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  /** The serial number that GET_ID answers: at most 20 bytes. */
  readonly serial: Uint8Array;
}

/** Ranges in one discard or write-zeroes request. QEMU's exports allow one. */
export const MAX_RANGES = 1;
/** Sectors in one range: 16 MiB, so that one request can't keep a disk for long. */
export const MAX_RANGE_SECTORS = 32768;

/** Bytes of data in one request, QEMU's bound: descriptors may name the same memory again and again. */
export const MAX_TRANSFER_BYTES = 2 ** 31 - SECTOR_SIZE;

/** Largest capacity: every byte offset on the disk is then exact as a number. */
export const MAX_CAPACITY_SECTORS = 2 ** 44 - 1;
