import type { LatencyBucket } from '@iothreads/core';

/** QEMU's shape of a distribution: `bins[i]` counts latencies from `boundaries[i - 1]` up to below `boundaries[i]`. */
export interface LatencyBins {
  /** Nanoseconds, ascending. */
  readonly boundaries: readonly number[];
  /** One more than there are boundaries: the last one is open. */
  readonly bins: readonly number[];
}

/** Sub-buckets in a power of two, as in `LatencyHistogram`. */
const SUB_BITS = 5;

/** Bins as fine as the histograms that were counted in; ranges without a latency are one bin. */
export function fineBins(buckets: readonly LatencyBucket[]): LatencyBins {
  const boundaries: number[] = [];
  for (const { upperNs } of buckets) {
    const lower = lowerNs(upperNs);
    if (lower > 0 && boundaries.at(-1) !== lower) boundaries.push(lower);
    boundaries.push(upperNs + 1);
  }
  return sortInto(buckets, boundaries);
}

/** Counts buckets into bins with these boundaries; a bucket that lies across one counts where it ends. */
export function sortInto(buckets: readonly LatencyBucket[], boundaries: readonly number[]): LatencyBins {
  const bins = Array.from({ length: boundaries.length + 1 }, () => 0);
  let bin = 0;
  for (const { upperNs, count } of buckets) {
    while (bin < boundaries.length && upperNs >= boundaries[bin]!) bin++;
    bins[bin]! += count;
  }
  return { boundaries, bins };
}

/** Adds distributions whose buckets are in ascending order. */
export function mergeBuckets(distributions: readonly (readonly LatencyBucket[])[]): LatencyBucket[] {
  const counts = new Map<number, number>();
  for (const { upperNs, count } of distributions.flat())
    counts.set(upperNs, (counts.get(upperNs) ?? 0) + count);
  return [...counts].map(([upperNs, count]) => ({ upperNs, count })).sort((a, b) => a.upperNs - b.upperNs);
}

/** The least value of the bucket that ends at `upperNs`. */
function lowerNs(upperNs: number): number {
  if (upperNs < 1 << SUB_BITS) return upperNs;
  return upperNs + 1 - 2 ** (Math.floor(Math.log2(upperNs)) - SUB_BITS);
}
