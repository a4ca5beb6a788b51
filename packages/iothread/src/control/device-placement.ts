import type { PreparedDrive } from '@iothreads/backends';
import { type Activation, SECTOR_SIZE, type VirtqueueState } from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import { BlockStatistics } from '../shared/block-statistics.js';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import type { WhenLate } from '../worker/iothread-control.js';
import type { CheckedDevice } from './configuration.js';
import type { IOThread } from './iothread.js';

/** Queues by the iothread that serves them. */
export type Placement = ReadonlyMap<IOThread, readonly number[]>;

/**
 * What is said to iothreads to place a device on them: attach and detach it, start and stop its queues. Keeps what must
 * outlive a place: the queues' positions and the counters. When to do what is the device's to decide.
 */
export class DevicePlacement {
  readonly #checked: CheckedDevice;
  readonly #drive: PreparedDrive;
  readonly #channel: DeviceChannel;
  readonly #report: (error: Error) => void;
  /** Where each queue was when it was last stopped. */
  readonly #states = new Map<number, VirtqueueState>();
  /** One block of counters for each iothread at a time; used again by the next one after a move. */
  readonly #statistics: BlockStatistics[] = [];
  dispatchMode: DispatchMode = 'auto';

  /** @param report hears of what goes wrong while something else goes on */
  constructor(
    checked: CheckedDevice,
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

  /** The driver has reset the device: its rings begin anew. */
  forgetPositions(): void {
    this.#states.clear();
  }

  /** Opens the drive on every iothread, or on none. */
  async attach(placement: Placement): Promise<void> {
    const { geometry } = this.#drive;
    const attached: IOThread[] = [];
    try {
      for (const [index, iothread] of [...placement.keys()].entries()) {
        const statistics = (this.#statistics[index] ??= new BlockStatistics());
        await iothread.call((control) =>
          control.attach({
            id: this.#checked.id,
            drive: this.#drive,
            limits: {
              capacitySectors: geometry.sizeBytes / SECTOR_SIZE,
              readOnly: geometry.readOnly,
              discard: geometry.discard,
              writeZeroes: geometry.writeZeroes,
              serial: this.#checked.serial,
            },
            port: this.#channel.port,
            statisticsBuffer: statistics.buffer,
            dispatchMode: this.dispatchMode,
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

  /** Serves the queues from where they were stopped. */
  async start(placement: Placement, activation: Activation): Promise<void> {
    const { id, memory, queueSize } = this.#checked;
    for (const [iothread, indexes] of placement) {
      const queues = indexes.flatMap((index) => {
        const addresses = activation.queues[index];
        return addresses === undefined ? [] : [{ index, addresses, state: this.#states.get(index) }];
      });
      // From here on kicks reach this iothread; it looks at the rings once by itself for those that went elsewhere.
      for (const { index } of queues) this.#channel.route(index, iothread.slot);
      const { features } = activation;
      await iothread.call((control) =>
        control.startQueues({ id, memory, features, maxQueueSize: queueSize, queues }),
      );
    }
  }

  /**
   * Stops the queues when nothing is in flight any more.
   * @returns the death of an iothread, where there was one: its queues' positions died with it
   * @throws StopFailure when a disk does not answer in time, with those iothreads that had stopped before
   */
  async stop(placement: Placement, whenLate: WhenLate): Promise<IOThreadError | undefined> {
    let death: IOThreadError | undefined;
    const stopped = new Map<IOThread, readonly number[]>();
    for (const [iothread, indexes] of placement) {
      try {
        const { states, abandoned } = await iothread.call((control) =>
          control.stopQueues(this.#checked.id, this.#checked.drainTimeoutMs, whenLate),
        );
        stopped.set(iothread, indexes);
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
