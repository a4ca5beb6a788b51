import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  type BlockRequest,
  type BlockStatus,
} from '@iothreads/core';
import type { BlockDriver, BlockDriverContext, BlockGeometry } from '../block-driver.js';
import { writesDisk } from '../writes-disk.js';
import { BusyWait } from './busy-wait.js';
import { DeadlineQueue } from './deadline-queue.js';

/** What an iothread needs to know of a null disk. */
export interface NullDriverState {
  /** How long every request takes, nanoseconds. */
  readonly latencyNs: number;
  /** Whether a read fills its buffer with zeroes instead of leaving it as it is. */
  readonly readZeroes: boolean;
}

/**
 * A disk that holds nothing and takes a fixed time for everything: what remains of a request's cost is the runtime's.
 *
 * Deadlines are met by polling, since timers are far too coarse for the latencies of today's disks.
 */
export class NullDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly #latencyNs: number;
  readonly #readZeroes: boolean;
  readonly #nowNs: () => number;
  readonly #queue = new DeadlineQueue();
  readonly #wait: BusyWait;

  constructor(geometry: BlockGeometry, state: NullDriverState, context: BlockDriverContext) {
    this.geometry = geometry;
    this.#latencyNs = state.latencyNs;
    this.#readZeroes = state.readZeroes;
    this.#nowNs = context.nowNs;
    this.#wait = new BusyWait(context.nowNs);
  }

  /** Keeps the thread busy for the latency, as a disk that answers without an interrupt would. */
  executeSync(request: BlockRequest): BlockStatus {
    if (this.#latencyNs > 0) this.#wait.until(this.#nowNs() + this.#latencyNs);
    return this.#finish(request);
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    if (this.#latencyNs === 0) {
      for (let i = 0; i < count; i++) {
        const request = requests[i]!;
        request.complete(request.tag, this.#finish(request));
      }
      return;
    }
    const deadlineNs = this.#nowNs() + this.#latencyNs;
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      this.#queue.push(request, request.tag, deadlineNs);
    }
  }

  poll(nowNs: number): number {
    const queue = this.#queue;
    let completed = 0;
    while (queue.length > 0 && queue.nextNs <= nowNs) {
      const request = queue.first;
      const tag = queue.firstTag;
      // Off the queue first: a completion may submit more.
      queue.drop();
      request.complete(tag, this.#finish(request));
      completed++;
    }
    return completed;
  }

  nextReadyNs(): number {
    return this.#queue.nextNs;
  }

  async close(): Promise<void> {}

  #finish(request: BlockRequest): BlockStatus {
    if (this.#readZeroes && request.operation === BlockOperation.READ) request.data.zero();
    return this.geometry.readOnly && writesDisk(request.operation) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
  }
}
