import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  type BlockRequest,
  type BlockStatus,
} from '@iothreads/core';
import { fdatasync, read, readv, write, writev } from 'node:fs';
import { reportDriverError } from '../driver-error-channel.js';
import { SegmentCursor } from '../segment-cursor.js';
import { MAX_CALL_BYTES, MAX_VECTORS, ZERO_CHUNK_BYTES, zeroChunk } from './file-limits.js';
import { noProgressError } from './no-progress-error.js';

/**
 * One asynchronous request under way on a file: as many calls of the thread pool as it takes, one after the other, and
 * one completion. Used again from request to request.
 *
 * The calls work in the guest's memory itself. Every turn moves at least a byte or ends the request, so they are
 * bounded by its length.
 */
export class FileTransfer {
  readonly #fd: number;
  readonly #filename: string;
  /** Takes the transfer back, right before its request completes. */
  readonly #release: (transfer: FileTransfer) => void;
  readonly #cursor = new SegmentCursor();
  #request: BlockRequest | undefined;
  #tag = 0;
  /** Where on the disk the next call begins, bytes. */
  #position = 0;
  /** WRITE_ZEROES: the range being written, and how many of its bytes are left. */
  #range = 0;
  #rangeLeft = 0;

  constructor(fd: number, filename: string, release: (transfer: FileTransfer) => void) {
    this.#fd = fd;
    this.#filename = filename;
    this.#release = release;
  }

  /** Begins a READ, WRITE, FLUSH or WRITE_ZEROES. */
  start(request: BlockRequest): void {
    this.#request = request;
    this.#tag = request.tag;
    this.#position = request.position;
    this.#cursor.start(request.data);
    this.#range = -1;
    this.#rangeLeft = 0;
    this.#next();
  }

  #next(): void {
    let under = false;
    try {
      under = this.#call(this.#request!);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!under) this.#finish(VIRTIO_BLK_S_OK);
  }

  /** Begins the next call. @returns false when there is nothing left to do. */
  #call(request: BlockRequest): boolean {
    switch (request.operation) {
      case BlockOperation.READ:
        return this.#read();
      case BlockOperation.WRITE:
        return this.#write();
      case BlockOperation.WRITE_ZEROES:
        return this.#writeZeroes(request);
      default:
        fdatasync(this.#fd, this.#synced);
        return true;
    }
  }

  #read(): boolean {
    const cursor = this.#cursor;
    if (cursor.left === 0) return false;
    if (cursor.entriesLeft > 1) {
      readv(this.#fd, cursor.views(MAX_VECTORS), this.#position, this.#moved);
    } else {
      const run = Math.min(cursor.run, MAX_CALL_BYTES);
      read(this.#fd, cursor.bytes, cursor.offset, run, this.#position, this.#moved);
    }
    return true;
  }

  #write(): boolean {
    const cursor = this.#cursor;
    if (cursor.left === 0) return false;
    if (cursor.entriesLeft > 1) {
      writev(this.#fd, cursor.views(MAX_VECTORS), this.#position, this.#moved);
    } else {
      const run = Math.min(cursor.run, MAX_CALL_BYTES);
      write(this.#fd, cursor.bytes, cursor.offset, run, this.#position, this.#moved);
    }
    return true;
  }

  #writeZeroes(request: BlockRequest): boolean {
    while (this.#rangeLeft === 0) {
      if (++this.#range >= request.rangeCount) return false;
      this.#position = request.rangePositions[this.#range]!;
      this.#rangeLeft = request.rangeLengths[this.#range]!;
    }
    const run = Math.min(this.#rangeLeft, ZERO_CHUNK_BYTES);
    write(this.#fd, zeroChunk(), 0, run, this.#position, this.#moved);
    return true;
  }

  // Properties, made once: a callback for each request would be one more allocation.
  readonly #moved = (error: Error | null, byteLength: number): void => {
    const request = this.#request!;
    if (request.tag !== this.#tag || !request.pending) {
      // Given up by its device meanwhile: what it says now may be another request's. The completion reports it.
      this.#finish(VIRTIO_BLK_S_IOERR);
      return;
    }
    if (error !== null) {
      this.#fail(error);
      return;
    }
    if (byteLength === 0) {
      this.#fail(noProgressError(this.#filename, request.operation, this.#position));
      return;
    }
    this.#position += byteLength;
    if (this.#range >= 0) this.#rangeLeft -= byteLength;
    else this.#cursor.advance(byteLength);
    this.#next();
  };

  readonly #synced = (error: Error | null): void => {
    if (error === null) this.#finish(VIRTIO_BLK_S_OK);
    else this.#fail(error);
  };

  #fail(error: unknown): void {
    reportDriverError('file', this.#request!.operation, error);
    this.#finish(VIRTIO_BLK_S_IOERR);
  }

  #finish(status: BlockStatus): void {
    const request = this.#request!;
    const tag = this.#tag;
    this.#request = undefined;
    // First: the completion may submit more, and finds this transfer free.
    this.#release(this);
    request.complete(tag, status);
  }
}
