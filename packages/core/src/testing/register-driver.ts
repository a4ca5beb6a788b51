import {
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from '../virtio/device-status.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';
import type { AccessWidth } from '../virtio/register-bank.js';

/** What an interrupt was about. */
export interface InterruptCause {
  readonly queue: boolean;
  readonly config: boolean;
}

/**
 * The driver's side of a transport: takes a device through the initialisation that virtio 1.3 section 3.1.1 prescribes, by its
 * registers alone. Requests are `BlkDriver`'s, over the queues that were set up here.
 */
export abstract class RegisterDriver {
  /** The device status (2.1). */
  abstract status: number;

  /** 0 to 63, two windows of 32. */
  abstract readonly offeredFeatures: bigint;

  /** Bumped by the device whenever its configuration changes. */
  abstract readonly configGeneration: number;

  /** Tells the device which features the driver wants, 64 bits in two windows. */
  abstract writeFeatures(features: bigint): void;

  /** The largest size that the device allows for queue `index`; 0 for a queue that is not there. */
  abstract queueSizeMax(index: number): number;

  /** Tells the device where queue `index` is, and enables it. */
  abstract setUpQueue(index: number, addresses: VirtqueueAddresses): void;

  /** Whether the device says that queue `index` is enabled. */
  abstract isQueueEnabled(index: number): boolean;

  /** Rings the doorbell of queue `index`. */
  abstract kick(index: number): void;

  /** Reads the device's configuration space, at a byte offset of its own. */
  abstract readConfig(offset: number, width: AccessWidth): number;

  /** Writes it; only `writeback` takes that. */
  abstract writeConfig(offset: number, width: AccessWidth, value: number): void;

  /** Finds out what interrupted and tells the device that it was heard: the line goes low. */
  abstract acknowledgeInterrupt(): InterruptCause;

  /** Prepares the interrupts, once the features are settled; a transport with a pin only has nothing to do. */
  protected setUpInterrupts(): void {}

  /** Writes status 0; the device is reset once `isReset`. */
  reset(): void {
    this.status = 0;
  }

  /** Whether a reset is complete: the status reads 0. */
  get isReset(): boolean {
    return this.status === 0;
  }

  /**
   * Steps 2 to 8, for a device that has been reset.
   *
   * @param features those that the driver wants of the ones offered; all by default
   * @throws Error at the first step that the device refuses
   */
  start(queues: readonly VirtqueueAddresses[], features: bigint = this.offeredFeatures): void {
    if (!this.isReset) throw new Error('the device has not been reset');
    this.status = VIRTIO_STATUS_ACKNOWLEDGE;
    this.status |= VIRTIO_STATUS_DRIVER;
    this.writeFeatures(this.offeredFeatures & features);
    this.status |= VIRTIO_STATUS_FEATURES_OK;
    if ((this.status & VIRTIO_STATUS_FEATURES_OK) === 0) throw new Error('the device refused the features');
    this.setUpInterrupts();
    for (const [index, addresses] of queues.entries()) {
      const max = this.queueSizeMax(index);
      if (addresses.size > max) throw new Error(`queue ${index} takes ${max} descriptors`);
      if (this.isQueueEnabled(index)) throw new Error(`queue ${index} is enabled already`);
      this.setUpQueue(index, addresses);
      if (!this.isQueueEnabled(index)) throw new Error(`the device refused queue ${index}`);
    }
    this.status |= VIRTIO_STATUS_DRIVER_OK;
    const started = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET;
    if ((this.status & started) !== VIRTIO_STATUS_DRIVER_OK) throw new Error('the device refused to start');
  }

  /** In 512-byte sectors; read again while the configuration changes (2.5.1). */
  get capacitySectors(): number {
    for (;;) {
      const generation = this.configGeneration;
      const low = this.readConfig(0, 4);
      const high = this.readConfig(4, 4);
      if (this.configGeneration === generation) return high * 0x1_0000_0000 + low;
    }
  }
}

/** The lower half of a 64-bit address. */
export const lowHalf = (address: number): number => address % 0x1_0000_0000;
/** The upper half of a 64-bit address. */
export const highHalf = (address: number): number => Math.floor(address / 0x1_0000_0000);
