import type { GuestMemory } from '@iothreads/core';

/** Guest-physical bytes: address and length. */
export type GuestRange = readonly [address: number, byteLength: number];

/** A copy of all guest memory, to tell afterwards what a device has written. */
export class MemorySnapshot {
  readonly #memory: GuestMemory;
  readonly #copies: readonly Uint8Array[];

  constructor(memory: GuestMemory) {
    this.#memory = memory;
    this.#copies = memory.regions.map((region) => region.bytes.slice());
  }

  /** Guest addresses of the bytes that have changed since, those in `allowed` left out. */
  changedOutside(allowed: readonly GuestRange[]): number[] {
    const changed: number[] = [];
    for (const [index, region] of this.#memory.regions.entries()) {
      const before = new Uint8Array(this.#copies[index]!);
      const after = new Uint8Array(region.bytes);
      for (const [address, byteLength] of allowed) {
        const from = Math.max(0, address - region.guestAddress);
        const to = Math.min(region.size, address - region.guestAddress + byteLength);
        if (from < to) {
          before.fill(0, from, to);
          after.fill(0, from, to);
        }
      }
      if (Buffer.compare(before, after) === 0) continue;
      for (let i = 0; i < before.length; i++) {
        if (before[i] !== after[i]) changed.push(region.guestAddress + i);
      }
    }
    return changed;
  }
}
