import type { GuestMemory } from '../memory/guest-memory.js';
import { type ChainBuffers, DescriptorWalker } from './descriptor-chain.js';
import type { InflightTable } from './inflight-table.js';
import {
  passesEvent,
  RING_ENTRIES,
  RING_FLAGS,
  RING_IDX,
  SplitRing,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
  type VirtqueueAddresses,
} from './split-ring.js';

/** What `Virtqueue.pop` found. */
export const Popped = {
  /** Nothing is available. */
  NONE: 0,
  /** A chain; its buffers are filled in. */
  CHAIN: 1,
  /** A chain that breaks the rules; its buffers tell where its status byte is. The head must still be pushed. */
  BAD_CHAIN: 2,
  /** The ring itself can't be trusted any more; nothing will be popped until the queue is made anew. */
  BROKEN: 3,
} as const;
export type Popped = (typeof Popped)[keyof typeof Popped];

/** A chain that has been popped: its head, to be given back by `push`, and its buffers. */
export interface PoppedChain extends ChainBuffers {
  head: number;
}

/** The two running indexes: all there is to carry over when a queue changes hands, besides the heads that are still held. */
export interface VirtqueueState {
  /** Index of the next avail entry to pop, 16 bits. */
  readonly lastAvail: number;
  /** The used ring's index, 16 bits. */
  readonly usedIdx: number;
  /** Heads that were popped and are still to be pushed, for `popAgain`; those that the ring hasn't are left out. Default none. */
  readonly held?: readonly number[];
}

/** How the device side of a queue is to treat its ring: what was negotiated, and where to go on. */
export interface VirtqueueOptions {
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Largest size accepted. */
  readonly maxSize?: number;
  /** Where to go on; a fresh queue starts at 0, 0. */
  readonly state?: VirtqueueState;
  /**
   * Keeps what is in flight where the next back end finds it. What the one before has left there is taken over, and outranks
   * `state.lastAvail` unless `state.held` is there.
   */
  readonly inflight?: InflightTable | undefined;
}

/**
 * Device side of a split virtqueue, virtio 1.3 section 2.7. The canonical loop:
 *
 * ```ts
 * do {
 *   queue.disableNotifications();
 *   for (let popped = queue.pop(chain); popped !== Popped.NONE; popped = queue.pop(chain)) {
 *     if (popped === Popped.BROKEN) return needsReset();
 *     queue.push(chain.head, popped === Popped.CHAIN ? serve(chain) : refuse(chain));
 *   }
 *   if (queue.publish()) interrupt();
 * } while (queue.enableNotifications());
 * ```
 */
export class Virtqueue {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #addresses: VirtqueueAddresses;
  #ring: SplitRing;
  #avail: Uint16Array;
  #used16: Uint16Array;
  #used32: Uint32Array;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  #walker: DescriptorWalker;
  /** One byte a head: 1 while the device holds it. */
  readonly #held: Uint8Array;
  #lastAvail: number;
  /** The avail index as last read: popping reads the guest's cache line once a batch, not once a request. */
  #seenAvail: number;
  #usedIdx: number;
  #publishedIdx: number;
  #inFlight = 0;
  #broken = false;
  readonly #inflightTable: InflightTable | undefined;
  readonly #takenOver: number[] = [];

  /** @throws VirtioError `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS` as `SplitRing` does; `ERR_INFLIGHT` */
  constructor(memory: GuestMemory, addresses: VirtqueueAddresses, options: VirtqueueOptions) {
    const ring = new SplitRing(memory, addresses, options.maxSize);
    this.#memory = memory;
    this.#addresses = addresses;
    this.#ring = ring;
    this.#avail = ring.avail;
    this.#used16 = ring.used16;
    this.#used32 = ring.used32;
    this.size = ring.size;
    this.#mask = ring.size - 1;
    this.#eventIdx = options.eventIdx;
    this.#indirect = options.indirect;
    this.#walker = new DescriptorWalker(memory, ring, options.indirect);
    this.#held = new Uint8Array(ring.size);
    this.#lastAvail = this.#seenAvail = options.state?.lastAvail ?? 0;
    this.#usedIdx = this.#publishedIdx = options.state?.usedIdx ?? 0;
    this.#inflightTable = options.inflight;
    const left = options.inflight?.recover(this.#usedIdx) ?? [];
    const { held } = options.state ?? {};
    // Of a back end before this one: what was taken has been completed, or is still in flight.
    if (held === undefined && left.length > 0) {
      this.#lastAvail = this.#seenAvail = (this.#usedIdx + left.length) & 0xffff;
    }
    for (const head of held ?? left) if (head < ring.size && !this.holds(head)) this.#takeOver(head);
    // It may have another table by now.
    if (left.length === 0) for (const head of this.#takenOver) options.inflight?.take(head);
  }

  /** The regions of its memory are in other buffers now (`MemoryRegion.relocate`): so are its rings. */
  relocate(): void {
    const ring = new SplitRing(this.#memory, this.#addresses);
    this.#ring = ring;
    this.#avail = ring.avail;
    this.#used16 = ring.used16;
    this.#used32 = ring.used32;
    this.#walker = new DescriptorWalker(this.#memory, ring, this.#indirect);
  }

  /** Chains popped and not yet pushed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether the ring has broken the rules: nothing is popped any more. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Whether the chain that begins there has been popped and not been pushed. */
  holds(head: number): boolean {
    return this.#held[head] === 1;
  }

  /** Where it is in its rings. Another queue can go on from there when nothing is in flight but what it is told of as held. */
  get state(): VirtqueueState {
    return { lastAvail: this.#lastAvail, usedIdx: this.#usedIdx };
  }

  /** How many chains wait to be popped, by the driver's word: more than `size` means that the ring is broken. */
  available(): number {
    if (this.#broken) return 0;
    this.#seenAvail = Atomics.load(this.#avail, RING_IDX);
    return (this.#seenAvail - this.#lastAvail) & 0xffff;
  }

  /**
   * Heads that were popped before this queue was made, and not pushed, in that order: by a queue that has told so (`state.held`), or by a
   * back end that was killed. They are held here from the beginning, for `popAgain`: a write may be done twice, which changes nothing.
   */
  get takenOver(): readonly number[] {
    return this.#takenOver;
  }

  #takeOver(head: number): void {
    this.#held[head] = 1;
    this.#inFlight++;
    this.#takenOver.push(head);
  }

  /** Whether there is something to pop, at the cost of a plain read: for loops that look all the time. */
  hasNew(): boolean {
    return this.#avail[RING_IDX] !== this.#lastAvail && !this.#broken;
  }

  /** Takes the next available chain. A driver's mistake is an answer here, never an exception. */
  pop(chain: PoppedChain): Popped {
    if (this.#broken) return Popped.BROKEN;
    const last = this.#lastAvail;
    if (this.#seenAvail === last) {
      // A plain read costs a tenth of an atomic one, which is what matters to a loop that polls; empty is empty.
      if (this.#avail[RING_IDX] === last) return Popped.NONE;
      // The atomic one orders the reads of the entry and its descriptors after that of the index (2.7.13).
      const seen = Atomics.load(this.#avail, RING_IDX);
      if (seen === last) return Popped.NONE;
      if (((seen - last) & 0xffff) > this.size) return this.#break();
      this.#seenAvail = seen;
    } else if (((this.#seenAvail - last) & 0xffff) > this.size) {
      return this.#break();
    }
    const head = this.#avail[RING_ENTRIES + (last & this.#mask)]!;
    if (head >= this.size || this.#held[head] === 1) return this.#break();
    this.#held[head] = 1;
    this.#inFlight++;
    this.#lastAvail = (last + 1) & 0xffff;
    if (this.#inflightTable !== undefined) this.#inflightTable.take(head);
    chain.head = head;
    return this.#walker.walk(head, chain) ? Popped.CHAIN : Popped.BAD_CHAIN;
  }

  /**
   * Takes a chain once more that is held already: to do it again, or in a queue that has been told of it. The driver may have changed
   * it meanwhile.
   */
  popAgain(head: number, chain: PoppedChain): Popped {
    chain.head = head;
    return this.#walker.walk(head, chain) ? Popped.CHAIN : Popped.BAD_CHAIN;
  }

  #break(): Popped {
    this.#broken = true;
    return Popped.BROKEN;
  }

  /**
   * Gives a popped chain back. The driver sees it after the next `publish`.
   * @param usedLength bytes that the device wrote into the chain's writable buffers (2.7.8.2)
   */
  push(head: number, usedLength: number): void {
    const at = 1 + 2 * (this.#usedIdx & this.#mask);
    this.#used32[at] = head;
    this.#used32[at + 1] = usedLength;
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#held[head] = 0;
    this.#inFlight--;
    if (this.#inflightTable !== undefined) this.#inflightTable.complete(head);
  }

  /**
   * Shows the driver everything pushed since the last call: one store for the whole batch.
   * @returns whether the driver wants an interrupt for it (2.7.7.2)
   */
  publish(): boolean {
    const before = this.#publishedIdx;
    const after = this.#usedIdx;
    if (before === after) return false;
    this.#publishedIdx = after;
    // Sequentially consistent: the entries are visible before the index, and the driver's wish is read after it.
    Atomics.store(this.#used16, RING_IDX, after);
    if (this.#inflightTable !== undefined) this.#inflightTable.published(after);
    if (this.#eventIdx) {
      return passesEvent(Atomics.load(this.#avail, this.#ring.usedEventIndex), after, before);
    }
    return (Atomics.load(this.#avail, RING_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  /** Asks the driver not to kick (2.7.10). A hint: kicks may come all the same. */
  disableNotifications(): void {
    if (this.#eventIdx) {
      // There is no flag with event indexes: an event half a round away will not be passed for a long time.
      Atomics.store(this.#used16, this.#ring.availEventIndex, (this.#lastAvail + 0x8000) & 0xffff);
    } else {
      Atomics.store(this.#used16, RING_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
    }
  }

  /**
   * Asks the driver to kick for the next chain.
   * @returns whether chains have become available meanwhile, for which no kick will come: look again (2.7.13.4)
   */
  enableNotifications(): boolean {
    if (this.#eventIdx) Atomics.store(this.#used16, this.#ring.availEventIndex, this.#lastAvail);
    else Atomics.store(this.#used16, RING_FLAGS, 0);
    return this.available() > 0;
  }
}
