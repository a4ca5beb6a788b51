import type { GuestMemory } from '../memory/guest-memory.js';
import { SegmentList } from '../memory/segment-list.js';
import { REQUEST_HEADER_BYTES, SECTOR_SIZE } from '../virtio-blk/constants.js';
import { DriverQueue } from '../virtqueue/driver-queue.js';
import {
  usedRingBytes,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  type VirtqueueAddresses,
} from '../virtqueue/split-ring.js';
import { Popped, type PoppedChain, Virtqueue, type VirtqueueState } from '../virtqueue/virtqueue.js';
import type { BouncedMemory } from './bounced-memory.js';
import type { MovingMemory } from './moving-memory.js';
import {
  HEADER_DESCRIPTOR,
  headerAt,
  IN_DESCRIPTOR,
  OUT_DESCRIPTOR,
  type QueueLayout,
  SLOT_DESCRIPTORS,
  STATUS_DESCRIPTOR,
  statusAt,
} from './slot-layout.js';

/** Words of a descriptor, and where its address and length are among them. */
const DESCRIPTOR_WORDS = 4;
const ADDRESS_LOW = 0;
const ADDRESS_HIGH = 1;
const LENGTH = 2;

/** What is between which rings. */
export interface BounceQueueOptions {
  readonly memory: MovingMemory;
  /** Told of each range of guest memory that is written: address and bytes. */
  readonly markDirty: BouncedMemory['markDirty'];
  /** The guest's ring, and what was negotiated about it. */
  readonly addresses: VirtqueueAddresses;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly state: VirtqueueState | undefined;
  /** The shared memory, with guest addresses from 0 on for whoever serves the slots' ring. */
  readonly shared: GuestMemory;
  readonly layout: QueueLayout;
  readonly slots: number;
  readonly slotBytes: number;
  /** The guest broke its ring: nothing is taken from it any more. */
  readonly onBroken: () => void;
}

/** A request that is on its way through a slot: what remains of its chain when its data has been copied out. */
class BouncedRequest implements PoppedChain {
  head = 0;
  readonly readable = new SegmentList();
  readonly writable = new SegmentList();
  /** Where in the slot what the device writes begins. */
  inOffset = 0;
}

/**
 * One queue of a device whose guest memory no iothread can reach, on the emulator's thread: the device side of the guest's ring,
 * and the driver side of a ring in shared memory. Chains go from one to the other as they are, right or wrong, each through a
 * slot with room for its data; what they mean is for the iothread to find out.
 *
 * take: pop → copy out what the device reads → make available
 * give: take used → copy in what the device wrote → push
 */
export class BounceQueue {
  readonly #options: BounceQueueOptions;
  readonly #ring: Virtqueue;
  readonly #slotRing: DriverQueue;
  readonly #descriptors: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #requests: readonly BouncedRequest[];
  /** Free slots, a stack: the one that was used last is the warmest. */
  readonly #free: number[] = [];
  #moves: number;

  /** @throws VirtioError `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS` as `Virtqueue` does */
  constructor(options: BounceQueueOptions) {
    const { memory, shared, layout, slots, state } = options;
    this.#options = options;
    memory.follow();
    this.#moves = memory.moves;
    const { indirect, eventIdx } = options;
    this.#ring = new Virtqueue(memory, options.addresses, {
      indirect,
      eventIdx,
      ...(state === undefined ? {} : { state }),
    });
    this.#slotRing = new DriverQueue(shared, layout.ring, { eventIdx: true });
    this.#slotRing.disableInterrupts();
    this.#descriptors = this.#slotRing.ring.descriptors;
    this.#bytes = shared.regions[0]!.bytes;
    this.#requests = Array.from({ length: slots }, () => new BouncedRequest());
    for (let slot = slots - 1; slot >= 0; slot--) {
      this.#free.push(slot);
      this.#layDescriptors(slot);
    }
  }

  /** Where the guest's ring is. */
  get addresses(): VirtqueueAddresses {
    return this.#options.addresses;
  }

  /** Where the guest's ring stands. Good for another life of the device once `inFlight` is 0. */
  get state(): VirtqueueState {
    return this.#ring.state;
  }

  /** Requests taken and not yet given back. */
  get inFlight(): number {
    return this.#ring.inFlight;
  }

  /**
   * Takes what the guest has made available, as far as there are free slots. Where there are none, the rest stays in the guest's
   * ring until `give` has freed some.
   * @returns whether whoever serves the slots wants a kick
   */
  take(): boolean {
    const free = this.#free;
    this.#follow();
    let taken = 0;
    // Bounded by the slots: each turn takes one.
    while (free.length > 0) {
      const slot = free[free.length - 1]!;
      const request = this.#requests[slot]!;
      const popped = this.#ring.pop(request);
      if (popped === Popped.BROKEN) {
        this.#options.onBroken();
        break;
      }
      if (popped === Popped.NONE) {
        if (this.#ring.enableNotifications()) continue;
        break;
      }
      free.pop();
      this.#copyOut(slot, request, popped === Popped.CHAIN);
      this.#slotRing.makeAvailable(slot * SLOT_DESCRIPTORS);
      taken++;
    }
    return taken > 0 && this.#slotRing.publish();
  }

  /** Whether something has completed that `give` would find. */
  get hasDone(): boolean {
    return this.#slotRing.hasUsed();
  }

  /** Gives the guest what has completed. @returns whether it wants an interrupt for it */
  give(): boolean {
    if (!this.#slotRing.hasUsed()) return false;
    this.#follow();
    for (let head = this.#slotRing.takeUsed(); head !== -1; head = this.#slotRing.takeUsed()) {
      const slot = head / SLOT_DESCRIPTORS;
      const request = this.#requests[slot]!;
      const { usedLength } = this.#slotRing;
      if (usedLength > 0) this.#copyIn(slot, request, usedLength);
      this.#ring.push(request.head, usedLength);
      this.#free.push(slot);
    }
    const wanted = this.#ring.publish();
    const { usedRing, size } = this.#options.addresses;
    this.#options.markDirty?.(usedRing, usedRingBytes(size));
    return wanted;
  }

  /** Asks to be interrupted at the next completion. @returns whether there are some already */
  armInterrupt(): boolean {
    return this.#slotRing.enableInterrupts();
  }

  /** No interrupts: `give` is called often enough. */
  disarmInterrupt(): void {
    this.#slotRing.disableInterrupts();
  }

  #follow(): void {
    const { memory } = this.#options;
    memory.follow();
    if (this.#moves === memory.moves) return;
    this.#moves = memory.moves;
    this.#ring.relocate();
  }

  /** What never changes of a slot's chain. */
  #layDescriptors(slot: number): void {
    const { layout, slotBytes } = this.#options;
    const first = slot * SLOT_DESCRIPTORS;
    const data = layout.data + slot * slotBytes;
    const lay = (index: number, address: number, flags: number): void => {
      this.#slotRing.writeDescriptor(first + index, address, 0, flags, first + index + 1);
    };
    lay(HEADER_DESCRIPTOR, headerAt(layout, slot), VIRTQ_DESC_F_NEXT);
    lay(OUT_DESCRIPTOR, data, VIRTQ_DESC_F_NEXT);
    lay(IN_DESCRIPTOR, data, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
    this.#slotRing.writeDescriptor(first + STATUS_DESCRIPTOR, statusAt(layout, slot), 0, VIRTQ_DESC_F_WRITE);
  }

  #setLength(slot: number, index: number, byteLength: number): void {
    this.#descriptors[(slot * SLOT_DESCRIPTORS + index) * DESCRIPTOR_WORDS + LENGTH] = byteLength;
  }

  /** A chain that breaks the rules, or does not fit, goes on without a header: the answer to that is the right one. */
  #copyOut(slot: number, request: BouncedRequest, sound: boolean): void {
    const { readable, writable } = request;
    const { layout, slotBytes } = this.#options;
    const statusBytes = writable.byteLength > 0 ? 1 : 0;
    let header = Math.min(REQUEST_HEADER_BYTES, readable.byteLength);
    let outBytes = readable.byteLength - header;
    let inBytes = writable.byteLength - statusBytes;
    // Both kinds of data in one request are a mistake, or mean nothing; they are kept apart all the same.
    const inOffset = Math.ceil(outBytes / SECTOR_SIZE) * SECTOR_SIZE;
    if (!sound || inOffset + inBytes > slotBytes) {
      header = 0;
      outBytes = 0;
      inBytes = 0;
    }
    const data = layout.data + slot * slotBytes;
    if (header > 0) {
      this.#copyHeader(readable, headerAt(layout, slot), header);
      if (outBytes > 0) readable.gather(this.#bytes, data);
    }
    request.inOffset = inOffset;
    if (inBytes > 0) {
      const at = (slot * SLOT_DESCRIPTORS + IN_DESCRIPTOR) * DESCRIPTOR_WORDS;
      const address = data + inOffset;
      this.#descriptors[at + ADDRESS_LOW] = address;
      this.#descriptors[at + ADDRESS_HIGH] = address / 0x1_0000_0000;
    }
    this.#setLength(slot, HEADER_DESCRIPTOR, header);
    this.#setLength(slot, OUT_DESCRIPTOR, outBytes);
    this.#setLength(slot, IN_DESCRIPTOR, inBytes);
    this.#setLength(slot, STATUS_DESCRIPTOR, statusBytes);
  }

  /** Takes the header off the readable segments; nearly always it is one, of just that size. */
  #copyHeader(readable: SegmentList, at: number, byteLength: number): void {
    const bytes = this.#bytes;
    let done = 0;
    for (let i = 0; done < byteLength; i++) {
      const source = readable.regions[i]!.bytes;
      const from = readable.offsets[i]!;
      const take = Math.min(readable.lengths[i]!, byteLength - done);
      for (let k = 0; k < take; k++) bytes[at + done + k] = source[from + k]!;
      done += take;
    }
    readable.dropFront(byteLength);
  }

  /**
   * Copies in what the device wrote: `usedLength` bytes, the last of which is the status, which belongs into the last byte of the
   * chain, however much of its data was written.
   */
  #copyIn(slot: number, request: BouncedRequest, usedLength: number): void {
    const { writable } = request;
    const { layout, slotBytes, markDirty } = this.#options;
    const last = writable.length - 1;
    const statusRegion = writable.regions[last]!;
    const statusOffset = writable.offsets[last]! + writable.lengths[last]! - 1;
    let at = layout.data + slot * slotBytes + request.inOffset;
    let left = usedLength - 1;
    for (let i = 0; left > 0; i++) {
      const region = writable.regions[i]!;
      const offset = writable.offsets[i]!;
      const byteLength = Math.min(writable.lengths[i]!, left);
      region.bytes.set(this.#bytes.subarray(at, at + byteLength), offset);
      markDirty?.(region.guestAddress + offset, byteLength);
      at += byteLength;
      left -= byteLength;
    }
    statusRegion.bytes[statusOffset] = this.#bytes[statusAt(layout, slot)]!;
    markDirty?.(statusRegion.guestAddress + statusOffset, 1);
  }
}
