import { MAX_BOUNCE_BYTES } from '../file-limits.js';
import type { FlatMemory } from '../image-file.js';
import { AlignedMemory } from './aligned-memory.js';

/** Bytes that a pool has at most, those in use and those kept for the next. */
export const BUDGET_BYTES = 32 * 1024 ** 2;
const SMALLEST_BYTES = 4096;

/** Aligned memory for direct I/O whose own isn't: pieces of a power of two, used again and again, bounded in all. */
export class BouncePool {
  /** Pieces by their size. */
  readonly #free = new Map<number, FlatMemory[]>();
  #allocatedBytes = 0;

  /**
   * @returns at least `byteLength` bytes, at most `MAX_BOUNCE_BYTES`; undefined when all is in use
   * @throws BlockDriverError `ENOMEM` when there is no more memory to be had
   */
  take(byteLength: number): FlatMemory | undefined {
    let size = SMALLEST_BYTES;
    while (size < byteLength && size < MAX_BOUNCE_BYTES) size *= 2;
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) return kept;
    if (this.#allocatedBytes + size > BUDGET_BYTES) this.#letGo();
    if (this.#allocatedBytes + size > BUDGET_BYTES) return undefined;
    const memory = new AlignedMemory(size);
    this.#allocatedBytes += size;
    return memory;
  }

  give(memory: FlatMemory): void {
    const size = memory.bytes.length;
    const kept = this.#free.get(size);
    if (kept === undefined) this.#free.set(size, [memory]);
    else kept.push(memory);
  }

  /** Pieces of other sizes than are wanted now. */
  #letGo(): void {
    for (const [size, kept] of this.#free) {
      this.#allocatedBytes -= size * kept.length;
      kept.length = 0;
    }
  }
}
