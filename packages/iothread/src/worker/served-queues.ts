import type { Virtqueue, VirtqueueState } from '@iothreads/core';
import type { QueueNotifier } from './queue-notifier.js';

/** A request that the disk has failed and that is to be done again: all that is left of it. */
export interface KeptRequest {
  readonly head: number;
  /** `BlockRequest.order`. */
  readonly order: number;
}

/** What becomes of requests that are kept when their queue stops: they go with it, or are failed, or nobody hears of them again. */
export type KeptFate = 'carry' | 'fail' | 'drop';

/** A queue of a device that this iothread serves. */
export interface ServedQueue {
  /** Its index on the device. */
  readonly index: number;
  readonly virtqueue: Virtqueue;
  readonly notifier: QueueNotifier;
  /** In their order; none of them is in flight. */
  readonly kept: KeptRequest[];
  /** Its driver's side has been told that it is broken. */
  reported: boolean;
  /** Its driver wants to be interrupted for what was published last. */
  wanted: boolean;
}

/** A device's queues on this iothread: those that requests are taken from, and those that are being drained. */
export class ServedQueues {
  #queues: readonly ServedQueue[] = [];
  /** Nothing is taken from them any more. */
  #draining: readonly ServedQueue[] = [];
  /** Both kinds, by their index on the device. */
  readonly #byIndex: (ServedQueue | undefined)[] = [];
  /** Where the next round begins, so that no queue of the device is always first. */
  #first = 0;
  /** Whether the rings ask for kicks; so they do when they are fresh. */
  #armed = true;
  /** Whether any of them keeps a request. */
  #keeps = false;

  /** How many requests are taken from. */
  get length(): number {
    return this.#queues.length;
  }

  /** The queue whose turn is the `turn`th of this round. */
  inTurn(turn: number): ServedQueue {
    return this.#queues[(this.#first + turn) % this.#queues.length]!;
  }

  /** Another queue is first in the next round. */
  endRound(): void {
    if (this.#queues.length > 1) this.#first = (this.#first + 1) % this.#queues.length;
  }

  /** The queue of that index on the device, if it is here. */
  at(index: number): ServedQueue | undefined {
    return this.#byIndex[index];
  }

  add(queues: readonly ServedQueue[]): void {
    for (const queue of queues) this.#byIndex[queue.index] = queue;
    this.#serve([...this.#queues, ...queues]);
  }

  /** Nothing is taken from these any more; what an earlier call has named is still being drained. */
  drain(indexes: readonly number[]): void {
    this.#draining = [...this.#draining, ...this.#queues.filter(({ index }) => indexes.includes(index))];
    this.#serve(this.#queues.filter(({ index }) => !indexes.includes(index)));
  }

  /** Whether nothing is in flight of those that are being drained, `butKept` or nothing at all. */
  areDrained(butKept: boolean): boolean {
    for (const { virtqueue, kept } of this.#draining) {
      if (virtqueue.inFlight > (butKept ? kept.length : 0)) return false;
    }
    return true;
  }

  /** Takes requests again from those that were being drained. */
  resume(): void {
    const queues = [...this.#queues, ...this.#draining];
    this.#draining = [];
    this.#serve(queues);
  }

  /** Those that nothing is taken from any more. */
  get draining(): readonly ServedQueue[] {
    return this.#draining;
  }

  /** Keeps a request that has failed, for `firstToDoAgain`. */
  keep(queue: ServedQueue, request: KeptRequest): void {
    const { kept } = queue;
    let at = kept.length;
    // They fail in about the order in which they came.
    while (at > 0 && before(request, kept[at - 1]!)) at--;
    kept.splice(at, 0, request);
    this.#lookForKept();
  }

  /** Whether there is a `firstToDoAgain`. */
  get keeps(): boolean {
    return this.#keeps;
  }

  /** The queue whose first kept request came before all others that are kept, those that are being drained included. */
  firstToDoAgain(): ServedQueue | undefined {
    let first: ServedQueue | undefined;
    for (const queue of this.#byIndex) {
      if (queue === undefined || queue.kept.length === 0) continue;
      if (first === undefined || before(queue.kept[0]!, first.kept[0]!)) first = queue;
    }
    return first;
  }

  /** The queue's first kept request, to be done again. */
  takeKept(queue: ServedQueue): KeptRequest {
    const request = queue.kept.shift()!;
    this.#lookForKept();
    return request;
  }

  #lookForKept(): void {
    this.#keeps = this.#byIndex.some((queue) => queue !== undefined && queue.kept.length > 0);
  }

  /** Lets go of those that have been drained. @returns where each of them stands, and which requests are kept */
  release(): { index: number; state: VirtqueueState }[] {
    const states = this.#draining.map(({ index, virtqueue, kept }) => ({
      index,
      state: kept.length === 0 ? virtqueue.state : { ...virtqueue.state, held: kept.map(({ head }) => head) },
    }));
    for (const { index, notifier } of this.#draining) {
      notifier.close();
      this.#byIndex[index] = undefined;
    }
    this.#draining = [];
    this.#lookForKept();
    return states;
  }

  /** Lets go of all, whatever is in flight: the iothread ends. */
  letGo(): void {
    for (const queue of this.#byIndex) queue?.notifier.close();
  }

  #serve(queues: readonly ServedQueue[]): void {
    this.#queues = queues;
    this.#first = 0;
    // Some of them may ask for kicks.
    this.#armed = true;
    this.#lookForKept();
  }

  /** Whether one was kicked since the last call. */
  takeKicks(): boolean {
    let kicked = false;
    for (const { notifier } of this.#queues) if (notifier.takeKick()) kicked = true;
    return kicked;
  }

  /** What kicks have left behind is cleared, off the requests' way. */
  clearKicks(): void {
    for (const { notifier } of this.#queues) notifier.clearKick();
  }

  /** Somebody watches the rings from now on: no kicks wanted. */
  disarm(): void {
    if (!this.#armed) return;
    this.#armed = false;
    for (const { virtqueue } of this.#queues) virtqueue.disableNotifications();
  }

  /** Nobody watches the rings any more. @returns whether requests came meanwhile, for which there will be no kick */
  arm(): boolean {
    this.#armed = true;
    let more = false;
    for (const { virtqueue } of this.#queues) {
      if (!virtqueue.broken && virtqueue.enableNotifications()) more = true;
    }
    return more;
  }

  /** Whether there are new requests: a quick look. */
  stir(): boolean {
    for (const { virtqueue } of this.#queues) if (virtqueue.hasNew()) return true;
    return false;
  }

  /** Whether requests wait in a ring: a thorough look. */
  haveAvailable(): boolean {
    return this.#queues.some(({ virtqueue }) => virtqueue.available() > 0);
  }

  /** Shows the drivers what has been pushed; who wants to be interrupted for it is noted. */
  publish(): void {
    for (const queue of this.#queues) queue.wanted = queue.virtqueue.publish();
    for (const queue of this.#draining) queue.wanted = queue.virtqueue.publish();
  }

  /** Interrupts those drivers that want it for what was published last. */
  interrupt(): void {
    for (const { wanted, notifier } of this.#queues) if (wanted) notifier.interrupt();
    for (const { wanted, notifier } of this.#draining) if (wanted) notifier.interrupt();
  }
}

/** 32 bits wrap around; requests that are kept are nowhere near half of that apart. */
const before = (a: KeptRequest, b: KeptRequest): boolean => ((a.order - b.order) | 0) < 0;
