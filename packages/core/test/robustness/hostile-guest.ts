import {
  RING_IDX,
  usedRingBytes,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  type VirtqueueAddresses,
} from '@iothreads/core';
import type { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { type GuestRange, MemorySnapshot } from '../support/memory-snapshot.js';

export const NEXT = VIRTQ_DESC_F_NEXT;
export const WRITE = VIRTQ_DESC_F_WRITE;
/** What a status byte holds before the device has written it. */
export const NO_STATUS = 0xff;

/** Guest memory of every rig: two regions that adjoin, a hole of 64 KiB, a third one, and a far one above 4 GiB. */
export const REGION_BYTES = 0x1_0000;
export const FIRST_REGION = 0x1_0000;
export const SECOND_REGION = FIRST_REGION + REGION_BYTES;
export const HOLE = SECOND_REGION + REGION_BYTES;
const THIRD_REGION = HOLE + REGION_BYTES;
const FAR_REGION = 0x1_0000_0000;
export const REGIONS = [FIRST_REGION, SECOND_REGION, THIRD_REGION, FAR_REGION].map((guestAddress) => ({
  guestAddress,
  size: REGION_BYTES,
}));

/** Of every disk but the huge one. */
export const CAPACITY_SECTORS = 64;

export const pattern = (i: number): number => (i * 7 + (i >> 9) + 3) & 0xff;
export const diskPattern = (i: number): number => (i * 5 + (i >> 9) * 11 + 1) & 0xff;
/** What a disk holds before a test. */
export const freshDisk = (): Uint8Array => FRESH.slice();
const FRESH = Uint8Array.from({ length: CAPACITY_SECTORS * 512 }, (_, i) => diskPattern(i));

/** One descriptor as a driver writes it. */
export interface RawDescriptor {
  readonly address: number | bigint;
  readonly byteLength: number;
  readonly flags: number;
  readonly next?: number;
}

/** What a device gave back. */
export interface Completion {
  readonly head: number;
  readonly usedLength: number;
}

/**
 * A hostile driver of one queue: rings, a header, 8 KiB of data and a status byte at fixed places, and a look at what a device has
 * written where. What device it faces is the subclass's.
 */
export abstract class HostileGuest {
  readonly allocator: GuestAllocator;
  readonly addresses: VirtqueueAddresses;
  readonly driver: DriverQueue;
  /** 16 bytes. */
  readonly header: number;
  /** 8 KiB, filled with a pattern. */
  readonly data: number;
  /** 1 byte with room of 15 on either side, so that a stray write shows. */
  readonly status: number;
  /** Room for indirect tables: 2048 descriptors. */
  readonly table: number;
  #snapshot: MemorySnapshot | undefined;
  /** The avail index that the driver has written last. */
  #shownIdx = 0;

  constructor(allocator: GuestAllocator, addresses: VirtqueueAddresses, driver: DriverQueue) {
    this.allocator = allocator;
    this.addresses = addresses;
    this.driver = driver;
    this.header = allocator.allocate(16, 16);
    this.data = allocator.allocate(8192, 512);
    this.status = allocator.allocate(31, 16) + 15;
    this.table = allocator.allocate(2048 * 16, 16);
    this.bytes(this.data, 8192).forEach((_, i, bytes) => (bytes[i] = pattern(i)));
    this.bytes(this.status, 1)[0] = NO_STATUS;
  }

  /** Makes heads available and lets the device run. @returns what it completed */
  abstract serve(...heads: number[]): Completion[] | Promise<Completion[]>;

  /** What the disk holds now; undefined where that can't be told. */
  abstract get diskBytes(): Uint8Array | undefined;

  bytes(address: number, byteLength: number): Uint8Array {
    return this.allocator.bytes(address, byteLength);
  }

  /** The same, byte by byte: the range may span regions. */
  copyOf(address: number, byteLength: number): Uint8Array {
    return Uint8Array.from({ length: byteLength }, (_, i) => this.bytes(address + i, 1)[0]!);
  }

  /** Writes bytes, which may span regions. */
  put(address: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => (this.bytes(address + i, 1)[0] = byte));
  }

  /** The used ring: what a device may always write. */
  get usedRing(): GuestRange {
    return [this.addresses.usedRing, usedRingBytes(this.addresses.size)];
  }

  get statusByte(): number {
    return this.bytes(this.status, 1)[0]!;
  }

  writeHeader(
    type: number,
    sector: number | bigint = 0,
    reserved: number = 0,
    address: number = this.header,
  ): void {
    const header = new DataView(new ArrayBuffer(16));
    header.setUint32(0, type, true);
    header.setUint32(4, reserved, true);
    header.setBigUint64(8, BigInt(sector), true);
    this.put(address, new Uint8Array(header.buffer));
  }

  /** Writes descriptors from index 0 on; `next` is the one behind it unless given. */
  writeChain(descriptors: readonly RawDescriptor[]): void {
    for (const [i, d] of descriptors.entries()) {
      this.driver.writeDescriptor(i, d.address, d.byteLength, d.flags, d.next ?? i + 1);
    }
  }

  /** Writes an indirect table, which may span regions; `next` is the one behind it unless given. */
  writeTable(descriptors: readonly RawDescriptor[], address: number = this.table): void {
    for (const [i, d] of descriptors.entries()) {
      const descriptor = new DataView(new ArrayBuffer(16));
      descriptor.setBigUint64(0, BigInt(d.address), true);
      descriptor.setUint32(8, d.byteLength, true);
      descriptor.setUint16(12, d.flags, true);
      descriptor.setUint16(14, d.next ?? i + 1, true);
      this.put(address + i * 16, new Uint8Array(descriptor.buffer));
    }
  }

  /** Shows the device heads; what it changes from now on is what it has written. */
  protected offer(heads: readonly number[]): void {
    for (const head of heads) this.driver.makeAvailable(head);
    this.#shownIdx = (this.#shownIdx + heads.length) & 0xffff;
    // Before the index is shown: a device in another thread begins to write at once.
    this.#snapshot = new MemorySnapshot(this.allocator.memory);
    this.driver.publish();
  }

  /** Completions that were not taken yet. */
  protected takeCompletions(): Completion[] {
    const completions: Completion[] = [];
    for (let head = this.driver.takeUsed(); head !== -1; head = this.driver.takeUsed()) {
      completions.push({ head, usedLength: this.driver.usedLength });
    }
    return completions;
  }

  /** Guest addresses that the device has changed since it was offered heads, but for the used ring and what is `allowed`. */
  strayWrites(...allowed: GuestRange[]): number[] {
    const availIdx = this.addresses.availRing + 2 * RING_IDX;
    const stray = this.#snapshot!.changedOutside([this.usedRing, [availIdx, 2], ...allowed]);
    if (this.driver.ring.avail[RING_IDX] !== this.#shownIdx) stray.push(availIdx);
    return stray;
  }

  /**
   * A good request through descriptors 0 to 2 at the ring's next place: writes the last sector and reads it back.
   * @returns whether both came back as they should
   */
  async stillWorks(): Promise<boolean> {
    const buffer = this.bytes(this.data, 512);
    const wanted = Uint8Array.from({ length: 512 }, (_, i) => (i * 3 + 1) & 0xff);
    buffer.set(wanted);
    if (!(await this.#isServed(VIRTIO_BLK_T_OUT))) return false;
    buffer.fill(0);
    return (await this.#isServed(VIRTIO_BLK_T_IN)) && buffer.every((byte, i) => byte === wanted[i]);
  }

  async #isServed(type: number): Promise<boolean> {
    this.writeHeader(type, CAPACITY_SECTORS - 1);
    this.bytes(this.status, 1)[0] = NO_STATUS;
    this.writeChain([
      { address: this.header, byteLength: 16, flags: NEXT },
      { address: this.data, byteLength: 512, flags: NEXT | (type === VIRTIO_BLK_T_IN ? WRITE : 0) },
      { address: this.status, byteLength: 1, flags: WRITE },
    ]);
    const [done, ...more] = await this.serve(0);
    const usedLength = type === VIRTIO_BLK_T_IN ? 513 : 1;
    return done?.head === 0 && done.usedLength === usedLength && more.length === 0 && this.statusByte === 0;
  }

  /** The avail index as the device sees it: a driver may write anything there. */
  set availIdx(idx: number) {
    this.#shownIdx = idx;
    Atomics.store(this.driver.ring.avail, RING_IDX, idx);
  }

  get usedIdx(): number {
    return Atomics.load(this.driver.ring.used16, RING_IDX);
  }
}
