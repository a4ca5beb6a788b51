/**
 * What a run of the experiment measured. This is also what `--json FILE` holds, so a field's name is a promise to
 * whoever reads such a file later; units stand last in the names.
 */
export interface ExperimentResult {
  /** The 2019 experiment: one cell for each disk, mode and number of jobs that was measured. */
  readonly experiment: readonly ExperimentCell[];
  /** A device beside a neighbour, on one iothread or on two. */
  readonly sharing: readonly SharingCell[];
  /** One busy device, alone and among idle ones on the same iothread. */
  readonly scale: readonly ScaleCell[];
  /** Where the time of an asynchronous request goes, in the order of its way. */
  readonly breakdown: readonly BreakdownStep[];
  readonly machine: Machine;
}

/** Disks of the experiment: a null driver that takes 30 µs or 2 µs a request, and a file. */
export type Disk = 'null-30us' | 'null-2us' | 'file';

/** `aio` and `sio` force asynchronous and synchronous I/O; `auto` leaves it to the dispatcher. */
export type Mode = 'aio' | 'sio' | 'auto';

/** Non-empty buckets of a latency histogram as [upper bound in µs, requests], upper bounds ascending. */
export type Histogram = readonly (readonly [upperUs: number, count: number])[];

/** Latency as the guest sees it, from doorbell to interrupt, in µs. */
interface LatencySummary {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly max: number;
}

/** What is measured of any stream of requests. */
export interface Measurement {
  readonly iops: number;
  readonly latency_us: LatencySummary;
  /** Requests done synchronously. */
  readonly sync: number;
  /** Requests done asynchronously. */
  readonly async: number;
  /** Log-linear, 32 sub-buckets an octave. */
  readonly histogram: Histogram;
}

export interface ExperimentCell extends Measurement {
  readonly disk: Disk;
  readonly mode: Mode;
  /** Requests that the guest keeps under way. */
  readonly jobs: number;
}

export interface SharingCell extends Measurement {
  /** Whether both devices are attached to one iothread or each to its own. */
  readonly placement: 'shared' | 'own';
  readonly mode: 'sio' | 'auto';
  /** What the other device is doing meanwhile. */
  readonly neighbour: 'idle' | 'slow' | 'flood';
}

export interface ScaleCell {
  readonly idle_devices: 0 | 100;
  readonly iops: number;
}

/**
 * Which request the breakdown looks at. `asleep`: both sides sleep between requests, doorbell and interrupt go through
 * shared memory; `asleep-eventfd`: the same through eventfds. `polling`: both sides poll. `file-threads` and `file-io_uring`:
 * both sides poll, and the disk is a cached file, read by a thread pool or an io_uring.
 */
export type BreakdownVariantName = 'asleep' | 'asleep-eventfd' | 'polling' | 'file-threads' | 'file-io_uring';

export interface BreakdownStep {
  readonly step: string;
  readonly mean_ns: number;
  /** How it was measured; absent where only one way was. */
  readonly variant?: BreakdownVariantName;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly v8: string;
  readonly kernel: string;
  readonly platform: string;
  /** When the run began, ISO 8601. */
  readonly date: string;
  /**
   * Share of its time that the vCPU lost to the host or other programs during the run, percent. Outliers of milliseconds
   * are its doing.
   */
  readonly lost_pct: number;
  /** Run time, seconds. */
  readonly runtime_s: number;
}
