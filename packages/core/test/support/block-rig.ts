import {
  BounceArea,
  type BlockLimits,
  featureSet,
  GuestMemory,
  VIRTIO_F_INDIRECT_DESC,
  Virtqueue,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { DISKS, type DiskName, type DiskTraits } from '../robustness/disks.js';
import {
  CAPACITY_SECTORS,
  type Completion,
  freshDisk,
  HostileGuest,
  REGION_BYTES,
  REGIONS,
} from '../robustness/hostile-guest.js';
import type { RingTraits } from '../robustness/row.js';
import { InProcessDevice } from './in-process-device.js';
import { type GuestRange, MemorySnapshot } from './memory-snapshot.js';

export interface RigOptions extends RingTraits {
  /** Default `plain`. */
  readonly disk?: DiskName | undefined;
  /** The device can't reach guest memory: requests are copied. */
  readonly bounced?: boolean;
}

/** A hostile driver and the smallest device there can be, in one thread. */
export class BlockRig extends HostileGuest {
  /** The ring that the device serves. */
  readonly queue: Virtqueue;
  readonly device: InProcessDevice;
  readonly #bounce: BounceArea | undefined;
  /** What was marked as written by the device. */
  readonly #dirty: GuestRange[] = [];
  #bounceBroken = false;

  constructor(options: RigOptions = {}) {
    const { queueSize = 8, indirect = true } = options;
    const ram = new ArrayBuffer(REGIONS.length * REGION_BYTES);
    const regions = REGIONS.map((region, i) => ({ ...region, buffer: ram, byteOffset: i * REGION_BYTES }));
    const allocator = new GuestAllocator(regions);
    const addresses = allocator.allocateQueue(queueSize);
    super(allocator, addresses, new DriverQueue(allocator.memory, addresses, { eventIdx: false }));
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
      const features = featureSet(...(indirect ? [VIRTIO_F_INDIRECT_DESC] : []));
      this.queue = new Virtqueue(
        new GuestMemory(this.#bounce.shared),
        this.#bounce.open(0, addresses, features),
        { indirect: false, eventIdx: true },
      );
    } else {
      this.queue = new Virtqueue(allocator.memory, addresses, { indirect, eventIdx: false });
    }
    this.device = new InProcessDevice(this.queue, limitsOf(DISKS[options.disk ?? 'plain']), freshDisk());
  }

  override get diskBytes(): Uint8Array {
    return this.device.disk;
  }

  override serve(...heads: number[]): Completion[] {
    const before = new MemorySnapshot(this.allocator.memory);
    this.offer(heads);
    this.#dirty.length = 0;
    this.run();
    if (this.#bounce !== undefined) {
      const { availRing } = this.addresses;
      const own: GuestRange = [availRing, 6 + 2 * this.addresses.size];
      const unmarked = before.changedOutside([...this.#dirty, this.usedRing, own]);
      if (unmarked.length > 0) throw new Error(`written and not marked dirty: ${unmarked.join(', ')}`);
    }
    return this.takeCompletions();
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
}

const limitsOf = ({ serial, ...traits }: DiskTraits): BlockLimits => ({
  capacitySectors: CAPACITY_SECTORS,
  readOnly: false,
  discard: true,
  writeZeroes: true,
  ...traits,
  serial: new TextEncoder().encode(serial),
});

/** The same where guest memory is bounced. */
export class BouncedRig extends BlockRig {
  constructor(options: RigOptions = {}) {
    super({ ...options, bounced: true });
  }
}

/** Everything about requests holds whichever way they come. */
export const RIGS = [
  ['shared memory', BlockRig],
  ['bounced memory', BouncedRig],
] as const;
