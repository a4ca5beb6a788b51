import type { LeakWatch } from './leak-watch.js';
import type { GuestCounts } from './soak-guest.js';

/** What a process held first, after the warm-up, and last, with nothing in use. */
export type Held = Pick<LeakWatch, 'first' | 'last' | 'memory'>;

/** How much was done. Whatever goes wrong is an exception. */
export interface DaemonStressReport extends GuestCounts {
  readonly seed: number;
  /** Times at which nothing was in use, and leaks were looked for. */
  rests: number;
  nodes: number;
  exported: number;
  removed: number;
  connected: number;
  vanished: number;
  moved: number;
  queries: number;
  iothreads: number;
  /** Rules of faults that were set, and the requests that had such a fault. */
  rules: number;
  faults: number;
  pauses: number;
  kills: number;
  /** Of the daemon that lives longest. */
  daemon: Held;
  /** Of this process. */
  guests: Held;
}

export function newReport(seed: number, daemon: Held, guests: Held): DaemonStressReport {
  const guestCounts = { requests: 0, bytes: 0, failed: 0, verified: 0, connected: 0, vanished: 0 };
  const operatorCounts = { nodes: 0, exported: 0, removed: 0, moved: 0, queries: 0, iothreads: 0 };
  const faultCounts = { rules: 0, faults: 0, pauses: 0, kills: 0 };
  return { seed, rests: 0, ...guestCounts, ...operatorCounts, ...faultCounts, daemon, guests };
}
