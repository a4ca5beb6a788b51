import { GuestMemory, type MemoryRegionOptions } from '@iothreads/core';
import { loadLinux } from './load-linux.js';

/** Guest memory that this process has mapped: plain numbers, the same on all its threads. */
export interface MappedRegion {
  readonly guestAddress: number;
  /** Where the first byte is mapped. */
  readonly hostAddress: number;
  /** Bytes. */
  readonly size: number;
}

/** No typed array is longer: a region that is becomes several, which are as good as one. */
const MAX_VIEW_BYTES = 2 ** 32;

/**
 * Guest memory as this thread sees it.
 *
 * Views over mapped regions live as long as the returned object: the owner unmaps only when all queues that were started with
 * it have stopped.
 */
export async function openMemory(
  regions: readonly (MemoryRegionOptions | MappedRegion)[],
): Promise<GuestMemory> {
  const opened: MemoryRegionOptions[] = [];
  for (const region of regions) {
    if ('buffer' in region) {
      opened.push(region);
      continue;
    }
    const { viewOf } = await loadLinux();
    const { guestAddress, hostAddress, size } = region;
    for (let offset = 0; offset < size; offset += MAX_VIEW_BYTES) {
      const byteLength = Math.min(MAX_VIEW_BYTES, size - offset);
      opened.push({
        guestAddress: guestAddress + offset,
        buffer: viewOf(hostAddress + offset, byteLength),
        hostAddress: hostAddress + offset,
      });
    }
  }
  return new GuestMemory(opened);
}
