import { LatencyHistogram } from '@iothreads/core';
import type { IOThreadRuntime } from '@iothreads/iothread';
import type { Measured } from '../load/vcpu.js';
import type { Measurement } from '../results.js';

/**
 * Several rounds of one cell. Percentiles are those of all rounds together; the mean and the throughput are medians over
 * the rounds' own, so that a moment in which the host took a processor away does not decide a comparison.
 */
export class CellRounds {
  readonly #histogram = new LatencyHistogram();
  readonly #means: number[] = [];
  readonly #iops: number[] = [];
  #sync = 0;
  #async = 0;

  add(measured: Measured): void {
    this.#histogram.merge(measured.histogram);
    this.#means.push(measured.histogram.summary().meanNs);
    this.#iops.push(measured.requests / measured.seconds);
  }

  /** Adds what the runtime has counted for a device, before it is removed. */
  async count(runtime: IOThreadRuntime, id: string): Promise<void> {
    const { read } = (await runtime.queryBlockStats()).find((each) => each.id === id)!;
    this.#sync += read.sync;
    this.#async += read.async;
  }

  measurement(): Measurement {
    const summary = this.#histogram.summary();
    return {
      iops: Math.round(median(this.#iops)),
      latency_us: {
        mean: micros(median(this.#means)),
        p50: micros(summary.p50Ns),
        p90: micros(summary.p90Ns),
        p99: micros(summary.p99Ns),
        p99_9: micros(summary.p999Ns),
        max: micros(summary.maxNs),
      },
      sync: this.#sync,
      async: this.#async,
      histogram: this.#histogram.buckets().map(({ upperNs, count }) => [micros(upperNs), count] as const),
    };
  }
}

const micros = (ns: number): number => Math.round(ns) / 1000;

/** The middle one, or the mean of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return NaN;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}
