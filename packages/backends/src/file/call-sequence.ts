import { BlockOperation, type BlockRequest } from '@iothreads/core';
import type { BlockDriverError } from '../block-driver.js';
import { SegmentCursor } from '../segment-cursor.js';
import { MAX_BOUNCE_BYTES, MAX_CALL_BYTES, ZERO_CHUNK_BYTES } from './file-limits.js';
import type { FlatMemory, ImageFile } from './image-file.js';
import { noProgressError } from './no-progress-error.js';

/** What a call does. A const object instead of an enum, so that the source stays plain JavaScript. */
export const FileCall = { READ: 0, WRITE: 1, SYNC: 2, ALLOCATE: 3 } as const;
export type FileCall = (typeof FileCall)[keyof typeof FileCall];

/** What an ALLOCATE is to do. */
export const AllocateMode = { PUNCH_HOLE: 0, ZERO_RANGE: 1 } as const;
export type AllocateMode = (typeof AllocateMode)[keyof typeof AllocateMode];

/** Times that a call is made again that was interrupted, or could not be done for the moment. */
const MAX_RETRIES = 100;
/** The file system, or the kind of file, has no such call. */
const UNSUPPORTED = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ESPIPE', 'ENOTTY']);

/**
 * One request as the calls that do it, one after the other: `next` says which call to make, `done` and `failed` take what
 * came of it. Who makes the calls, and whether somebody waits for them, is none of its business. Used again from request to
 * request.
 *
 * Every call moves at least a byte, ends the request, or rules a way out for good: they are bounded by its length.
 */
export class CallSequence {
  call: FileCall = FileCall.READ;
  fd = -1;
  /** In the file, bytes. */
  position = 0;
  /** Of READ and WRITE where `vectored` does not hold, and of ALLOCATE. */
  byteLength = 0;
  mode: AllocateMode = AllocateMode.PUNCH_HOLE;
  /** READ, WRITE: memory that stands in for the guest's, from `flatOffset` on. */
  flat: FlatMemory | undefined;
  flatOffset = 0;
  /** READ, WRITE where there is no `flat`: where in the guest's memory. */
  readonly cursor = new SegmentCursor();
  /** Set by `start` where the guest's memory can't be used as it is: `bounce` is to be there before `next`. */
  needsBounce = false;
  bounce: FlatMemory | undefined;
  /** Why there is no memory to go through: the request fails for that. */
  #noMemory: unknown;
  #file: ImageFile | undefined;
  #request: BlockRequest | undefined;
  #tag = 0;
  #at = 0;
  #direct = false;
  #retries = 0;
  #synced = false;
  /** WRITE through `bounce`: bytes in it that are not written yet. */
  #flatLeft = 0;
  /** WRITE_ZEROES, DISCARD: the range at hand, how many of its bytes are left, and whether fallocate takes it. */
  #range = -1;
  #rangeLeft = 0;
  #allocates = true;

  /** Begins with a request that `file.settle` leaves to be done. */
  start(file: ImageFile, request: BlockRequest): void {
    this.#file = file;
    this.#request = request;
    this.#tag = request.tag;
    this.#at = request.position + file.offset;
    this.cursor.start(request.data);
    this.fd = file.fd;
    this.flat = undefined;
    this.needsBounce = false;
    this.#noMemory = undefined;
    this.call = FileCall.READ;
    this.#direct = false;
    this.#retries = 0;
    this.#synced = false;
    this.#flatLeft = 0;
    this.#range = -1;
    this.#rangeLeft = 0;
    if (file.direct === undefined || request.operation > BlockOperation.WRITE) return;
    this.#chooseFile(this.cursor.left);
    this.needsBounce = this.#direct && !file.direct.isAligned(request.data);
  }

  get request(): BlockRequest {
    return this.#request!;
  }

  /** The tag that the request was started under. */
  get tag(): number {
    return this.#tag;
  }

  get file(): ImageFile {
    return this.#file!;
  }

  /** Whether the request's device has given it up meanwhile: its memory may be another request's. */
  get stale(): boolean {
    return this.#request!.tag !== this.#tag || !this.#request!.pending;
  }

  /** READ, WRITE: whether the memory is several runs. */
  get vectored(): boolean {
    return this.flat === undefined && this.cursor.entriesLeft > 1;
  }

  /** Takes memory to go through, where it needs some. @returns false when it needs some that is not there for the moment */
  takeBounce(take: (byteLength: number) => FlatMemory | undefined): boolean {
    if (!this.needsBounce) return true;
    try {
      this.bounce = take(Math.min(this.cursor.left, MAX_BOUNCE_BYTES));
    } catch (error) {
      this.#noMemory = error;
      return true;
    }
    return this.bounce !== undefined;
  }

  /**
   * Works the next call out.
   * @returns false when there is nothing left to do
   * @throws where there is no memory for it
   */
  next(): boolean {
    if (this.#noMemory !== undefined) throw this.#noMemory;
    switch (this.#request!.operation) {
      case BlockOperation.READ:
        return this.#nextRead();
      case BlockOperation.WRITE:
        return this.#nextWrite();
      case BlockOperation.FLUSH:
        this.call = FileCall.SYNC;
        return !this.#synced;
      default:
        return this.#nextOfRanges();
    }
  }

  /** Past the page cache where position and length allow it; a short call in between leaves them aligned. */
  #chooseFile(byteLength: number): void {
    const { direct, fd } = this.#file!;
    if (direct === undefined) return;
    this.#direct = this.#at % direct.alignment === 0 && byteLength % direct.alignment === 0;
    this.fd = this.#direct ? fd : direct.bufferedFd;
  }

  #nextRead(): boolean {
    const { left, run } = this.cursor;
    if (left === 0) return false;
    this.call = FileCall.READ;
    this.position = this.#at;
    if (this.bounce === undefined) {
      this.byteLength = Math.min(run, MAX_CALL_BYTES);
    } else {
      this.flat = this.bounce;
      this.flatOffset = 0;
      this.byteLength = Math.min(left, this.bounce.bytes.length);
    }
    return true;
  }

  #nextWrite(): boolean {
    const { left } = this.cursor;
    if (left === 0 && this.#flatLeft === 0) return false;
    this.call = FileCall.WRITE;
    this.position = this.#at;
    if (this.bounce === undefined) {
      this.byteLength = Math.min(this.cursor.run, MAX_CALL_BYTES);
      return true;
    }
    if (this.#flatLeft === 0) {
      this.flat = this.bounce;
      this.flatOffset = 0;
      this.#flatLeft = Math.min(left, this.bounce.bytes.length);
      this.cursor.read(this.bounce.bytes.subarray(0, this.#flatLeft));
    }
    this.byteLength = this.#flatLeft;
    return true;
  }

  #nextOfRanges(): boolean {
    const request = this.#request!;
    for (;;) {
      while (this.#rangeLeft === 0) {
        if (++this.#range >= request.rangeCount) return false;
        this.#at = request.rangePositions[this.#range]! + this.#file!.offset;
        this.#rangeLeft = request.rangeLengths[this.#range]!;
        this.#allocates = true;
        this.#chooseFile(this.#rangeLeft);
      }
      this.position = this.#at;
      if (this.#canAllocate()) {
        this.call = FileCall.ALLOCATE;
        this.byteLength = this.#rangeLeft;
        return true;
      }
      if (request.operation === BlockOperation.WRITE_ZEROES) break;
      // What can't be discarded stays.
      this.#rangeLeft = 0;
    }
    this.call = FileCall.WRITE;
    this.flat = this.#file!.zeroes();
    this.flatOffset = 0;
    this.byteLength = Math.min(this.#rangeLeft, ZERO_CHUNK_BYTES);
    return true;
  }

  /** Whether fallocate can do the range, and how. */
  #canAllocate(): boolean {
    if (!this.#allocates) return false;
    const { unmap, canPunchHoles, canZeroRanges } = this.#file!;
    const request = this.#request!;
    const punch =
      unmap &&
      canPunchHoles &&
      (request.operation === BlockOperation.DISCARD || request.rangeUnmaps[this.#range] === 1);
    this.mode = punch ? AllocateMode.PUNCH_HOLE : AllocateMode.ZERO_RANGE;
    return punch || (canZeroRanges && request.operation === BlockOperation.WRITE_ZEROES);
  }

  /**
   * Takes what a call returned.
   * @param result bytes that a READ or WRITE moved
   * @returns an error when there is no going on
   */
  done(result: number): BlockDriverError | undefined {
    switch (this.call) {
      case FileCall.SYNC:
        this.#synced = true;
        return this.#file!.flushError;
      case FileCall.ALLOCATE:
        this.#rangeLeft = 0;
        return undefined;
      default:
        return this.#moved(result);
    }
  }

  #moved(byteLength: number): BlockDriverError | undefined {
    // What is left must be aligned again: better a few bytes twice.
    const moved = this.#direct ? byteLength - (byteLength % this.#file!.direct!.alignment) : byteLength;
    if (moved === 0) {
      return noProgressError(this.#file!.filename, this.#request!.operation, this.position + byteLength);
    }
    this.#at += moved;
    if (this.#range >= 0) {
      this.#rangeLeft -= moved;
    } else if (this.bounce === undefined) {
      this.cursor.advance(moved);
    } else if (this.call === FileCall.READ) {
      this.cursor.write(this.bounce.bytes.subarray(0, moved));
    } else {
      this.flatOffset += moved;
      this.#flatLeft -= moved;
    }
    return undefined;
  }

  /** Takes the name of the error that a call failed with. @returns whether there is another way: go on with `next` */
  failed(code: string): boolean {
    if ((code === 'EINTR' || code === 'EAGAIN') && ++this.#retries <= MAX_RETRIES) return true;
    if (this.call === FileCall.SYNC) this.#file!.flushFailed();
    if (this.call !== FileCall.ALLOCATE) return false;
    if (UNSUPPORTED.has(code)) {
      if (this.mode === AllocateMode.PUNCH_HOLE) this.#file!.canPunchHoles = false;
      else this.#file!.canZeroRanges = false;
      return true;
    }
    // A block device takes whole blocks only, which may be larger than sectors.
    if (code !== 'EINVAL') return false;
    this.#allocates = false;
    return true;
  }
}
