import { LatencyHistogram } from '@iothreads/core';
import { Piscina } from 'piscina';
import type { LoadTask, TraceResult, TraceTask, LoadResult } from './load.js';

/** What a vCPU measured on one device. */
export interface Measured {
  readonly requests: number;
  readonly seconds: number;
  readonly histogram: LatencyHistogram;
}

/**
 * A virtual CPU that does nothing but disk I/O: one worker for the whole bench, so that its code is warm. One is what a
 * machine of two cores can run beside an iothread without the two taking each other's time; all jobs run on it.
 */
export class Vcpu {
  #seconds = 0;
  #lostSeconds = 0;
  readonly #pool = new Piscina({
    filename: new URL('./vcpu-worker.js', import.meta.url).href,
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Infinity,
    atomics: 'disabled',
  });

  /** @returns a measurement for each device of the task, in order */
  async run(task: LoadTask): Promise<Measured[]> {
    const { devices, seconds, lostSeconds }: LoadResult = await this.#pool.run(task, { name: 'run' });
    this.#seconds += seconds;
    this.#lostSeconds += lostSeconds;
    return devices.map(({ requests, histogram }) => ({
      requests,
      seconds,
      histogram: new LatencyHistogram(histogram),
    }));
  }

  /** The share of its time so far that the host or other programs took away, percent, to a tenth. */
  get lostPct(): number {
    return Math.round((1000 * this.#lostSeconds) / this.#seconds) / 10;
  }

  async trace(task: TraceTask): Promise<TraceResult> {
    return this.#pool.run(task, { name: 'trace' });
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
