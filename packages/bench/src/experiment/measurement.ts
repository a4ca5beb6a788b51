import { LatencyHistogram } from '@iothreads/core';
import type { IOThreadRuntime } from '@iothreads/iothread';
import type { Measured } from '../load/vcpu.js';
import type { Measurement } from '../results.js';

/** Sums of several rounds of one cell. */
export class CellRounds {
  readonly #histogram = new LatencyHistogram();
  #requests = 0;
  #seconds = 0;
  #sync = 0;
  #async = 0;

  /** Adds a round, with what the runtime counted for the device in it. */
  async add(measured: Measured, runtime: IOThreadRuntime, id: string): Promise<void> {
    this.#histogram.merge(measured.histogram);
    this.#requests += measured.requests;
    this.#seconds += measured.seconds;
    const stats = (await runtime.queryBlockStats()).find((each) => each.id === id)!;
    this.#sync += stats.read.sync;
    this.#async += stats.read.async;
  }

  measurement(): Measurement {
    const summary = this.#histogram.summary();
    return {
      iops: round(this.#requests / this.#seconds),
      latency_us: {
        mean: micros(summary.meanNs),
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

const round = (value: number): number => Math.round(value);
const micros = (ns: number): number => Math.round(ns) / 1000;
