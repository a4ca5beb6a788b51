import { VirtioError } from '../virtio-error.js';

/** One run of guest-physical memory and the bytes that hold it. Safe to post to another thread when shared. */
export interface MemoryRegionOptions {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: number;
  /** The memory itself; a SharedArrayBuffer when an iothread is to work in it. */
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  /** Where the region starts in `buffer`, in bytes; a multiple of 8. Default 0. */
  readonly byteOffset?: number;
  /** Bytes; default: the rest of the buffer. */
  readonly size?: number;
  /** Where the region's first byte is in this process's memory, for those who hand it to C; default: not known. */
  readonly hostAddress?: number;
}

/**
 * A region with the views that the hot path needs, made once.
 *
 * Rings are read through typed arrays, which need natural alignment in the host: the region's guest address and its
 * place in the buffer must both be multiples of 8, so that what is aligned in the guest is aligned here.
 */
export class MemoryRegion {
  readonly guestAddress: number;
  readonly size: number;
  buffer: ArrayBuffer | SharedArrayBuffer;
  readonly byteOffset: number;
  bytes: Uint8Array;
  view: DataView;
  /** Address of the first byte in this process, NaN as long as nobody who calls C has asked for it. */
  hostAddress: number;

  constructor(options: MemoryRegionOptions) {
    const { guestAddress, buffer, byteOffset = 0 } = options;
    const size = options.size ?? buffer.byteLength - byteOffset;
    if (!Number.isSafeInteger(guestAddress) || guestAddress < 0 || guestAddress % 8 !== 0) {
      throw new VirtioError('ERR_MEMORY_REGION', `guestAddress must be a multiple of 8, got ${guestAddress}`);
    }
    if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || byteOffset % 8 !== 0) {
      throw new VirtioError('ERR_MEMORY_REGION', `byteOffset must be a multiple of 8, got ${byteOffset}`);
    }
    if (!Number.isSafeInteger(size) || size <= 0 || size > buffer.byteLength - byteOffset) {
      throw new VirtioError(
        'ERR_MEMORY_REGION',
        `size must be 1 to ${buffer.byteLength - byteOffset} bytes for this buffer and byteOffset, got ${size}`,
      );
    }
    if (!Number.isSafeInteger(guestAddress + size)) {
      throw new VirtioError('ERR_MEMORY_REGION', `the region at ${guestAddress} ends beyond 2^53`);
    }
    this.guestAddress = guestAddress;
    this.size = size;
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.bytes = new Uint8Array(buffer, byteOffset, size);
    this.view = new DataView(buffer, byteOffset, size);
    this.hostAddress = options.hostAddress ?? NaN;
  }

  /**
   * The same bytes are in another buffer from now on, at the same place in it; the views over the old one are forgotten.
   * @throws VirtioError `ERR_MEMORY_REGION` when the buffer ends before the region does
   */
  relocate(buffer: ArrayBuffer | SharedArrayBuffer): void {
    if (buffer.byteLength - this.byteOffset < this.size) {
      throw new VirtioError(
        'ERR_MEMORY_REGION',
        `guest memory has shrunk: the region at ${this.guestAddress} needs ${this.byteOffset + this.size} bytes`,
      );
    }
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer, this.byteOffset, this.size);
    this.view = new DataView(buffer, this.byteOffset, this.size);
  }
}
