import { GuestMemory, type MemoryRegionOptions } from '@iothreads/core';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { GuestPath, PathQueue } from './guest-path.js';

/** Iothreads work in guest memory themselves: there is nothing between the guest's rings and theirs. */
export class SharedGuest implements GuestPath {
  readonly memory: GuestMemory;
  readonly limits = {};
  readonly served: readonly MemoryRegionOptions[];
  readonly inFlight = 0;
  readonly #channel: DeviceChannel;

  constructor(regions: readonly MemoryRegionOptions[], channel: DeviceChannel) {
    this.memory = new GuestMemory(regions);
    this.served = regions;
    this.#channel = channel;
  }

  open(_index: number, queue: PathQueue): PathQueue {
    return queue;
  }

  close(): void {}

  kick(index: number): void {
    this.#channel.kick(index);
  }

  collect(_index: number, rang: boolean): boolean {
    return rang;
  }

  /** It is the guest that says which interrupts it wants, in its own ring. */
  arm(): boolean {
    return false;
  }

  pause(): void {}

  position(): undefined {
    return undefined;
  }
}
