import { viewOf } from '@iothreads/linux';
import type { GuestRegion } from './guest-region.js';
import { hex, type RegionDescription } from './protocol/memory-payloads.js';
import { protocolError } from './vhost-user-error.js';

/** Regions at most, if the front end adds them one by one: QEMU's own limit. */
export const MAX_MEM_SLOTS = 509;

/** The memory that a front end shares: regions that don't overlap in guest-physical space. Never changes; changes make another. */
export class MemoryTable {
  static readonly EMPTY = new MemoryTable([]);

  /** Sorted by guest address. */
  readonly regions: readonly GuestRegion[];

  /** @throws VhostUserError `ERR_PROTOCOL` when two regions overlap, or there are too many */
  constructor(regions: readonly GuestRegion[]) {
    if (regions.length > MAX_MEM_SLOTS) {
      throw protocolError(`${regions.length} regions of memory; ${MAX_MEM_SLOTS} are possible`);
    }
    const sorted = regions.toSorted((a, b) => a.guestAddress - b.guestAddress);
    for (const [i, region] of sorted.entries()) {
      const before = sorted[i - 1];
      if (before !== undefined && before.guestAddress + before.size > region.guestAddress) {
        throw protocolError(`regions at ${hex(before.guestAddress)} and ${hex(region.guestAddress)} overlap`);
      }
    }
    this.regions = sorted;
  }

  with(region: GuestRegion): MemoryTable {
    return new MemoryTable([...this.regions, region]);
  }

  /** @throws VhostUserError `ERR_PROTOCOL` when there is no such region */
  without({ guestAddress, userAddress, size }: RegionDescription): MemoryTable {
    const rest = this.regions.filter(
      (region) =>
        region.guestAddress !== guestAddress || region.userAddress !== userAddress || region.size !== size,
    );
    if (rest.length === this.regions.length) {
      throw protocolError(`there is no region of ${size} bytes at ${hex(guestAddress)} to remove`);
    }
    return new MemoryTable(rest);
  }

  /**
   * Guest-physical address of what the front end has at `userAddress`.
   * @param name what it is, for the error
   * @throws VhostUserError `ERR_PROTOCOL` unless all of it lies in one region
   */
  guestAddressOf(userAddress: number, byteLength: number, name: string): number {
    const region = this.regions.find(
      (each) => userAddress >= each.userAddress && userAddress - each.userAddress < each.size,
    );
    if (region === undefined || byteLength > region.size - (userAddress - region.userAddress)) {
      throw protocolError(
        `${name} of ${byteLength} bytes at ${hex(userAddress)} is not in the memory that was shared`,
      );
    }
    return region.guestAddress + (userAddress - region.userAddress);
  }

  /** A u16 that lies in memory, at a guest-physical address. */
  readU16(guestAddress: number): number {
    const region = this.regions.find(
      (each) => guestAddress >= each.guestAddress && guestAddress + 2 <= each.guestAddress + each.size,
    )!;
    // The table's regions stay mapped for as long as it is in use, and this view is gone at once.
    const buffer = viewOf(region.hostAddress + (guestAddress - region.guestAddress), 2);
    return new DataView(buffer).getUint16(0, true);
  }
}
