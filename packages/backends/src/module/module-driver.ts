import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  type BlockRequest,
  type BlockStatus,
} from '@iothreads/core';
import { BlockDriverError, type BlockDriver, type BlockGeometry } from '../block-driver.js';
import { failRequest } from '../driver-error-channel.js';
import { ByteBudget } from './byte-budget.js';
import { SegmentCursor } from '../segment-cursor.js';
import { writesDisk } from '../writes-disk.js';
import type { UserDisk } from './user-disk.js';

/**
 * Bytes of the largest buffer that a user's disk gets. A bound, because a guest may name the same memory many times in
 * one request: its length says nothing about what it costs the guest.
 */
export const CHUNK_BYTES = 1024 ** 2;

/** Bytes of all buffers that one user's disk has at a time on one iothread: a guest asks for more than that at no cost. */
export const MAX_BUFFERED_BYTES = 64 * 1024 ** 2;

/**
 * Runs a user's disk. Robust before fast: the disk gets fresh buffers and never sees the guest's memory, so that
 * code that goes on writing into a buffer after its promise has settled can't change what the guest reads, nor any other
 * request; a read is copied to the guest when its promise settles, a write is copied before it begins.
 */
export class ModuleDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly #offset: number;
  readonly #disk: UserDisk;
  readonly #budget = new ByteBudget(MAX_BUFFERED_BYTES);

  /** @param offset where on the user's disk this one begins, bytes */
  constructor(geometry: BlockGeometry, offset: number, disk: UserDisk) {
    this.geometry = geometry;
    this.#offset = offset;
    this.#disk = disk;
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      void this.#run(request, request.tag);
    }
  }

  async close(): Promise<void> {
    await this.#disk.close?.();
  }

  async #run(request: BlockRequest, tag: number): Promise<void> {
    let status: BlockStatus;
    try {
      status = await this.#execute(request, tag);
    } catch (error) {
      status = failRequest('module', request, error, tag);
    }
    // Outside: what goes wrong in here is not the disk's failure, and must not complete the request once more.
    request.complete(tag, status);
  }

  async #execute(request: BlockRequest, tag: number): Promise<BlockStatus> {
    if (this.geometry.readOnly && writesDisk(request.operation)) return VIRTIO_BLK_S_IOERR;
    switch (request.operation) {
      case BlockOperation.READ:
        await this.#read(request, tag);
        return VIRTIO_BLK_S_OK;
      case BlockOperation.WRITE:
        await this.#write(request, tag);
        return VIRTIO_BLK_S_OK;
      case BlockOperation.FLUSH:
        await this.#disk.flush?.();
        return VIRTIO_BLK_S_OK;
      case BlockOperation.DISCARD:
        if (this.#disk.trim === undefined) return VIRTIO_BLK_S_UNSUPP;
        for (let i = 0; i < request.rangeCount; i++) {
          await this.#disk.trim(this.#offset + request.rangePositions[i]!, request.rangeLengths[i]!);
        }
        return VIRTIO_BLK_S_OK;
      case BlockOperation.WRITE_ZEROES:
        for (let i = 0; i < request.rangeCount; i++) {
          await this.#zero(request, tag, this.#offset + request.rangePositions[i]!, request.rangeLengths[i]!);
        }
        return VIRTIO_BLK_S_OK;
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  async #read(request: BlockRequest, tag: number): Promise<void> {
    const cursor = new SegmentCursor();
    let position = this.#offset + request.position;
    for (cursor.start(request.data); cursor.left > 0;) {
      const length = Math.min(cursor.left, CHUNK_BYTES);
      await this.#withBuffer(length, request, tag, async (buffer) => {
        await this.#disk.pread(buffer, position);
        if (buffer.length !== length) {
          throw new BlockDriverError('EIO', 'pread gave its buffer away (transferred it to another thread?)');
        }
        checkOurs(request, tag);
        cursor.write(buffer);
      });
      position += length;
    }
  }

  async #write(request: BlockRequest, tag: number): Promise<void> {
    const cursor = new SegmentCursor();
    let position = this.#offset + request.position;
    for (cursor.start(request.data); cursor.left > 0;) {
      const length = Math.min(cursor.left, CHUNK_BYTES);
      await this.#withBuffer(length, request, tag, async (buffer) => {
        cursor.read(buffer);
        await this.#pwrite(buffer, position);
        checkOurs(request, tag);
      });
      position += length;
    }
  }

  /** Has something done with a fresh buffer, as soon as there is room for it. */
  async #withBuffer(
    byteLength: number,
    request: BlockRequest,
    tag: number,
    use: (buffer: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const room = this.#budget.take(byteLength);
    if (room !== undefined) await room;
    try {
      // It may have waited for long.
      checkOurs(request, tag);
      await use(new Uint8Array(byteLength));
    } finally {
      this.#budget.give(byteLength);
    }
  }

  async #zero(request: BlockRequest, tag: number, position: number, byteLength: number): Promise<void> {
    if (this.#disk.zero !== undefined) {
      await this.#disk.zero(position, byteLength);
      return;
    }
    for (let done = 0; done < byteLength;) {
      const length = Math.min(byteLength - done, CHUNK_BYTES);
      // Fresh each time: the disk may keep the buffer, and change it.
      const at = position + done;
      await this.#withBuffer(length, request, tag, (buffer) => this.#pwrite(buffer, at));
      done += length;
    }
  }

  async #pwrite(buffer: Uint8Array, position: number): Promise<void> {
    if (this.#disk.pwrite === undefined)
      throw new BlockDriverError('EROFS', 'the disk has no pwrite any more');
    await this.#disk.pwrite(buffer, position);
  }
}

/**
 * Throws when the device has given the request up, because the disk took too long: its memory may be another request's
 * by now.
 */
function checkOurs(request: BlockRequest, tag: number): void {
  if (request.tag === tag && request.pending) return;
  throw new BlockDriverError('ETIMEDOUT', 'the disk settled after its request had been given up');
}
