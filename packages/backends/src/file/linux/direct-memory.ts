import type { SegmentList } from '@iothreads/core';
import { MAX_BOUNCE_BYTES } from '../file-limits.js';
import type { DirectAccess, DirectState, FlatMemory } from '../image-file.js';
import { AlignedMemory } from './aligned-memory.js';
import type { BouncePool } from './bounce-pool.js';
import { hostAddress } from './host-address.js';

let forSync: AlignedMemory | undefined;

/**
 * Direct I/O as far as it concerns memory. What a disk wants of addresses is often less than what it wants of positions, but
 * nobody says so reliably: they are held to the same.
 */
export class DirectMemory implements DirectAccess {
  readonly alignment: number;
  readonly bufferedFd: number;
  readonly #pool: BouncePool;

  constructor({ alignment, bufferedFd }: DirectState, pool: BouncePool) {
    this.alignment = alignment;
    this.bufferedFd = bufferedFd;
    this.#pool = pool;
  }

  isAligned({ regions, offsets, lengths, length }: SegmentList): boolean {
    for (let i = 0; i < length; i++) {
      const address = hostAddress(regions[i]!) + offsets[i]!;
      if (address % this.alignment !== 0 || lengths[i]! % this.alignment !== 0) return false;
    }
    return true;
  }

  takeBounce(byteLength: number): FlatMemory | undefined {
    return this.#pool.take(byteLength);
  }

  giveBounce(memory: FlatMemory): void {
    this.#pool.give(memory);
  }

  bounceForSync(): FlatMemory {
    return (forSync ??= new AlignedMemory(MAX_BOUNCE_BYTES));
  }
}
