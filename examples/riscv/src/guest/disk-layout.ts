import { DESCRIPTOR_BYTES } from '@iothreads/core';

/** Descriptors of the queue: a power of two. A request takes three. */
export const QUEUE_SIZE = 8;

/**
 * What the driver keeps in RAM for each disk, in bytes from where s1 points: first the three parts of a split virtqueue (virtio 1.3
 * section 2.7), aligned to 16, 2 and 4, and then the parts of its one request.
 */
export const DESCRIPTORS = 0;
/** flags u16, idx u16, ring u16[QUEUE_SIZE] */
export const AVAIL = DESCRIPTORS + QUEUE_SIZE * DESCRIPTOR_BYTES;
export const AVAIL_IDX = AVAIL + 2;
export const AVAIL_RING = AVAIL + 4;
/** flags u16, idx u16, { id u32, len u32 }[QUEUE_SIZE] */
export const USED = 160;
export const USED_IDX = USED + 2;

/** type u32, reserved u32, sector u64 (5.2.6) */
export const HEADER = 256;
export const STATUS = 272;
export const DATA = 512;

export const DISK_BYTES = 1024;

/** Offsets of a descriptor's fields: address u64, length u32, flags u16, next u16 (2.7.5). */
export const DESC_ADDRESS = 0;
export const DESC_LENGTH = 8;
export const DESC_FLAGS = 12;
export const DESC_NEXT = 14;
