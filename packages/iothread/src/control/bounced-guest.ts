import {
  BounceArea,
  type BouncedMemory,
  type GuestMemory,
  type MemoryRegionOptions,
  type VirtqueueState,
} from '@iothreads/core';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { GuestPath, PathQueue } from './guest-path.js';
import { allQueues } from './vq-mapping.js';

/** Guest memory is the emulator's alone: requests are copied through slots that iothreads can reach. */
export class BouncedGuest implements GuestPath {
  readonly limits: { readonly sizeMax: number; readonly segMax: number };
  readonly #area: BounceArea;
  readonly #channel: DeviceChannel;
  readonly #indexes: readonly number[];
  /** Queues that an interrupt is wanted of as soon as they are open. */
  readonly #armed = new Set<number>();
  #paused = false;

  /** @throws VirtioError `ERR_MEMORY_REGION`, `ERR_DEVICE_OPTION` */
  constructor(
    memory: BouncedMemory,
    device: { readonly numQueues: number; readonly queueSize: number },
    channel: DeviceChannel,
  ) {
    this.#channel = channel;
    this.#indexes = allQueues(device.numQueues);
    this.#area = new BounceArea(memory, {
      ...device,
      onBroken: () => {
        if (!channel.broken) channel.setBroken(true);
      },
    });
    this.limits = this.#area.limits;
  }

  get memory(): GuestMemory {
    return this.#area.memory;
  }

  get served(): readonly MemoryRegionOptions[] {
    return this.#area.shared;
  }

  open(index: number, { addresses, features }: PathQueue, state: VirtqueueState | undefined): PathQueue {
    const served = {
      addresses: this.#area.open(index, addresses, features, state),
      features: this.#area.features,
    };
    if (this.#armed.delete(index)) this.#area.queue(index)!.armInterrupt();
    return served;
  }

  close(index: number): void {
    // Whoever waits for an interrupt of its next hears of the queue's next life.
    if (this.#area.queue(index) !== undefined) this.#armed.add(index);
    this.#area.close(index);
  }

  kick(index: number): void {
    if (this.#paused) return;
    if (this.#area.queue(index)?.take() === true) this.#channel.kick(index);
  }

  collect(index: number): boolean {
    const queue = this.#area.queue(index);
    if (queue?.hasDone !== true) return false;
    const wanted = queue.give();
    // Slots are free again: what had to wait in the guest's ring for one can go.
    this.kick(index);
    return wanted;
  }

  arm(index: number): boolean {
    const queue = this.#area.queue(index);
    if (queue === undefined) this.#armed.add(index);
    return queue?.armInterrupt() === true;
  }

  get inFlight(): number {
    let inFlight = 0;
    for (const index of this.#indexes) inFlight += this.#area.queue(index)?.inFlight ?? 0;
    return inFlight;
  }

  pause(on: boolean): void {
    this.#paused = on;
    if (!on) for (const index of this.#indexes) this.kick(index);
  }

  position(index: number): VirtqueueState | undefined {
    return this.#area.queue(index)?.state;
  }
}
