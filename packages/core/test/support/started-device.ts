import {
  hasFeature,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { BlkDriver, type RegisterDriver } from '@iothreads/core/testing';
import type { RegisterRig } from './register-rig.js';

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
