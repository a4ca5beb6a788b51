import type { Disk, Mode } from '../results.js';

/** Average latencies in µs that were posted in March 2019, by jobs and mode; `auto` was called AIO+SIO then. */
const LATENCY_US: ReadonlyMap<number, Readonly<Record<Mode, number>>> = new Map([
  [1, { aio: 70, sio: 55, auto: 55 }],
  [2, { aio: 83, sio: 82, auto: 78 }],
  [4, { aio: 90, sio: 159, auto: 90 }],
]);

/** Numbers of jobs that have figures of 2019. */
export const JOBS_2019: readonly number[] = [...LATENCY_US.keys()];

/** The disk that stands for the null_blk of 2019; no other disk has figures to compare with. */
export const DISK_2019: Disk = 'null-30us';

/** Average latency of 2019 in µs; undefined for cells that were not measured then. */
export function latency2019Us(disk: Disk, jobs: number, mode: Mode): number | undefined {
  return disk === DISK_2019 ? LATENCY_US.get(jobs)?.[mode] : undefined;
}

/** What was measured in 2019 and what followed from it. */
export const BACKGROUND_2019 =
  'In March 2019 Sergio Lopez and Stefan Hajnoczi compared asynchronous with synchronous I/O in an iothread on ' +
  'qemu-block: a virtio-blk disk over a null_blk that takes 30 µs a request. Synchronous I/O wins alone and loses ' +
  'badly in company, and the number of requests in the virtqueue is the hint that tells which it is, so no tunable is ' +
  'needed. An average hides the shape, so this report plots the distributions. And an iothread that several devices ' +
  'share must not do synchronous I/O, since it would block the others.';
