import type { MemoryRegion } from '@iothreads/core';
import { addressOf } from '@iothreads/linux';

/** Where a region's first byte is in this process, found out once. */
export function hostAddress(region: MemoryRegion): number {
  const known = region.hostAddress;
  if (!Number.isNaN(known)) return known;
  return (region.hostAddress = addressOf(region.buffer) + region.byteOffset);
}
