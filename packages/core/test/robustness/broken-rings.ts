import { VIRTIO_BLK_T_IN } from '@iothreads/core';
import { type HostileGuest, NEXT, WRITE } from './hostile-guest.js';
import { dataOf, headerOf, statusOf } from './row.js';

/** A ring that can't be trusted any more, and how it comes to that. */
export interface BrokenRing {
  readonly what: string;
  /** Writes descriptors. @returns heads to make available */
  readonly heads: (guest: HostileGuest) => readonly number[];
  /** The avail index to write then, instead of the one behind the heads. */
  readonly availIdx?: number;
  /** Requests that the device has taken before it noticed: they complete. */
  readonly taken: number;
}

export const brokenRings: readonly BrokenRing[] = [
  ...[9, 0x7fff, 0x8000, 0xffff].map((availIdx): BrokenRing => ({
    what: `avail.idx ${availIdx} ahead in a ring of 8`,
    heads: () => [],
    availIdx,
    taken: 0,
  })),
  ...[8, 9, 0xffff].map((head): BrokenRing => ({
    what: `head ${head} in a ring of 8`,
    heads: () => [head],
    taken: 0,
  })),
];

/** A head that is still in flight; for devices that take several requests before they do the first. */
export const heldHead: BrokenRing = {
  what: 'a head that is still in flight',
  heads: (guest) => {
    guest.writeHeader(VIRTIO_BLK_T_IN);
    guest.writeChain([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)]);
    return [0, 0];
  },
  taken: 1,
};
