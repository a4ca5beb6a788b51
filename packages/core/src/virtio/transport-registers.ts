import type { VirtioBlkDevice } from '../virtio-blk/virtio-blk-device.js';
import { VIRTIO_STATUS_DRIVER_OK } from './device-status.js';
import { merged } from './register-bank.js';
import type { RegisteredDevice } from './registered-device.js';
import type { SavedState } from './saved-state.js';

/** What a driver writes about a queue before it enables it; 64-bit addresses are two words. */
export const QueueField = {
  SIZE: 0,
  DESCRIPTORS_LOW: 1,
  DESCRIPTORS_HIGH: 2,
  DRIVER_LOW: 3,
  DRIVER_HIGH: 4,
  DEVICE_LOW: 5,
  DEVICE_HIGH: 6,
} as const;
export type QueueField = (typeof QueueField)[keyof typeof QueueField];
const QUEUE_WORDS = 7;

/** Part of what a transport saves. */
export interface TransportRegistersState {
  readonly deviceFeaturesSelect: number;
  readonly driverFeaturesSelect: number;
  readonly queueSelect: number;
  /** Seven words a queue: see `QueueField`. */
  readonly queues: readonly number[];
}

/**
 * The registers that every transport has, wherever it has them: windows onto features and queues, the status, the configuration
 * space (virtio 1.3 sections 4.1.4.3 and 4.2.2). What the device itself remembers is not remembered here again.
 */
export class TransportRegisters {
  readonly #device: RegisteredDevice;
  readonly #virtio: VirtioBlkDevice;
  /** `QUEUE_WORDS` a queue: what the driver wrote, whether the queue is enabled or not. */
  readonly #queues: Uint32Array;
  readonly #byte = new Uint8Array(1);
  deviceFeaturesSelect = 0;
  driverFeaturesSelect = 0;
  queueSelect = 0;
  /** The driver wrote status 0 and has not seen a 0 yet. */
  #resetting = false;

  constructor(device: RegisteredDevice) {
    this.#device = device;
    this.#virtio = device.virtio;
    this.#queues = new Uint32Array(this.#virtio.numQueues * QUEUE_WORDS);
    this.#clear();
  }

  /** The window onto the features that the device offers; beyond the 64 that there are it shows 0. */
  get deviceFeatures(): number {
    return featureWord(this.#virtio.offeredFeatures, this.deviceFeaturesSelect);
  }

  get driverFeatures(): number {
    return featureWord(this.#virtio.driverFeatures, this.driverFeaturesSelect);
  }

  /** The device decides whether it is the time to. */
  writeDriverFeatures(value: number, mask: number): void {
    const select = this.driverFeaturesSelect;
    if (select > 1) return;
    const shift = BigInt(32 * select);
    const word = BigInt(merged(this.driverFeatures, value, mask)) << shift;
    this.#virtio.writeDriverFeatures((this.#virtio.driverFeatures & ~(0xffff_ffffn << shift)) | word);
  }

  /** Whether there is a queue behind the selector. */
  get queueExists(): boolean {
    return this.queueSelect < this.#virtio.numQueues;
  }

  get queueSizeMax(): number {
    return this.queueExists ? this.#virtio.maxQueueSize : 0;
  }

  /** 0 of a queue that is not there. */
  readQueue(field: QueueField): number {
    return this.#queues[this.queueSelect * QUEUE_WORDS + field] ?? 0;
  }

  /** A queue that is enabled keeps what it was enabled with. */
  writeQueue(field: QueueField, value: number, mask: number): void {
    if (!this.queueExists || this.queueEnabled) return;
    const at = this.queueSelect * QUEUE_WORDS + field;
    this.#queues[at] = merged(this.#queues[at]!, value, mask);
  }

  get queueEnabled(): boolean {
    return this.#virtio.isQueueEnabled(this.queueSelect);
  }

  /** The device decides whether it is the time to; of a queue that is enabled it changes nothing. */
  enableQueue(): void {
    if (!this.queueExists) return;
    // Above 2^53 the two words make no exact number, but one that is above 2^53 as well, where the device accepts no address.
    const address = (low: QueueField, high: QueueField): number =>
      this.readQueue(high) * 0x1_0000_0000 + this.readQueue(low);
    this.#virtio.setQueue(this.queueSelect, {
      size: this.readQueue(QueueField.SIZE),
      descriptorTable: address(QueueField.DESCRIPTORS_LOW, QueueField.DESCRIPTORS_HIGH),
      availRing: address(QueueField.DRIVER_LOW, QueueField.DRIVER_HIGH),
      usedRing: address(QueueField.DEVICE_LOW, QueueField.DEVICE_HIGH),
    });
  }

  disableQueue(): void {
    this.#virtio.disableQueue(this.queueSelect);
  }

  kick(index: number): void {
    if (index < this.#virtio.numQueues) this.#device.kick(index);
  }

  get status(): number {
    const { status } = this.#virtio;
    if (status === 0) this.#resetting = false;
    return status;
  }

  /** @returns whether it was a reset: selectors and queues are forgotten, and the transport forgets its interrupts */
  writeStatus(value: number): boolean {
    const status = value & 0xff;
    if (status === 0) {
      this.reset();
      return true;
    }
    // The device may have finished a reset that nobody looked at.
    void this.status;
    this.#virtio.writeStatus(status);
    return false;
  }

  reset(): void {
    this.#virtio.writeStatus(0);
    this.#resetting = true;
    this.#clear();
  }

  /** Whether the driver hears of interrupts: from DRIVER_OK to the reset, not to the end of the reset (2.1.2, 2.4.1). */
  get running(): boolean {
    return (this.status & VIRTIO_STATUS_DRIVER_OK) !== 0 && !this.#resetting;
  }

  readConfig(offset: number): number {
    this.#virtio.config.read(offset, this.#byte);
    return this.#byte[0]!;
  }

  writeConfig(offset: number, value: number): void {
    this.#byte[0] = value;
    this.#virtio.writeConfig(offset, this.#byte);
  }

  saveState(): TransportRegistersState {
    return {
      deviceFeaturesSelect: this.deviceFeaturesSelect,
      driverFeaturesSelect: this.driverFeaturesSelect,
      queueSelect: this.queueSelect,
      queues: [...this.#queues],
    };
  }

  /**
   * Checks a state and changes nothing yet.
   * @returns what takes it on
   * @throws VirtioError `ERR_STATE` for what is no state of as many queues
   */
  prepareRestore(saved: SavedState): () => void {
    const deviceFeaturesSelect = saved.uint('deviceFeaturesSelect');
    const driverFeaturesSelect = saved.uint('driverFeaturesSelect');
    const queueSelect = saved.uint('queueSelect');
    const queues = saved.uints('queues', this.#queues.length);
    return () => {
      this.deviceFeaturesSelect = deviceFeaturesSelect;
      this.driverFeaturesSelect = driverFeaturesSelect;
      this.queueSelect = queueSelect;
      this.#queues.set(queues);
      this.#resetting = false;
    };
  }

  #clear(): void {
    this.deviceFeaturesSelect = this.driverFeaturesSelect = this.queueSelect = 0;
    this.#queues.fill(0);
    // A driver that writes no size takes the largest (4.1.5.1.3).
    for (let at = QueueField.SIZE; at < this.#queues.length; at += QUEUE_WORDS) {
      this.#queues[at] = this.#virtio.maxQueueSize;
    }
  }
}

const featureWord = (features: bigint, select: number): number =>
  Number(BigInt.asUintN(32, features >> BigInt(32 * select)));
