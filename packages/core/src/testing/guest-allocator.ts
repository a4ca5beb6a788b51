import { GuestMemory } from '../memory/guest-memory.js';
import type { MemoryRegion, MemoryRegionOptions } from '../memory/memory-region.js';
import {
  availRingBytes,
  DESCRIPTOR_BYTES,
  usedRingBytes,
  type VirtqueueAddresses,
} from '../virtqueue/split-ring.js';

/** Hands out guest-physical addresses from the regions of a guest memory, first come, first served; never takes back. */
export class GuestAllocator {
  readonly memory: GuestMemory;
  readonly #next: number[];

  constructor(regions: readonly MemoryRegionOptions[]) {
    this.memory = new GuestMemory(regions);
    this.#next = this.memory.regions.map((region) => region.guestAddress);
  }

  /** @throws RangeError when no region has room */
  allocate(byteLength: number, alignment: number = 8): number {
    for (const [index, region] of this.memory.regions.entries()) {
      const address = Math.ceil(this.#next[index]! / alignment) * alignment;
      if (byteLength <= region.guestAddress + region.size - address) {
        this.#next[index] = address + byteLength;
        return address;
      }
    }
    throw new RangeError(`guest memory has no room for ${byteLength} bytes`);
  }

  /** Room for a virtqueue of `size` descriptors. */
  allocateQueue(size: number): VirtqueueAddresses {
    return {
      size,
      descriptorTable: this.allocate(size * DESCRIPTOR_BYTES, 16),
      availRing: this.allocate(availRingBytes(size), 2),
      usedRing: this.allocate(usedRingBytes(size), 4),
    };
  }

  /** The bytes of an allocated range. */
  bytes(address: number, byteLength: number): Uint8Array {
    const region = this.#region(address, byteLength);
    const offset = address - region.guestAddress;
    return region.bytes.subarray(offset, offset + byteLength);
  }

  /** The same as a DataView. */
  view(address: number, byteLength: number): DataView {
    const region = this.#region(address, byteLength);
    return new DataView(region.buffer, region.byteOffset + (address - region.guestAddress), byteLength);
  }

  #region(address: number, byteLength: number): MemoryRegion {
    const region = this.memory.regionOf(address, byteLength);
    if (region === undefined) throw new RangeError(`no region holds ${byteLength} bytes at ${address}`);
    return region;
  }
}
