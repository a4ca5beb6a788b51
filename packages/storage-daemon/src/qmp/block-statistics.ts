import type { BlockStatsReport, StatisticsKind } from '@iothreads/iothread';
import { fineBins, type LatencyBins, mergeBuckets, sortInto } from './latency-bins.js';

/** QEMU's kinds of request, and which of ours count as each: a write of zeroes is a write. */
const KINDS = {
  rd: ['read'],
  wr: ['write', 'writeZeroes'],
  flush: ['flush'],
  unmap: ['discard'],
} as const satisfies Readonly<Record<string, readonly StatisticsKind[]>>;

const OUR_KINDS = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const;

type QemuKind = keyof typeof KINDS;

/** The boundaries that a client wants to see latencies sorted by, where it has said so. */
export type HistogramBoundaries = Partial<Record<QemuKind, readonly number[]>>;

/** `query-blockstats`' `stats` of a node: the sum over its exports. */
export function nodeStatistics(
  reports: readonly BlockStatsReport[],
  boundaries: HistogramBoundaries,
): object {
  return {
    ...kindStatistics('rd', reports, boundaries.rd),
    ...kindStatistics('wr', reports, boundaries.wr),
    ...kindStatistics('flush', reports, boundaries.flush),
    ...kindStatistics('unmap', reports, boundaries.unmap),
    rd_merged: 0,
    wr_merged: 0,
    unmap_merged: 0,
    wr_highest_offset: 0,
    account_invalid: false,
    account_failed: false,
    timed_stats: [],
  };
}

function kindStatistics(
  kind: QemuKind,
  reports: readonly BlockStatsReport[],
  boundaries: readonly number[] | undefined,
): object {
  const counted = reports.flatMap((report) => KINDS[kind].map((ours) => report[ours]));
  const sum = (of: (statistics: BlockStatsReport['read']) => number): number =>
    counted.reduce((total, statistics) => total + of(statistics), 0);
  const buckets = mergeBuckets(counted.map(({ latency }) => latency.buckets));
  const histogram: LatencyBins = boundaries === undefined ? fineBins(buckets) : sortInto(buckets, boundaries);
  return {
    ...(kind === 'flush' ? {} : { [`${kind}_bytes`]: sum(({ bytes }) => bytes) }),
    [`${kind}_operations`]: sum(({ operations, errors }) => operations - errors),
    [`${kind}_total_time_ns`]: Math.round(sum(({ latency }) => latency.meanNs * latency.count)),
    [`failed_${kind}_operations`]: sum(({ errors }) => errors),
    // Requests that never reach a disk have no kind here: see x-exports.
    [`invalid_${kind}_operations`]: 0,
    [`${kind === 'unmap' ? 'x-unmap' : kind}_latency_histogram`]: histogram,
  };
}

/** What QEMU's daemon can't tell of an export. */
export function exportStatistics(report: BlockStatsReport): object {
  return {
    id: report.id,
    iothreads: report.iothreads,
    sync: OUR_KINDS.reduce((total, kind) => total + report[kind].sync, 0),
    async: OUR_KINDS.reduce((total, kind) => total + report[kind].async, 0),
    'io-status': report.ioStatus,
    'invalid-requests': report.invalid,
    'driver-mistakes': report.driverMistakes,
    kinds: Object.fromEntries(
      OUR_KINDS.map((kind) => {
        const { operations, bytes, errors, sync, async, latency } = report[kind];
        const { meanNs, p50Ns, p90Ns, p99Ns, p999Ns, maxNs } = latency;
        return [
          kind === 'writeZeroes' ? 'write-zeroes' : kind,
          {
            operations,
            bytes,
            errors,
            sync,
            async,
            'latency-ns': {
              mean: Math.round(meanNs),
              p50: p50Ns,
              p90: p90Ns,
              p99: p99Ns,
              p999: p999Ns,
              max: maxNs,
            },
          },
        ];
      }),
    ),
  };
}
