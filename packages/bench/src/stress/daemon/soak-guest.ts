import {
  SECTOR_SIZE,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_F_EVENT_IDX,
} from '@iothreads/core';
import { encodeRange, type FrontEndOptions, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import type { Random } from '../random.js';
import type { SectorHistory } from './sector-history.js';

const DATA_SECTORS = 8;
/** A request that takes longer has been lost: pauses, hangs and restarts included. */
const LOST_MS = 60_000;

/** What guests have done, all together. */
export interface GuestCounts {
  requests: number;
  bytes: number;
  /** Requests that the disk has failed. */
  failed: number;
  /** Sectors that were read and compared. */
  verified: number;
}

/** A virtual machine with tasks that write, read and compare; each has sectors of its own. */
export class SoakGuest {
  readonly frontEnd: VhostUserFrontEnd;
  readonly #history: SectorHistory;
  readonly #random: Random;
  readonly #counts: GuestCounts;
  readonly #onFailure: (error: Error) => void;
  readonly #tasks: Promise<void>[] = [];
  /** How to end the waits for requests that nobody will see complete. A promise of the guest's end would keep what races against it. */
  readonly #waits = new Set<() => void>();
  #stopping = false;
  #hasLeft = false;

  private constructor(
    frontEnd: VhostUserFrontEnd,
    history: SectorHistory,
    random: Random,
    counts: GuestCounts,
    onFailure: (error: Error) => void,
  ) {
    this.frontEnd = frontEnd;
    this.#history = history;
    this.#random = random;
    this.#counts = counts;
    this.#onFailure = onFailure;
  }

  /** Connects with queues of some size, and begins. */
  static async connect(
    path: string,
    history: SectorHistory,
    random: Random,
    counts: GuestCounts,
    onFailure: (error: Error) => void,
  ): Promise<SoakGuest> {
    const queueSize = random.pick([16, 64, 256]);
    const depth = 1 + random.below(Math.min(16, Math.floor(queueSize / 3)));
    const options: FrontEndOptions = {
      numQueues: 1 + random.below(3),
      queueSize,
      depth,
      dataBytes: DATA_SECTORS * SECTOR_SIZE,
      memoryBytes: 1 << 20,
      memorySlots: random.chance(0.5),
      call: random.chance(0.8),
      ...(random.chance(0.3) ? { features: ~(1n << BigInt(VIRTIO_F_EVENT_IDX)) } : {}),
    };
    const frontEnd = await VhostUserFrontEnd.connect(path, options);
    const guest = new SoakGuest(frontEnd, history, random, counts, onFailure);
    const tasks = frontEnd.queues.length * depth;
    const share = Math.floor(history.sectors / tasks);
    for (let task = 0; task < tasks; task++) guest.#tasks.push(guest.#run(task, task * share, share));
    return guest;
  }

  /** Waits until nothing of it is in flight, and leaves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#tasks);
    await this.#close();
  }

  /** Leaves without a word, whatever is in flight. */
  async vanish(): Promise<void> {
    this.#stopping = true;
    this.#hasLeft = true;
    for (const leave of this.#waits) leave();
    await this.#close();
  }

  async #close(): Promise<void> {
    await this.frontEnd.close();
    await Promise.all(this.#tasks);
  }

  async #run(task: number, first: number, sectors: number): Promise<void> {
    try {
      while (!this.#stopping) await this.#step(task, first, sectors);
    } catch (error) {
      // With the front end everything that it waits for ends.
      if (!this.#hasLeft) this.#onFailure(error as Error);
    }
  }

  async #step(task: number, first: number, sectors: number): Promise<void> {
    const random = this.#random;
    const at = random.below(sectors);
    const count = 1 + random.below(Math.min(DATA_SECTORS, sectors - at));
    const sector = first + at;
    const choice = random.below(100);
    if (choice < 5) {
      await this.#request(task, VIRTIO_BLK_T_FLUSH, 0, 0);
    } else if (choice < 50) {
      const data = await this.#request(task, VIRTIO_BLK_T_IN, sector, count * SECTOR_SIZE);
      if (data === undefined) return;
      this.#history.verify(sector, data);
      this.#counts.verified += count;
    } else if (choice < 90) {
      const { data, succeeded } = this.#history.write(sector, count);
      if ((await this.#request(task, VIRTIO_BLK_T_OUT, sector, data.length, data)) !== undefined) succeeded();
    } else {
      const type = choice < 95 ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD;
      const { succeeded } = this.#history.zero(sector, count);
      const range = encodeRange(sector, count * SECTOR_SIZE);
      const done = await this.#request(task, type, 0, range.length, range);
      if (done !== undefined && type === VIRTIO_BLK_T_WRITE_ZEROES) succeeded();
    }
  }

  /** @returns undefined when the disk has failed it, or the guest has left meanwhile */
  async #request(
    task: number,
    type: number,
    sector: number,
    byteLength: number,
    bytes?: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const { queues } = this.frontEnd;
    const request = queues[task % queues.length]!.request(type, sector, byteLength, bytes);
    // Seen below, unless the guest leaves first.
    request.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    let leave: () => void;
    const other = new Promise<undefined>((resolve, reject) => {
      leave = () => resolve(undefined);
      this.#waits.add(leave);
      timer = setTimeout(() => {
        reject(new Error(`a request of type ${type} at sector ${sector} has not completed for a minute`));
      }, LOST_MS);
    });
    try {
      const done = await Promise.race([request, other]);
      if (done === undefined) return undefined;
      this.#counts.requests++;
      this.#counts.bytes += byteLength;
      if (done.status === 0) return done.data;
      this.#counts.failed++;
      return undefined;
    } finally {
      this.#waits.delete(leave!);
      clearTimeout(timer);
    }
  }
}
