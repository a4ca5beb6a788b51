import { LatencyHistogram, type LatencyBucket, type LatencySummary, SharedCounters } from '@iothreads/core';

/** Kinds of request that are counted apart, in `BlockOperation`'s order. */
export const STATISTICS_KINDS = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const;
/** A kind of request that is counted apart. */
export type StatisticsKind = (typeof STATISTICS_KINDS)[number];

const OPERATIONS = 0;
const BYTES = 1;
const ERRORS = 2;
const SYNC = 3;
const ASYNC = 4;
const PER_KIND = 5;
/** Requests that never reached the driver because the guest made a mistake. */
const INVALID = STATISTICS_KINDS.length * PER_KIND;
/** Completions that the driver reported twice, or for a request that was not its own any more. */
const DRIVER_MISTAKES = INVALID + 1;
const COUNTERS = DRIVER_MISTAKES + 1;
const HISTOGRAMS_AT = Math.ceil(SharedCounters.bytesFor(COUNTERS) / 8) * 8;

/** Counts of one kind of request on a device. */
export interface KindStatistics {
  /** Requests that the driver has done, well or not. */
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  readonly sync: number;
  readonly async: number;
  /** From popping the request to its completion. */
  readonly latency: LatencySummary & { readonly buckets: readonly LatencyBucket[] };
}

/** What an iothread counts for a device, in shared memory: it alone writes, any thread reads. */
export class BlockStatistics {
  readonly buffer: SharedArrayBuffer;
  readonly #counters: SharedCounters;
  readonly #histograms: readonly LatencyHistogram[];

  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer(
      HISTOGRAMS_AT + STATISTICS_KINDS.length * LatencyHistogram.byteLength,
    ),
  ) {
    this.buffer = buffer;
    this.#counters = new SharedCounters(buffer, 0, COUNTERS);
    this.#histograms = STATISTICS_KINDS.map(
      (_, kind) => new LatencyHistogram(buffer, HISTOGRAMS_AT + kind * LatencyHistogram.byteLength),
    );
  }

  /** @param kind a `BlockOperation` that goes to drivers */
  countDone(kind: number, byteLength: number, latencyNs: number, sync: boolean): void {
    const at = kind * PER_KIND;
    const counters = this.#counters;
    counters.add(at + OPERATIONS, 1);
    // Below 2^31 for any sane request, but a chain's length is the guest's word.
    if (byteLength > 0) counters.add(at + BYTES, byteLength < 0x7fff_ffff ? byteLength : 0x7fff_ffff);
    counters.add(at + (sync ? SYNC : ASYNC), 1);
    this.#histograms[kind]!.record(latencyNs);
  }

  countError(kind: number): void {
    this.#counters.add(kind * PER_KIND + ERRORS, 1);
  }

  countInvalid(): void {
    this.#counters.add(INVALID, 1);
  }

  countDriverMistake(): void {
    this.#counters.add(DRIVER_MISTAKES, 1);
  }

  merge(other: BlockStatistics): void {
    this.#counters.merge(other.#counters);
    for (const [kind, histogram] of this.#histograms.entries()) histogram.merge(other.#histograms[kind]!);
  }

  get invalid(): number {
    return this.#counters.read(INVALID);
  }

  get driverMistakes(): number {
    return this.#counters.read(DRIVER_MISTAKES);
  }

  /** A snapshot of one kind; the counts may be a request apart from each other while the device is busy. */
  read(kind: StatisticsKind): KindStatistics {
    const index = STATISTICS_KINDS.indexOf(kind);
    const at = index * PER_KIND;
    const histogram = this.#histograms[index]!;
    return {
      operations: this.#counters.read(at + OPERATIONS),
      bytes: this.#counters.read(at + BYTES),
      errors: this.#counters.read(at + ERRORS),
      sync: this.#counters.read(at + SYNC),
      async: this.#counters.read(at + ASYNC),
      latency: { ...histogram.summary(), buckets: histogram.buckets() },
    };
  }
}
