import type { Histogram } from '../results.js';
import type { LogAxis } from './log-axis.js';

/** Sub-buckets an octave of the measured histogram. */
const SUB_BUCKETS = 32;

/**
 * The lower bound of a bucket in µs. Only non-empty buckets are recorded, so it can't be read off the one before; it
 * follows from the layout: octaves of nanoseconds, each in 32 equal parts.
 */
export function bucketLowerUs(upperUs: number): number {
  const upperNs = upperUs * 1000;
  const octaveNs = 2 ** (Math.ceil(Math.log2(Math.max(upperNs, 2))) - 1);
  return Math.max(0, upperNs - Math.max(1, octaveNs / SUB_BUCKETS)) / 1000;
}

/**
 * Shares of the requests that fall in each of `binCount` bins of equal width on the axis. A bucket that lies across
 * bins is divided between them by width: buckets are not equally wide on a logarithmic axis, and counting them whole
 * would draw teeth that are not there.
 */
export function binShares(histogram: Histogram, axis: LogAxis, binCount: number): number[] {
  const shares = Array.from({ length: binCount }, () => 0);
  let total = 0;
  for (const [, count] of histogram) total += count;
  if (total === 0) return shares;
  for (const [upperUs, count] of histogram) {
    const from = axis.position(bucketLowerUs(upperUs)) * binCount;
    const to = Math.max(axis.position(upperUs) * binCount, from + 1e-6);
    const last = Math.min(binCount - 1, Math.ceil(to) - 1);
    const first = Math.min(Math.floor(from), last);
    for (let bin = first; bin <= last; bin++) {
      // The last bin takes what lies beyond the axis' end, so that nothing is lost.
      const end = bin === last ? to : bin + 1;
      const begin = bin === first ? from : bin;
      shares[bin]! += ((end - begin) / (to - from)) * (count / total);
    }
  }
  return shares;
}
