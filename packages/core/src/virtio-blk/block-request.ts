import type { MemoryRegion } from '../memory/memory-region.js';
import { SegmentList } from '../memory/segment-list.js';

/** What a driver is asked to do. A const object instead of an enum, so that the source stays plain JavaScript. */
export const BlockOperation = {
  READ: 0,
  WRITE: 1,
  FLUSH: 2,
  DISCARD: 3,
  WRITE_ZEROES: 4,
  GET_ID: 5,
} as const;
export type BlockOperation = (typeof BlockOperation)[keyof typeof BlockOperation];

/** A virtio-blk status byte: 0 OK, 1 IOERR, 2 UNSUPP. */
export type BlockStatus = 0 | 1 | 2;

/** Where a request's completion goes: the device that popped it. */
export interface RequestOwner {
  /** The driver has completed a request; its status byte is still to be written. */
  requestDone(request: BlockRequest, status: BlockStatus): void;
  /** A driver completed a request that was not its own any more. */
  completedTwice(request: BlockRequest): void;
}

/**
 * One virtio-blk request, parsed and checked, from its descriptor chain to its status byte. Pooled: the object is used
 * again for another request once it has completed, which is why a completion names the `tag` it was submitted under.
 */
export class BlockRequest {
  /** What to do; GET_ID never reaches a driver. */
  operation: BlockOperation = BlockOperation.READ;
  /** Byte offset on the disk of a READ or WRITE; within the capacity. */
  position = 0;
  /** Guest memory that the device may read, in the chain's order; the header is taken off by parsing. */
  readonly readable = new SegmentList();
  /** Guest memory that the device may write, in the chain's order; the status byte is taken off by parsing. */
  readonly writable = new SegmentList();
  /** Guest memory to fill (READ: `writable`) or to take from (WRITE: `readable`). A multiple of 512 bytes. */
  data: SegmentList = this.readable;
  /** DISCARD, WRITE_ZEROES: how many ranges there are in the arrays below; all within the capacity. */
  rangeCount = 0;
  /** Byte offset on the disk of each range. */
  readonly rangePositions: number[] = [];
  /** Bytes of each range. */
  readonly rangeLengths: number[] = [];
  /** WRITE_ZEROES: 1 where the range may be deallocated instead of written. */
  readonly rangeUnmaps: number[] = [];

  /**
   * Why the driver failed it: an errno name ('ENOSPC'), or another stable code; '' where it has not said. Set by the driver before
   * it completes the request, and means nothing beside any other status than IOERR.
   */
  errorCode = '';

  /** Changes with every use of this object: a completion under an old tag is a mistake of the driver's. */
  tag = 0;

  // What follows belongs to the device that popped the request; drivers leave it alone.

  /** Head of the descriptor chain. */
  head = 0;
  /** Where it stands among the device's others: by when they were popped. Wraps around at 32 bits. */
  order = 0;
  /** Its status, once that is settled, be it by parsing or by the driver; -1 before. */
  settled: BlockStatus | -1 = -1;
  /** Region and offset of the status byte; `statusOffset` is -1 where the chain has none. */
  statusRegion: MemoryRegion | undefined = undefined;
  statusOffset = -1;
  /** When it was popped and when it was submitted, nanoseconds of the iothread's clock. */
  poppedNs = 0;
  submittedNs = 0;
  /**
   * With how many, itself included, it was on its way from `submittedNs` on: those outstanding on the device, or for a
   * synchronous one those that were done one after the other and timed together.
   */
  company = 1;
  /** Whether the dispatcher did it synchronously. */
  sync = false;
  /** A write to a write-through disk has been written and is being flushed. */
  flushing = false;
  /** Index of its virtqueue on the device. */
  queueIndex = 0;
  owner: RequestOwner | undefined = undefined;
  pending = false;

  /** Bytes of data that a READ or WRITE moves; 0 for the others. */
  get byteLength(): number {
    return this.operation <= BlockOperation.WRITE ? this.data.byteLength : 0;
  }

  /**
   * Reports the outcome of a request that a driver took by `submit`. Called exactly once, on the driver's own thread,
   * from within `submit`, `poll` or any later callback.
   *
   * @param tag the `tag` the request had when it was submitted
   */
  complete(tag: number, status: BlockStatus): void {
    const owner = this.owner!;
    if (tag !== this.tag || !this.pending) {
      owner.completedTwice(this);
      return;
    }
    this.pending = false;
    owner.requestDone(this, status);
  }
}
