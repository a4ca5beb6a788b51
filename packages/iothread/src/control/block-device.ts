import type { HeldDrive } from '@iothreads/backends';
import {
  type Activation,
  CONFIG_INTERRUPT,
  MAX_QUEUE_SIZE,
  type RegisteredDevice,
  SECTOR_SIZE,
  VirtioBlkDevice,
  VirtioError,
  type VirtqueueAddresses,
  type VirtqueueState,
} from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import { BouncedGuest } from './bounced-guest.js';
import type { CheckedDevice } from './configuration.js';
import { checkDeviceState, type DeviceState } from './device-state.js';
import type { GuestPath, PathQueue } from './guest-path.js';
import { InterruptWatch } from './interrupt-watch.js';
import { type DeviceOwner, PlacedDevice, type Running } from './placed-device.js';
import { SharedGuest } from './shared-guest.js';
import { allQueues } from './vq-mapping.js';

/** How often a device that is being quiesced looks whether the last requests have come back. */
const QUIESCE_LOOK_MS = 1;

/**
 * A virtio-blk device whose driver is in this process, on the thread that created it.
 *
 * `virtio` is the device as the driver sees it (features, status, queues' addresses, configuration space): put it behind
 * whatever registers the machine has. Requests go through the rings in guest memory; `kick` rings a doorbell, and
 * `onInterrupt` hears of completions, by itself or, with `completion: 'pull'`, when `drain` is called. Where guest memory is
 * shared, `port` can be posted to other threads, and a `DeviceChannel` over it does the same there.
 */
export class BlockDevice extends PlacedDevice implements RegisteredDevice {
  readonly virtio: VirtioBlkDevice;
  readonly #drive: HeldDrive;
  readonly #drainTimeoutMs: number;
  readonly #guest: GuestPath;
  readonly #watch: InterruptWatch;
  readonly #pull: boolean;
  /** Queues that the driver runs, as iothreads serve them; undefined while the device is not running. */
  #queues: Map<number, PathQueue> | undefined;
  /** Nothing is served until `resume`: a snapshot is being taken. */
  #quiesced = false;
  /** Where the rings of a restored device stand. */
  #restored: ReadonlyMap<number, VirtqueueState> | undefined;

  /**
   * Takes the drive over: it is closed when the device has been detached.
   * @throws VirtioError `ERR_DEVICE_OPTION`
   * @internal
   */
  constructor(checked: CheckedDevice, drive: HeldDrive, owner: DeviceOwner) {
    // `virtio` holds the driver to the size of its queues; those that requests are copied through have their own.
    super({ ...checked, queueSize: MAX_QUEUE_SIZE }, drive.prepared, owner);
    const { geometry } = drive.prepared;
    const { numQueues, queueSize, memory } = checked;
    this.#drive = drive;
    this.#drainTimeoutMs = checked.drainTimeoutMs;
    this.#pull = checked.completion === 'pull';
    this.#guest =
      'buffer' in memory
        ? new BouncedGuest(memory, { numQueues, queueSize }, this.channel)
        : new SharedGuest(memory, this.channel);
    this.virtio = new VirtioBlkDevice(
      {
        capacitySectors: geometry.sizeBytes / SECTOR_SIZE,
        numQueues,
        queueSize,
        logicalBlockSize: checked.logicalBlockSize,
        readOnly: geometry.readOnly,
        discard: geometry.discard && !geometry.readOnly,
        writeZeroes: geometry.writeZeroes && !geometry.readOnly,
        ...this.#guest.limits,
      },
      this.#guest.memory,
      {
        activate: (activation) => {
          this.#activated(activation);
        },
        reset: () => {
          for (const index of allQueues(numQueues)) this.#guest.close(index);
          this.inBackground(() => this.#reset());
        },
        startQueue: (index, addresses) => {
          this.inBackground(() => this.#startQueue(index, addresses));
        },
        stopQueue: (index) => {
          this.inBackground(() => this.#stopQueue(index));
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
    this.#watch = new InterruptWatch({
      channel: this.channel,
      sources: this.sources,
      look: (source, rang) => (source === CONFIG_INTERRUPT ? rang : this.#collect(source, rang)),
      arm: (source) => source !== CONFIG_INTERRUPT && this.#guest.arm(source),
      report: (error) => {
        this.report(error);
      },
    });
    // What comes back through slots has to be brought to the guest whether anybody listens or not.
    if (this.#guest instanceof BouncedGuest && !this.#pull) this.#watch.wait();
  }

  /** How its owner's thread hears of completions: the option of the same name. */
  get completion(): 'wake' | 'pull' {
    return this.#pull ? 'pull' : 'wake';
  }

  /** Requests taken from a guest whose memory is bounced, and not given back yet; 0 where memory is shared: nobody counts them. */
  get inFlight(): number {
    return this.#guest.inFlight;
  }

  /** The driver's doorbell for queue `index`. */
  kick(index: number): void {
    try {
      this.#guest.kick(index);
    } catch (error) {
      this.#guestFailed(error);
    }
  }

  /**
   * Calls `listener` on this thread after each interrupt of a queue, with its index; several interrupts may come as one
   * call. `CONFIG_INTERRUPT` (-1) stands for a change of the configuration or of the status. With `completion: 'pull'` it is
   * called from within `drain` alone.
   * @returns a function that ends it
   */
  onInterrupt(listener: (source: number) => void): () => void {
    const end = this.#watch.listen(listener);
    if (!this.#pull) this.#watch.wait();
    return end;
  }

  /**
   * Takes what has completed, without a wake-up: calls those who listen to interrupts, now. For emulators that come by often, on
   * a tick of their own; the others are woken up. Costs a few loads when there is nothing.
   * @returns how many sources had something to tell
   */
  drain(): number {
    return this.#watch.look();
  }

  /**
   * With `completion: 'pull'`, before a pause between two calls of `drain`: what completes next wakes this thread up, once, and those
   * who listen to interrupts are called.
   * @returns whether something has completed already: don't pause
   */
  arm(): boolean {
    return this.#watch.arm();
  }

  /**
   * Waits until no request is in flight, and serves none until `resume`: `saveState` can be called, and guest memory copied. Kicks
   * may come meanwhile; their requests stay in the rings. Who listens to interrupts has been told of all completions.
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT`, `ERR_IOTHREAD_DIED`, `ERR_DEVICE_PAUSED`: the device is as before
   */
  quiesce(): Promise<void> {
    return this.inTurn(async () => {
      if (this.#quiesced) return;
      this.#guest.pause(true);
      try {
        await this.#guestIdle();
        const death = await this.halt();
        if (death !== undefined) throw death;
        if (this.channel.paused) {
          await this.serveAgain();
          throw this.#isPaused();
        }
      } catch (error) {
        this.#guest.pause(false);
        throw error;
      }
      this.#quiesced = true;
      this.drain();
    });
  }

  /** Goes on after `quiesce`. */
  resume(): Promise<void> {
    return this.inTurn(async () => {
      if (!this.#quiesced) return;
      this.#quiesced = false;
      try {
        await this.serveAgain();
      } finally {
        // Its driver has to reset what can't be served any more; after that it takes requests as ever.
        this.#guest.pause(false);
      }
    });
  }

  /**
   * What of the device belongs into a snapshot of its machine. Registers in front of it have a state of their own.
   * @throws IOThreadError `ERR_NOT_QUIESCED`
   */
  saveState(): DeviceState {
    if (!this.#quiesced) {
      throw new IOThreadError('ERR_NOT_QUIESCED', `device '${this.id}': call quiesce() before saveState()`);
    }
    const positions = [...(this.#queues?.keys() ?? [])].flatMap((index) => {
      const position = this.#guest.position(index) ?? this.lines.position(index);
      return position === undefined ? [] : [{ index, ...position }];
    });
    return {
      version: 1,
      capacitySectors: this.#capacitySectors,
      virtio: this.virtio.saveState(),
      positions,
    };
  }

  /**
   * Takes the place of a device whose state was saved, on guest memory and a disk as they were then. Requests that wait in its
   * rings are served.
   * @throws IOThreadError `ERR_STATE`
   * @throws VirtioError `ERR_STATE`, `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS`
   */
  restoreState(state: DeviceState): void {
    const { capacitySectors, virtio, positions } = checkDeviceState(state);
    if (capacitySectors !== this.#capacitySectors) {
      throw new IOThreadError(
        'ERR_STATE',
        `device '${this.id}': its disk had ${capacitySectors} sectors when its state was saved, and has ${this.#capacitySectors} now`,
      );
    }
    const restored = new Map(positions.map(({ index, ...position }) => [index, position]));
    this.#restored = restored;
    try {
      this.virtio.restoreState(virtio, (index) => restored.has(index));
    } catch (error) {
      this.#restored = undefined;
      throw error;
    }
  }

  /**
   * Gives the disk another size, which its driver hears of by a configuration interrupt.
   * @param sizeBytes a multiple of the logical block size
   * @throws BlockDriverError when the drive can't be resized
   */
  async resize(sizeBytes: number): Promise<void> {
    await this.resizeTo(await this.#drive.resize(sizeBytes));
    this.virtio.resize(sizeBytes / SECTOR_SIZE);
    this.channel.interrupt(CONFIG_INTERRUPT);
  }

  /** Detaches as any device, and closes its drive. @internal */
  override async detach(): Promise<void> {
    try {
      await super.detach();
    } finally {
      this.#watch.end();
      await this.#drive.close();
    }
  }

  protected get running(): Running | undefined {
    if (this.#queues === undefined || this.#quiesced) return undefined;
    return {
      memory: this.#guest.served,
      queues: [...this.#queues].map(([index, queue]) => ({ index, ...queue, eventfds: undefined })),
    };
  }

  protected lost(): void {
    this.#queues = undefined;
  }

  protected needsReset(): void {
    this.virtio.setNeedsReset();
    this.channel.setBroken(true);
  }

  get #capacitySectors(): number {
    return this.#drive.prepared.geometry.sizeBytes / SECTOR_SIZE;
  }

  #activated(activation: Activation): void {
    // What broke before was another life's; what can't be started now breaks again.
    this.channel.setBroken(false);
    this.channel.writeThrough = !activation.writeback;
    const restored = this.#restored;
    this.#restored = undefined;
    this.inBackground(async () => {
      const { features, queues } = activation;
      this.#queues = new Map();
      for (const [index, addresses] of queues.entries()) {
        if (addresses === undefined) continue;
        this.#openQueue(index, { addresses, features }, restored?.get(index));
      }
      await this.serve();
      this.#firstLook(this.#queues.keys());
    });
  }

  async #startQueue(index: number, addresses: VirtqueueAddresses): Promise<void> {
    if (this.#queues === undefined) return;
    this.#openQueue(index, { addresses, features: this.virtio.driverFeatures }, undefined);
    await this.serve([index]);
    this.#firstLook([index]);
  }

  async #stopQueue(index: number): Promise<void> {
    if (this.#queues?.has(index) !== true) return;
    await this.halt([index], undefined, 'drop');
    this.drain();
    this.#guest.close(index);
    // With an iothread that died they are all gone.
    (this.#queues as Map<number, PathQueue> | undefined)?.delete(index);
    this.lines.forgetPosition(index);
    this.virtio.queueStopped(index);
  }

  #openQueue(index: number, queue: PathQueue, state: VirtqueueState | undefined): void {
    const served = this.#guest.open(index, queue, state);
    if (state !== undefined && served === queue) this.lines.setPosition(index, state);
    this.#queues!.set(index, served);
  }

  /** What was made available, or kicked for, before the queues were there. */
  #firstLook(indexes: Iterable<number>): void {
    for (const index of indexes) this.kick(index);
  }

  #collect(index: number, rang: boolean): boolean {
    try {
      return this.#guest.collect(index, rang);
    } catch (error) {
      this.#guestFailed(error);
      return false;
    }
  }

  /** The emulator's own callbacks fail, or its memory is gone: nothing of it may leave through the emulator's frames. */
  #guestFailed(error: unknown): void {
    this.report(
      error instanceof VirtioError
        ? new IOThreadError('ERR_CONFIG', `device '${this.id}': ${error.message}`)
        : (error as Error),
    );
    this.needsReset();
  }

  #isPaused(): IOThreadError {
    return new IOThreadError(
      'ERR_DEVICE_PAUSED',
      `device '${this.id}' is paused with requests that its disk has failed: mend that, call continueDevice('${this.id}'), then try again`,
    );
  }

  /** Waits until nothing is between the guest's rings and the iothreads'. */
  async #guestIdle(): Promise<void> {
    const deadlineMs = performance.now() + this.#drainTimeoutMs;
    for (this.drain(); this.#guest.inFlight > 0; this.drain()) {
      if (this.channel.paused) throw this.#isPaused();
      if (performance.now() > deadlineMs) {
        throw new IOThreadError(
          'ERR_DRAIN_TIMEOUT',
          `device '${this.id}': ${this.#guest.inFlight} requests were still in flight after ${this.#drainTimeoutMs} ms; its disk does not answer`,
        );
      }
      await new Promise((resolve) => {
        setTimeout(resolve, QUIESCE_LOOK_MS);
      });
    }
  }

  /**
   * The rings are the driver's own again once nothing is in flight, not before: a disk that does not answer in time keeps
   * the device resetting, and is waited for again after whatever else is asked of the device.
   */
  async #reset(): Promise<void> {
    this.#queues = undefined;
    try {
      // Of an iothread that died nothing is left either after that; a start waits for the worker that takes its place.
      await this.halt(undefined, undefined, 'drop');
    } catch (error) {
      if (!isDrainTimeout(error) || this.removed) throw error;
      this.report(error);
      this.inBackground(() => this.#reset());
      return;
    }
    this.lines.forgetPositions();
    this.channel.unpause();
    this.channel.setBroken(false);
    this.virtio.resetDone();
  }
}

const isDrainTimeout = (error: unknown): error is IOThreadError =>
  error instanceof IOThreadError && error.code === 'ERR_DRAIN_TIMEOUT';
