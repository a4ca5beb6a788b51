import type { PreparedDrive } from '@iothreads/backends';
import {
  type BlockLimits,
  type MemoryRegionOptions,
  SECTOR_SIZE,
  type VirtqueueState,
} from '@iothreads/core';
import { inTime } from '../in-time.js';
import { IOThreadError } from '../iothread-error.js';
import { BlockStatistics } from '../shared/block-statistics.js';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import type { ErrorPolicies } from '../shared/error-policies.js';
import type { QueueStart, WhenLate } from '../worker/iothread-control.js';
import type { MappedRegion } from '../worker/mapped-memory.js';
import type { KeptFate } from '../worker/served-queues.js';
import type { IOThread } from './iothread.js';
import type { WorkerThread } from './worker-thread.js';

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

/** What went with iothreads that died: where these queues stood. */
export interface Loss {
  readonly death: IOThreadError;
  readonly queues: readonly number[];
}

/** An iothread's worker that has the device; a dead one stays until `stop` has seen that it is gone. */
interface Attached {
  readonly worker: WorkerThread;
  /** What it counts; nobody else writes there. */
  readonly statistics: BlockStatistics;
  /** Queues that it may be serving: nobody else knows where these stand. */
  readonly served: Set<number>;
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
  readonly #attached = new Map<IOThread, Attached>();
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

  /** The workers that have the device, and answer. */
  get workers(): readonly WorkerThread[] {
    return [...this.#attached.values()].map(({ worker }) => worker).filter(({ alive }) => alive);
  }

  /** Whether the iothread may be serving some of its queues. */
  isServedBy(iothread: IOThread): boolean {
    return (this.#attached.get(iothread)?.served.size ?? 0) > 0;
  }

  /** The death of an iothread that should have the device and doesn't, if there is one. */
  missing(placement: Placement): IOThreadError | undefined {
    for (const iothread of placement.keys()) {
      if (!this.#attached.has(iothread) && iothread.death !== undefined) return iothread.death;
    }
    return undefined;
  }

  /**
   * Opens the drive on every iothread where it isn't yet, or on none. Waits for iothreads whose workers are being started again.
   * @throws IOThreadError `ERR_IOTHREAD_DIED`, and what opening the drive throws
   */
  async attach(placement: Placement): Promise<void> {
    const attached: IOThread[] = [];
    try {
      for (const iothread of placement.keys()) {
        if (this.#attached.has(iothread)) continue;
        const worker = await iothread.worker(this.#checked.drainTimeoutMs);
        const statistics = this.#takeStatistics();
        this.#attached.set(iothread, { worker, statistics, served: new Set() });
        attached.push(iothread);
        await worker.call((control) =>
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
      }
    } catch (error) {
      const failed = attached.pop();
      // It does not know the device; what a dead one has begun with is its thread's.
      if (failed !== undefined) this.#attached.delete(failed);
      const undone = await this.detach(new Map(attached.map((iothread) => [iothread, []])));
      undone.forEach(this.#report);
      throw error;
    }
  }

  #takeStatistics(): BlockStatistics {
    const taken = new Set([...this.#attached.values()].map(({ statistics }) => statistics));
    const free = this.#statistics.find((each) => !taken.has(each));
    if (free !== undefined) return free;
    const statistics = new BlockStatistics();
    this.#statistics.push(statistics);
    return statistics;
  }

  /** @returns what went wrong with closing the drive; the device is detached from all of them nevertheless */
  async detach(placement: Placement): Promise<Error[]> {
    const errors: Error[] = [];
    for (const iothread of placement.keys()) {
      const attached = this.#attached.get(iothread);
      if (attached === undefined) continue;
      try {
        await attached.worker.call((control) =>
          control.detach(this.#checked.id, this.#checked.drainTimeoutMs),
        );
      } catch (error) {
        // A dead one has nothing of the device any more.
        if (!isDeath(error)) errors.push(error as Error);
      }
      this.#attached.delete(iothread);
    }
    return errors;
  }

  /** Serves queues, each from where it was stopped, or from where `setPosition` said. The device is attached. */
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
      const { worker, served } = this.#attached.get(iothread)!;
      for (const { index } of here) served.add(index);
      await worker.call((control) =>
        control.startQueues({ id, memory, maxQueueSize: queueSize, queues: here }),
      );
    }
  }

  /**
   * Stops queues when nothing of theirs is in flight any more. Where a worker has died, that means all that it served, named or not,
   * and that nothing of it is left: as long as a system call of its may be under way, or an entry in its io_uring, guest memory must
   * stay mapped, the device must keep its drive open, and its driver's rings and buffers are not its own yet.
   * @returns what was lost with iothreads that died, where any did; they don't have the device any more
   * @throws StopFailure when a disk does not answer in time, with those iothreads that had stopped before
   */
  async stop(
    placement: Placement,
    indexes: readonly number[],
    whenLate: WhenLate,
    kept: KeptFate,
  ): Promise<Loss | undefined> {
    let loss: Loss | undefined;
    const stopped = new Map<IOThread, readonly number[]>();
    for (const [iothread, placed] of placement) {
      const attached = this.#attached.get(iothread);
      const here = placed.filter((index) => indexes.includes(index));
      if (attached === undefined || (here.length === 0 && attached.worker.alive)) continue;
      const { worker, served } = attached;
      try {
        const { states, abandoned } = await worker.call((control) =>
          control.stopQueues(this.#checked.id, here, this.#checked.drainTimeoutMs, whenLate, kept),
        );
        stopped.set(iothread, here);
        for (const index of here) served.delete(index);
        for (const { index, state } of states) this.#states.set(index, state);
        if (abandoned > 0) {
          const message = `device '${this.#checked.id}': ${abandoned} requests never completed and were given up`;
          this.#report(new IOThreadError('ERR_DRAIN_TIMEOUT', message));
        }
      } catch (error) {
        if (!isDeath(error)) throw new StopFailure(error as Error, stopped, loss);
        loss = { death: error, queues: [...(loss?.queues ?? []), ...served] };
        const late = await this.#awaitBurial(iothread, worker);
        if (late !== undefined && whenLate !== 'abandon') throw new StopFailure(late, stopped, loss);
        if (late !== undefined) this.#report(late);
        this.#attached.delete(iothread);
      }
    }
    return loss;
  }

  /** @returns an error when something of a dead worker was left after all the time that there is */
  async #awaitBurial(iothread: IOThread, worker: WorkerThread): Promise<IOThreadError | undefined> {
    const { id, drainTimeoutMs } = this.#checked;
    if ((await inTime(worker.buried, drainTimeoutMs)) === true) return undefined;
    return new IOThreadError(
      'ERR_DRAIN_TIMEOUT',
      `device '${id}': iothread '${iothread.id}' has died, and what its worker had under way may not have ended after ${drainTimeoutMs} ms`,
    );
  }

  /** The disk has another size: everybody who has it open holds requests to that from now on. */
  async resize(drive: PreparedDrive): Promise<void> {
    this.#drive = drive;
    for (const worker of this.workers) {
      try {
        await worker.call((control) => control.resize(this.#checked.id, this.#limits));
      } catch (error) {
        // Whoever takes its place opens the drive as it is now.
        if (!isDeath(error)) throw error;
      }
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
  /** With iothreads that were found dead. */
  readonly loss: Loss | undefined;

  constructor(cause: Error, stopped: Placement, loss: Loss | undefined) {
    super(cause.message);
    this.cause = cause;
    this.stopped = stopped;
    this.loss = loss;
  }
}

const isDeath = (error: unknown): error is IOThreadError =>
  error instanceof IOThreadError && error.code === 'ERR_IOTHREAD_DIED';
