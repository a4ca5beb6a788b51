import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import { BlkDriver, startDevice } from '@iothreads/core/testing';
import type { BlockDevice } from '@iothreads/iothread';
import { layOut } from '../load/guest-layout.js';
import { BLOCK_BYTES, type DiskModel } from './disk-model.js';
import type { Random } from './random.js';

const MAX_BLOCKS = 4;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;

/** A request that a guest has in flight. */
interface Operation {
  readonly type: number;
  readonly block: number;
  readonly count: number;
  readonly generation: number;
}

/** The guest's side of one device under stress: random requests on all its queues, every answer checked. */
export class StressGuest {
  readonly id: string;
  readonly device: BlockDevice;
  readonly #memory: SharedArrayBuffer;
  readonly #model: DiskModel;
  readonly #random: Random;
  readonly #depth: number;
  #drivers: BlkDriver[] = [];
  #operations: Map<number, Operation>[] = [];
  /** Requests that have completed, each checked. */
  completed = 0;
  /** Takes no new requests while something is being done to the device. */
  paused = false;

  constructor(options: {
    readonly device: BlockDevice;
    readonly memory: SharedArrayBuffer;
    readonly model: DiskModel;
    readonly random: Random;
    readonly depth: number;
  }) {
    this.id = options.device.id;
    this.device = options.device;
    this.#memory = options.memory;
    this.#model = options.model;
    this.#random = options.random;
    this.#depth = options.depth;
  }

  /** Starts the device as a driver does, with fresh rings. */
  async start(): Promise<void> {
    const { allocator, queues } = layOut(this.#memory, this.device.virtio.numQueues);
    new Uint8Array(this.#memory).fill(0);
    startDevice(this.device.virtio, queues);
    await this.device.settled();
    this.#drivers = queues.map(
      (addresses) =>
        new BlkDriver(allocator, {
          addresses,
          depth: this.#depth,
          dataBytes: MAX_BLOCKS * BLOCK_BYTES,
          eventIdx: true,
        }),
    );
    this.#operations = queues.map(() => new Map());
    this.paused = false;
  }

  get inFlight(): number {
    return this.#drivers.reduce((sum, driver) => sum + driver.inFlight, 0);
  }

  /** Starts some requests and checks what has completed. */
  step(): void {
    for (const [queue, driver] of this.#drivers.entries()) {
      this.reap(queue);
      if (this.paused) continue;
      let started = 0;
      const wanted = this.#random.below(this.#depth + 1);
      while (started < wanted && this.#startOne(driver, queue)) started++;
      // A kick too many does no harm, and is something that guests do.
      if (started > 0 && (driver.publish() || this.#random.chance(0.02))) this.device.kick(queue);
    }
  }

  /** After the device has let go of its rings: what it took has completed, what it never took was never done. */
  forsake(): void {
    for (const [queue, operations] of this.#operations.entries()) {
      this.reap(queue);
      for (const { block, count } of operations.values()) this.#model.release(block, count);
      operations.clear();
    }
    this.#drivers = [];
    this.#operations = [];
  }

  reap(queue: number): void {
    const driver = this.#drivers[queue]!;
    for (let slot = driver.takeDone(); slot !== -1; slot = driver.takeDone())
      this.#finish(driver, queue, slot);
  }

  #startOne(driver: BlkDriver, queue: number): boolean {
    const random = this.#random;
    const count = 1 + random.below(MAX_BLOCKS);
    const block = random.below(this.#model.blocks - count);
    if (!this.#model.claim(block, count)) return true;
    const slot = driver.takeSlot();
    if (slot === -1) {
      this.#model.release(block, count);
      return false;
    }
    const data = driver.data(slot);
    const dice = random.below(100);
    const sector = block * SECTORS_PER_BLOCK;
    let type = VIRTIO_BLK_T_IN;
    let generation = 0;
    if (dice < 45) {
      driver.start(slot, type, sector, count * BLOCK_BYTES);
    } else if (dice < 85) {
      type = VIRTIO_BLK_T_OUT;
      generation = this.#model.compose(block, count, data);
      driver.start(slot, type, sector, count * BLOCK_BYTES);
    } else if (dice < 90) {
      type = VIRTIO_BLK_T_FLUSH;
      driver.start(slot, type, 0, 0);
    } else {
      type = dice < 96 ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD;
      const range = new DataView(data.buffer, data.byteOffset, 16);
      range.setBigUint64(0, BigInt(sector), true);
      range.setUint32(8, count * SECTORS_PER_BLOCK, true);
      range.setUint32(12, 0, true);
      driver.start(slot, type, 0, 16);
    }
    this.#operations[queue]!.set(slot, { type, block, count, generation });
    return true;
  }

  #finish(driver: BlkDriver, queue: number, slot: number): void {
    const operation = this.#operations[queue]!.get(slot);
    const where = `${this.id}, queue ${queue}, slot ${slot}`;
    if (operation === undefined) throw new Error(`${where}: completed twice`);
    this.#operations[queue]!.delete(slot);
    const { type, block, count, generation } = operation;
    const status = driver.status(slot);
    if (status !== VIRTIO_BLK_S_OK)
      throw new Error(`${where}: request type ${type} ended with status ${status}`);
    const written = type === VIRTIO_BLK_T_IN ? count * BLOCK_BYTES + 1 : 1;
    if (driver.queue.usedLength !== written) {
      throw new Error(
        `${where}: request type ${type} has used length ${driver.queue.usedLength}, not ${written}`,
      );
    }
    if (type === VIRTIO_BLK_T_IN) this.#model.check(block, count, driver.data(slot), where);
    else if (type === VIRTIO_BLK_T_OUT) this.#model.wrote(block, count, generation);
    else if (type === VIRTIO_BLK_T_WRITE_ZEROES) this.#model.zeroed(block, count);
    else if (type === VIRTIO_BLK_T_DISCARD) this.#model.discarded(block, count);
    this.#model.release(block, count);
    this.completed++;
  }
}
