import {
  BlockRequest,
  Popped,
  RING_IDX,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  Virtqueue,
  type VirtqueueAddresses,
  type VirtqueueState,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';

/** How a chain is laid out: all direct, all in a table, or direct descriptors with a table at their end. */
export type ChainKind = 'direct' | 'indirect' | 'mixed';

export interface ModelOptions {
  readonly size: number;
  readonly eventIdx: boolean;
  readonly state: VirtqueueState;
}

interface Chain {
  readonly id: number;
  readonly descriptors: readonly number[];
  readonly readable: readonly number[];
  readonly writable: readonly number[];
  /** What the device says that it wrote, once it has pushed the chain. */
  usedLength: number;
}

/** Bytes of one buffer. */
const BUFFER = 8;
/** Buffers in a chain at most. */
export const MOST_BUFFERS = 5;
const DESCRIPTOR = 16;

const sent = (id: number, at: number): number => (id * 31 + at * 7 + 1) & 0xff;
const answered = (id: number, at: number): number => (id * 17 + at * 3 + 2) & 0xff;

/** An assertion without the price of a matcher: a run makes millions. */
function must<T>(what: string, got: T, wanted: T): void {
  if (got !== wanted) throw new Error(`${what}: got ${String(got)}, wanted ${String(wanted)}`);
}

/**
 * A driver and a device on the two sides of one queue, each step of either to be taken in any order. Both sleep only
 * when the rules allow it, and are woken by nothing but a kick or an interrupt that the other side wanted to send;
 * every step checks what can be checked at once.
 */
export class VirtqueueModel {
  readonly queue: Virtqueue;
  readonly driver: DriverQueue;
  readonly #allocator: GuestAllocator;
  readonly #addresses: VirtqueueAddresses;
  readonly #eventIdx: boolean;
  readonly #size: number;
  readonly #free: number[];
  readonly #freeSlots: number[] = [];
  /** Guest address of each slot: a table and the buffers of one chain. */
  readonly #slots: number[] = [];
  readonly #slotOf = new Map<number, number>();
  /** By head: what the driver has made available and not got back. */
  readonly #outstanding = new Map<number, Chain>();
  /** Popped and not yet pushed. */
  readonly #inFlight: BlockRequest[] = [];
  /** Heads in the order they were made available; the device must pop them in it. */
  readonly #expected: number[] = [];
  #nextId = 0;
  #pushed = 0;
  #driverSuppresses = false;
  deviceAsleep = false;
  driverAsleep = false;
  completed = 0;

  constructor({ size, eventIdx, state }: ModelOptions) {
    const slotBytes = MOST_BUFFERS * (BUFFER + DESCRIPTOR);
    this.#allocator = new GuestAllocator([
      { guestAddress: 0x10_0000, buffer: new ArrayBuffer(size * 32 + 64 + (size >> 1) * slotBytes) },
      { guestAddress: 0x8000_0000, buffer: new ArrayBuffer(size * slotBytes + 256) },
    ]);
    this.#addresses = this.#allocator.allocateQueue(size);
    for (let slot = 0; slot < size; slot++) {
      this.#slots.push(this.#allocator.allocate(slotBytes, 16));
      this.#freeSlots.push(slot);
    }
    this.#free = Array.from({ length: size }, (_, i) => i);
    this.#size = size;
    this.#eventIdx = eventIdx;
    this.driver = new DriverQueue(this.#allocator.memory, this.#addresses, { eventIdx, state });
    this.queue = new Virtqueue(this.#allocator.memory, this.#addresses, { indirect: true, eventIdx, state });
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** The driver makes a chain available, if it has descriptors for it. */
  add(kind: ChainKind, readable: number, writable: number): void {
    const buffers = readable + writable;
    const direct = kind === 'direct' ? buffers : kind === 'indirect' ? 0 : Math.min(buffers - 1, 2);
    const count = direct + (kind === 'direct' ? 0 : 1);
    if (this.#free.length < count || this.driverAsleep) return;
    const id = this.#nextId++;
    const slot = this.#freeSlots.shift()!;
    const descriptors = this.#free.splice(0, count);
    const table = this.#slots[slot]!;
    const addresses = Array.from(
      { length: buffers },
      (_, i) => table + MOST_BUFFERS * DESCRIPTOR + i * BUFFER,
    );
    for (const [i, address] of addresses.entries()) {
      const bytes = this.#allocator.bytes(address, BUFFER);
      for (let k = 0; k < BUFFER; k++) bytes[k] = i < readable ? sent(id, i * BUFFER + k) : 0;
      const write = i < readable ? 0 : VIRTQ_DESC_F_WRITE;
      const next = i + 1 < buffers ? VIRTQ_DESC_F_NEXT : 0;
      if (i < direct) {
        this.driver.writeDescriptor(
          descriptors[i]!,
          address,
          BUFFER,
          write | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0),
          descriptors[i + 1] ?? 0,
        );
      } else {
        const view = this.#allocator.view(table + (i - direct) * DESCRIPTOR, DESCRIPTOR);
        view.setBigUint64(0, BigInt(address), true);
        view.setUint32(8, BUFFER, true);
        view.setUint16(12, write | next, true);
        view.setUint16(14, i - direct + 1, true);
      }
    }
    if (kind !== 'direct') {
      this.driver.writeDescriptor(
        descriptors[direct]!,
        table,
        (buffers - direct) * DESCRIPTOR,
        VIRTQ_DESC_F_INDIRECT,
      );
    }
    const head = descriptors[0]!;
    this.#slotOf.set(head, slot);
    this.#outstanding.set(head, {
      id,
      descriptors,
      readable: addresses.slice(0, readable),
      writable: addresses.slice(readable),
      usedLength: -1,
    });
    this.#expected.push(head);
    this.driver.makeAvailable(head);
  }

  driverPublish(): void {
    if (this.driver.publish()) this.deviceAsleep = false;
  }

  /** The driver takes what has completed. @returns how many chains */
  driverTake(): number {
    let taken = 0;
    for (let head = this.driver.takeUsed(); head !== -1; head = this.driver.takeUsed()) {
      const chain = this.#outstanding.get(head);
      if (chain === undefined) throw new Error(`head ${head} came back and was not outstanding`);
      must('used length', this.driver.usedLength, chain.usedLength);
      for (const [at, byte] of chain.writable
        .flatMap((address) => [...this.#allocator.bytes(address, BUFFER)])
        .entries()) {
        must('written byte', byte, at < chain.usedLength ? answered(chain.id, at) : 0);
      }
      this.#outstanding.delete(head);
      // At the end of the list: descriptors go round, and heads are not always the same.
      this.#free.push(...chain.descriptors);
      this.#freeSlots.push(this.#slotOf.get(head)!);
      this.completed++;
      taken++;
    }
    return taken;
  }

  driverSuppress(): void {
    if (this.driverAsleep) return;
    this.driver.disableInterrupts();
    this.#driverSuppresses = true;
  }

  /** The driver sleeps until an interrupt, unless there is something to take already. */
  driverSleep(): void {
    if (this.driverAsleep) return;
    this.#driverSuppresses = false;
    this.driverAsleep = !this.driver.enableInterrupts();
  }

  /** The device takes one chain. @returns whether there was one */
  devicePop(): boolean {
    if (this.deviceAsleep) return false;
    const request = new BlockRequest();
    const popped = this.queue.pop(request);
    if (popped === Popped.NONE) return false;
    must('popped', popped, Popped.CHAIN);
    must('head', request.head, this.#expected.shift());
    const chain = this.#outstanding.get(request.head)!;
    const { readable, writable } = request;
    const got = new Uint8Array(readable.byteLength);
    readable.copyTo(got, got.length);
    must('readable bytes', got.length, chain.readable.length * BUFFER);
    for (let at = 0; at < got.length; at++) must('readable byte', got[at], sent(chain.id, at));
    must('writable bytes', writable.byteLength, chain.writable.length * BUFFER);
    this.#inFlight.push(request);
    must('in flight', this.queue.inFlight, this.#inFlight.length);
    return true;
  }

  /** A request completes, any of those in flight; the device need not be awake for it. */
  deviceComplete(which: number, share: number): void {
    if (this.#inFlight.length === 0) return;
    const [request] = this.#inFlight.splice(which % this.#inFlight.length, 1);
    const chain = this.#outstanding.get(request!.head)!;
    chain.usedLength = Math.floor(chain.writable.length * BUFFER * share);
    request!.writable.copyFrom(
      Uint8Array.from({ length: chain.usedLength }, (_, at) => answered(chain.id, at)),
    );
    this.queue.push(request!.head, chain.usedLength);
    this.#pushed++;
  }

  devicePublish(): void {
    const { used16, avail, usedEventIndex } = this.driver.ring;
    const before = used16[RING_IDX]!;
    const interrupt = this.queue.publish();
    must('used.idx', used16[RING_IDX], (before + this.#pushed) & 0xffff);
    // By the letter of 2.7.7.2: one of the entries just published is the one that the driver waits for.
    const passed = Array.from({ length: this.#pushed }, (_, i) => (before + i) & 0xffff);
    const wanted = this.#eventIdx
      ? passed.includes(avail[usedEventIndex]!)
      : this.#pushed > 0 && !this.#driverSuppresses;
    must('interrupt', interrupt, wanted);
    if (this.#driverSuppresses) must('interrupt while suppressed', interrupt, false);
    this.#pushed = 0;
    if (interrupt) this.driverAsleep = false;
  }

  deviceDisable(): void {
    if (!this.deviceAsleep) this.queue.disableNotifications();
  }

  /** The device sleeps until a kick, unless there is something to pop already. */
  deviceSleep(): void {
    if (!this.deviceAsleep) this.deviceAsleep = !this.queue.enableNotifications();
  }

  /**
   * Both sides go on as the specification tells them to until all is done; completions happen in any case.
   * @throws Error when both sleep and requests are outstanding: a notification was lost
   */
  finish(): void {
    this.driverPublish();
    // Bounded: every turn completes a request, or finds that nothing moves.
    for (let turns = 0; this.outstanding > 0; turns++) {
      while (this.devicePop());
      this.deviceSleep();
      const moved = this.#inFlight.length + this.#pushed;
      while (this.#inFlight.length > 0) this.deviceComplete(this.#inFlight.length - 1, 1);
      this.devicePublish();
      const taken = this.driverAsleep ? 0 : this.driverTake();
      this.driverSleep();
      if (moved + taken === 0 && this.deviceAsleep && this.driverAsleep) {
        throw new Error(`both sides sleep, ${this.outstanding} of ${this.#size} chains are outstanding`);
      }
      if (turns > 10 * this.#size + 100) throw new Error('no end in sight');
    }
    must('in flight at the end', this.queue.inFlight, 0);
    must('never popped', this.#expected.length, 0);
  }
}
