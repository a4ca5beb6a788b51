import type { PreparedDrive } from '@iothreads/backends';
import { type Activation, SECTOR_SIZE, GuestMemory, VirtioBlkDevice } from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import type { BlockStatistics } from '../shared/block-statistics.js';
import {
  CONFIG_INTERRUPT,
  createDevicePort,
  DeviceChannel,
  type DevicePort,
} from '../shared/device-channel.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import type { WhenLate } from '../worker/iothread-control.js';
import type { CheckedDevice } from './configuration.js';
import { DevicePlacement, type Placement, StopFailure } from './device-placement.js';
import type { IOThread } from './iothread.js';
import { allQueues } from './vq-mapping.js';

/** What a device needs of the runtime that it belongs to. */
export interface DeviceOwner {
  readonly wakeBuffer: SharedArrayBuffer;
  /** @throws IOThreadError `ERR_UNKNOWN_IOTHREAD` */
  iothread(id: string): IOThread;
  /** Something went wrong that no call is waiting for. */
  report(device: BlockDevice, error: Error): void;
}

/**
 * A virtio-blk device of the runtime: what its driver's side works with, on the thread that created it.
 *
 * `virtio` is the device as the driver sees it (features, status, queues' addresses, configuration space): map it behind
 * whatever registers the machine has. Requests go through the rings in guest memory; `kick` rings a doorbell, and
 * `onInterrupt` hears of completions. `port` can be posted to other threads, where a `DeviceChannel` over it does the same.
 */
export class BlockDevice {
  readonly id: string;
  readonly virtio: VirtioBlkDevice;
  readonly port: DevicePort;
  readonly channel: DeviceChannel;
  readonly #checked: CheckedDevice;
  readonly #owner: DeviceOwner;
  readonly #lines: DevicePlacement;
  /** Where it is. */
  #mapping: Placement;
  /** Where it is being moved to. */
  #target: Placement = new Map();
  /** What the driver settled; undefined while the device is not running. */
  #activation: Activation | undefined;
  /** The last of the operations on this device: they take their turns. */
  #last: Promise<unknown> = Promise.resolve();
  #removed = false;

  constructor(checked: CheckedDevice, drive: PreparedDrive, owner: DeviceOwner) {
    const { geometry } = drive;
    this.id = checked.id;
    this.#checked = checked;
    this.#owner = owner;
    this.port = createDevicePort(owner.wakeBuffer, checked.numQueues);
    this.channel = new DeviceChannel(this.port);
    this.#lines = new DevicePlacement(checked, drive, this.channel, (error) => {
      owner.report(this, error);
    });
    this.#mapping = this.#resolve(checked.mapping);
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
          this.#inBackground(() => this.#reset());
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

  /** The iothreads that serve it, by id. */
  get iothreads(): string[] {
    return [...this.#mapping.keys()].map((iothread) => iothread.id);
  }

  /** Whether it is attached to this iothread, or about to be. */
  isOn(iothread: IOThread): boolean {
    return this.#mapping.has(iothread) || this.#target.has(iothread);
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
      while (subscription.active && !this.#removed) {
        await this.channel.interruptAfter(source, seen);
        seen = this.channel.interrupts(source);
        if (subscription.active) listener(source);
      }
    };
    for (const source of [CONFIG_INTERRUPT, ...allQueues(this.#checked.numQueues)]) {
      listen(source).catch((error: unknown) => {
        this.#owner.report(this, error as Error);
      });
    }
    return () => {
      subscription.active = false;
      for (const source of [CONFIG_INTERRUPT, ...allQueues(this.#checked.numQueues)])
        this.channel.interrupt(source);
    };
  }

  /** Resolves when everything asked of the device so far is done: an activation or a reset by its driver, a move. */
  async settled(): Promise<void> {
    await this.#last.catch(() => undefined);
  }

  /** What has been counted for the device since it was added, on all its iothreads, past and present. */
  readStatistics(): BlockStatistics {
    return this.#lines.readStatistics();
  }

  // What follows is the runtime's.

  /** Opens the drive on every iothread of the mapping, or on none. */
  attach(): Promise<void> {
    return this.#inTurn(() => this.#lines.attach(this.#mapping));
  }

  /** Drains the device, and takes it to other iothreads; where these can't have it, back to where it was. */
  move(mapping: ReadonlyMap<string, readonly number[]>): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#removed)
        throw new IOThreadError('ERR_UNKNOWN_DEVICE', `device '${this.id}' has been removed`);
      const from = this.#mapping;
      const to = this.#resolve(mapping);
      this.#target = to;
      try {
        await this.#stopQueues(from);
        // A disk that does not close leaves the device free to go nevertheless.
        for (const error of await this.#lines.detach(from)) this.#owner.report(this, error);
        try {
          await this.#lines.attach(to);
        } catch (error) {
          await this.#goBack(from);
          throw error;
        }
        this.#mapping = to;
        await this.#startQueues(to);
      } finally {
        this.#target = new Map();
      }
    });
  }

  /** Attaches to where it came from; where that is impossible as well, the device is nowhere and its driver hears of it. */
  async #goBack(from: Placement): Promise<void> {
    try {
      // Those that died have nothing to go back to.
      await this.#lines.attach(new Map([...from].filter(([iothread]) => iothread.alive)));
      await this.#startQueues(from);
    } catch (error) {
      this.#mapping = new Map();
      this.#activation = undefined;
      this.#needsReset();
      this.#owner.report(this, error as Error);
    }
  }

  /** Drains the device and closes its drive; what does not complete in time is given up. */
  detach(): Promise<void> {
    this.#removed = true;
    return this.#inTurn(async () => {
      await this.#stopQueues(this.#mapping, 'abandon');
      const errors = await this.#lines.detach(this.#mapping);
      this.#mapping = new Map();
      for (const source of [CONFIG_INTERRUPT, ...allQueues(this.#checked.numQueues)])
        this.channel.interrupt(source);
      // It is gone from all its iothreads by now, whatever its disk said.
      if (errors.length > 0) throw errors[0]!;
    });
  }

  /** Waits until no request is in flight, and goes on. @throws IOThreadError `ERR_DRAIN_TIMEOUT`, `ERR_IOTHREAD_DIED` */
  drain(): Promise<void> {
    return this.#inTurn(async () => {
      const death = await this.#stopQueues(this.#mapping);
      if (death !== undefined) throw death;
      await this.#startQueues(this.#mapping);
    });
  }

  /** An iothread of its is gone: the driver hears of it, and has to reset the device. */
  iothreadDied(): void {
    this.#needsReset();
  }

  async setDispatchMode(mode: DispatchMode): Promise<void> {
    this.#lines.dispatchMode = mode;
    for (const iothread of this.#mapping.keys()) {
      await iothread.call((control) => control.setDispatchMode(this.id, mode));
    }
  }

  async setTrace(buffer: SharedArrayBuffer | undefined): Promise<void> {
    for (const iothread of this.#mapping.keys()) {
      await iothread.call((control) => control.setTrace(this.id, buffer));
    }
  }

  #resolve(mapping: ReadonlyMap<string, readonly number[]>): Placement {
    return new Map([...mapping].map(([id, queues]) => [this.#owner.iothread(id), queues]));
  }

  #inTurn<Result>(operation: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(operation, operation);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #inBackground(operation: () => Promise<void>): void {
    this.#inTurn(operation).catch((error: unknown) => {
      this.#needsReset();
      this.#owner.report(this, error as Error);
    });
  }

  #needsReset(): void {
    this.virtio.setNeedsReset();
    this.channel.setBroken(true);
  }

  #activated(activation: Activation): void {
    // What broke before was another life's; what can't be started now breaks again.
    this.channel.setBroken(false);
    this.channel.writeThrough = !activation.writeback;
    this.#inBackground(() => {
      this.#activation = activation;
      return this.#startQueues(this.#mapping);
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
      await this.#stopQueues(this.#mapping);
    } catch (error) {
      if (!isDrainTimeout(error) || this.#removed) throw error;
      this.#owner.report(this, error);
      this.#inBackground(() => this.#reset());
      return;
    }
    this.#lines.forgetPositions();
    this.channel.setBroken(false);
    this.virtio.resetDone();
  }

  /** On failure the device needs a reset: some of its queues are not served. */
  async #startQueues(mapping: Placement): Promise<void> {
    const activation = this.#activation;
    if (activation === undefined || this.#removed) return;
    try {
      if (this.#mapping.size === 0) {
        const message = `device '${this.id}' is on no iothread: move it to one`;
        throw new IOThreadError('ERR_UNKNOWN_IOTHREAD', message);
      }
      await this.#lines.start(mapping, activation);
    } catch (error) {
      this.#needsReset();
      throw error;
    }
  }

  /**
   * With an iothread that died its queues' positions died as well: only a reset by the driver makes the device whole then.
   * @returns that death
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT`: the queues are served as before, or stay stopped in a reset
   */
  async #stopQueues(
    mapping: Placement,
    whenLate: WhenLate = this.#activation === undefined ? 'hold' : 'resume',
  ): Promise<IOThreadError | undefined> {
    try {
      const death = await this.#lines.stop(mapping, whenLate);
      if (death !== undefined) this.#activation = undefined;
      return death;
    } catch (error) {
      if (!(error instanceof StopFailure)) throw error;
      if (error.death !== undefined) this.#activation = undefined;
      // The queues that did stop go on as well: the device stays as it was.
      await this.#startQueues(error.stopped);
      throw error.cause;
    }
  }
}

const isDrainTimeout = (error: unknown): error is IOThreadError =>
  error instanceof IOThreadError && error.code === 'ERR_DRAIN_TIMEOUT';
