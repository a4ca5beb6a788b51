import { GuestMemory, SECTOR_SIZE, VirtioBlkDevice } from '@iothreads/core';
import { type DiskDevice, guestMemory } from '@iothreads/v86';
import type { BareMachine } from './bare-machine.js';

/** A device that touches no rings: it interrupts at a look that is so many looks after the doorbell. */
export class LateDevice implements DiskDevice {
  readonly completion = 'pull';
  readonly virtio: VirtioBlkDevice;
  /** Looks until the interrupt of each doorbell from now on. */
  looks = 1;
  /** What was asked of it. */
  armed = 0;
  #left = 0;
  readonly #listeners = new Set<(source: number) => void>();

  constructor(machine: BareMachine) {
    const { regions = [], buffer } = guestMemory(machine.emulator);
    this.virtio = new VirtioBlkDevice(
      {
        capacitySectors: 8,
        numQueues: 1,
        queueSize: 64,
        logicalBlockSize: SECTOR_SIZE,
        readOnly: true,
        discard: false,
        writeZeroes: false,
      },
      new GuestMemory(regions.map((region) => ({ ...region, buffer: buffer() }))),
      {
        activate: () => {},
        reset: () => {
          this.virtio.resetDone();
        },
        writebackChanged: () => {},
        startRefused: () => {},
      },
    );
  }

  get inFlight(): number {
    return this.#left > 0 ? 1 : 0;
  }

  kick(): void {
    this.#left = this.looks;
  }

  onInterrupt(listener: (source: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  drain(): number {
    if (this.#left === 0) return 0;
    this.#left--;
    if (this.#left > 0) return 0;
    for (const listener of this.#listeners) listener(0);
    return 1;
  }

  arm(): boolean {
    this.armed++;
    return false;
  }
}
