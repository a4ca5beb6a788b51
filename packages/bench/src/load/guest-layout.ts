import { GuestAllocator } from '@iothreads/core/testing';
import type { VirtqueueAddresses } from '@iothreads/core';

/** Guest RAM of one device under load: rings, requests and their data. */
const MEMORY_BYTES = 4 << 20;
export const QUEUE_SIZE = 256;

export interface GuestLayout {
  readonly allocator: GuestAllocator;
  readonly queues: readonly VirtqueueAddresses[];
}

export const createGuestMemory = (): SharedArrayBuffer => new SharedArrayBuffer(MEMORY_BYTES);

/** Lays the memory out the same way on every thread that asks: the queues first, buffers behind them. */
export function layOut(memory: SharedArrayBuffer, numQueues: number): GuestLayout {
  const allocator = new GuestAllocator([{ guestAddress: 0, buffer: memory }]);
  const queues = Array.from({ length: numQueues }, () => allocator.allocateQueue(QUEUE_SIZE));
  return { allocator, queues };
}
