import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  type BlockRequest,
  type BlockStatus,
} from '@iothreads/core';
import { fdatasyncSync, readSync, readvSync, writeSync, writevSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { BlockDriver, BlockGeometry } from '../block-driver.js';
import { reportDriverError } from '../driver-error-channel.js';
import { SegmentCursor } from '../segment-cursor.js';
import { writesDisk } from '../writes-disk.js';
import { MAX_CALL_BYTES, MAX_VECTORS, ZERO_CHUNK_BYTES, zeroChunk } from './file-limits.js';
import { FileTransfer } from './file-transfer.js';
import { noProgressError } from './no-progress-error.js';

/** What an iothread needs to open the file again. */
export interface FileDriverState {
  /** Absolute. */
  readonly filename: string;
}

/** `fs.readSync` and `fs.writeSync`, as far as both are the same. */
type SingleTransfer = (
  fd: number,
  bytes: Uint8Array,
  offset: number,
  byteLength: number,
  position: number,
) => number;

/**
 * A raw image: byte n of the disk is byte n of the file. The synchronous way is pread(2) and pwrite(2) on the iothread,
 * the asynchronous way the same calls on libuv's thread pool; both straight between the file and the guest's memory.
 *
 * DISCARD is a hint, and Node.js has no call to punch holes: it succeeds and does nothing.
 */
export class FileDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly #filename: string;
  readonly #handle: FileHandle;
  readonly #fd: number;
  readonly #cursor = new SegmentCursor();
  readonly #idle: FileTransfer[] = [];
  readonly #release = (transfer: FileTransfer): void => {
    this.#idle.push(transfer);
  };

  /** Takes the handle over. */
  constructor(geometry: BlockGeometry, filename: string, handle: FileHandle) {
    this.geometry = geometry;
    this.#filename = filename;
    this.#handle = handle;
    this.#fd = handle.fd;
  }

  executeSync(request: BlockRequest): BlockStatus {
    const settled = this.#settle(request.operation);
    if (settled !== undefined) return settled;
    try {
      switch (request.operation) {
        case BlockOperation.READ:
          this.#transferSync(request, readvSync, readSync);
          break;
        case BlockOperation.WRITE:
          this.#transferSync(request, writevSync, writeSync);
          break;
        case BlockOperation.WRITE_ZEROES:
          this.#writeZeroesSync(request);
          break;
        default:
          fdatasyncSync(this.#fd);
      }
    } catch (error) {
      reportDriverError('file', request.operation, error);
      return VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      const settled = this.#settle(request.operation);
      if (settled !== undefined) {
        request.complete(request.tag, settled);
        continue;
      }
      const transfer = this.#idle.pop() ?? new FileTransfer(this.#fd, this.#filename, this.#release);
      transfer.start(request);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** The status of what needs no call at all. */
  #settle(operation: BlockOperation): BlockStatus | undefined {
    if (this.geometry.readOnly) {
      if (writesDisk(operation)) return VIRTIO_BLK_S_IOERR;
      // There is nothing to flush, and files of some read-only file systems know no fsync: they answer EINVAL.
      if (operation === BlockOperation.FLUSH) return VIRTIO_BLK_S_OK;
    }
    if (operation === BlockOperation.DISCARD) return VIRTIO_BLK_S_OK;
    if (operation === BlockOperation.GET_ID) return VIRTIO_BLK_S_UNSUPP;
    return undefined;
  }

  /** Moves all of a request's data by calls that may each move only a part of it. */
  #transferSync(request: BlockRequest, vector: typeof readvSync, single: SingleTransfer): void {
    const cursor = this.#cursor;
    let position = request.position;
    cursor.start(request.data);
    while (cursor.left > 0) {
      const moved =
        cursor.entriesLeft > 1
          ? vector(this.#fd, cursor.views(MAX_VECTORS), position)
          : single(this.#fd, cursor.bytes, cursor.offset, Math.min(cursor.run, MAX_CALL_BYTES), position);
      if (moved === 0) throw noProgressError(this.#filename, request.operation, position);
      position += moved;
      cursor.advance(moved);
    }
  }

  #writeZeroesSync(request: BlockRequest): void {
    for (let i = 0; i < request.rangeCount; i++) {
      let position = request.rangePositions[i]!;
      let left = request.rangeLengths[i]!;
      while (left > 0) {
        const moved = writeSync(this.#fd, zeroChunk(), 0, Math.min(left, ZERO_CHUNK_BYTES), position);
        if (moved === 0) throw noProgressError(this.#filename, request.operation, position);
        position += moved;
        left -= moved;
      }
    }
  }
}
