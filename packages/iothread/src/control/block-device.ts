import type { HeldDrive } from '@iothreads/backends';
import {
  type Activation,
  CONFIG_INTERRUPT,
  GuestMemory,
  type RegisteredDevice,
  SECTOR_SIZE,
  VirtioBlkDevice,
} from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import type { CheckedDevice } from './configuration.js';
import { type DeviceOwner, PlacedDevice, type Running } from './placed-device.js';

/**
 * A virtio-blk device whose driver is in this process, on the thread that created it.
 *
 * `virtio` is the device as the driver sees it (features, status, queues' addresses, configuration space): map it behind
 * whatever registers the machine has. Requests go through the rings in guest memory; `kick` rings a doorbell, and
 * `onInterrupt` hears of completions. `port` can be posted to other threads, where a `DeviceChannel` over it does the same.
 */
export class BlockDevice extends PlacedDevice implements RegisteredDevice {
  readonly virtio: VirtioBlkDevice;
  readonly #checked: CheckedDevice;
  readonly #drive: HeldDrive;
  /** What the driver settled; undefined while the device is not running. */
  #activation: Activation | undefined;

  /** Takes the drive over: it is closed when the device has been detached. @internal */
  constructor(checked: CheckedDevice, drive: HeldDrive, owner: DeviceOwner) {
    super(checked, drive.prepared, owner);
    const { geometry } = drive.prepared;
    this.#checked = checked;
    this.#drive = drive;
    this.virtio = new VirtioBlkDevice(
      {
        capacitySectors: geometry.sizeBytes / SECTOR_SIZE,
        numQueues: checked.numQueues,
        queueSize: checked.queueSize,
        logicalBlockSize: checked.logicalBlockSize,
        readOnly: geometry.readOnly,
        discard: geometry.discard && !geometry.readOnly,
        writeZeroes: geometry.writeZeroes && !geometry.readOnly,
      },
      new GuestMemory(checked.memory),
      {
        activate: (activation) => {
          this.#activated(activation);
        },
        reset: () => {
          this.inBackground(() => this.#reset());
        },
        writebackChanged: (writeback) => {
          this.channel.writeThrough = !writeback;
        },
        broken: () => this.channel.broken,
        startRefused: () => {
          this.channel.interrupt(CONFIG_INTERRUPT);
        },
      },
    );
  }

  /** The driver's doorbell for queue `index`. */
  kick(index: number): void {
    this.channel.kick(index);
  }

  /**
   * Calls `listener` on this thread after each interrupt of a queue, with its index; several interrupts may come as one
   * call. `CONFIG_INTERRUPT` (-1) stands for a change of the configuration or of the status.
   * @returns a function that ends it
   */
  onInterrupt(listener: (source: number) => void): () => void {
    const subscription = { active: true };
    const listen = async (source: number): Promise<void> => {
      let seen = this.channel.interrupts(source);
      while (subscription.active && !this.removed) {
        await this.channel.interruptAfter(source, seen);
        seen = this.channel.interrupts(source);
        if (subscription.active) listener(source);
      }
    };
    for (const source of this.sources) {
      listen(source).catch((error: unknown) => {
        this.report(error as Error);
      });
    }
    return () => {
      subscription.active = false;
      for (const source of this.sources) this.channel.interrupt(source);
    };
  }

  /** Detaches as any device, and closes its drive. @internal */
  override async detach(): Promise<void> {
    try {
      await super.detach();
    } finally {
      await this.#drive.close();
    }
  }

  protected get running(): Running | undefined {
    const activation = this.#activation;
    if (activation === undefined) return undefined;
    const { features } = activation;
    return {
      memory: this.#checked.memory,
      queues: activation.queues.flatMap((addresses, index) =>
        addresses === undefined ? [] : [{ index, addresses, features, eventfds: undefined }],
      ),
    };
  }

  protected lost(): void {
    this.#activation = undefined;
  }

  protected needsReset(): void {
    this.virtio.setNeedsReset();
    this.channel.setBroken(true);
  }

  #activated(activation: Activation): void {
    // What broke before was another life's; what can't be started now breaks again.
    this.channel.setBroken(false);
    this.channel.writeThrough = !activation.writeback;
    this.inBackground(() => {
      this.#activation = activation;
      return this.serve();
    });
  }

  /**
   * The rings are the driver's own again once nothing is in flight, not before: a disk that does not answer in time keeps
   * the device resetting, and is waited for again after whatever else is asked of the device.
   */
  async #reset(): Promise<void> {
    this.#activation = undefined;
    try {
      // An iothread that is gone has nothing in flight either; a start will fail until the device is moved.
      await this.halt();
    } catch (error) {
      if (!isDrainTimeout(error) || this.removed) throw error;
      this.report(error);
      this.inBackground(() => this.#reset());
      return;
    }
    this.lines.forgetPositions();
    this.channel.setBroken(false);
    this.virtio.resetDone();
  }
}

const isDrainTimeout = (error: unknown): error is IOThreadError =>
  error instanceof IOThreadError && error.code === 'ERR_DRAIN_TIMEOUT';
