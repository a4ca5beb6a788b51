import type { PreparedDrive } from '@iothreads/backends';
import {
  type BlockLimits,
  type MemoryRegionOptions,
  SECTOR_SIZE,
  type VirtqueueState,
} from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import { BlockStatistics } from '../shared/block-statistics.js';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import type { ErrorPolicies } from '../shared/error-policies.js';
import type { QueueStart, WhenLate } from '../worker/iothread-control.js';
import type { MappedRegion } from '../worker/mapped-memory.js';
import type { KeptFate } from '../worker/served-queues.js';
import type { IOThread } from './iothread.js';

/** Queues by the iothread that serves them. */
export type Placement = ReadonlyMap<IOThread, readonly number[]>;

/** A queue to serve; its position is kept here. */
export type QueueToServe = Omit<QueueStart, 'state'>;

/** What of a device's options matters to its places. */
export interface PlacedOptions {
  readonly id: string;
  /** Largest queue that the driver may set up. */
  readonly queueSize: number;
  readonly readOnly: boolean;
  readonly serial: Uint8Array;
  readonly drainTimeoutMs: number;
  /** What becomes of requests that the disk fails. */
  readonly policies: ErrorPolicies;
}

/**
 * What is said to iothreads to place a device on them: attach and detach it, start and stop its queues. Keeps what must
 * outlive a place: the queues' positions and the counters. When to do what is the device's to decide.
 */
export class DevicePlacement {
  readonly #checked: PlacedOptions;
  #drive: PreparedDrive;
  readonly #channel: DeviceChannel;
  readonly #report: (error: Error) => void;
  /** Where each queue was when it was last stopped. */
  readonly #states = new Map<number, VirtqueueState>();
  /** One block of counters for each iothread at a time; used again by the next one after a move. */
  readonly #statistics: BlockStatistics[] = [];
  dispatchMode: DispatchMode = 'auto';

  /** @param report hears of what goes wrong while something else goes on */
  constructor(
    checked: PlacedOptions,
    drive: PreparedDrive,
    channel: DeviceChannel,
    report: (error: Error) => void,
  ) {
    this.#checked = checked;
    this.#drive = drive;
    this.#channel = channel;
    this.#report = report;
  }

  /** What has been counted on all its places, past and present. */
  readStatistics(): BlockStatistics {
    const sum = new BlockStatistics();
    for (const statistics of this.#statistics) sum.merge(statistics);
    return sum;
  }

  /** Where a queue stood when it was last stopped. */
  position(index: number): VirtqueueState | undefined {
    return this.#states.get(index);
  }

  /** Where a queue is to go on when it is started next. */
  setPosition(index: number, state: VirtqueueState): void {
    this.#states.set(index, state);
  }

  /** The driver has stopped a queue: it begins anew if it is started again. */
  forgetPosition(index: number): void {
    this.#states.delete(index);
  }

  /** The driver has reset the device: its rings begin anew. */
  forgetPositions(): void {
    this.#states.clear();
  }

  /** Opens the drive on every iothread, or on none. */
  async attach(placement: Placement): Promise<void> {
    const attached: IOThread[] = [];
    try {
      for (const [index, iothread] of [...placement.keys()].entries()) {
        const statistics = (this.#statistics[index] ??= new BlockStatistics());
        await iothread.call((control) =>
          control.attach({
            id: this.#checked.id,
            drive: this.#drive,
            limits: this.#limits,
            port: this.#channel.port,
            statisticsBuffer: statistics.buffer,
            dispatchMode: this.dispatchMode,
            policies: this.#checked.policies,
          }),
        );
        attached.push(iothread);
      }
    } catch (error) {
      const undone = await this.detach(new Map(attached.map((iothread) => [iothread, []])));
      undone.forEach(this.#report);
      throw error;
    }
  }

  /** @returns what went wrong with closing the drive; the device is detached from all of them nevertheless */
  async detach(placement: Placement): Promise<Error[]> {
    const errors: Error[] = [];
    for (const iothread of placement.keys()) {
      try {
        await iothread.call((control) => control.detach(this.#checked.id, this.#checked.drainTimeoutMs));
      } catch (error) {
        // A dead iothread has nothing of the device any more.
        if (!isDeath(error)) errors.push(error as Error);
      }
    }
    return errors;
  }

  /** Serves queues, each from where it was stopped, or from where `setPosition` said. */
  async start(
    placement: Placement,
    memory: readonly (MemoryRegionOptions | MappedRegion)[],
    queues: readonly QueueToServe[],
  ): Promise<void> {
    const { id, queueSize } = this.#checked;
    for (const [iothread, indexes] of placement) {
      const here = queues
        .filter(({ index }) => indexes.includes(index))
        .map((queue) => ({ ...queue, state: this.#states.get(queue.index) }));
      if (here.length === 0) continue;
      // From here on kicks reach this iothread; it looks at the rings once by itself for those that went elsewhere.
      for (const { index } of here) this.#channel.route(index, iothread.slot);
      await iothread.call((control) =>
        control.startQueues({ id, memory, maxQueueSize: queueSize, queues: here }),
      );
    }
  }

  /**
   * Stops queues when nothing of theirs is in flight any more.
   * @returns the death of an iothread, where there was one: its queues' positions died with it
   * @throws StopFailure when a disk does not answer in time, with those iothreads that had stopped before
   */
  async stop(
    placement: Placement,
    indexes: readonly number[],
    whenLate: WhenLate,
    kept: KeptFate,
  ): Promise<IOThreadError | undefined> {
    let death: IOThreadError | undefined;
    const stopped = new Map<IOThread, readonly number[]>();
    for (const [iothread, served] of placement) {
      const here = served.filter((index) => indexes.includes(index));
      if (here.length === 0) continue;
      try {
        const { states, abandoned } = await iothread.call((control) =>
          control.stopQueues(this.#checked.id, here, this.#checked.drainTimeoutMs, whenLate, kept),
        );
        stopped.set(iothread, here);
        for (const { index, state } of states) this.#states.set(index, state);
        if (abandoned > 0) {
          const message = `device '${this.#checked.id}': ${abandoned} requests never completed and were given up`;
          this.#report(new IOThreadError('ERR_DRAIN_TIMEOUT', message));
        }
      } catch (error) {
        if (!isDeath(error)) throw new StopFailure(error as Error, stopped, death);
        death = error;
      }
    }
    return death;
  }

  /** The disk has another size: everybody who has it open holds requests to that from now on. */
  async resize(placement: Placement, drive: PreparedDrive): Promise<void> {
    this.#drive = drive;
    for (const iothread of placement.keys()) {
      await iothread.call((control) => control.resize(this.#checked.id, this.#limits));
    }
  }

  get #limits(): BlockLimits {
    const { geometry } = this.#drive;
    const { readOnly, serial } = this.#checked;
    return {
      capacitySectors: geometry.sizeBytes / SECTOR_SIZE,
      readOnly: geometry.readOnly || readOnly,
      discard: geometry.discard,
      writeZeroes: geometry.writeZeroes,
      serial,
    };
  }
}

/** Not all queues could be stopped. */
export class StopFailure extends Error {
  override readonly cause: Error;
  /** Those that did stop. */
  readonly stopped: Placement;
  /** An iothread that was found dead before that. */
  readonly death: IOThreadError | undefined;

  constructor(cause: Error, stopped: Placement, death: IOThreadError | undefined) {
    super(cause.message);
    this.cause = cause;
    this.stopped = stopped;
    this.death = death;
  }
}

const isDeath = (error: unknown): error is IOThreadError =>
  error instanceof IOThreadError && error.code === 'ERR_IOTHREAD_DIED';
