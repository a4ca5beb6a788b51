import { GuestMemory } from '../memory/guest-memory.js';
import type { MemoryRegionOptions } from '../memory/memory-region.js';
import { VirtioError } from '../virtio-error.js';
import {
  featureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from '../virtio/features.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';
import type { VirtqueueState } from '../virtqueue/virtqueue.js';
import { BounceQueue } from './bounce-queue.js';
import type { BouncedMemory } from './bounced-memory.js';
import { MovingMemory } from './moving-memory.js';
import { DEFAULT_SLOT_BYTES, DEFAULT_SLOTS, layOutQueue, limitsOfSlots } from './slot-layout.js';

/** What is true of the rings in shared memory, whatever the guest negotiated for its own. */
const SLOT_RING_FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX);

/** A device's queues, copied through shared memory: see `BounceQueue`. */
export class BounceArea {
  readonly memory: MovingMemory;
  /** What drivers are told so that their requests fit into slots. */
  readonly limits: { readonly sizeMax: number; readonly segMax: number };
  /** The shared memory, for whoever serves the rings in it: its guest addresses begin at 0. */
  readonly shared: readonly MemoryRegionOptions[];
  /** Features of these rings. */
  readonly features = SLOT_RING_FEATURES;
  readonly #sharedMemory: GuestMemory;
  readonly #markDirty: BouncedMemory['markDirty'];
  readonly #slots: number;
  readonly #slotBytes: number;
  readonly #onBroken: () => void;
  readonly #queues: (BounceQueue | undefined)[];

  /** @throws VirtioError `ERR_MEMORY_REGION`, `ERR_DEVICE_OPTION` */
  constructor(
    options: BouncedMemory,
    device: { readonly numQueues: number; readonly queueSize: number; readonly onBroken: () => void },
  ) {
    const { slots, slotBytes } = checkSlots(options);
    this.memory = new MovingMemory(options);
    this.limits = limitsOfSlots(slotBytes, device.queueSize);
    // Pages that no request has used yet take no room.
    const buffer = new SharedArrayBuffer(layOutQueue(device.numQueues - 1, slots, slotBytes).end);
    this.shared = [{ guestAddress: 0, buffer }];
    this.#sharedMemory = new GuestMemory(this.shared);
    this.#markDirty = options.markDirty;
    this.#slots = slots;
    this.#slotBytes = slotBytes;
    this.#onBroken = device.onBroken;
    this.#queues = Array.from({ length: device.numQueues }, () => undefined);
  }

  /**
   * Begins to copy for a queue, whose slots nobody serves at the moment.
   * @param state where the guest's ring stands; a fresh one by default
   * @returns where its ring in shared memory is; it begins at 0
   */
  open(
    index: number,
    addresses: VirtqueueAddresses,
    features: bigint,
    state?: VirtqueueState,
  ): VirtqueueAddresses {
    const layout = layOutQueue(index, this.#slots, this.#slotBytes);
    this.#queues[index] = new BounceQueue({
      memory: this.memory,
      shared: this.#sharedMemory,
      markDirty: this.#markDirty,
      addresses,
      indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
      eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
      state,
      layout,
      slots: this.#slots,
      slotBytes: this.#slotBytes,
      onBroken: this.#onBroken,
    });
    return layout.ring;
  }

  /** The queue, while it is open. */
  queue(index: number): BounceQueue | undefined {
    return this.#queues[index];
  }

  /** Lets go of a queue: what completes from now on is not given to the guest. */
  close(index: number): void {
    this.#queues[index] = undefined;
  }

  /** Lets go of all queues. */
  closeAll(): void {
    this.#queues.fill(undefined);
  }
}

/** How requests are to be copied, with its defaults. @throws VirtioError `ERR_DEVICE_OPTION` */
export function checkSlots(options: BouncedMemory): { readonly slots: number; readonly slotBytes: number } {
  const { slots = DEFAULT_SLOTS, slotBytes = DEFAULT_SLOT_BYTES } = options;
  checkPowerOfTwo('slots', slots, 1, 256);
  checkPowerOfTwo('slotBytes', slotBytes, 4096, 2 ** 24);
  return { slots, slotBytes };
}

function checkPowerOfTwo(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most && (value & (value - 1)) === 0) return;
  throw new VirtioError(
    'ERR_DEVICE_OPTION',
    `${name} must be a power of two from ${least} to ${most}, got ${value}`,
  );
}
