import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  type BlockStatus,
  type SegmentList,
} from '@iothreads/core';
import { BlockDriverError } from '../block-driver.js';
import type { PreparedDrive } from '../block-driver-type.js';
import { writesDisk } from '../writes-disk.js';

/** What iothreads need to know of an image that is held. */
export interface FileDriverState {
  /** Absolute; for messages. */
  readonly filename: string;
  /** Descriptor of the open image: they belong to the process, so that every thread can use it. */
  readonly fd: number;
  /** Which calls work on it: io_uring's, plain system calls, or Node.js's own where there are no others. */
  readonly access: 'io_uring' | 'threads' | 'node';
  /** DISCARD, and WRITE_ZEROES that may, give the space back. */
  readonly unmap: boolean;
  /** FLUSH does nothing. */
  readonly noFlush: boolean;
  /** A word: 1 once a flush has failed, whoever's. */
  readonly flushed: SharedArrayBuffer;
  readonly direct: DirectState | undefined;
}

/** An image that is read and written past the page cache. */
export interface DirectState {
  /** What positions and lengths must be multiples of, bytes: 512 or more. */
  readonly alignment: number;
  /** Descriptor for requests that are not, by way of the page cache; the same one where all are. */
  readonly bufferedFd: number;
}

/** Memory of ours, as calls take it. */
export interface FlatMemory {
  readonly bytes: Uint8Array;
  /** Where `bytes` begins; NaN where nobody calls C. */
  readonly address: number;
}

/** What direct I/O needs besides the file. */
export interface DirectAccess extends DirectState {
  /** Whether all of a list's memory can be read or written directly. */
  isAligned(list: SegmentList): boolean;
  /** Aligned memory of at least `byteLength` bytes to go through instead. @returns undefined when there is none for the moment */
  takeBounce(byteLength: number): FlatMemory | undefined;
  giveBounce(memory: FlatMemory): void;
  /** Such memory for a request that is done at once, 1 MiB: always the same. */
  bounceForSync(): FlatMemory;
}

/** An open image as one iothread uses it: what was asked for, and what has been learnt about its file system. */
export class ImageFile {
  readonly filename: string;
  readonly fd: number;
  /** Where in the file the disk begins, bytes. */
  readonly offset: number;
  readonly unmap: boolean;
  readonly direct: DirectAccess | undefined;
  /** `ZERO_CHUNK_BYTES` of zeroes; to be read only. */
  readonly zeroes: () => FlatMemory;
  /** Whether the file system makes holes, and zeroes without writing them. */
  canPunchHoles: boolean;
  canZeroRanges: boolean;
  readonly #readOnly: boolean;
  readonly #noFlush: boolean;
  readonly #flushed: Int32Array;

  /** @param allocates whether fallocate(2) can be called */
  constructor(
    { geometry, offset, state }: PreparedDrive<FileDriverState>,
    allocates: boolean,
    zeroes: () => FlatMemory,
    direct?: DirectAccess,
  ) {
    this.filename = state.filename;
    this.fd = state.fd;
    this.offset = offset;
    this.unmap = state.unmap;
    this.direct = direct;
    this.zeroes = zeroes;
    this.canPunchHoles = allocates;
    this.canZeroRanges = allocates;
    this.#readOnly = geometry.readOnly;
    this.#noFlush = state.noFlush;
    this.#flushed = new Int32Array(state.flushed);
  }

  /**
   * A flush has failed. Linux tells of writes that it could not write back once, and forgets them: a second flush would succeed, and
   * what was written before is lost nevertheless. So no flush succeeds any more. Past the page cache there is nothing to forget.
   */
  flushFailed(): void {
    if (this.direct === undefined) Atomics.store(this.#flushed, 0, 1);
  }

  /** What to say of a flush after one that has failed. */
  get flushError(): BlockDriverError | undefined {
    if (Atomics.load(this.#flushed, 0) === 0) return undefined;
    return new BlockDriverError(
      'EIO',
      `${this.filename}: a flush has failed before, and what was written then may be lost; check the disk, and attach it anew`,
    );
  }

  /** The status of what needs no call at all. */
  settle(operation: BlockOperation): BlockStatus | undefined {
    if (this.#readOnly) {
      if (writesDisk(operation)) return VIRTIO_BLK_S_IOERR;
      // There is nothing to flush, and files of some read-only file systems know no fsync: they answer EINVAL.
      if (operation === BlockOperation.FLUSH) return VIRTIO_BLK_S_OK;
    }
    if (operation <= BlockOperation.WRITE) return undefined;
    if (operation === BlockOperation.FLUSH && this.#noFlush) return VIRTIO_BLK_S_OK;
    // A hint: where nothing can be given back, nothing is done.
    if (operation === BlockOperation.DISCARD && !(this.unmap && this.canPunchHoles)) return VIRTIO_BLK_S_OK;
    if (operation === BlockOperation.GET_ID) return VIRTIO_BLK_S_UNSUPP;
    return undefined;
  }
}
