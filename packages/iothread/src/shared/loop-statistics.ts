import { SharedCounters } from '@iothreads/core';

/** What an event loop counts. */
const LOOP_COUNTERS = [
  /** Passes over the devices that may have work. */
  'passes',
  /** Times that it went back to libuv to look and came back at once. */
  'yields',
  /** Times that it went to sleep, ... */
  'sleeps',
  /** ... of these, times that a doorbell woke it. */
  'wakeups',
  /** Work found by the slow re-check: a wake-up that was lost. */
  'lostWakeups',
] as const;
type LoopCounter = (typeof LOOP_COUNTERS)[number];
export type LoopStatisticsValues = Readonly<Record<LoopCounter, number>>;

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
    const values: Partial<Record<LoopCounter, number>> = {};
    for (const [index, name] of LOOP_COUNTERS.entries()) values[name] = this.#counters.read(index);
    return values as LoopStatisticsValues;
  }
}
