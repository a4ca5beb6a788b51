import type { GuestMemory } from '../memory/guest-memory.js';
import { VirtioError } from '../virtio-error.js';
import {
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from '../virtio/device-status.js';
import { hasFeature, VIRTIO_F_VERSION_1 } from '../virtio/features.js';
import { SplitRing, type VirtqueueAddresses } from '../virtqueue/split-ring.js';
import { MAX_CAPACITY_SECTORS } from './block-limits.js';
import { BlkConfigSpace, type BlkConfigOptions } from './config-space.js';
import { VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH } from './constants.js';
import { checkState, type VirtioBlkState } from './virtio-blk-state.js';
import { offeredFeatures, type OfferedFeaturesOptions } from './offered-features.js';

export interface VirtioBlkDeviceOptions extends BlkConfigOptions, OfferedFeaturesOptions {}

/** What the driver has settled by the time it sets DRIVER_OK. */
export interface Activation {
  readonly features: bigint;
  /** One entry a queue; undefined where the driver did not enable it. */
  readonly queues: readonly (VirtqueueAddresses | undefined)[];
  readonly writeback: boolean;
}

/** What a device asks of whoever runs its queues. Called from within register writes; must not throw. */
export interface VirtioBlkDeviceEvents {
  /** DRIVER_OK: serve these queues. */
  activate(activation: Activation): void;
  /**
   * The driver wrote 0: stop serving, and say `resetDone` once no request is in flight. The driver reads a status
   * other than 0 until then (virtio 1.3 section 2.4.1).
   */
  reset(): void;
  /** The driver switched its cache: write-back or write-through. */
  writebackChanged(writeback: boolean): void;
  /** DRIVER_OK was refused and the device needs a reset: raise the configuration interrupt (2.1.2). */
  startRefused(): void;
  /**
   * The driver stops one queue of the running device (4.2.3.2): say `queueStopped` when nothing of its is in flight. Left out
   * where no transport lets drivers do so.
   */
  readonly stopQueue?: (index: number) => void;
  /** The driver starts a queue of the running device, which it had stopped before. */
  readonly startQueue?: (index: number, addresses: VirtqueueAddresses) => void;
  /**
   * Whether a queue of the running device can't be trusted any more, which whoever serves it on another thread knows
   * first: asked at each look at the status. Left out where nobody but `setNeedsReset` says so.
   */
  readonly broken?: () => boolean;
}

/** Bits that the driver may set; NEEDS_RESET is the device's own. */
const DRIVER_BITS =
  VIRTIO_STATUS_ACKNOWLEDGE |
  VIRTIO_STATUS_DRIVER |
  VIRTIO_STATUS_DRIVER_OK |
  VIRTIO_STATUS_FEATURES_OK |
  VIRTIO_STATUS_FAILED;

/**
 * A virtio-blk device as its driver sees it, whatever the transport: features, status, queues' addresses and the
 * configuration space (virtio 1.3 chapters 2, 3.1 and 5.2). It serves no request itself: see `VirtioBlkDeviceEvents`.
 *
 * A driver's mistakes are refused the way the specification wants, by bits that do not stick; none is an exception.
 */
export class VirtioBlkDevice {
  readonly offeredFeatures: bigint;
  readonly numQueues: number;
  readonly maxQueueSize: number;
  readonly config: BlkConfigSpace;
  readonly #memory: GuestMemory;
  readonly #events: VirtioBlkDeviceEvents;
  readonly #queues: (VirtqueueAddresses | undefined)[];
  #status = 0;
  #driverFeatures = 0n;
  /** Someone serves the queues. */
  #active = false;
  #resetting = false;
  #refusal: string | undefined;
  #configGeneration = 0;

  constructor(options: VirtioBlkDeviceOptions, memory: GuestMemory, events: VirtioBlkDeviceEvents) {
    const { logicalBlockSize } = options;
    if (![512, 1024, 2048, 4096].includes(logicalBlockSize)) {
      throw new VirtioError(
        'ERR_DEVICE_OPTION',
        `logicalBlockSize must be 512, 1024, 2048 or 4096, got ${logicalBlockSize}`,
      );
    }
    checkCapacity(options.capacitySectors);
    this.offeredFeatures = offeredFeatures(options);
    this.numQueues = options.numQueues;
    this.maxQueueSize = options.queueSize;
    this.config = new BlkConfigSpace(options);
    this.config.writeback = true;
    this.#memory = memory;
    this.#events = events;
    this.#queues = Array.from({ length: options.numQueues }, () => undefined);
  }

  /** The device status (2.1), as the driver reads it. */
  get status(): number {
    if (this.#active && this.#events.broken?.() === true) this.setNeedsReset();
    return this.#status;
  }

  /** The features that the driver has written (2.2); they count once FEATURES_OK sticks. */
  get driverFeatures(): bigint {
    return this.#driverFeatures;
  }

  /** Why the driver's last step was refused, for whoever writes the driver; the driver itself sees only its bits. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /**
   * Moves whenever the device changes its configuration space; a driver that reads several fields reads this before and after
   * (2.5.1). Transports show its lowest byte.
   */
  get configGeneration(): number {
    return this.#configGeneration;
  }

  /** The disk has another size. Its owner raises the configuration interrupt. */
  resize(capacitySectors: number): void {
    checkCapacity(capacitySectors);
    this.config.capacitySectors = capacitySectors;
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
  }

  /** Features can be written between DRIVER and FEATURES_OK. */
  writeDriverFeatures(features: bigint): void {
    if ((this.#status & VIRTIO_STATUS_DRIVER) === 0 || (this.#status & VIRTIO_STATUS_FEATURES_OK) !== 0) {
      this.#refuse('features can only be written after DRIVER and before FEATURES_OK');
      return;
    }
    this.#driverFeatures = features;
  }

  /**
   * Gives queue `index` its place and enables it: between FEATURES_OK and DRIVER_OK, when its addresses are checked at
   * DRIVER_OK, or again after `disableQueue`, when they are checked at once.
   */
  setQueue(index: number, addresses: VirtqueueAddresses): void {
    const running =
      this.#active && this.#events.startQueue !== undefined && this.#queues[index] === undefined;
    if (index >= this.numQueues || !(running || this.#isBeforeStart)) {
      this.#refuse(`queue ${index} can't be set up now, or the device has only ${this.numQueues} queues`);
      return;
    }
    if (running) {
      try {
        this.#check(index, addresses);
      } catch (error) {
        if (!(error instanceof VirtioError)) throw error;
        this.#refuse(error.message);
        return;
      }
    }
    this.#queues[index] = addresses;
    if (running) this.#events.startQueue(index, addresses);
  }

  /** Whether the driver has enabled queue `index`; one that is being stopped still is. */
  isQueueEnabled(index: number): boolean {
    return this.#queues[index] !== undefined;
  }

  /** The driver stops a queue (4.2.3.2); it reads as enabled until nothing of it is in flight. */
  disableQueue(index: number): void {
    if (this.#queues[index] === undefined) return;
    if (this.#isBeforeStart) this.#queues[index] = undefined;
    else if (this.#active && this.#events.stopQueue !== undefined) this.#events.stopQueue(index);
    else this.#refuse(`queue ${index} can't be stopped but by a reset`);
  }

  /** A queue that `stopQueue` asked for has stopped. */
  queueStopped(index: number): void {
    if (this.#active) this.#queues[index] = undefined;
  }

  get #isBeforeStart(): boolean {
    const ready = VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;
    return (this.#status & ready) === VIRTIO_STATUS_FEATURES_OK;
  }

  /**
   * The driver writes the device status (2.1.1): bits to add to those that are set, or 0 for a reset. What is refused does not
   * stick; `refusal` says why.
   */
  writeStatus(value: number): void {
    if (value === 0) {
      this.#reset();
      return;
    }
    if (this.#resetting) {
      this.#refuse('the device is still resetting: wait until its status reads 0');
      return;
    }
    const wanted = value & DRIVER_BITS;
    if ((this.#status & DRIVER_BITS & ~wanted) !== 0) {
      this.#refuse('status bits can only be cleared by a reset');
      return;
    }
    const added = wanted & ~this.#status;
    this.#status |= added & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
    if ((added & VIRTIO_STATUS_FEATURES_OK) !== 0) this.#acceptFeatures();
    if ((added & VIRTIO_STATUS_DRIVER_OK) !== 0) this.#activate();
  }

  /**
   * The driver writes bytes of the configuration space. Only `writeback` can be written, and only where
   * VIRTIO_BLK_F_CONFIG_WCE was negotiated (5.2.5).
   */
  writeConfig(offset: number, source: Uint8Array): void {
    if (!hasFeature(this.#driverFeatures, VIRTIO_BLK_F_CONFIG_WCE)) return;
    if (!this.config.write(offset, source)) return;
    if ((this.#status & VIRTIO_STATUS_DRIVER_OK) !== 0) this.#events.writebackChanged(this.config.writeback);
  }

  /** The device is in a state that only a reset leads out of (2.1.2). Its owner raises the configuration interrupt. */
  setNeedsReset(): void {
    this.#status |= VIRTIO_STATUS_NEEDS_RESET;
  }

  /** No request is in flight any more: the reset that the driver asked for is complete. */
  resetDone(): void {
    this.#resetting = false;
    this.#status = 0;
    this.#driverFeatures = 0n;
    this.#queues.fill(undefined);
    this.config.writeback = true;
  }

  /** Everything the driver has settled, for a snapshot of a device that serves nothing at the moment. JSON-safe. */
  saveState(): VirtioBlkState {
    return {
      version: 1,
      numQueues: this.numQueues,
      status: this.status,
      driverFeatures: `0x${this.#driverFeatures.toString(16)}`,
      writeback: this.config.writeback,
      configGeneration: this.#configGeneration,
      queues: this.#queues.map((addresses) => addresses ?? null),
    };
  }

  /**
   * Takes the place of a device whose state was saved: one that offers the same features, which its driver has not touched.
   * A device that was running is activated.
   * @param isPlaced whether it is known where the ring of a queue stands; a running one would be served from its beginning again
   * @throws VirtioError `ERR_STATE` when the state is none, or of a device of another kind; `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS` when its
   * queues don't fit this guest memory; nothing has changed then
   */
  restoreState(state: VirtioBlkState, isPlaced: (index: number) => boolean = () => true): void {
    if (this.#status !== 0 || this.#resetting) {
      throw new VirtioError('ERR_STATE', 'only a device that was just added or reset can be restored');
    }
    const checked = checkState(state);
    const features = BigInt(checked.driverFeatures);
    const unknown = features & ~this.offeredFeatures;
    if (unknown !== 0n) {
      throw new VirtioError(
        'ERR_STATE',
        `the driver uses features that this device lacks: 0x${unknown.toString(16)}`,
      );
    }
    if (checked.numQueues !== this.numQueues) {
      throw new VirtioError(
        'ERR_STATE',
        `the state is of a device with ${checked.numQueues} queues, this one has ${this.numQueues}`,
      );
    }
    const running = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET;
    const starts = (checked.status & running) === VIRTIO_STATUS_DRIVER_OK;
    // Those of a driver whose start was refused may be anything, and mean nothing until it has reset the device.
    if (starts) {
      for (const [index, queue] of checked.queues.entries()) {
        if (queue === null) continue;
        if (!isPlaced(index))
          throw new VirtioError('ERR_STATE', `the state does not tell where queue ${index} stands`);
        this.#check(index, queue);
      }
    }
    this.#status = checked.status;
    this.#driverFeatures = features;
    this.config.writeback = checked.writeback;
    this.#configGeneration = checked.configGeneration;
    for (const [index, queue] of checked.queues.entries()) this.#queues[index] = queue ?? undefined;
    if (starts) this.#start();
  }

  #refuse(why: string): void {
    this.#refusal = why;
  }

  #reset(): void {
    this.#refusal = undefined;
    if (this.#resetting) return;
    if (!this.#active) {
      this.resetDone();
      return;
    }
    this.#active = false;
    this.#resetting = true;
    this.#events.reset();
  }

  #acceptFeatures(): void {
    const unknown = this.#driverFeatures & ~this.offeredFeatures;
    if ((this.#status & VIRTIO_STATUS_DRIVER) === 0) this.#refuse('FEATURES_OK before DRIVER');
    else if (unknown !== 0n) this.#refuse(`features 0x${unknown.toString(16)} were not offered`);
    else if (!hasFeature(this.#driverFeatures, VIRTIO_F_VERSION_1)) {
      this.#refuse('VIRTIO_F_VERSION_1 must be negotiated: legacy drivers are not served');
    } else {
      this.#status |= VIRTIO_STATUS_FEATURES_OK;
      // A driver that can switch the cache but never flushes must start out safe (5.2.5.2); one that can do neither
      // relies on every write being durable (5.2.5.1).
      this.config.writeback = hasFeature(this.#driverFeatures, VIRTIO_BLK_F_FLUSH);
    }
  }

  #activate(): void {
    if ((this.#status & VIRTIO_STATUS_FEATURES_OK) === 0) {
      this.#refuse('DRIVER_OK before FEATURES_OK');
      return;
    }
    this.#status |= VIRTIO_STATUS_DRIVER_OK;
    try {
      for (const [index, queue] of this.#queues.entries()) {
        if (queue !== undefined) this.#check(index, queue);
      }
    } catch (error) {
      if (!(error instanceof VirtioError)) throw error;
      this.#refuse(error.message);
      this.setNeedsReset();
      this.#events.startRefused();
      return;
    }
    this.#start();
  }

  #start(): void {
    this.#active = true;
    this.#events.activate({
      features: this.#driverFeatures,
      queues: [...this.#queues],
      writeback: this.config.writeback,
    });
  }

  #check(index: number, addresses: VirtqueueAddresses): void {
    try {
      this.#memory.follow();
      void new SplitRing(this.#memory, addresses, this.maxQueueSize);
    } catch (error) {
      if (!(error instanceof VirtioError)) throw error;
      throw new VirtioError(error.code, `queue ${index}: ${error.message}`);
    }
  }
}

function checkCapacity(capacitySectors: number): void {
  if (Number.isInteger(capacitySectors) && capacitySectors >= 0 && capacitySectors <= MAX_CAPACITY_SECTORS)
    return;
  throw new VirtioError(
    'ERR_DEVICE_OPTION',
    `capacitySectors must be 0 to ${MAX_CAPACITY_SECTORS}, got ${capacitySectors}`,
  );
}
