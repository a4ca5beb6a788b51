import type { GuestMemory, MemoryRegionOptions, VirtqueueAddresses, VirtqueueState } from '@iothreads/core';

/** A queue as an iothread serves it. */
export interface PathQueue {
  readonly addresses: VirtqueueAddresses;
  readonly features: bigint;
}

/**
 * How iothreads get at the rings of a device's guest: its memory is shared with them, or requests are bounced through memory that
 * is. All of it is called on the guest's own thread.
 */
export interface GuestPath {
  /** Guest memory as its driver knows it. */
  readonly memory: GuestMemory;
  /** What its driver is told so that requests fit; nothing where there is no bound. */
  readonly limits: { readonly sizeMax?: number; readonly segMax?: number };
  /** The memory that iothreads work in. */
  readonly served: readonly MemoryRegionOptions[];
  /** A queue has been enabled. @param state where the guest's ring stands, when it is not a fresh one */
  open(index: number, queue: PathQueue, state: VirtqueueState | undefined): PathQueue;
  /** The queue is none any more: nothing that completes from now on reaches the guest. */
  close(index: number): void;
  /** The guest has made requests available, or may have. */
  kick(index: number): void;
  /**
   * Looks at a queue, whose iothread has rung or may have.
   * @param rang whether there has been an interrupt since the last look
   * @returns whether the driver is to be interrupted
   */
  collect(index: number, rang: boolean): boolean;
  /** An interrupt is wanted for what completes next. @returns whether something has completed already: look again */
  arm(index: number): boolean;
  /** Requests that are on their way between the guest's rings and the iothreads'. */
  readonly inFlight: number;
  /** Takes no requests from the guest, until told to go on. */
  pause(on: boolean): void;
  /** Where the guest's ring stands, where it is not the one that iothreads serve. */
  position(index: number): VirtqueueState | undefined;
}
