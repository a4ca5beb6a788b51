import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { LatencyHistogram, SharedCounters } from '@iothreads/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from './support/seed.js';

const LARGEST = 2 ** 40 - 1;

/** Values as they occur: of every magnitude. */
const value = fc
  .tuple(fc.integer({ min: 0, max: 39 }), fc.double({ min: 1, max: 2, maxExcluded: true, noNaN: true }))
  .map(([exponent, mantissa]) => Math.floor(2 ** exponent * mantissa));

const histogramOf = (values: readonly number[]): LatencyHistogram => {
  const histogram = new LatencyHistogram();
  for (const ns of values) histogram.record(ns);
  return histogram;
};

describe('a histogram', () => {
  test('is empty at first', () => {
    expect(new LatencyHistogram().buckets()).toEqual([]);
    expect(new LatencyHistogram().summary()).toEqual({
      count: 0,
      meanNs: 0,
      p50Ns: 0,
      p90Ns: 0,
      p99Ns: 0,
      p999Ns: 0,
      maxNs: 0,
    });
  });

  test('knows every value to within 1/32, and never below what it was', () => {
    const check = (ns: number): void => {
      const { maxNs, meanNs, count } = histogramOf([ns]).summary();
      expect(count).toBe(1);
      expect(meanNs).toBe(ns);
      expect(maxNs).toBeGreaterThanOrEqual(ns);
      expect(maxNs - ns).toBeLessThanOrEqual(ns / 32);
    };
    fc.assert(fc.property(value, check), { seed, numRuns: 500 });
    for (let exponent = 0; exponent < 40; exponent++) {
      for (const off of [-1, 0, 1]) check(Math.max(0, 2 ** exponent + off));
    }
  });

  test('keeps values below 64 apart', () => {
    const values = Array.from({ length: 64 }, (_, i) => i);
    expect(histogramOf(values).buckets()).toEqual(values.map((upperNs) => ({ upperNs, count: 1 })));
  });

  test('sorts any two values into buckets in their order', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(histogramOf([low]).summary().maxNs).toBeLessThanOrEqual(histogramOf([high]).summary().maxNs);
      }),
      { seed, numRuns: 500 },
    );
  });

  test('gives the percentiles of the sorted values, to within 1/32', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 500 }), (values) => {
        const sorted = values.toSorted((a, b) => a - b);
        const summary = histogramOf(values).summary();
        const at = (share: number): number => sorted[Math.max(1, Math.ceil(values.length * share)) - 1]!;
        for (const [got, wanted] of [
          [summary.p50Ns, at(0.5)],
          [summary.p90Ns, at(0.9)],
          [summary.p99Ns, at(0.99)],
          [summary.p999Ns, at(0.999)],
          [summary.maxNs, sorted.at(-1)!],
        ] as const) {
          expect(got).toBeGreaterThanOrEqual(wanted);
          expect(got - wanted).toBeLessThanOrEqual(wanted / 32);
        }
        expect(summary.count).toBe(values.length);
        expect(summary.meanNs).toBe(values.reduce((sum, ns) => sum + ns, 0) / values.length);
      }),
      { seed, numRuns: 100 },
    );
  });

  test('merges to what recording everything in one gives', () => {
    fc.assert(
      fc.property(fc.array(value), fc.array(value), (some, more) => {
        const merged = histogramOf(some);
        merged.merge(histogramOf(more));
        const all = histogramOf([...some, ...more]);
        expect(merged.buckets()).toEqual(all.buckets());
        expect(merged.summary()).toEqual(all.summary());
      }),
      { seed, numRuns: 50 },
    );
  });

  test('clamps what is out of range and cuts fractions', () => {
    expect(histogramOf([-1, -Infinity, 0]).buckets()).toEqual([{ upperNs: 0, count: 3 }]);
    expect(histogramOf([LARGEST, 2 ** 40, 2 ** 60, Infinity]).summary()).toMatchObject({
      count: 4,
      meanNs: LARGEST,
      maxNs: LARGEST,
    });
    expect(histogramOf([7.9]).summary()).toMatchObject({ maxNs: 7, meanNs: 7 });
  });

  test('takes its bytes and no more', () => {
    expect(LatencyHistogram.byteLength % 8).toBe(0);
    expect(LatencyHistogram.byteLength).toBeLessThan(10_000);
    const buffer = new SharedArrayBuffer(3 * LatencyHistogram.byteLength);
    const [first, second, third] = [0, 1, 2].map(
      (i) => new LatencyHistogram(buffer, i * LatencyHistogram.byteLength),
    );
    second!.record(0);
    second!.record(LARGEST);
    expect([first!.summary().count, second!.summary().count, third!.summary().count]).toEqual([0, 2, 0]);
    expect(buffer.byteLength).toBe(3 * LatencyHistogram.byteLength);
    expect(() => new LatencyHistogram(new ArrayBuffer(LatencyHistogram.byteLength - 8))).toThrow(RangeError);
  });

  test('is read from another thread while it is written', async () => {
    const count = 3_000_000;
    const buffer = new SharedArrayBuffer(LatencyHistogram.byteLength);
    const reader = new LatencyHistogram(buffer);
    const worker = new Worker(new URL('fixtures/histogram-writer.mjs', import.meta.url), {
      workerData: { buffer, count },
    });
    const exited = once(worker, 'exit');
    let reads = 0;
    let seen = 0;
    while ((await Promise.race([exited, setImmediate('running')])) === 'running') {
      const { count: now } = reader.summary();
      if (now < seen) throw new Error(`${seen} values became ${now}`);
      seen = now;
      reads++;
    }
    expect(await exited).toEqual([0]);
    expect(reads).toBeGreaterThan(1);
    const { count: total, meanNs } = reader.summary();
    expect(total).toBe(count);
    // 0 to 6 thousand in turn; the sum is exact although it has carried many times.
    const rounds = Math.floor(count / 7);
    const rest = Array.from({ length: count % 7 }, (_, i) => i * 1000).reduce((sum, ns) => sum + ns, 0);
    expect(meanNs).toBe((100 * count + rounds * 21_000 + rest) / count);
  });
});

describe('shared counters', () => {
  const SIZE = 3;
  const setUp = () => {
    const buffer = new SharedArrayBuffer(SharedCounters.bytesFor(SIZE));
    return { buffer, words: new Uint32Array(buffer), counters: new SharedCounters(buffer, 0, SIZE) };
  };
  /** Word of the low half, and of the high half, of a counter; word 0 is the sequence. */
  const low = (index: number): number => 1 + index;
  const high = (index: number): number => 1 + SIZE + index;

  test('carry at 2^31', () => {
    const { words, counters } = setUp();
    words[low(1)] = 0x7fff_fffe;
    counters.add(1, 1);
    expect(counters.read(1)).toBe(0x7fff_ffff);
    expect(words[0]).toBe(0);
    counters.add(1, 1);
    expect(counters.read(1)).toBe(0x8000_0000);
    expect([words[low(1)], words[high(1)]]).toEqual([0, 1]);
    counters.add(1, 5);
    expect(counters.read(1)).toBe(0x8000_0005);
    expect([counters.read(0), counters.read(2)]).toEqual([0, 0]);
    // One carry is two steps of the sequence, and it is even at rest.
    expect(words[0]).toBe(2);
  });

  test('take the largest amount at the largest low half', () => {
    const { words, counters } = setUp();
    words[low(0)] = 0x7fff_ffff;
    words[high(0)] = 2;
    counters.add(0, 0x7fff_ffff);
    expect(counters.read(0)).toBe(3 * 0x8000_0000 - 1 + 0x7fff_ffff);
  });

  test('are exact up to 2^53', () => {
    const { words, counters } = setUp();
    words[low(2)] = 0x7fff_fffe;
    words[high(2)] = 2 ** 22 - 1;
    counters.add(2, 1);
    expect(counters.read(2)).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('add up as numbers do', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(SIZE - 1), fc.nat(0x7fff_ffff))), (amounts) => {
        const { counters } = setUp();
        const sums = [0, 0, 0];
        for (const [index, amount] of amounts) {
          counters.add(index, amount);
          sums[index]! += amount;
        }
        expect([0, 1, 2].map((index) => counters.read(index))).toEqual(sums);
      }),
      { seed },
    );
  });

  test('merge beyond what one addition takes', () => {
    const { words, counters } = setUp();
    words[low(0)] = 5;
    words[high(0)] = 1000;
    const into = setUp().counters;
    into.add(0, 7);
    into.merge(counters);
    expect(into.read(0)).toBe(1000 * 0x8000_0000 + 12);
    expect(into.size).toBe(SIZE);
  });

  test('are read even where their writer died in the middle of a carry', () => {
    const { words, counters } = setUp();
    counters.add(0, 9);
    words[0] = 1;
    expect(counters.read(0)).toBe(9);
  });
});
