import { VIRTIO_STATUS_NEEDS_RESET } from '@iothreads/core';
import { startDevice } from '@iothreads/core/testing';
import { type BlockDevice, IOThreadRuntime } from '@iothreads/iothread';
import type { Random } from '../../stress/random.js';
import { differences } from '../differences.js';
import { addressesOf, DISK_BUFFER_BYTES, DISK_MARGIN, diskIn, FRESH_DISK } from '../ring/device-side.js';
import { GOOD_READ, hasReadSector } from '../ring/good-case.js';
import { DATA_REGION, FRESH_RAM, offsetOf, RAM_BYTES, regionsOf, TABLE_REGION } from '../ring/guest-ram.js';
import { DISK_SECTORS } from '../ring/reference-device.js';
import {
  AVAIL_RING,
  HEADERS,
  MAX_QUEUE_SIZE,
  type RingCase,
  USED_RING,
  writeCase,
} from '../ring/ring-case.js';
import type { FuzzSurface } from '../surface.js';
import { type Change, makeRaceCase, MOST_BYTES, type RaceBatch, type RaceCase } from './race-case.js';

/** Against hangs only. */
const DEADLINE_MS = 30_000;

const EVENT_IDX = 1n << 29n;
/** Of `avail.idx` and `used.idx` among RAM's 16-bit words. */
const AVAIL_IDX = offsetOf(AVAIL_RING) / 2 + 1;
const USED_IDX = offsetOf(USED_RING) / 2 + 1;
/** All descriptors of a ring as long as they may be, and a status. */
const MOST_USED = MAX_QUEUE_SIZE * MOST_BYTES + 1;

/** What a device may write, whatever is changed when: its used ring, and where descriptors may point. */
const WRITABLE = [
  [USED_RING, 0x110],
  [HEADERS, 0x200 + MOST_BYTES],
  [DATA_REGION, 3 * 512 + MOST_BYTES],
  [TABLE_REGION, 0x400 + MOST_BYTES],
] as const;

/**
 * A driver that changes its requests while an iothread reads them, in a real runtime. What the device sees then is not repeatable, so
 * the bounds are checked: nothing else is written, everything taken is given back once, and the iothread lives.
 */
export class RaceSurface implements FuzzSurface<RaceCase> {
  readonly make: (random: Random) => RaceCase = makeRaceCase;
  readonly #runtime: IOThreadRuntime;
  readonly #device: BlockDevice;
  readonly #ram: Uint8Array;
  readonly #view: DataView;
  readonly #words: Uint16Array;
  readonly #expected = new Uint8Array(RAM_BYTES);
  readonly #disk: Uint8Array;
  #failure: unknown;

  private constructor(
    runtime: IOThreadRuntime,
    device: BlockDevice,
    buffer: SharedArrayBuffer,
    disk: SharedArrayBuffer,
  ) {
    this.#runtime = runtime;
    this.#device = device;
    this.#ram = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#words = new Uint16Array(buffer);
    this.#disk = new Uint8Array(disk);
    this.#disk.set(FRESH_DISK);
    runtime.on('deviceError', (_, error) => (this.#failure ??= error));
    runtime.on('iothreadDied', (_, error) => (this.#failure ??= error));
  }

  static async create(): Promise<RaceSurface> {
    const runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'iothread0' });
    const ram = new SharedArrayBuffer(RAM_BYTES);
    const disk = new SharedArrayBuffer(DISK_BUFFER_BYTES);
    const device = await runtime.addDevice({
      id: 'disk',
      iothread: 'iothread0',
      memory: regionsOf(ram),
      queueSize: MAX_QUEUE_SIZE,
      drive: {
        driver: 'raw',
        offset: DISK_MARGIN,
        size: DISK_SECTORS * 512,
        file: { driver: 'memory', buffer: disk },
      },
    });
    return new RaceSurface(runtime, device, ram, disk);
  }

  async play({ batches }: RaceCase): Promise<number> {
    await this.#serve({ ring: GOOD_READ, changes: [] });
    if (!hasReadSector(this.#ram)) throw new Error('a good driver is not served');
    let taken = 0;
    for (const batch of batches) taken += await this.#serve(batch);
    return taken;
  }

  async #serve({ ring, changes }: RaceBatch): Promise<number> {
    this.#start();
    await this.#device.settled();
    writeCase(ring, this.#view);
    this.#expected.set(this.#ram);
    new DataView(this.#expected.buffer).setUint16(2 * AVAIL_IDX, ring.heads.length, true);
    Atomics.store(this.#words, AVAIL_IDX, ring.heads.length);
    this.#device.kick(0);
    const taken = this.#changeUntilServed(ring.heads.length, changes);
    const broken = this.#broken;
    // A ring may be found broken while what came before is still being served, and more may have been made available than is awaited.
    this.#device.virtio.writeStatus(0);
    await this.#device.settled();
    this.#check(ring, changes, broken);
    // Lets the iothread tell if it has died.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#failure !== undefined) throw this.#failure;
    return taken;
  }

  /** Starts the device, which is reset, on an empty ring. */
  #start(): void {
    const { virtio } = this.#device;
    this.#ram.set(FRESH_RAM);
    this.#disk.set(FRESH_DISK);
    Atomics.store(this.#words, AVAIL_IDX, 0);
    Atomics.store(this.#words, USED_IDX, 0);
    startDevice(virtio, [addressesOf({ queueSize: MAX_QUEUE_SIZE })], virtio.offeredFeatures & ~EVENT_IDX);
  }

  get #broken(): boolean {
    return (this.#device.virtio.status & VIRTIO_STATUS_NEEDS_RESET) !== 0;
  }

  /** @returns how many chains were given back, at the least one where the ring was found broken */
  #changeUntilServed(wanted: number, changes: readonly Change[]): number {
    const endMs = performance.now() + DEADLINE_MS;
    for (let turn = 0; ; turn++) {
      const used = Atomics.load(this.#words, USED_IDX);
      if (used === wanted) return used;
      for (const each of changes) write(this.#view, each);
      if (turn % 64 !== 0) continue;
      if (this.#broken) return Math.max(1, used);
      if (performance.now() > endMs) throw new Error(`hangs: ${used} of ${wanted} chains were given back`);
    }
  }

  #check({ heads }: RingCase, changes: readonly Change[], broken: boolean): void {
    const disturbed = changes.some(([at]) => at >= AVAIL_RING && at < USED_RING);
    if (broken && !disturbed) throw new Error('the ring is said to be broken, and nobody has touched it');
    const used = Atomics.load(this.#words, USED_IDX);
    const given = Array.from({ length: used }, (_, i) =>
      this.#view.getUint32(offsetOf(USED_RING) + 4 + 8 * i, true),
    );
    if (disturbed ? given.some((head) => head >= MAX_QUEUE_SIZE) : !sameHeads(given, heads)) {
      throw new Error(`heads ${given.join()} were given back of ${heads.join()}`);
    }
    for (let i = 0; i < used; i++) {
      const usedLength = this.#view.getUint32(offsetOf(USED_RING) + 8 + 8 * i, true);
      if (usedLength > MOST_USED) throw new Error(`used length ${usedLength} of head ${given[i]}`);
    }
    // Where the changes ended is as it should be, whatever came first.
    for (const each of changes) {
      write(this.#view, each);
      write(new DataView(this.#expected.buffer), each);
    }
    for (const [at, byteLength] of WRITABLE) {
      const offset = offsetOf(at);
      this.#expected.set(this.#ram.subarray(offset, offset + byteLength), offset);
    }
    differences('guest memory', this.#ram, this.#expected);
    const disk = FRESH_DISK.slice();
    diskIn(disk).set(diskIn(this.#disk));
    differences('around the disk', this.#disk, disk);
  }

  async close(): Promise<void> {
    await this.#runtime.close();
  }
}

function write(ram: DataView, [at, value]: Change): void {
  ram.setUint32(offsetOf(at), value, true);
}

const sameHeads = (given: readonly number[], heads: readonly number[]): boolean =>
  given.length === heads.length && given.toSorted((a, b) => a - b).every((head, i) => head === heads[i]);
