import { LatencyHistogram, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import type { FrontEndQueue } from '@iothreads/vhost-user/front-end';
import { RandomBlocks } from '../load/random-blocks.js';
import type { ClientFigures } from './client.js';

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;

export interface QueueLoadOptions {
  readonly sizeBytes: number;
  readonly operation: 'read' | 'write';
  /** Requests kept in flight; 0 leaves the queue idle. */
  readonly depth: number;
}

/** Random requests of 4 KiB on one queue, so many in flight. */
export class QueueLoad {
  readonly queue: FrontEndQueue;
  readonly #type: number;
  readonly #depth: number;
  readonly #blocks: RandomBlocks;
  readonly #startedNs: Float64Array;
  #histogram = new LatencyHistogram();
  #requests = 0;
  #worstNs = 0;

  constructor(queue: FrontEndQueue, { sizeBytes, operation, depth }: QueueLoadOptions) {
    this.queue = queue;
    this.#type = operation === 'read' ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
    this.#depth = depth;
    this.#blocks = new RandomBlocks(Math.floor(sizeBytes / BLOCK_BYTES));
    this.#startedNs = new Float64Array(queue.driver.depth);
  }

  /** Forgets what has been measured so far. */
  reset(): void {
    this.#histogram = new LatencyHistogram();
    this.#requests = 0;
    this.#worstNs = 0;
  }

  figures(seconds: number): ClientFigures {
    const { meanNs, p99Ns } = this.#histogram.summary();
    return {
      requests: this.#requests,
      seconds,
      meanUs: meanNs / 1000,
      p99Us: p99Ns / 1000,
      maxUs: this.#worstNs / 1000,
    };
  }

  get inFlight(): number {
    return this.queue.driver.inFlight;
  }

  /** Puts as many requests under way as are to be in flight. */
  fill(now: number): void {
    const { driver } = this.queue;
    let started = false;
    while (driver.inFlight < this.#depth) {
      const slot = driver.takeSlot();
      driver.start(slot, this.#type, this.#blocks.next() * SECTORS_PER_BLOCK, BLOCK_BYTES);
      this.#startedNs[slot] = now;
      started = true;
    }
    if (started && driver.publish()) this.queue.kick();
  }

  /** Takes what has completed. */
  reap(now: number): void {
    const { driver } = this.queue;
    for (let slot = driver.takeDone(); slot !== -1; slot = driver.takeDone()) {
      if (driver.status(slot) !== VIRTIO_BLK_S_OK)
        throw new Error(`a request failed: ${driver.status(slot)}`);
      const tookNs = now - this.#startedNs[slot]!;
      this.#histogram.record(tookNs);
      if (tookNs > this.#worstNs) this.#worstNs = tookNs;
      this.#requests++;
    }
  }
}
