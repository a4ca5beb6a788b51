import {
  CONFIG_INTERRUPT,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { BlkDriver, GuestAllocator, startDevice } from '@iothreads/core/testing';
import type { BlockDevice } from '@iothreads/iothread';
import { within } from './within.js';

const MEMORY_BYTES = 4 << 20;
const QUEUE_SIZE = 256;
const BLOCK_BYTES = 4096;

export const allocatorOf = (memory: SharedArrayBuffer | ArrayBuffer): GuestAllocator =>
  new GuestAllocator([{ guestAddress: 0, buffer: memory }]);

export const createMemory = (): SharedArrayBuffer => new SharedArrayBuffer(MEMORY_BYTES);

/** Doorbells and interrupts, as a driver uses them; a `DeviceChannel` is one. */
export interface Line {
  kick(index: number): void;
  /** How many interrupts of a queue, or of the configuration, there have been. */
  interrupts(source: number): number;
  /** Resolves when there have been more than `seen`. */
  interruptAfter(source: number, seen: number): Promise<void>;
}

/** What came of a request. */
export interface Outcome {
  readonly status: number;
  /** The slot's data as it was when the completion was seen: a copy. */
  readonly data: Uint8Array;
}

interface Pending {
  readonly byteLength: number;
  readonly resolve: (outcome: Outcome) => void;
}

/** One virtqueue as an operating system drives it: sleeps until its interrupt, then takes what has completed. */
export class GuestQueue {
  readonly driver: BlkDriver;
  readonly addresses: VirtqueueAddresses;
  readonly index: number;
  /** Completions seen since the queue was set up; a second one for a request is an exception of the driver's. */
  completions = 0;
  readonly #line: Line;
  readonly #pending: (Pending | undefined)[];
  #inFlight = 0;
  #pumping = false;
  #failure: Error | undefined;

  constructor(
    allocator: GuestAllocator,
    addresses: VirtqueueAddresses,
    options: {
      readonly line: Line;
      readonly index: number;
      readonly depth: number;
      readonly eventIdx: boolean;
    },
  ) {
    this.addresses = addresses;
    this.index = options.index;
    this.driver = new BlkDriver(allocator, { ...options, addresses, dataBytes: BLOCK_BYTES });
    this.#line = options.line;
    this.#pending = Array.from({ length: options.depth }, () => undefined);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Puts a request into the ring without telling anybody. */
  add(type: number, sector: number, data: number | Uint8Array): Promise<Outcome> {
    const slot = this.driver.takeSlot();
    if (slot === -1) throw new Error('the queue has no free slot');
    const byteLength = typeof data === 'number' ? data : data.length;
    if (typeof data !== 'number') this.driver.data(slot).set(data);
    this.driver.start(slot, type, sector, byteLength);
    this.#inFlight++;
    return new Promise((resolve) => {
      this.#pending[slot] = { byteLength, resolve };
    });
  }

  /** Shows the device what was added; rings if it wants that. */
  go(): void {
    if (this.driver.publish()) this.#line.kick(this.index);
    if (!this.#pumping) {
      this.#pumping = true;
      this.#pump().catch((error: unknown) => {
        this.#failure = error as Error;
      });
    }
  }

  /** One request from beginning to end. */
  async request(type: number, sector: number, data: number | Uint8Array): Promise<Outcome> {
    const outcome = this.add(type, sector, data);
    this.go();
    return within(outcome, `request of type ${type} at sector ${sector}`, () => this.#failure?.message);
  }

  async read(sector: number, byteLength = 512): Promise<Uint8Array> {
    const { status, data } = await this.request(VIRTIO_BLK_T_IN, sector, byteLength);
    if (status !== VIRTIO_BLK_S_OK) throw new Error(`read of sector ${sector}: status ${status}`);
    return data;
  }

  async write(sector: number, data: Uint8Array): Promise<void> {
    const { status } = await this.request(VIRTIO_BLK_T_OUT, sector, data);
    if (status !== VIRTIO_BLK_S_OK) throw new Error(`write of sector ${sector}: status ${status}`);
  }

  async flush(): Promise<void> {
    const { status } = await this.request(VIRTIO_BLK_T_FLUSH, 0, 0);
    if (status !== VIRTIO_BLK_S_OK) throw new Error(`flush: status ${status}`);
  }

  /** One read after the other, never two at a time. */
  async readOneByOne(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.read(i % 64);
  }

  async #pump(): Promise<void> {
    while (this.#inFlight > 0) {
      const seen = this.#line.interrupts(this.index);
      this.#reap();
      if (this.#inFlight === 0) break;
      if (this.driver.queue.enableInterrupts()) continue;
      await this.#line.interruptAfter(this.index, seen);
    }
    this.#pumping = false;
  }

  #reap(): void {
    for (let slot = this.driver.takeDone(); slot !== -1; slot = this.driver.takeDone()) {
      const pending = this.#pending[slot]!;
      this.#pending[slot] = undefined;
      this.#inFlight--;
      this.completions++;
      pending.resolve({
        status: this.driver.status(slot),
        data: this.driver.data(slot).slice(0, pending.byteLength),
      });
    }
  }
}

export interface GuestOptions {
  /** Requests in flight on each queue at most; default 64. */
  readonly depth?: number;
  readonly features?: bigint;
  /** How many of the device's queues the driver sets up; default: all. */
  readonly queues?: number;
  /** Default: the device's channel. */
  readonly line?: Line;
}

/** The driver of one device. Each start lays out fresh rings and buffers behind those of the start before. */
export class Guest {
  readonly device: BlockDevice;
  readonly memory: SharedArrayBuffer | ArrayBuffer;
  readonly allocator: GuestAllocator;
  queues: readonly GuestQueue[] = [];

  /** @param allocator that of the memory, where drivers of other devices are in it as well */
  constructor(device: BlockDevice, memory: SharedArrayBuffer | ArrayBuffer, allocator = allocatorOf(memory)) {
    this.device = device;
    this.memory = memory;
    this.allocator = allocator;
  }

  static async start(
    device: BlockDevice,
    memory: SharedArrayBuffer | ArrayBuffer,
    options?: GuestOptions,
  ): Promise<Guest> {
    const guest = new Guest(device, memory);
    await guest.start(options);
    return guest;
  }

  /** Queue 0: the only one of most devices. */
  get queue(): GuestQueue {
    return this.queues[0]!;
  }

  /** Lays the queues out without starting the device. */
  layOut(options: GuestOptions = {}): void {
    const { virtio } = this.device;
    this.queues = Array.from(
      { length: options.queues ?? virtio.numQueues },
      (_, index) =>
        new GuestQueue(
          this.allocator,
          this.allocator.allocateQueue(Math.min(QUEUE_SIZE, virtio.maxQueueSize)),
          { line: options.line ?? this.device.channel, index, depth: options.depth ?? 64, eventIdx: true },
        ),
    );
  }

  async start(options: GuestOptions = {}): Promise<void> {
    this.layOut(options);
    const { virtio } = this.device;
    startDevice(
      virtio,
      this.queues.map((queue) => queue.addresses),
      options.features ?? virtio.offeredFeatures,
    );
    await within(this.device.settled(), 'the start of the device');
  }

  /** Writes 0 to the status and waits until it reads 0. */
  async reset(): Promise<void> {
    this.device.virtio.writeStatus(0);
    while (this.device.virtio.status !== 0) {
      await within(this.device.settled(), 'the reset of the device');
      await new Promise(setImmediate);
    }
  }
}

/** Waits until the status has all of `bits`; looks after each configuration interrupt. */
export async function statusBits(device: BlockDevice, bits: number, seen: number): Promise<void> {
  for (
    let at = seen;
    (device.virtio.status & bits) !== bits;
    at = device.channel.interrupts(CONFIG_INTERRUPT)
  ) {
    await within(device.channel.interruptAfter(CONFIG_INTERRUPT, at), `status bits ${bits}`);
  }
}
