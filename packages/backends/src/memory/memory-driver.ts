import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  type BlockRequest,
  type BlockStatus,
} from '@iothreads/core';
import type { BlockDriver, BlockGeometry } from '../block-driver.js';
import type { PreparedDrive } from '../block-driver-type.js';
import { writesDisk } from '../writes-disk.js';

/** What an iothread needs of a memory disk: the memory itself, the same on every thread. */
export interface MemoryDriverState {
  readonly buffer: SharedArrayBuffer;
}

/**
 * A disk in memory. There is nothing to wait for: an asynchronous request completes within `submit`, by one copy
 * between the disk and the guest's memory.
 */
export class MemoryDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly #disk: Uint8Array;

  constructor({ geometry, offset, state }: PreparedDrive<MemoryDriverState>) {
    this.geometry = geometry;
    this.#disk = new Uint8Array(state.buffer, offset, geometry.sizeBytes);
  }

  executeSync(request: BlockRequest): BlockStatus {
    if (this.geometry.readOnly && writesDisk(request.operation)) return VIRTIO_BLK_S_IOERR;
    switch (request.operation) {
      case BlockOperation.READ:
        this.#read(request);
        return VIRTIO_BLK_S_OK;
      case BlockOperation.WRITE:
        this.#write(request);
        return VIRTIO_BLK_S_OK;
      case BlockOperation.FLUSH:
        return VIRTIO_BLK_S_OK;
      case BlockOperation.DISCARD:
      case BlockOperation.WRITE_ZEROES:
        for (let i = 0; i < request.rangeCount; i++) {
          const position = request.rangePositions[i]!;
          this.#disk.fill(0, position, position + request.rangeLengths[i]!);
        }
        return VIRTIO_BLK_S_OK;
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      request.complete(request.tag, this.executeSync(request));
    }
  }

  async close(): Promise<void> {}

  #read(request: BlockRequest): void {
    const { regions, offsets, lengths, length } = request.data;
    let position = request.position;
    for (let i = 0; i < length; i++) {
      const run = lengths[i]!;
      regions[i]!.bytes.set(this.#disk.subarray(position, position + run), offsets[i]);
      position += run;
    }
  }

  #write(request: BlockRequest): void {
    const { regions, offsets, lengths, length } = request.data;
    let position = request.position;
    for (let i = 0; i < length; i++) {
      const offset = offsets[i]!;
      const run = lengths[i]!;
      this.#disk.set(regions[i]!.bytes.subarray(offset, offset + run), position);
      position += run;
    }
  }
}
