import {
  CONFIG_INTERRUPT,
  hasFeature,
  type RegisteredDevice,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VirtioBlkDevice,
  Virtqueue,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { BlkDriver, GuestAllocator, type RegisterDriver } from '@iothreads/core/testing';
import { InProcessDevice } from './in-process-device.js';

export const CAPACITY_SECTORS = 64;
export const QUEUE_SIZE = 16;

/** A whole device without threads, for registers to stand in front of: kicks are served at once, interrupts come with `deliver`. */
export class RegisterRig implements RegisteredDevice {
  readonly allocator = new GuestAllocator([{ guestAddress: 0x1_0000, buffer: new ArrayBuffer(0x10_0000) }]);
  readonly virtio: VirtioBlkDevice;
  readonly disk = new Uint8Array(CAPACITY_SECTORS * 512);
  /** A reset, or a queue that is to stop, waits for `finishReset` or `finishStop`. */
  holdReset = false;
  holdStop = false;
  readonly kicks: number[] = [];
  readonly #queues: (InProcessDevice | undefined)[];
  readonly #pending: number[] = [];
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
          if (!this.holdReset) this.finishReset();
        },
        writebackChanged: () => {},
        startRefused: () => this.#pending.push(CONFIG_INTERRUPT),
        stopQueue: (index) => {
          if (!this.holdStop) this.finishStop(index);
        },
        startQueue: (index, addresses) => {
          this.#serve(index, addresses);
        },
      },
    );
  }

  finishReset(): void {
    this.#queues.fill(undefined);
    this.virtio.resetDone();
  }

  finishStop(index: number): void {
    this.#queues[index] = undefined;
    this.virtio.queueStopped(index);
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

/** A level-triggered line as a machine has it: what it is, and how often it rose. It minds levels that are no change. */
export class Line {
  level = false;
  raised = 0;

  set(level: boolean): void {
    if (level === this.level) throw new Error(`the line is ${level ? 'high' : 'low'} already`);
    this.level = level;
    if (level) this.raised++;
  }
}

/** A started device and requests to it: one `BlkDriver` a queue. */
export class StartedDevice {
  readonly queues: readonly VirtqueueAddresses[];
  readonly #rig: RegisterRig;
  readonly #driver: RegisterDriver;
  readonly #blk: BlkDriver[];

  constructor(rig: RegisterRig, driver: RegisterDriver, features: bigint = driver.offeredFeatures) {
    this.queues = rig.allocateQueues();
    this.#rig = rig;
    this.#driver = driver;
    this.#blk = this.queues.map(
      (addresses) =>
        new BlkDriver(rig.allocator, {
          addresses,
          depth: 4,
          dataBytes: 512,
          eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
        }),
    );
    driver.start(this.queues, features);
    for (const blk of this.#blk) blk.queue.enableInterrupts();
  }

  /** One request on queue `index`, kicked and served. @returns its slot */
  submit(index: number, type: number, sector: number, data?: Uint8Array): number {
    const blk = this.#blk[index]!;
    const slot = blk.takeSlot();
    if (data !== undefined) blk.data(slot).set(data);
    blk.start(slot, type, sector, 512);
    if (blk.publish()) this.#driver.kick(index);
    return slot;
  }

  /** Takes the one completion of queue `index`. @returns its data */
  take(index: number): Uint8Array {
    const blk = this.#blk[index]!;
    const slot = blk.takeDone();
    if (slot === -1 || blk.status(slot) !== 0) throw new Error(`queue ${index} has no good completion`);
    blk.queue.enableInterrupts();
    return blk.data(slot);
  }

  hasUsed(index: number): boolean {
    return this.#blk[index]!.queue.hasUsed();
  }

  /** Writes a sector through queue `index` and reads it back; interrupts are delivered, `heard` is called after each. */
  roundTrip(index: number, sector: number, heard: () => void): void {
    const data = Uint8Array.from({ length: 512 }, (_, i) => (i * 3 + index * 7 + sector) & 0xff);
    this.submit(index, VIRTIO_BLK_T_OUT, sector, data);
    this.#rig.deliver();
    heard();
    this.take(index);
    this.submit(index, VIRTIO_BLK_T_IN, sector, new Uint8Array(512));
    this.#rig.deliver();
    heard();
    const got = this.take(index);
    if (!got.every((byte, i) => byte === data[i])) throw new Error(`sector ${sector} came back changed`);
  }
}
