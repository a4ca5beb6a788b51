import {
  CONFIG_INTERRUPT,
  hasFeature,
  type RegisteredDevice,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VirtioBlkDevice,
  Virtqueue,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { GuestAllocator } from '@iothreads/core/testing';
import { InProcessDevice } from './in-process-device.js';

export const CAPACITY_SECTORS = 64;
export const QUEUE_SIZE = 16;

/** A whole device without threads, for registers to stand in front of: kicks are served at once, interrupts come with `deliver`. */
export class RegisterRig implements RegisteredDevice {
  readonly allocator = new GuestAllocator([{ guestAddress: 0x1_0000, buffer: new ArrayBuffer(0x10_0000) }]);
  readonly virtio: VirtioBlkDevice;
  readonly disk = new Uint8Array(CAPACITY_SECTORS * 512);
  /** A reset, or a queue that is to stop, waits for `finishReset` or `finishStops`. */
  holdReset = false;
  holdStop = false;
  readonly kicks: number[] = [];
  readonly #queues: (InProcessDevice | undefined)[];
  readonly #pending: number[] = [];
  #resetting = false;
  readonly #stopping = new Set<number>();
  readonly #listeners = new Set<(source: number) => void>();
  #features = 0n;

  constructor(numQueues: number = 1) {
    this.#queues = Array.from({ length: numQueues }, () => undefined);
    this.virtio = new VirtioBlkDevice(
      {
        capacitySectors: CAPACITY_SECTORS,
        numQueues,
        queueSize: QUEUE_SIZE,
        logicalBlockSize: 512,
        discard: false,
        writeZeroes: false,
        readOnly: false,
      },
      this.allocator.memory,
      {
        activate: ({ features, queues }) => {
          this.#features = features;
          for (const [index, addresses] of queues.entries()) this.#serve(index, addresses);
        },
        reset: () => {
          this.#resetting = true;
          if (!this.holdReset) this.finishReset();
        },
        writebackChanged: () => {},
        startRefused: () => this.#pending.push(CONFIG_INTERRUPT),
        stopQueue: (index) => {
          this.#stopping.add(index);
          if (!this.holdStop) this.finishStops();
        },
        startQueue: (index, addresses) => {
          this.#serve(index, addresses);
        },
        broken: () => this.#queues.some((queue) => queue?.queue.broken === true),
      },
    );
  }

  /** Completes the reset that the driver asked for, if any. */
  finishReset(): void {
    if (!this.#resetting) return;
    this.#resetting = false;
    this.#stopping.clear();
    this.#queues.fill(undefined);
    this.virtio.resetDone();
  }

  /** Stops the queues that the driver wants stopped. */
  finishStops(): void {
    for (const index of this.#stopping) {
      this.#queues[index] = undefined;
      this.virtio.queueStopped(index);
    }
    this.#stopping.clear();
  }

  kick(index: number): void {
    this.kicks.push(index);
    const queue = this.#queues[index];
    if (queue === undefined) return;
    const before = queue.interrupts;
    queue.run();
    if (queue.interrupts > before) this.interrupt(index);
  }

  onInterrupt(listener: (source: number) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** An interrupt that `deliver` will deliver. */
  interrupt(source: number): void {
    if (!this.#pending.includes(source)) this.#pending.push(source);
  }

  deliver(): void {
    for (const source of this.#pending.splice(0)) {
      for (const listener of this.#listeners) listener(source);
    }
  }

  /** The disk has another size, as its owner would change it. */
  resize(capacitySectors: number): void {
    this.virtio.resize(capacitySectors);
    this.interrupt(CONFIG_INTERRUPT);
  }

  allocateQueues(size: number = QUEUE_SIZE): VirtqueueAddresses[] {
    return this.#queues.map(() => this.allocator.allocateQueue(size));
  }

  #serve(index: number, addresses: VirtqueueAddresses | undefined): void {
    if (addresses === undefined) return;
    const queue = new Virtqueue(this.allocator.memory, addresses, {
      indirect: hasFeature(this.#features, VIRTIO_F_INDIRECT_DESC),
      eventIdx: hasFeature(this.#features, VIRTIO_F_EVENT_IDX),
    });
    const limits = {
      capacitySectors: CAPACITY_SECTORS,
      readOnly: false,
      discard: false,
      writeZeroes: false,
      serial: new Uint8Array(0),
    };
    this.#queues[index] = new InProcessDevice(queue, limits, this.disk);
  }
}
