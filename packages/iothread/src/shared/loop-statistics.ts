import { SharedCounters } from '@iothreads/core';

/** What an event loop has counted since its iothread was started. */
export interface LoopStatisticsValues {
  /** Passes over the devices that may have work. */
  readonly passes: number;
  /** Times that it went back to libuv to look and came back at once. */
  readonly yields: number;
  /** Times that it went to sleep, ... */
  readonly sleeps: number;
  /** ... of these, times that a doorbell woke it. */
  readonly wakeups: number;
  /** Work found by the slow re-check: a wake-up that was lost. */
  readonly lostWakeups: number;
}

/** In the order in which they are kept. */
const LOOP_COUNTERS = [
  'passes',
  'yields',
  'sleeps',
  'wakeups',
  'lostWakeups',
] as const satisfies readonly (keyof LoopStatisticsValues)[];

/** Counters of an event loop in shared memory: the loop alone writes, any thread reads. */
export class LoopStatistics {
  readonly buffer: SharedArrayBuffer;
  readonly #counters: SharedCounters;

  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer(SharedCounters.bytesFor(LOOP_COUNTERS.length)),
  ) {
    this.buffer = buffer;
    this.#counters = new SharedCounters(buffer, 0, LOOP_COUNTERS.length);
  }

  countPass(): void {
    this.#counters.add(0, 1);
  }

  countYield(): void {
    this.#counters.add(1, 1);
  }

  countSleep(): void {
    this.#counters.add(2, 1);
  }

  countWakeup(): void {
    this.#counters.add(3, 1);
  }

  countLostWakeup(): void {
    this.#counters.add(4, 1);
  }

  read(): LoopStatisticsValues {
    const values = LOOP_COUNTERS.map((name, index) => [name, this.#counters.read(index)] as const);
    return Object.fromEntries(values) as unknown as LoopStatisticsValues;
  }
}
