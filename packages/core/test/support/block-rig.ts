import {
  BounceArea,
  type BlockLimits,
  featureSet,
  GuestMemory,
  RING_IDX,
  usedRingBytes,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  Virtqueue,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { InProcessDevice } from './in-process-device.js';
import { type GuestRange, MemorySnapshot } from './memory-snapshot.js';

export const NEXT = VIRTQ_DESC_F_NEXT;
export const WRITE = VIRTQ_DESC_F_WRITE;
/** What a status byte holds before the device has written it. */
export const NO_STATUS = 0xff;

/** Guest memory of the rig: two regions that adjoin, a hole of 64 KiB, a third one, and a far one above 4 GiB. */
export const REGION_BYTES = 0x1_0000;
export const FIRST_REGION = 0x1_0000;
export const SECOND_REGION = FIRST_REGION + REGION_BYTES;
export const HOLE = SECOND_REGION + REGION_BYTES;
const THIRD_REGION = HOLE + REGION_BYTES;
const FAR_REGION = 0x1_0000_0000;

export const CAPACITY_SECTORS = 64;

/** One descriptor as a driver writes it. */
export interface RawDescriptor {
  readonly address: number | bigint;
  readonly byteLength: number;
  readonly flags: number;
  readonly next?: number;
}

export interface Completion {
  readonly head: number;
  readonly usedLength: number;
}

export interface RigOptions {
  readonly queueSize?: number;
  readonly indirect?: boolean;
  readonly eventIdx?: boolean;
  readonly limits?: Partial<BlockLimits>;
  /** The device can't reach guest memory: requests are copied. */
  readonly bounced?: boolean;
}

/** A device and the hostile driver that faces it: rings, a header, 8 KiB of data and a status byte at fixed places. */
export class BlockRig {
  readonly allocator: GuestAllocator;
  readonly addresses: VirtqueueAddresses;
  /** The ring that the device serves. */
  readonly queue: Virtqueue;
  readonly driver: DriverQueue;
  readonly device: InProcessDevice;
  /** 16 bytes. */
  readonly header: number;
  /** 8 KiB, filled with a pattern. */
  readonly data: number;
  /** 1 byte with room of 15 on either side, so that a stray write shows. */
  readonly status: number;
  /** Room for indirect tables: 2048 descriptors. */
  readonly table: number;
  readonly #bounce: BounceArea | undefined;
  /** What was marked as written by the device. */
  readonly #dirty: GuestRange[] = [];
  #bounceBroken = false;
  #snapshot: MemorySnapshot | undefined;

  constructor(options: RigOptions = {}) {
    const { queueSize = 8, indirect = true, eventIdx = false } = options;
    const ram = new ArrayBuffer(4 * REGION_BYTES);
    const regions = [FIRST_REGION, SECOND_REGION, THIRD_REGION, FAR_REGION].map((guestAddress, i) => ({
      guestAddress,
      buffer: ram,
      byteOffset: i * REGION_BYTES,
      size: REGION_BYTES,
    }));
    this.allocator = new GuestAllocator(regions);
    this.addresses = this.allocator.allocateQueue(queueSize);
    if (options.bounced === true) {
      this.#bounce = new BounceArea(
        {
          buffer: () => ram,
          regions,
          markDirty: (address, byteLength) => {
            this.#dirty.push([address, byteLength]);
          },
          // Fewer than a ring of 8 can hold: some wait for a slot.
          slots: 4,
          slotBytes: 16384,
        },
        {
          numQueues: 1,
          queueSize,
          onBroken: () => {
            this.#bounceBroken = true;
          },
        },
      );
      const features = featureSet(
        ...(indirect ? [VIRTIO_F_INDIRECT_DESC] : []),
        ...(eventIdx ? [VIRTIO_F_EVENT_IDX] : []),
      );
      this.queue = new Virtqueue(
        new GuestMemory(this.#bounce.shared),
        this.#bounce.open(0, this.addresses, features),
        { indirect: false, eventIdx: true },
      );
    } else {
      this.queue = new Virtqueue(this.allocator.memory, this.addresses, { indirect, eventIdx });
    }
    this.driver = new DriverQueue(this.allocator.memory, this.addresses, { eventIdx });
    this.header = this.allocator.allocate(16, 16);
    this.data = this.allocator.allocate(8192, 512);
    this.status = this.allocator.allocate(31, 16) + 15;
    this.table = this.allocator.allocate(2048 * 16, 16);
    this.bytes(this.data, 8192).forEach((_, i, bytes) => (bytes[i] = pattern(i)));
    this.bytes(this.status, 1)[0] = NO_STATUS;
    const disk = Uint8Array.from({ length: CAPACITY_SECTORS * 512 }, (_, i) => diskPattern(i));
    const limits: BlockLimits = {
      capacitySectors: CAPACITY_SECTORS,
      readOnly: false,
      discard: true,
      writeZeroes: true,
      serial: new TextEncoder().encode('rig-0'),
      ...options.limits,
    };
    this.device = new InProcessDevice(this.queue, limits, disk);
  }

  bytes(address: number, byteLength: number): Uint8Array {
    return this.allocator.bytes(address, byteLength);
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
    const view = this.allocator.view(address, 16);
    view.setUint32(0, type, true);
    view.setUint32(4, reserved, true);
    view.setBigUint64(8, BigInt(sector), true);
  }

  /** Writes descriptors from index 0 on; `next` is the one behind it unless given. */
  writeChain(descriptors: readonly RawDescriptor[]): void {
    for (const [i, d] of descriptors.entries()) {
      this.driver.writeDescriptor(i, d.address, d.byteLength, d.flags, d.next ?? i + 1);
    }
  }

  /** Writes an indirect table; `next` is the one behind it unless given. */
  writeTable(descriptors: readonly RawDescriptor[], address: number = this.table): void {
    for (const [i, d] of descriptors.entries()) {
      // One by one and byte by byte: a table may span two regions.
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      view.setBigUint64(0, BigInt(d.address), true);
      view.setUint32(8, d.byteLength, true);
      view.setUint16(12, d.flags, true);
      view.setUint16(14, d.next ?? i + 1, true);
      bytes.forEach((byte, k) => (this.bytes(address + i * 16 + k, 1)[0] = byte));
    }
  }

  /** Makes heads available and lets the device run. @returns what it completed */
  serve(...heads: number[]): Completion[] {
    for (const head of heads) this.driver.makeAvailable(head);
    this.driver.publish();
    this.#snapshot = new MemorySnapshot(this.allocator.memory);
    this.#dirty.length = 0;
    this.run();
    if (this.#bounce !== undefined) {
      const unmarked = this.#snapshot.changedOutside([...this.#dirty, this.usedRing]);
      if (unmarked.length > 0) throw new Error(`written and not marked dirty: ${unmarked.join(', ')}`);
    }
    const completions: Completion[] = [];
    for (let head = this.driver.takeUsed(); head !== -1; head = this.driver.takeUsed()) {
      completions.push({ head, usedLength: this.driver.usedLength });
    }
    return completions;
  }

  /** Lets the device serve what is available. */
  run(): void {
    const queue = this.#bounce?.queue(0);
    if (queue === undefined) {
      this.device.run();
      return;
    }
    do {
      queue.take();
      this.device.run();
      queue.give();
    } while (this.#bounce !== undefined && queue.take());
  }

  /** Whether the guest's ring is no more to be trusted. */
  get broken(): boolean {
    return this.queue.broken || this.#bounceBroken;
  }

  /** Chains that were taken from the guest's ring and not given back. */
  get inFlight(): number {
    return this.queue.inFlight + (this.#bounce?.queue(0)?.inFlight ?? 0);
  }

  /** Guest addresses that the last `serve` has changed, but for the used ring and what is `allowed`. */
  strayWrites(...allowed: GuestRange[]): number[] {
    return this.#snapshot!.changedOutside([this.usedRing, ...allowed]);
  }

  /**
   * A good request through descriptors 0 to 2 at the ring's next place: writes sector 63 and reads it back.
   * @returns whether both came back as they should
   */
  stillWorks(): boolean {
    const good = (type: number): boolean => {
      this.writeHeader(type, CAPACITY_SECTORS - 1);
      this.bytes(this.status, 1)[0] = NO_STATUS;
      this.writeChain([
        { address: this.header, byteLength: 16, flags: NEXT },
        { address: this.data, byteLength: 512, flags: NEXT | (type === VIRTIO_BLK_T_IN ? WRITE : 0) },
        { address: this.status, byteLength: 1, flags: WRITE },
      ]);
      const [done, ...more] = this.serve(0);
      const usedLength = type === VIRTIO_BLK_T_IN ? 513 : 1;
      return done?.head === 0 && done.usedLength === usedLength && more.length === 0 && this.statusByte === 0;
    };
    const buffer = this.bytes(this.data, 512);
    const wanted = Uint8Array.from({ length: 512 }, (_, i) => (i * 3 + 1) & 0xff);
    buffer.set(wanted);
    if (!good(VIRTIO_BLK_T_OUT)) return false;
    buffer.fill(0);
    return good(VIRTIO_BLK_T_IN) && buffer.every((byte, i) => byte === wanted[i]);
  }

  /** The avail index as the device sees it: a driver may write anything there. */
  set availIdx(idx: number) {
    this.driver.ring.avail[RING_IDX] = idx;
  }

  get usedIdx(): number {
    return this.driver.ring.used16[RING_IDX]!;
  }
}

/** The same where guest memory is bounced. */
class BouncedRig extends BlockRig {
  constructor(options: RigOptions = {}) {
    super({ ...options, bounced: true });
  }
}

/** Everything about requests holds whichever way they come. */
export const RIGS = [
  ['shared memory', BlockRig],
  ['bounced memory', BouncedRig],
] as const;

export const pattern = (i: number): number => (i * 7 + (i >> 9) + 3) & 0xff;
export const diskPattern = (i: number): number => (i * 5 + (i >> 9) * 11 + 1) & 0xff;
