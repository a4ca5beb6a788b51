import { VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { randomIntegers, seed } from './random.js';

const SECTOR = 512;

/** A queue of any driver: `data` is what to send, or how many bytes to read. */
export interface LoadedQueue {
  request(
    type: number,
    sector: number,
    data: number | Uint8Array,
  ): Promise<{ readonly status: number; readonly data: Uint8Array }>;
}

/** What one task of a load has done; each request is one completion. */
export interface Done {
  reads: number;
  writes: number;
  flushes: number;
}

/**
 * Writes, reads and flushes without a pause until told to stop. Each task has sectors of its own and one request in flight
 * on them; every sector holds its number and a generation, which a later read must find.
 */
export class GenerationLoad {
  readonly done: Done = { reads: 0, writes: 0, flushes: 0 };
  readonly #queues: readonly LoadedQueue[];
  readonly #tasks: number;
  readonly #sectorsPerTask: number;
  readonly #onlyWrites: boolean;
  /** How often each sector has been written, of all tasks. */
  readonly #generations: Uint32Array;
  readonly #integers: readonly ((below: number) => number)[];
  #stopped = false;
  #running: Promise<unknown> | undefined;

  /** @param options.onlyWrites nothing is read before `stop` */
  constructor(
    queues: readonly LoadedQueue[],
    tasks: number,
    sectorsPerTask: number,
    { onlyWrites = false }: { readonly onlyWrites?: boolean } = {},
  ) {
    this.#queues = queues;
    this.#tasks = tasks;
    this.#sectorsPerTask = sectorsPerTask;
    this.#onlyWrites = onlyWrites;
    this.#generations = new Uint32Array(tasks * sectorsPerTask);
    this.#integers = Array.from({ length: tasks }, (_, task) => randomIntegers(seed + task));
  }

  get requests(): number {
    const { reads, writes, flushes } = this.done;
    return reads + writes + flushes;
  }

  /** Begins, or goes on after `stop`. */
  start(): this {
    this.#stopped = false;
    const tasks = Array.from({ length: this.#tasks }, (_, task) => this.#run(task));
    this.#running = Promise.all(tasks);
    // Seen by `stop`.
    this.#running.catch(() => undefined);
    return this;
  }

  /** Ends when each task has read back everything that it has written. @throws Error when data or a status is wrong */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(task: number): Promise<void> {
    const integer = this.#integers[task]!;
    const first = task * this.#sectorsPerTask;
    const generations = this.#generations.subarray(first, first + this.#sectorsPerTask);
    while (!this.#stopped) {
      const at = integer(this.#sectorsPerTask);
      // Several sectors at a time, so that a part of a request can be wrong.
      const count = 1 + integer(Math.min(8, this.#sectorsPerTask - at));
      const choice = this.#onlyWrites ? 15 : integer(16);
      if (choice === 0) {
        await this.#request(task, VIRTIO_BLK_T_FLUSH, 0, 0);
        this.done.flushes++;
      } else if (choice < 8) {
        await this.#check(task, first, at, count, generations);
      } else {
        const data = new Uint8Array(count * SECTOR);
        for (let i = 0; i < count; i++) fill(data, i, first + at + i, ++generations[at + i]!);
        await this.#request(task, VIRTIO_BLK_T_OUT, first + at, data);
        this.done.writes++;
      }
    }
    for (let at = 0; at < this.#sectorsPerTask; at += 8) {
      await this.#check(task, first, at, Math.min(8, this.#sectorsPerTask - at), generations);
    }
  }

  async #check(
    task: number,
    first: number,
    at: number,
    count: number,
    generations: Uint32Array,
  ): Promise<void> {
    const data = await this.#request(task, VIRTIO_BLK_T_IN, first + at, count * SECTOR);
    this.done.reads++;
    for (let i = 0; i < count; i++) {
      const expected = new Uint8Array(SECTOR);
      if (generations[at + i]! > 0) fill(expected, 0, first + at + i, generations[at + i]!);
      const got = data.subarray(i * SECTOR, (i + 1) * SECTOR);
      if (Buffer.compare(got, expected) !== 0) {
        const words = [...new Uint32Array(got.slice(0, 8).buffer)].join(', ');
        throw new Error(
          `sector ${first + at + i}: generation ${generations[at + i]} expected, found ${words} (SEED=${seed})`,
        );
      }
    }
  }

  async #request(task: number, type: number, sector: number, data: number | Uint8Array): Promise<Uint8Array> {
    const queue = this.#queues[task % this.#queues.length]!;
    const outcome = await queue.request(type, sector, data);
    if (outcome.status !== 0) {
      throw new Error(`request of type ${type} at ${sector}: status ${outcome.status} (SEED=${seed})`);
    }
    return outcome.data;
  }
}

/** Number and generation at the sector's start, their mix throughout the rest. */
export function fill(data: Uint8Array, index: number, sector: number, generation: number): void {
  const words = new Uint32Array(SECTOR / 4).fill(Math.imul(sector + 1, 0x9e3779b1) ^ generation);
  words[0] = sector;
  words[1] = generation;
  data.set(new Uint8Array(words.buffer), index * SECTOR);
}

/** The generation of a sector as `fill` made it, 0 of zeroes; undefined where it is torn, or another sector's. */
export function generationOf(data: Uint8Array, index: number, sector: number): number | undefined {
  const got = data.subarray(index * SECTOR, (index + 1) * SECTOR);
  const generation = new DataView(got.buffer, got.byteOffset).getUint32(4, true);
  const expected = new Uint8Array(SECTOR);
  if (generation !== 0) fill(expected, 0, sector, generation);
  return Buffer.compare(got, expected) === 0 ? generation : undefined;
}
