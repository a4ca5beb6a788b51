import { VirtioError } from '../virtio-error.js';
import { MemoryRegion, type MemoryRegionOptions } from './memory-region.js';
import type { SegmentList } from './segment-list.js';

/** The most regions a guest memory may have; a translation looks at each once at the most. */
export const MAX_MEMORY_REGIONS = 512;

/**
 * Guest-physical memory: regions, and the translation from guest addresses to bytes. Nothing outside the regions can be
 * reached through it.
 */
export class GuestMemory {
  /** Sorted by guest address, never overlapping. */
  readonly regions: readonly MemoryRegion[];
  #recent: MemoryRegion;
  /** The address that `#find` looks for: an address above 2^31 as an argument would be allocated, in here it is not. */
  readonly #wanted = new Float64Array(1);

  /** @throws VirtioError `ERR_MEMORY_REGION` when there is no region, or two overlap, or one is malformed. */
  constructor(regions: readonly MemoryRegionOptions[]) {
    if (regions.length === 0 || regions.length > MAX_MEMORY_REGIONS) {
      throw new VirtioError(
        'ERR_MEMORY_REGION',
        `guest memory needs 1 to ${MAX_MEMORY_REGIONS} regions, got ${regions.length}`,
      );
    }
    const sorted = regions.map((options) => new MemoryRegion(options));
    sorted.sort((a, b) => a.guestAddress - b.guestAddress);
    for (let i = 1; i < sorted.length; i++) {
      const before = sorted[i - 1]!;
      if (before.guestAddress + before.size > sorted[i]!.guestAddress) {
        throw new VirtioError(
          'ERR_MEMORY_REGION',
          `regions at ${before.guestAddress} and ${sorted[i]!.guestAddress} overlap`,
        );
      }
    }
    this.regions = sorted;
    this.#recent = sorted[0]!;
  }

  /** Catches up with where its bytes are at present; memory that never moves has nothing to do. Before rings are looked at. */
  follow(): void {}

  /** The region that holds `address`, if any. */
  regionAt(address: number): MemoryRegion | undefined {
    this.#wanted[0] = address;
    return this.#find();
  }

  #find(): MemoryRegion | undefined {
    const address = this.#wanted[0]!;
    const recent = this.#recent;
    if (address >= recent.guestAddress && address - recent.guestAddress < recent.size) return recent;
    let low = 0;
    let high = this.regions.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const region = this.regions[middle]!;
      if (address < region.guestAddress) high = middle - 1;
      else if (address - region.guestAddress >= region.size) low = middle + 1;
      else {
        this.#recent = region;
        return region;
      }
    }
    return undefined;
  }

  /** The region that holds all of `[address, address + byteLength)`, or undefined when no single one does. */
  regionOf(address: number, byteLength: number): MemoryRegion | undefined {
    const region = this.regionAt(address);
    if (region === undefined || byteLength > region.size - (address - region.guestAddress)) return undefined;
    return region;
  }

  /**
   * Appends the bytes of a guest buffer to `out`, in as many runs as regions it spans.
   *
   * @param addressHigh upper 32 bits of the guest-physical address
   * @param addressLow lower 32 bits; signed or unsigned, since a signed one is never allocated
   * @param byteLength a 32-bit length; 0 adds nothing and is always right
   * @returns false when a byte of it is outside memory or the range wraps; `out` then holds what came before the hole
   */
  translate(addressHigh: number, addressLow: number, byteLength: number, out: SegmentList): boolean {
    if (byteLength === 0) return true;
    // Nearly always: below 4 GiB, and in the region that was used last.
    const recent = this.#recent;
    if (addressHigh === 0) {
      const offset = (addressLow >>> 0) - recent.guestAddress;
      if (offset >= 0 && byteLength <= recent.size - offset) {
        out.push(recent, offset, byteLength);
        return true;
      }
    }
    // Above 2^53 an address is no exact number any more, and no region can lie there.
    if (addressHigh >= 0x20_0000) return false;
    let address = addressHigh * 0x1_0000_0000 + (addressLow >>> 0);
    let left = byteLength;
    // Bounded: each turn consumes a region, and regions never overlap.
    for (;;) {
      this.#wanted[0] = address;
      const region = this.#find();
      if (region === undefined) return false;
      const offset = address - region.guestAddress;
      const room = region.size - offset;
      if (left <= room) {
        out.push(region, offset, left);
        return true;
      }
      out.push(region, offset, room);
      left -= room;
      address += room;
    }
  }
}
