import type { PreparedDrive } from '@iothreads/backends';
import { CONFIG_INTERRUPT, type MemoryRegionOptions } from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import type { BlockStatistics } from '../shared/block-statistics.js';
import { createDevicePort, DeviceChannel, type DevicePort, type IOStatus } from '../shared/device-channel.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import type { WhenLate } from '../worker/iothread-control.js';
import type { MappedRegion } from '../worker/mapped-memory.js';
import type { KeptFate } from '../worker/served-queues.js';
import {
  DevicePlacement,
  type Loss,
  type PlacedOptions,
  type Placement,
  type QueueToServe,
  StopFailure,
} from './device-placement.js';
import type { IOThread } from './iothread.js';
import { allQueues, type VqMapping } from './vq-mapping.js';

/** What a device needs of the runtime that it belongs to. */
export interface DeviceOwner {
  readonly wakeBuffer: SharedArrayBuffer;
  /** @throws IOThreadError `ERR_UNKNOWN_IOTHREAD` */
  iothread(id: string): IOThread;
  /** Something went wrong that no call is waiting for. */
  report(device: PlacedDevice, error: Error): void;
}

/** What every device has, whoever drives it. */
export interface PlacedDeviceOptions extends PlacedOptions {
  readonly mapping: VqMapping;
  readonly numQueues: number;
}

/** What runs at the moment: queues, and the memory that they lie in. */
export interface Running {
  readonly memory: readonly (MemoryRegionOptions | MappedRegion)[];
  readonly queues: readonly QueueToServe[];
}

/**
 * A device that is placed on iothreads, and can be moved, drained and detached while its driver goes on. What its driver
 * is, a thread of this process or a front end in another, is for those who extend it. Operations take their turns.
 */
export abstract class PlacedDevice {
  readonly id: string;
  readonly numQueues: number;
  readonly port: DevicePort;
  readonly channel: DeviceChannel;
  protected readonly lines: DevicePlacement;
  readonly #owner: DeviceOwner;
  /** Where it is. */
  #mapping: Placement;
  /** Where it is being moved to. */
  #target: Placement = new Map();
  /** The last of the operations on this device: they take their turns. */
  #last: Promise<unknown> = Promise.resolve();
  #removed = false;

  /** @internal */
  constructor(options: PlacedDeviceOptions, drive: PreparedDrive, owner: DeviceOwner) {
    this.id = options.id;
    this.numQueues = options.numQueues;
    this.#owner = owner;
    this.port = createDevicePort(owner.wakeBuffer, options.numQueues);
    this.channel = new DeviceChannel(this.port);
    this.lines = new DevicePlacement(options, drive, this.channel, (error) => {
      this.report(error);
    });
    this.#mapping = this.#resolve(options.mapping);
  }

  /** What is to be served wherever the device is; undefined while it is not running. */
  protected abstract get running(): Running | undefined;

  /** The positions of these queues are lost, with what knew them: they don't run any more. */
  protected abstract lost(queues: readonly number[]): void;

  /** The device is in a state that only its driver can lead it out of: tell the driver. */
  protected abstract needsReset(): void;

  /** The iothreads that serve it, by id. */
  get iothreads(): string[] {
    return [...this.#mapping.keys()].map((iothread) => iothread.id);
  }

  /** Whether it is attached to this iothread, or about to be. @internal */
  isOn(iothread: IOThread): boolean {
    return this.#mapping.has(iothread) || this.#target.has(iothread);
  }

  /** Anything but 'ok': it is paused, because its disk failed a request that must not fail, for want of space or otherwise. */
  get ioStatus(): IOStatus {
    return this.channel.ioStatus;
  }

  /**
   * Goes on after such a pause: what the disk has failed is done again first. If that fails once more, it is paused once more.
   * @returns whether it was paused
   */
  continue(): Promise<boolean> {
    return this.inTurn(async () => {
      if (!this.channel.unpause()) return false;
      // Of one that has died its driver knows.
      for (const worker of this.lines.workers) await worker.call((control) => control.goOn(this.id));
      return true;
    });
  }

  /** Resolves when everything asked of the device so far is done. */
  async settled(): Promise<void> {
    await this.#last.catch(() => undefined);
  }

  /** What has been counted for the device since it was added, on all its iothreads, past and present. @internal */
  readStatistics(): BlockStatistics {
    return this.lines.readStatistics();
  }

  // What follows is the runtime's.

  /** Opens the drive on every iothread of the mapping, or on none. @internal */
  attach(): Promise<void> {
    return this.inTurn(() => this.lines.attach(this.#mapping));
  }

  /** Drains the device, and takes it to other iothreads; where these can't have it, back to where it was. @internal */
  move(mapping: VqMapping): Promise<void> {
    return this.inTurn(async () => {
      if (this.#removed)
        throw new IOThreadError('ERR_UNKNOWN_DEVICE', `device '${this.id}' has been removed`);
      const from = this.#mapping;
      const to = this.#resolve(mapping);
      this.#target = to;
      try {
        await this.halt();
        // A disk that does not close leaves the device free to go nevertheless.
        for (const error of await this.lines.detach(from)) this.report(error);
        try {
          await this.lines.attach(to);
        } catch (error) {
          await this.#goBack(from);
          throw error;
        }
        this.#mapping = to;
        await this.serveAgain();
      } finally {
        this.#target = new Map();
      }
    });
  }

  /** Attaches to where it came from; where that is impossible as well, the device is nowhere and its driver hears of it. */
  async #goBack(from: Placement): Promise<void> {
    try {
      // Those that died have nothing to go back to; who takes their place sees to itself.
      await this.lines.attach(new Map([...from].filter(([iothread]) => iothread.alive)));
      await this.serve();
    } catch (error) {
      this.#mapping = new Map();
      this.lost(allQueues(this.numQueues));
      this.needsReset();
      this.report(error as Error);
    }
  }

  /** Drains the device and closes its drive; what does not complete in time is given up. @internal */
  detach(): Promise<void> {
    this.#removed = true;
    return this.inTurn(async () => {
      // What is kept goes no further: its guest is told.
      await this.halt(allQueues(this.numQueues), 'abandon', 'fail');
      const errors = await this.lines.detach(this.#mapping);
      this.#mapping = new Map();
      for (const source of this.sources) this.channel.interrupt(source);
      // It is gone from all its iothreads by now, whatever its disk said.
      if (errors.length > 0) throw errors[0]!;
    });
  }

  /**
   * Waits until no request is in flight, and goes on.
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT`, `ERR_IOTHREAD_DIED`
   * @internal
   */
  drainAndGoOn(): Promise<void> {
    return this.inTurn(async () => {
      const death = await this.halt();
      if (death !== undefined) throw death;
      await this.serveAgain();
    });
  }

  /** An iothread of its is gone: the driver hears of it, if that served it, and has to reset the device. @internal */
  iothreadDied(iothread: IOThread): void {
    // Where no queue ran nothing is lost: a device that is quiesced goes on, one on its way there goes back.
    if (this.lines.isServedBy(iothread)) this.needsReset();
    // Before whatever is asked of the device from now on: that finds it without the dead worker, and waits for the next.
    this.inTurn(() => this.halt([], 'hold')).catch((error: unknown) => {
      this.report(error as Error);
    });
  }

  /**
   * Another worker has taken the place of one that died: the drive is opened there, and the device is ready for its driver to start
   * it. @internal
   */
  iothreadRestarted(iothread: IOThread): Promise<void> {
    return this.inTurn(async () => {
      const queues = this.#mapping.get(iothread);
      if (this.#removed || queues === undefined) return;
      try {
        await this.halt([], 'hold');
        await this.lines.attach(new Map([[iothread, queues]]));
      } catch (error) {
        // Tried again when the driver starts the device.
        this.report(error as Error);
      }
    });
  }

  /** Overrules the dispatcher: for benches and tests, by `forceDispatch`. @internal */
  async setDispatchMode(mode: DispatchMode): Promise<void> {
    this.lines.dispatchMode = mode;
    for (const worker of this.lines.workers) {
      await worker.call((control) => control.setDispatchMode(this.id, mode));
    }
  }

  /** Marks the moments of its requests in `buffer`: for benches and tests, by `traceRequests`. @internal */
  async setTrace(buffer: SharedArrayBuffer | undefined): Promise<void> {
    for (const worker of this.lines.workers) {
      await worker.call((control) => control.setTrace(this.id, buffer));
    }
  }

  /** The disk has another size from now on; the driver is told by whoever calls this. */
  protected resizeTo(drive: PreparedDrive): Promise<void> {
    return this.inTurn(() => this.lines.resize(drive));
  }

  // What follows is for those who extend it.

  protected get removed(): boolean {
    return this.#removed;
  }

  protected get mapping(): Placement {
    return this.#mapping;
  }

  /** Everything that interrupts come from. */
  protected get sources(): number[] {
    return [CONFIG_INTERRUPT, ...allQueues(this.numQueues)];
  }

  protected report(error: Error): void {
    this.#owner.report(this, error);
  }

  protected inTurn<Result>(operation: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(operation, operation);
    this.#last = result.catch(() => undefined);
    return result;
  }

  protected inBackground(operation: () => Promise<void>): void {
    this.inTurn(operation).catch((error: unknown) => {
      this.needsReset();
      this.report(error as Error);
    });
  }

  /** Serves those of the running queues that are named; all of them by default. */
  protected async serve(indexes: readonly number[] = allQueues(this.numQueues)): Promise<void> {
    const { running } = this;
    if (running === undefined || this.#removed) return;
    if (this.#mapping.size === 0) {
      const message = `device '${this.id}' is on no iothread: move it to one`;
      throw new IOThreadError('ERR_UNKNOWN_IOTHREAD', message);
    }
    // An iothread that died has none of its devices; this waits for the worker that takes its place.
    await this.lines.attach(this.#mapping);
    const queues = running.queues.filter(({ index }) => indexes.includes(index));
    await this.lines.start(this.#mapping, running.memory, queues);
  }

  /** ... after a pause that its driver has not noticed. On failure the driver has to: some queues are not served. */
  protected async serveAgain(indexes?: readonly number[]): Promise<void> {
    try {
      await this.serve(indexes);
    } catch (error) {
      this.needsReset();
      throw error;
    }
  }

  /**
   * With requests that are kept, in a pause: they go with their queues, unless it is said what else becomes of them.
   * With an iothread that died its queues' positions died as well: only its driver makes the device whole then.
   * @returns that death, as long as nobody has taken its place
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT`: the queues are served as before, or stay stopped, as `whenLate` says
   */
  protected async halt(
    indexes: readonly number[] = allQueues(this.numQueues),
    whenLate: WhenLate = this.running === undefined ? 'hold' : 'resume',
    kept: KeptFate = 'carry',
  ): Promise<IOThreadError | undefined> {
    try {
      const loss = await this.lines.stop(this.#mapping, indexes, whenLate, kept);
      if (loss !== undefined) this.#lose(loss);
      return loss?.death ?? this.lines.missing(this.#mapping);
    } catch (error) {
      if (!(error instanceof StopFailure)) throw error;
      if (error.loss !== undefined) this.#lose(error.loss);
      // The queues that did stop go on as well: the device stays as it was.
      if (whenLate === 'resume') await this.serveAgain([...error.stopped.values()].flat());
      throw error.cause;
    }
  }

  #lose({ queues }: Loss): void {
    if (queues.length > 0) this.lost(queues);
  }

  #resolve(mapping: VqMapping): Placement {
    return new Map([...mapping].map(([id, queues]) => [this.#owner.iothread(id), queues]));
  }
}
