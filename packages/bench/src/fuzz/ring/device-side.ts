import { openDrive, type BlockDriver } from '@iothreads/backends';
import {
  BlockRequest,
  GuestMemory,
  Popped,
  RequestParser,
  SECTOR_SIZE,
  Virtqueue,
  type VirtqueueAddresses,
  writeStatus,
} from '@iothreads/core';
import { RAM_BYTES, regionsOf } from './guest-ram.js';
import { DISK_SECTORS, SERIAL } from './reference-device.js';
import { AVAIL_RING, DESCRIPTOR_TABLE, type RingCase, USED_RING } from './ring-case.js';

/** Bytes before and behind the disk in its buffer, which belong to somebody else. */
export const DISK_MARGIN = 8 * SECTOR_SIZE;
export const DISK_BUFFER_BYTES = DISK_SECTORS * SECTOR_SIZE + 2 * DISK_MARGIN;

/** What the disk's buffer holds before a case. */
export const FRESH_DISK: Uint8Array = Uint8Array.from(
  { length: DISK_BUFFER_BYTES },
  (_, i) => (i * 5 + (i >> 9) * 11 + 1) & 0xff,
);

/** The disk in its buffer. */
export const diskIn = (buffer: Uint8Array): Uint8Array =>
  buffer.subarray(DISK_MARGIN, DISK_MARGIN + DISK_SECTORS * SECTOR_SIZE);

export const addressesOf = ({ queueSize }: Pick<RingCase, 'queueSize'>): VirtqueueAddresses => ({
  size: queueSize,
  descriptorTable: DESCRIPTOR_TABLE,
  availRing: AVAIL_RING,
  usedRing: USED_RING,
});

/** The product's device side on one thread: ring, parser and a memory disk, without a runtime around them. */
export class DeviceSide {
  readonly ram = new Uint8Array(RAM_BYTES);
  readonly ramView = new DataView(this.ram.buffer);
  readonly memory = new GuestMemory(regionsOf(this.ram.buffer));
  readonly disk: Uint8Array;
  readonly driver: BlockDriver;
  broken = false;
  taken = 0;
  /** By what is offered: see `parserOf`. */
  readonly #parsers: readonly RequestParser[];
  readonly #requests: BlockRequest[] = [];

  private constructor(disk: Uint8Array, driver: BlockDriver) {
    this.disk = disk;
    this.driver = driver;
    this.#parsers = [0, 1, 2, 3].map(
      (offers) =>
        new RequestParser({
          capacitySectors: DISK_SECTORS,
          readOnly: (offers & 1) !== 0,
          discard: (offers & 2) !== 0,
          writeZeroes: (offers & 2) !== 0,
          serial: new TextEncoder().encode(SERIAL),
        }),
    );
  }

  static async create(): Promise<DeviceSide> {
    const buffer = new SharedArrayBuffer(DISK_BUFFER_BYTES);
    const sizeBytes = DISK_SECTORS * SECTOR_SIZE;
    const geometry = { sizeBytes, readOnly: false, discard: true, writeZeroes: true };
    const prepared = { driver: 'memory', geometry, offset: DISK_MARGIN, state: { buffer } };
    const driver = await openDrive(prepared, { nowNs: () => 0, attend: () => undefined });
    return new DeviceSide(new Uint8Array(buffer), driver);
  }

  parserOf({ readOnly, ranges }: Pick<RingCase, 'readOnly' | 'ranges'>): RequestParser {
    return this.#parsers[(readOnly ? 1 : 0) | (ranges ? 2 : 0)]!;
  }

  /** Serves what is available through a queue of its own, at most `bound` chains. */
  serve(each: RingCase, bound: number): void {
    const { indirect, eventIdx, hold } = each;
    const state = { lastAvail: each.start, usedIdx: each.start };
    const queue = new Virtqueue(this.memory, addressesOf(each), { indirect, eventIdx, state });
    const parser = this.parserOf(each);
    this.broken = false;
    this.taken = 0;
    do {
      queue.disableNotifications();
      let waiting = 0;
      while (this.taken < bound) {
        const request = (this.#requests[waiting] ??= new BlockRequest());
        const popped = queue.pop(request);
        if (popped === Popped.NONE) break;
        if (popped === Popped.BROKEN) {
          this.broken = true;
          break;
        }
        this.taken++;
        waiting++;
        parser.parse(request, popped === Popped.CHAIN);
        if (waiting < hold) continue;
        this.#giveBack(queue, waiting);
        waiting = 0;
      }
      this.#giveBack(queue, waiting);
      queue.publish();
      if (queue.inFlight !== 0) throw new Error(`${queue.inFlight} chains are said to be in flight, none is`);
      if (queue.broken !== this.broken) throw new Error('the queue does not know whether it is broken');
      if (this.broken || this.taken >= bound) return;
    } while (queue.enableNotifications());
  }

  #giveBack(queue: Virtqueue, count: number): void {
    for (let i = count - 1; i >= 0; i--) {
      const request = this.#requests[i]!;
      const status = request.settled === -1 ? this.driver.executeSync!(request) : request.settled;
      queue.push(request.head, writeStatus(request, status));
    }
  }
}
