import type { DevicePort } from '@iothreads/iothread';

/** A device as a vCPU drives it. */
export interface DeviceLoad {
  readonly port: DevicePort;
  readonly memory: SharedArrayBuffer;
  /** Jobs on it: each keeps one random read of 4 KiB in flight. */
  readonly jobs: number;
  readonly sizeBytes: number;
}

/** One run of a vCPU. */
export interface LoadTask {
  readonly devices: readonly DeviceLoad[];
  readonly runtimeMs: number;
}

/** What came of it. */
export interface LoadResult {
  /** In the task's order. */
  readonly devices: readonly DeviceResult[];
  readonly seconds: number;
  /** Of these, how long the vCPU did not run: the host or other programs had its processor. */
  readonly lostSeconds: number;
}

/** What came of it for one device. */
interface DeviceResult {
  readonly requests: number;
  /** Memory of a `LatencyHistogram`: from making a request available to seeing it completed. */
  readonly histogram: ArrayBuffer;
}

/** Eventfds of a queue whose driver is elsewhere. */
export interface QueueEventfds {
  readonly kickFd: number;
  readonly callFd: number;
}

/** One request at a time through a traced device, for the breakdown. */
export interface TraceTask {
  readonly device: DeviceLoad;
  readonly requests: number;
  /** Whether both sides sleep between requests, or poll. */
  readonly asleep: boolean;
  /** What doorbell and interrupt go through, where that is not the device's port. */
  readonly eventfds?: QueueEventfds | undefined;
  /** Moments of the device's side, by `TraceMoment`. */
  readonly moments: Float64Array;
}

/** Sums over the requests of a `TraceTask`, nanoseconds, in the order of a request's way. */
export interface TraceResult {
  readonly requests: number;
  readonly steps: Readonly<Record<TraceStep, number>>;
}

export const TRACE_STEPS = ['doorbell', 'wake-up', 'pop', 'submit', 'complete', 'interrupt'] as const;
type TraceStep = (typeof TRACE_STEPS)[number];
