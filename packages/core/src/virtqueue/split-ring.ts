import type { GuestMemory } from '../memory/guest-memory.js';
import type { MemoryRegion } from '../memory/memory-region.js';
import { VirtioError } from '../virtio-error.js';

/**
 * Layout of a split virtqueue, virtio 1.3 section 2.7. All fields are little-endian; typed arrays read them in the
 * host's order, so a big-endian host is refused.
 */

/** Largest queue that the ring's 16-bit indexes allow (2.7.1). */
export const MAX_QUEUE_SIZE = 32768;

/** Descriptor: address u64 @0, length u32 @8, flags u16 @12, next u16 @14 (2.7.5). */
export const DESCRIPTOR_BYTES = 16;
/** Descriptor flags (2.7.5): the chain goes on at `next` … */
export const VIRTQ_DESC_F_NEXT = 1;
/** … the buffer is for the device to write … */
export const VIRTQ_DESC_F_WRITE = 2;
/** … the buffer holds a table of descriptors. */
export const VIRTQ_DESC_F_INDIRECT = 4;

/** Available ring: flags u16 @0, idx u16 @2, ring u16[size] @4, used_event u16 after it (2.7.6). */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** Used ring: flags u16 @0, idx u16 @2, {id u32, length u32}[size] @4, avail_event u16 after it (2.7.8). */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Alignment that the specification demands of the three parts (2.7). */
const DESCRIPTOR_ALIGNMENT = 16;
const AVAIL_ALIGNMENT = 2;
const USED_ALIGNMENT = 4;

/** Where the driver has put a virtqueue: guest-physical addresses. */
export interface VirtqueueAddresses {
  /** Number of descriptors, a power of two. */
  readonly size: number;
  readonly descriptorTable: number;
  readonly availRing: number;
  readonly usedRing: number;
}

/** Bytes of an available ring for `size` descriptors, `used_event` included. */
export const availRingBytes = (size: number): number => 6 + 2 * size;
/** Bytes of a used ring for `size` descriptors, `avail_event` included. */
export const usedRingBytes = (size: number): number => 6 + 8 * size;

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
  throw new VirtioError('ERR_DEVICE_OPTION', 'virtqueues are little-endian and this host is not');
}

/** Typed arrays over the three parts of a ring, as both the device and the driver side use them. */
export class SplitRing {
  readonly size: number;
  /** Four words a descriptor: address low, address high, length, flags | next << 16. */
  readonly descriptors: Uint32Array;
  /** flags, idx, ring…, used_event. */
  readonly avail: Uint16Array;
  /** flags, idx and avail_event as 16-bit units … */
  readonly used16: Uint16Array;
  /** … and the used elements as 32-bit units: element i is words 1 + 2i (id) and 2 + 2i (length). */
  readonly used32: Uint32Array;
  /** Index of used_event in `avail`. */
  readonly usedEventIndex: number;
  /** Index of avail_event in `used16`. */
  readonly availEventIndex: number;

  /**
   * @throws VirtioError `ERR_QUEUE_SIZE` for a size that is 0, no power of two or above `maxSize`;
   * `ERR_QUEUE_ADDRESS` for a part that is misaligned or not wholly inside one region
   */
  constructor(memory: GuestMemory, addresses: VirtqueueAddresses, maxSize: number = MAX_QUEUE_SIZE) {
    const { size } = addresses;
    if (!Number.isInteger(size) || size < 1 || size > maxSize || (size & (size - 1)) !== 0) {
      throw new VirtioError(
        'ERR_QUEUE_SIZE',
        `queue size must be a power of two, 1 to ${maxSize}, got ${size}`,
      );
    }
    const part = (
      name: string,
      address: number,
      bytes: number,
      alignment: number,
    ): [MemoryRegion, number] => {
      const region =
        Number.isSafeInteger(address) && address >= 0 && address % alignment === 0
          ? memory.regionOf(address, bytes)
          : undefined;
      if (region === undefined) {
        throw new VirtioError(
          'ERR_QUEUE_ADDRESS',
          `${name} of ${bytes} bytes at ${address} must be aligned to ${alignment} and lie in one memory region`,
        );
      }
      return [region, region.byteOffset + (address - region.guestAddress)];
    };
    const [descRegion, desc] = part(
      'descriptor table',
      addresses.descriptorTable,
      size * DESCRIPTOR_BYTES,
      DESCRIPTOR_ALIGNMENT,
    );
    const [availRegion, avail] = part(
      'avail ring',
      addresses.availRing,
      availRingBytes(size),
      AVAIL_ALIGNMENT,
    );
    const [usedRegion, used] = part('used ring', addresses.usedRing, usedRingBytes(size), USED_ALIGNMENT);
    this.size = size;
    this.descriptors = new Uint32Array(descRegion.buffer, desc, size * 4);
    this.avail = new Uint16Array(availRegion.buffer, avail, 3 + size);
    this.used16 = new Uint16Array(usedRegion.buffer, used, 3 + 4 * size);
    this.used32 = new Uint32Array(usedRegion.buffer, used, 1 + 2 * size);
    this.usedEventIndex = 2 + size;
    this.availEventIndex = 2 + 4 * size;
  }
}

/** Indexes of the flags and of the running index in both rings. */
export const RING_FLAGS = 0;
export const RING_IDX = 1;
export const RING_ENTRIES = 2;

/**
 * Whether moving an index from `before` to `after` passes `event` (2.7.7.1, 2.7.9.1): the other side wants to hear of it.
 * All are 16-bit and wrap.
 */
export function passesEvent(event: number, after: number, before: number): boolean {
  return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff);
}
