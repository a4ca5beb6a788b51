import { join } from 'node:path';
import type { FuzzReport } from './play-cases.js';

/** What came of a process that plays cases: all well, or what was found. */
export interface FuzzOutcome {
  readonly report?: FuzzReport;
  readonly found?: string;
}

/** The files by which such a process tells how it fares. */
export const filesIn = (directory: string): { readonly progress: string; readonly outcome: string } => ({
  /** Two doubles: index of the case that is being played, inputs so far. */
  progress: join(directory, 'progress'),
  /** `FuzzOutcome`. */
  outcome: join(directory, 'outcome'),
});
