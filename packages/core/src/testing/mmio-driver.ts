import { VIRTIO_ID_BLOCK } from '../virtio-blk/constants.js';
import * as layout from '../virtio-mmio/mmio-layout.js';
import type { AccessWidth } from '../virtio/register-bank.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';
import type { RegisterBus } from './register-bus.js';
import { highHalf, type InterruptCause, lowHalf, RegisterDriver } from './register-driver.js';

/** Drives a block device by virtio over MMIO (virtio 1.3 section 4.2.3), one register access after the other. */
export class MmioDriver extends RegisterDriver {
  readonly #bus: RegisterBus;

  /** @throws Error when there is no such device */
  constructor(bus: RegisterBus) {
    super();
    this.#bus = bus;
    const found = [layout.MMIO_MAGIC_VALUE, layout.MMIO_VERSION, layout.MMIO_DEVICE_ID].map((register) =>
      this.#read(register),
    );
    if (found[0] !== layout.MMIO_MAGIC || found[1] !== 2 || found[2] !== VIRTIO_ID_BLOCK) {
      throw new Error(`no virtio-mmio block device of version 2: ${found.join(', ')}`);
    }
  }

  override get status(): number {
    return this.#read(layout.MMIO_STATUS);
  }

  override set status(status: number) {
    this.#write(layout.MMIO_STATUS, status);
  }

  override get offeredFeatures(): bigint {
    const words = [0, 1].map((select) => {
      this.#write(layout.MMIO_DEVICE_FEATURES_SEL, select);
      return BigInt(this.#read(layout.MMIO_DEVICE_FEATURES));
    });
    return words[0]! | (words[1]! << 32n);
  }

  override writeFeatures(features: bigint): void {
    for (const select of [0, 1]) {
      this.#write(layout.MMIO_DRIVER_FEATURES_SEL, select);
      this.#write(layout.MMIO_DRIVER_FEATURES, Number(BigInt.asUintN(32, features >> BigInt(32 * select))));
    }
  }

  override queueSizeMax(index: number): number {
    this.#write(layout.MMIO_QUEUE_SEL, index);
    return this.#read(layout.MMIO_QUEUE_SIZE_MAX);
  }

  override setUpQueue(index: number, addresses: VirtqueueAddresses): void {
    this.#write(layout.MMIO_QUEUE_SEL, index);
    this.#write(layout.MMIO_QUEUE_SIZE, addresses.size);
    this.#write(layout.MMIO_QUEUE_DESC_LOW, lowHalf(addresses.descriptorTable));
    this.#write(layout.MMIO_QUEUE_DESC_HIGH, highHalf(addresses.descriptorTable));
    this.#write(layout.MMIO_QUEUE_DRIVER_LOW, lowHalf(addresses.availRing));
    this.#write(layout.MMIO_QUEUE_DRIVER_HIGH, highHalf(addresses.availRing));
    this.#write(layout.MMIO_QUEUE_DEVICE_LOW, lowHalf(addresses.usedRing));
    this.#write(layout.MMIO_QUEUE_DEVICE_HIGH, highHalf(addresses.usedRing));
    this.#write(layout.MMIO_QUEUE_READY, 1);
  }

  override isQueueEnabled(index: number): boolean {
    this.#write(layout.MMIO_QUEUE_SEL, index);
    return this.#read(layout.MMIO_QUEUE_READY) === 1;
  }

  /** Has the device stop queue `index`: it has once `isQueueEnabled` says no more (4.2.3.2). */
  stopQueue(index: number): void {
    this.#write(layout.MMIO_QUEUE_SEL, index);
    this.#write(layout.MMIO_QUEUE_READY, 0);
  }

  override kick(index: number): void {
    this.#write(layout.MMIO_QUEUE_NOTIFY, index);
  }

  override get configGeneration(): number {
    return this.#read(layout.MMIO_CONFIG_GENERATION);
  }

  override readConfig(offset: number, width: AccessWidth): number {
    return this.#bus.read(layout.MMIO_CONFIG + offset, width);
  }

  override writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#bus.write(layout.MMIO_CONFIG + offset, width, value);
  }

  override acknowledgeInterrupt(): InterruptCause {
    const status = this.#read(layout.MMIO_INTERRUPT_STATUS);
    this.#write(layout.MMIO_INTERRUPT_ACK, status);
    return {
      queue: (status & layout.MMIO_INT_VRING) !== 0,
      config: (status & layout.MMIO_INT_CONFIG) !== 0,
    };
  }

  #read(register: number): number {
    return this.#bus.read(register, 4);
  }

  #write(register: number, value: number): void {
    this.#bus.write(register, 4, value);
  }
}
