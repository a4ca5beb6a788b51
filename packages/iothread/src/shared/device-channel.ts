import { CONFIG_INTERRUPT } from '@iothreads/core';
import { Waker } from './wake-slots.js';

/** 32-bit words that belong to the whole device ... */
const BROKEN = 0;
const WRITE_THROUGH = 1;
const CONFIG_INTERRUPTS = 2;
/** ... and the word behind it: see `WAITERS`. */
const IO_STATUS = 4;
/** ... and then, from here on, to each queue. */
const QUEUES = 16;
const WORDS_PER_QUEUE = 16;
/** Slot of the iothread that serves the queue. */
const ROUTE = 0;
/** 1 from the driver's kick until the iothread has seen it. */
const RUNG = 1;
/** Counts interrupts: what a waiting driver waits on. */
const INTERRUPTS = 2;
/** The word behind a counter of interrupts: how many threads wait on it. Only then is one more than an increment. */
const WAITERS = 1;

/** Whether a device takes requests, and why not: QEMU's words. */
export type IOStatus = 'ok' | 'failed' | 'nospace';
const IO_STATUSES: readonly IOStatus[] = ['ok', 'failed', 'nospace'];

/** The shared memory behind a device's doorbells and interrupts; can be posted to any thread. */
export interface DevicePort {
  readonly numQueues: number;
  readonly wakeBuffer: SharedArrayBuffer;
  readonly channelBuffer: SharedArrayBuffer;
}

export function createDevicePort(wakeBuffer: SharedArrayBuffer, numQueues: number): DevicePort {
  const words = QUEUES + numQueues * WORDS_PER_QUEUE;
  return { numQueues, wakeBuffer, channelBuffer: new SharedArrayBuffer(words * 4) };
}

/**
 * Doorbells and interrupts of one device over shared memory: the whole of what its driver's side and its iothread say to
 * each other besides the rings.
 */
export class DeviceChannel {
  readonly port: DevicePort;
  readonly #words: Int32Array;
  readonly #waker: Waker;

  constructor(port: DevicePort) {
    this.port = port;
    this.#words = new Int32Array(port.channelBuffer);
    this.#waker = new Waker(port.wakeBuffer);
  }

  // The driver's side.

  /** Rings the doorbell of queue `index`; one that is not there has none. Two stores while the iothread is awake. */
  kick(index: number): void {
    if (!(index >= 0 && index < this.port.numQueues)) return;
    const at = queueAt(index);
    Atomics.store(this.#words, at + RUNG, 1);
    // The driver published its requests before: an iothread that takes the queue over after this load will see them.
    this.#waker.wake(Atomics.load(this.#words, at + ROUTE));
  }

  /** How many interrupts there have been: of a queue, or of the configuration. */
  interrupts(source: number): number {
    return Atomics.load(this.#words, interruptAt(source));
  }

  /**
   * Blocks this thread until there have been more than `seen` interrupts.
   * @returns false when `timeoutMs` passed first
   */
  waitForInterrupt(source: number, seen: number, timeoutMs: number): boolean {
    const at = interruptAt(source);
    const deadlineMs = performance.now() + timeoutMs;
    Atomics.add(this.#words, at + WAITERS, 1);
    // A notification that belongs to the interrupt before this one may come now: the count is what tells.
    while (Atomics.load(this.#words, at) === seen) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) break;
      Atomics.wait(this.#words, at, seen, leftMs);
    }
    Atomics.sub(this.#words, at + WAITERS, 1);
    return Atomics.load(this.#words, at) !== seen;
  }

  /** The same without blocking: resolves at once when there have been more already. */
  async interruptAfter(source: number, seen: number): Promise<void> {
    const at = interruptAt(source);
    Atomics.add(this.#words, at + WAITERS, 1);
    while (Atomics.load(this.#words, at) === seen) {
      const wait = Atomics.waitAsync(this.#words, at, seen);
      if (wait.async) await wait.value;
    }
    Atomics.sub(this.#words, at + WAITERS, 1);
  }

  /** Whether a queue of the device can't be trusted any more, or its iothread is gone. */
  get broken(): boolean {
    return Atomics.load(this.#words, BROKEN) === 1;
  }

  // The device's side.

  /** Counts an interrupt of a queue, or of the configuration, and wakes whoever waits for it. */
  interrupt(source: number): void {
    const at = interruptAt(source);
    Atomics.add(this.#words, at, 1);
    if (Atomics.load(this.#words, at + WAITERS) > 0) Atomics.notify(this.#words, at);
  }

  /** Sees and clears the doorbell of queue `index`. */
  takeKick(index: number): boolean {
    const at = queueAt(index) + RUNG;
    return Atomics.load(this.#words, at) === 1 && Atomics.exchange(this.#words, at, 0) === 1;
  }

  /** From now on the doorbell of queue `index` wakes the iothread in `slot`. */
  route(index: number, slot: number): void {
    Atomics.store(this.#words, queueAt(index) + ROUTE, slot);
  }

  /** Says whether a queue can be trusted no more; if so, the configuration interrupt is raised. */
  setBroken(broken: boolean): void {
    Atomics.store(this.#words, BROKEN, broken ? 1 : 0);
    if (broken) this.interrupt(CONFIG_INTERRUPT);
  }

  /** Whether a completed write must be durable already (VIRTIO_BLK_F_CONFIG_WCE's `writeback` is 0). */
  get writeThrough(): boolean {
    return Atomics.load(this.#words, WRITE_THROUGH) === 1;
  }

  set writeThrough(on: boolean) {
    Atomics.store(this.#words, WRITE_THROUGH, on ? 1 : 0);
  }

  /** Requests wait in the rings: one has failed that is to be done again. A plain read, for loops that look all the time. */
  get paused(): boolean {
    return this.#words[IO_STATUS] !== 0;
  }

  /** Why it is paused: the disk is full, or anything else; 'ok' where it isn't. */
  get ioStatus(): IOStatus {
    return IO_STATUSES[Atomics.load(this.#words, IO_STATUS)]!;
  }

  /** Pauses the device on all its iothreads. @returns whether it was not paused before */
  pause(why: Exclude<IOStatus, 'ok'>): boolean {
    return Atomics.compareExchange(this.#words, IO_STATUS, 0, IO_STATUSES.indexOf(why)) === 0;
  }

  /** Ends a pause; its iothreads don't hear of that by themselves. @returns whether it was paused */
  unpause(): boolean {
    return Atomics.exchange(this.#words, IO_STATUS, 0) !== 0;
  }
}

const queueAt = (index: number): number => QUEUES + index * WORDS_PER_QUEUE;

/** Index of the counter of interrupts. */
const interruptAt = (source: number): number =>
  source === CONFIG_INTERRUPT ? CONFIG_INTERRUPTS : queueAt(source) + INTERRUPTS;
