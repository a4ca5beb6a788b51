import type { BlockRequest, BlockStatus } from '@iothreads/core';
import type { RingRemains } from '@iothreads/linux';

/** What a disk can do beyond reading; decides which virtio-blk features a device offers. */
export interface BlockGeometry {
  /** Capacity in bytes, a multiple of 512. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
}

/**
 * An open disk, owned by one iothread. Every call is made on that thread; a disk whose queues are spread over several
 * iothreads is opened once on each.
 *
 * Requests arrive checked: data and ranges lie within the capacity and are multiples of 512 bytes, writing operations
 * come only to disks that are not read-only, DISCARD and WRITE_ZEROES only where the geometry offers them. A driver
 * writes guest memory only through `request.data`, only for a READ, and only until it completes the request.
 */
export interface BlockDriver {
  readonly geometry: BlockGeometry;

  /**
   * Does a request on the spot: whatever it takes, the thread waits. Absent when the disk can't work without another
   * thread or a promise; the device then never does synchronous I/O. Never throws: a failure is `VIRTIO_BLK_S_IOERR`.
   */
  readonly executeSync?: (request: BlockRequest) => BlockStatus;

  /**
   * Whether `executeSync` must not be used at present, by a disk that has it. Looked at after requests have been taken from the
   * guest; what is done on the spot all the same, because it was decided before, may not wait.
   */
  readonly asyncOnly?: boolean;

  /**
   * Begins the first `count` requests of `requests`, in order. Each is completed exactly once by
   * `request.complete(tag, status)` under the tag that it has now, from within this call or later. The array is the
   * caller's and is used again afterwards. Never throws.
   */
  submit(requests: readonly BlockRequest[], count: number): void;

  /**
   * Completes what has become ready, for disks that are asked instead of calling back. Called on every turn of a loop
   * that polls. @returns how many requests it completed.
   */
  readonly poll?: (nowNs: number) => number;

  /**
   * For disks with `poll` whose requests become ready at moments that nobody knows: whether `poll` would find one, by a
   * look that costs next to nothing. Such a disk calls `attend` of its context when one becomes ready while the loop sleeps.
   */
  readonly hasReady?: () => boolean;

  /**
   * ... and the loop is about to sleep with requests of the disk's in flight: from now until the next `poll` it must be told
   * by `attend`. @returns whether one is ready already
   */
  readonly arm?: () => boolean;

  /**
   * For disks with `poll`: when the next request becomes ready, nanoseconds of the iothread's clock, Infinity when
   * none is in flight. The loop does not sleep past it.
   */
  readonly nextReadyNs?: () => number;

  /** Gives everything back. No request is in flight. */
  close(): Promise<void>;
}

/** What a driver gets from the iothread that opens it. */
export interface BlockDriverContext {
  /** The iothread's clock: monotonic nanoseconds, the same on every thread of the process. */
  readonly nowNs: () => number;
  /** Gives the disk's device a turn soon, in which `poll` is called. */
  readonly attend: () => void;
  /**
   * The thread has an io_uring from now on, which does not end with it: who outlives the thread has to bury that.
   * @returns to be called right before the ring is closed as it should be
   */
  readonly outlives?: ((remains: RingRemains) => () => void) | undefined;
}

/** A mistake in a drive's options, or a disk that can't be opened. The message names the file or the field. */
export class BlockDriverError extends Error {
  override readonly name = 'BlockDriverError';
  /**
   * Stable: `ERR_DRIVE_OPTION`, `ERR_DRIVE_SIZE`, `ERR_DRIVE_LOCKED`, `ERR_DRIVE_MODULE`, or the errno name of a system error
   * (`ENOENT`).
   */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
