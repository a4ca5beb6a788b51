import type { PreparedDrive } from '@iothreads/backends';
import {
  BlkConfigSpace,
  CONFIG_INTERRUPT,
  type BlkConfigOptions,
  offeredFeatures,
  SECTOR_SIZE,
  type VirtqueueAddresses,
  type VirtqueueState,
} from '@iothreads/core';
import { IOThreadError } from '../iothread-error.js';
import type { QueueEventfds } from '../worker/eventfd-notifier.js';
import type { MappedRegion } from '../worker/mapped-memory.js';
import type { QueueToServe } from './device-placement.js';
import type { KeptFate } from '../worker/served-queues.js';
import { type DeviceOwner, PlacedDevice, type PlacedDeviceOptions, type Running } from './placed-device.js';

/** A queue of an exported device to serve: where it lies, where to go on in it, and its eventfds. */
export interface ExportedQueue extends QueueEventfds {
  readonly index: number;
  readonly addresses: VirtqueueAddresses;
  /** What was negotiated; decides on indirect descriptors and event indexes. */
  readonly features: bigint;
  readonly state: VirtqueueState;
  /**
   * Where the table of its requests in flight is mapped: `InflightTable.bytesFor(size)` bytes that outlive this process. What an
   * earlier process left there is done first, and outranks `state.lastAvail`.
   */
  readonly inflightAddress?: number | undefined;
}

/** `ExportOptions`, checked. */
export interface CheckedExport extends PlacedDeviceOptions {
  readonly logicalBlockSize: number;
  readonly writeback: boolean;
}

/** Data segments of a request that drivers are told: QEMU's figure, for rings of 128. */
const SEG_MAX_QUEUE_SIZE = 128;

/**
 * A virtio-blk device whose driver is in another process: a transport (vhost-user) tells where guest memory is mapped, and
 * starts and stops its queues one by one.
 */
export class ExportedDevice extends PlacedDevice {
  /** Largest queue that can be started. */
  readonly maxQueueSize: number;
  /** Of virtio-blk, and those of any device. */
  readonly offeredFeatures: bigint;
  readonly config: BlkConfigSpace;
  #memory: readonly MappedRegion[] = [];
  readonly #queues = new Map<number, QueueToServe>();
  #onNeedsReset: (() => void) | undefined;

  /** The drive stays the caller's. @internal */
  constructor(checked: CheckedExport, drive: PreparedDrive, owner: DeviceOwner) {
    super(checked, drive, owner);
    const { geometry } = drive;
    const readOnly = checked.readOnly || geometry.readOnly;
    const options: BlkConfigOptions = {
      capacitySectors: geometry.sizeBytes / SECTOR_SIZE,
      numQueues: checked.numQueues,
      queueSize: SEG_MAX_QUEUE_SIZE,
      logicalBlockSize: checked.logicalBlockSize,
      discard: geometry.discard && !readOnly,
      writeZeroes: geometry.writeZeroes && !readOnly,
    };
    this.maxQueueSize = checked.queueSize;
    this.offeredFeatures = offeredFeatures({ ...options, readOnly });
    this.config = new BlkConfigSpace(options);
    this.setWriteback(checked.writeback);
    void this.#watchRings();
  }

  /** The configuration space's field, and whether a completed write must be durable already. */
  setWriteback(on: boolean): void {
    this.config.writeback = on;
    this.channel.writeThrough = !on;
  }

  /**
   * Where guest memory is mapped, for the queues that are started next. What was there before can be unmapped as soon as this
   * resolves.
   * @throws IOThreadError `ERR_CONFIG` while queues run, `ERR_DRAIN_TIMEOUT`: what was there before must stay mapped
   */
  setMemory(regions: readonly MappedRegion[]): Promise<void> {
    return this.inTurn(async () => {
      if (this.#queues.size > 0) {
        throw new IOThreadError(
          'ERR_CONFIG',
          `device '${this.id}': stop its queues before its memory changes`,
        );
      }
      // Nor does what an iothread left behind that died.
      await this.halt([], 'hold');
      this.#memory = regions;
    });
  }

  /**
   * Serves queues, all or none. Their descriptors stay the caller's, and open until they have stopped.
   * @throws VirtioError `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS`, `ERR_MEMORY_REGION`, `ERR_INFLIGHT`
   */
  startQueues(queues: readonly ExportedQueue[]): Promise<void> {
    return this.inTurn(async () => {
      const indexes = queues.map(({ index }) => index);
      this.channel.setBroken(false);
      for (const { state, kickFd, callFd, errFd, ...queue } of queues) {
        this.lines.setPosition(queue.index, state);
        this.#queues.set(queue.index, { ...queue, eventfds: { kickFd, callFd, errFd } });
      }
      try {
        await this.serve(indexes);
      } catch (error) {
        await this.halt(indexes);
        for (const index of indexes) this.#queues.delete(index);
        throw error;
      }
    });
  }

  /**
   * Stops queues when nothing of theirs is in flight any more. With the last of them, unless it is to go on, a pause ends.
   * @param kept what becomes of requests that are kept in a pause: they are part of the positions, or fail, or are left in the ring
   * @returns their positions; none for a queue that did not run
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT`: they take no new requests, but guest memory must stay mapped: stop them again
   */
  stopQueues(
    indexes: readonly number[],
    kept: KeptFate = 'carry',
  ): Promise<ReadonlyMap<number, VirtqueueState>> {
    return this.inTurn(async () => {
      const running = indexes.filter((index) => this.#queues.has(index));
      await this.halt(running, 'hold', kept);
      const positions = new Map<number, VirtqueueState>();
      for (const index of running) {
        const position = this.lines.position(index);
        if (this.#queues.delete(index) && position !== undefined) positions.set(index, position);
      }
      if (kept !== 'carry' && this.#queues.size === 0) this.channel.unpause();
      return positions;
    });
  }

  /** A running queue interrupts through another eventfd from when this resolves; the old one may be closed then. */
  setCall(index: number, callFd: number): Promise<void> {
    return this.inTurn(async () => {
      const queue = this.#queues.get(index);
      if (queue === undefined) return;
      this.#queues.set(index, { ...queue, eventfds: { ...queue.eventfds!, callFd } });
      for (const worker of this.lines.workers) {
        await worker.call((control) => control.setCall(this.id, index, callFd));
      }
    });
  }

  /** The disk has another size; its front end is told by the transport. */
  async resize(drive: PreparedDrive): Promise<void> {
    await this.resizeTo(drive);
    this.config.capacitySectors = drive.geometry.sizeBytes / SECTOR_SIZE;
  }

  /** Called when queues are lost: their iothread died, or a move failed. The front end has to start anew. */
  onNeedsReset(listener: () => void): void {
    this.#onNeedsReset = listener;
  }

  protected get running(): Running {
    return { memory: this.#memory, queues: [...this.#queues.values()] };
  }

  protected lost(queues: readonly number[]): void {
    for (const index of queues) this.#queues.delete(index);
  }

  protected needsReset(): void {
    this.#onNeedsReset?.();
  }

  /** Says so when a guest breaks a ring: its iothread has signalled the front end already. */
  async #watchRings(): Promise<void> {
    for (let seen = 0; !this.removed; seen = this.channel.interrupts(CONFIG_INTERRUPT)) {
      await this.channel.interruptAfter(CONFIG_INTERRUPT, seen);
      if (!this.channel.broken || this.removed) continue;
      this.report(
        new IOThreadError(
          'ERR_RING_BROKEN',
          `device '${this.id}': its guest broke a ring, which has been stopped`,
        ),
      );
    }
  }
}
