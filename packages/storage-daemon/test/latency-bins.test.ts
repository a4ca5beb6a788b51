import { LatencyHistogram } from '@iothreads/core';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fineBins, mergeBuckets, sortInto } from '../dist/qmp/latency-bins.js';
import { propertyOptions } from './support/property-options.js';

function bucketsOf(...latencies: readonly number[]) {
  const histogram = new LatencyHistogram();
  for (const ns of latencies) histogram.record(ns);
  return histogram.buckets();
}

describe('latencies in QEMU bins', () => {
  test('of nothing', () => {
    expect(fineBins([])).toEqual({ boundaries: [], bins: [0] });
  });

  test('are as fine as they were counted', () => {
    expect(fineBins(bucketsOf(0, 1, 1, 5))).toEqual({ boundaries: [1, 2, 5, 6], bins: [1, 2, 0, 1, 0] });
  });

  test('have every latency between the boundaries around it', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 2 ** 31 - 1 }), { maxLength: 20 }), (latencies) => {
        const { boundaries, bins } = fineBins(bucketsOf(...latencies));
        expect(bins).toHaveLength(boundaries.length + 1);
        expect(boundaries).toEqual([...new Set(boundaries)].sort((a, b) => a - b));
        const counted = bins.map(
          (_, bin) =>
            latencies.filter((ns) => ns >= (boundaries[bin - 1] ?? 0) && ns < (boundaries[bin] ?? Infinity))
              .length,
        );
        expect(bins).toEqual(counted);
      }),
      propertyOptions(),
    );
  });

  test('are sorted into bins that a client has chosen', () => {
    expect(sortInto(bucketsOf(3, 10, 20, 4000), [10, 50, 100])).toEqual({
      boundaries: [10, 50, 100],
      bins: [1, 2, 0, 1],
    });
  });

  test('are added up over devices', () => {
    expect(mergeBuckets([bucketsOf(7, 3), bucketsOf(3), []])).toEqual([
      { upperNs: 3, count: 2 },
      { upperNs: 7, count: 1 },
    ]);
  });
});
