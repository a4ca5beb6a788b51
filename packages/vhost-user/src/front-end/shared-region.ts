import { closeFd, createMemfd, MemoryMap, viewOf } from '@iothreads/linux';
import type { RegionDescription } from '../protocol/memory-payloads.js';

/** Guest memory to make: where the guest has it, and how much. */
export interface RegionOptions {
  /** Guest-physical address, a multiple of 8. */
  readonly guestAddress: number;
  /** Bytes. */
  readonly size: number;
  /** Where in its file it begins, a multiple of 8; default 0. */
  readonly fileOffset?: number;
}

/** A region of guest memory in a file of its own, which the back end maps as well. */
export class SharedRegion implements RegionDescription {
  readonly guestAddress: number;
  readonly size: number;
  readonly userAddress: number;
  readonly mmapOffset: number;
  readonly fd: number;
  /** The whole file; the region begins at `byteOffset`. Not to be used after `close`. */
  readonly buffer: ArrayBuffer;
  readonly #map: MemoryMap;

  constructor({ guestAddress, size, fileOffset = 0 }: RegionOptions) {
    this.guestAddress = guestAddress;
    this.size = size;
    this.mmapOffset = fileOffset;
    this.fd = createMemfd('guest-memory', fileOffset + size);
    try {
      this.#map = new MemoryMap(this.fd, fileOffset + size);
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
    this.userAddress = this.#map.address + fileOffset;
    this.buffer = viewOf(this.#map.address, fileOffset + size);
  }

  /** Where the region begins in `buffer`. */
  get byteOffset(): number {
    return this.mmapOffset;
  }

  /** The region's own bytes. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.buffer, this.byteOffset, this.size);
  }

  /** Unmaps it here; the back end keeps its own mapping. */
  close(): void {
    this.#map.unmap();
    closeFd(this.fd);
  }
}
