import type { VirtqueueAddresses } from '@iothreads/core';
import { FIRST_REGION, HOLE } from './hostile-guest.js';

/** A ring in the first region that can be served. */
export const wellPlaced: VirtqueueAddresses = {
  size: 8,
  descriptorTable: FIRST_REGION,
  availRing: FIRST_REGION + 0x1000,
  usedRing: FIRST_REGION + 0x2000,
};

/** Places where no ring can be served. */
export const misplacedRings: readonly (readonly [what: string, addresses: VirtqueueAddresses])[] = (
  [
    ['a misaligned descriptor table', { descriptorTable: FIRST_REGION + 8 }],
    ['a misaligned avail ring', { availRing: FIRST_REGION + 1 }],
    ['a misaligned used ring', { usedRing: FIRST_REGION + 2 }],
    ['a descriptor table outside memory', { descriptorTable: 0 }],
    ['an avail ring outside memory', { availRing: HOLE }],
    ['a used ring outside memory', { usedRing: 2 ** 40 }],
    ['a used ring beyond 2^53', { usedRing: 2 ** 60 }],
    ['a descriptor table across the end of a region', { descriptorTable: HOLE - 64 }],
    ['an avail ring across the end of a region', { availRing: HOLE - 20 }],
    ['a used ring across the end of a region', { usedRing: HOLE - 68 }],
  ] as const
).map(([what, place]) => [what, { ...wellPlaced, ...place }]);
