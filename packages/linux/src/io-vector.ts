import { NativeBuffer } from './address-of.js';

/** struct iovec on 64-bit Linux: address u64 @0, length u64 @8. */
const IOVEC_BYTES = 16;

/** Entries that one call takes (IOV_MAX). */
export const MAX_IO_VECTORS = 1024;

/** Runs of memory for vectored calls: a bounded stack of entries that is filled, handed over and cleared again. */
export class IoVector {
  readonly capacity: number;
  length = 0;
  readonly #memory: NativeBuffer;
  readonly #words: Uint32Array;

  constructor(capacity: number = MAX_IO_VECTORS) {
    this.capacity = capacity;
    this.#memory = new NativeBuffer(capacity * IOVEC_BYTES);
    this.#words = new Uint32Array(this.#memory.buffer);
  }

  /** Address of entry `index`. */
  addressAt(index: number): number {
    return this.#memory.address + index * IOVEC_BYTES;
  }

  /** There must be room. */
  push(address: number, byteLength: number): void {
    const at = this.length++ * 4;
    this.#words[at] = address % 0x1_0000_0000;
    this.#words[at + 1] = Math.floor(address / 0x1_0000_0000);
    this.#words[at + 2] = byteLength;
    this.#words[at + 3] = 0;
  }

  /** Empties it for the next call. */
  clear(): void {
    this.length = 0;
  }
}
