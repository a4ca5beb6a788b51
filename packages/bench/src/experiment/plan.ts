import type { Disk, Mode } from '../results.js';

/** What to measure, and for how long. */
export interface Plan {
  readonly jobs: readonly number[];
  readonly disks: readonly Disk[];
  readonly modes: readonly Mode[];
  /** Seconds a cell, over all its rounds. */
  readonly runtimeS: number;
  /** Cells are measured in rounds, in turn: what disturbs the machine for a moment disturbs them all alike. */
  readonly rounds: number;
  /** Directory for the file disk. */
  readonly directory: string;
}

/** Says what is being done: shown as a progress line. */
export type Progress = (done: number, total: number, what: string) => void;
