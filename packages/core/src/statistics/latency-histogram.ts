import { SharedCounters } from './shared-counters.js';

/** Buckets in each power of two: a value is known to within 1/32, about 3 %. */
const SUB_BUCKETS = 32;
const SUB_BITS = 5;
/** Powers of two beyond the linear start: values up to 2^40 ns, 18 minutes. */
const OCTAVES = 35;
const BUCKETS = SUB_BUCKETS * (OCTAVES + 1);
/** The counter behind the buckets: the sum, for the mean. */
const SUM = BUCKETS;
const COUNTERS = BUCKETS + 1;
const LARGEST_NS = 2 ** 40 - 1;

/** A distribution, read off a histogram. Nanoseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly meanNs: number;
  readonly p50Ns: number;
  readonly p90Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
  readonly maxNs: number;
}

/** A non-empty bucket: values up to `upperNs`, and how many there were. */
export interface LatencyBucket {
  readonly upperNs: number;
  readonly count: number;
}

/**
 * Latencies in log-linear buckets: constant memory, mergeable, written by one thread and readable from others meanwhile.
 */
export class LatencyHistogram {
  /** Bytes of buffer that one histogram takes; a multiple of 8. */
  static readonly byteLength = Math.ceil(SharedCounters.bytesFor(COUNTERS) / 8) * 8;

  readonly #counters: SharedCounters;

  /** The memory that it counts in, this histogram's and perhaps others': to be handed to another thread. */
  get buffer(): ArrayBuffer | SharedArrayBuffer {
    return this.#counters.buffer;
  }

  /** Over `byteLength` bytes of `buffer` from `byteOffset` on, zeroed; over memory of its own by default. */
  constructor(
    buffer: ArrayBuffer | SharedArrayBuffer = new ArrayBuffer(LatencyHistogram.byteLength),
    byteOffset: number = 0,
  ) {
    this.#counters = new SharedCounters(buffer, byteOffset, COUNTERS);
  }

  /** Records one value in nanoseconds; what is negative counts as 0, what is above 2^40 as that. */
  record(ns: number): void {
    // What is no number at all counts as 0 as well: a histogram never throws.
    const value = !(ns > 0) ? 0 : ns > LARGEST_NS ? LARGEST_NS : Math.floor(ns);
    this.#counters.add(bucketOf(value), 1);
    // One addition is bounded; a request of more than two seconds is rare enough to take several.
    let rest = value;
    for (; rest > 0x7fff_ffff; rest -= 0x7fff_ffff) this.#counters.add(SUM, 0x7fff_ffff);
    this.#counters.add(SUM, rest);
  }

  /** Adds another's values to this one; the other may be written meanwhile. */
  merge(other: LatencyHistogram): void {
    this.#counters.merge(other.#counters);
  }

  /** The non-empty buckets in ascending order. */
  buckets(): LatencyBucket[] {
    const buckets: LatencyBucket[] = [];
    for (let i = 0; i < BUCKETS; i++) {
      const count = this.#counters.read(i);
      if (count > 0) buckets.push({ upperNs: upperOf(i), count });
    }
    return buckets;
  }

  /** The distribution so far; all 0 while nothing has been recorded. */
  summary(): LatencySummary {
    const buckets = this.buckets();
    const count = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
    const at = (share: number): number => {
      let left = Math.max(1, Math.ceil(count * share));
      for (const bucket of buckets) {
        left -= bucket.count;
        if (left <= 0) return bucket.upperNs;
      }
      return 0;
    };
    return {
      count,
      meanNs: count === 0 ? 0 : this.#counters.read(SUM) / count,
      p50Ns: at(0.5),
      p90Ns: at(0.9),
      p99Ns: at(0.99),
      p999Ns: at(0.999),
      maxNs: buckets.at(-1)?.upperNs ?? 0,
    };
  }
}

/** Values below 32 have a bucket each; above, the five bits behind the leading one choose within their octave. */
function bucketOf(value: number): number {
  if (value < SUB_BUCKETS) return value;
  let scaled = value;
  let shift = 0;
  if (value >= 0x8000_0000) {
    shift = 16;
    scaled = Math.floor(value / 0x1_0000);
  }
  const octave = 31 - Math.clz32(scaled) - SUB_BITS;
  return (octave + shift + 1) * SUB_BUCKETS + ((scaled >>> octave) & (SUB_BUCKETS - 1));
}

/** Largest value that falls into a bucket. */
function upperOf(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const octave = Math.floor(bucket / SUB_BUCKETS) - 1;
  const first = (SUB_BUCKETS + (bucket % SUB_BUCKETS)) * 2 ** octave;
  return first + 2 ** octave - 1;
}
