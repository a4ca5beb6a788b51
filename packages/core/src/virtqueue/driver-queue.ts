import type { GuestMemory } from '../memory/guest-memory.js';
import {
  passesEvent,
  RING_ENTRIES,
  RING_FLAGS,
  RING_IDX,
  SplitRing,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  type VirtqueueAddresses,
} from './split-ring.js';
import type { VirtqueueState } from './virtqueue.js';

/** A buffer to put into a chain. */
export interface DriverBuffer {
  /** Guest-physical address; a bigint where a test wants one that no number holds. */
  readonly address: number | bigint;
  readonly byteLength: number;
  /** Whether the device writes it; readable buffers must come first. */
  readonly writable: boolean;
}

/** How the driver side of a queue is to treat its ring. */
export interface DriverQueueOptions {
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Where both rings begin, the same as the device's; 0, 0 by default. */
  readonly state?: VirtqueueState;
}

/**
 * Driver side of a split virtqueue (virtio 1.3 section 2.7.13): of the one between bounced memory and an iothread, and of those
 * in tests. It has the doors that a hostile driver needs: every field of the rings can be written as one likes.
 */
export class DriverQueue {
  readonly size: number;
  readonly ring: SplitRing;
  readonly #eventIdx: boolean;
  readonly #mask: number;
  /** Free descriptors, a stack. */
  readonly #free: number[];
  /** Descriptors of each chain, by head. */
  readonly #chains: (number[] | undefined)[];
  #availIdx = 0;
  #publishedIdx = 0;
  #lastUsed = 0;
  /** Used length of the chain that `takeUsed` returned last. */
  usedLength = 0;

  constructor(memory: GuestMemory, addresses: VirtqueueAddresses, options: DriverQueueOptions) {
    this.ring = new SplitRing(memory, addresses);
    this.size = this.ring.size;
    this.#availIdx = this.#publishedIdx = options.state?.lastAvail ?? 0;
    this.#lastUsed = options.state?.usedIdx ?? 0;
    this.ring.avail[RING_IDX] = this.#availIdx;
    this.ring.used16[RING_IDX] = this.#lastUsed;
    this.#mask = this.size - 1;
    this.#eventIdx = options.eventIdx;
    this.#free = Array.from({ length: this.size }, (_, i) => this.size - 1 - i);
    this.#chains = Array.from({ length: this.size }, () => undefined);
  }

  /** Writes one descriptor as it is given, right or wrong. */
  writeDescriptor(
    index: number,
    address: number | bigint,
    byteLength: number,
    flags: number,
    next: number = 0,
  ): void {
    const at = index * 4;
    const { descriptors } = this.ring;
    const wide = BigInt(address);
    descriptors[at] = Number(wide & 0xffff_ffffn);
    descriptors[at + 1] = Number(wide >> 32n);
    descriptors[at + 2] = byteLength;
    descriptors[at + 3] = ((next << 16) | flags) >>> 0;
  }

  /** Makes a chain of free descriptors and makes it available. @returns its head, or -1 when they don't suffice */
  add(buffers: readonly DriverBuffer[]): number {
    if (buffers.length === 0 || buffers.length > this.#free.length) return -1;
    const chain = buffers.map(() => this.#free.pop()!);
    for (const [i, buffer] of buffers.entries()) {
      const more = i + 1 < chain.length;
      const flags = (buffer.writable ? VIRTQ_DESC_F_WRITE : 0) | (more ? VIRTQ_DESC_F_NEXT : 0);
      this.writeDescriptor(chain[i]!, buffer.address, buffer.byteLength, flags, more ? chain[i + 1]! : 0);
    }
    const head = chain[0]!;
    this.#chains[head] = chain;
    this.makeAvailable(head);
    return head;
  }

  /** Puts any head into the avail ring; the device sees it after `publish`. */
  makeAvailable(head: number): void {
    this.ring.avail[RING_ENTRIES + (this.#availIdx & this.#mask)] = head;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
  }

  /** Shows the device what was made available. @returns whether it wants a kick (2.7.13.4.1) */
  publish(): boolean {
    const before = this.#publishedIdx;
    const after = this.#availIdx;
    this.#publishedIdx = after;
    Atomics.store(this.ring.avail, RING_IDX, after);
    if (this.#eventIdx) {
      return passesEvent(Atomics.load(this.ring.used16, this.ring.availEventIndex), after, before);
    }
    return (Atomics.load(this.ring.used16, RING_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0;
  }

  /** Whether the device has published completions that were not taken yet. */
  hasUsed(): boolean {
    return Atomics.load(this.ring.used16, RING_IDX) !== this.#lastUsed;
  }

  /** Takes the next completion. @returns its head (its length is in `usedLength`), or -1 when there is none */
  takeUsed(): number {
    if (!this.hasUsed()) return -1;
    const at = 1 + 2 * (this.#lastUsed & this.#mask);
    const head = this.ring.used32[at]!;
    this.usedLength = this.ring.used32[at + 1]!;
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    const chain = this.#chains[head];
    if (chain !== undefined) {
      this.#chains[head] = undefined;
      for (const index of chain) this.#free.push(index);
    }
    return head;
  }

  /** Asks the device for no interrupts: the driver polls. */
  disableInterrupts(): void {
    const { avail, usedEventIndex } = this.ring;
    if (this.#eventIdx) Atomics.store(avail, usedEventIndex, (this.#lastUsed + 0x8000) & 0xffff);
    else Atomics.store(avail, RING_FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  /** Asks for an interrupt at the next completion. @returns whether there are some already: look again */
  enableInterrupts(): boolean {
    const { avail, usedEventIndex } = this.ring;
    if (this.#eventIdx) Atomics.store(avail, usedEventIndex, this.#lastUsed);
    else Atomics.store(avail, RING_FLAGS, 0);
    return this.hasUsed();
  }
}
