import {
  RANGE_BYTES,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import { fill } from '../../support/generations.js';
import { randomIntegers, seed } from '../../support/random.js';
import { type Change, GuestHistory, repeat } from './guest-history.js';

const SECTOR = 512;
/** Sectors of a request, at most. */
const MAX_SECTORS = 8;

/** A queue of whichever guest. */
export interface DurableQueue {
  /** @returns the status of the completed request */
  request(type: number, sector: number, data: Uint8Array): Promise<number>;
}

export interface LoadOptions {
  readonly tasks: number;
  readonly sectorsPerTask: number;
  /** Requests of each task. */
  readonly requests: number;
  readonly writeThrough: boolean;
  /** How far the log is by now. */
  readonly position: () => number;
}

/**
 * Writes, zeroes, discards and flushes, several at a time, by a seed, and what the guest may rely on after each of them. Each task has
 * sectors of its own and one request in flight on them; a flush of one is for all.
 */
export class DurableLoad {
  readonly history: GuestHistory;
  readonly #queues: readonly DurableQueue[];
  readonly #options: LoadOptions;
  flushes = 0;

  constructor(queues: readonly DurableQueue[], options: LoadOptions) {
    this.#queues = queues;
    this.#options = options;
    this.history = new GuestHistory(options.tasks * options.sectorsPerTask);
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.tasks }, (_, task) => this.#task(task)));
  }

  async #task(task: number): Promise<void> {
    const integer = randomIntegers(seed + task);
    const { sectorsPerTask } = this.#options;
    for (let i = 0; i < this.#options.requests; i++) {
      const at = integer(sectorsPerTask);
      const sector = task * sectorsPerTask + at;
      const count = 1 + integer(Math.min(MAX_SECTORS, sectorsPerTask - at));
      const choice = integer(16);
      if (choice < 3) await this.#flush(task);
      else if (choice === 3) await this.#zero(task, sector, count);
      else if (choice === 4) await this.#discard(task, sector, count);
      else await this.#write(task, sector, count);
    }
  }

  async #write(task: number, sector: number, count: number): Promise<void> {
    const data = new Uint8Array(count * SECTOR);
    const generations = Array.from({ length: count }, () => this.history.nextGeneration());
    for (const [index, generation] of generations.entries()) fill(data, index, sector + index, generation);
    const change = this.history.write(sector, generations, this.#options.position());
    await this.#request(task, VIRTIO_BLK_T_OUT, sector, data);
    this.#written(change);
  }

  async #zero(task: number, sector: number, count: number): Promise<void> {
    const change = this.history.write(sector, repeat(count, 0), this.#options.position());
    await this.#request(task, VIRTIO_BLK_T_WRITE_ZEROES, 0, rangeOf(sector, count));
    this.#written(change);
  }

  async #discard(task: number, sector: number, count: number): Promise<void> {
    const change = this.history.discard(sector, count, this.#options.position());
    await this.#request(task, VIRTIO_BLK_T_DISCARD, 0, rangeOf(sector, count));
    this.history.completed(change);
  }

  #written(change: Change): void {
    const { writeThrough, position } = this.#options;
    this.history.completed(change, writeThrough ? position() : Infinity);
  }

  async #flush(task: number): Promise<void> {
    const promised = this.history.promised();
    await this.#request(task, VIRTIO_BLK_T_FLUSH, 0, new Uint8Array());
    this.history.flushed(promised, this.#options.position());
    this.flushes++;
  }

  async #request(task: number, type: number, sector: number, data: Uint8Array): Promise<void> {
    const queue = this.#queues[task % this.#queues.length]!;
    const status = await queue.request(type, sector, data);
    if (status !== VIRTIO_BLK_S_OK) {
      throw new Error(`request of type ${type} at ${sector}: status ${status} (SEED=${seed})`);
    }
  }
}

function rangeOf(sector: number, sectors: number): Uint8Array {
  const range = new DataView(new ArrayBuffer(RANGE_BYTES));
  range.setBigUint64(0, BigInt(sector), true);
  range.setUint32(8, sectors, true);
  return new Uint8Array(range.buffer);
}
