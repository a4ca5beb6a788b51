import type { Disk, ExperimentCell, Measurement, Mode, SharingCell } from '../results.js';

/** Modes in the order in which they are shown. */
export const MODES: readonly Mode[] = ['aio', 'sio', 'auto'];

/** Modes as they are printed. */
export const MODE_NAMES: Readonly<Record<Mode, string>> = { aio: 'AIO', sio: 'SIO', auto: 'auto' };

/** Disks in the order in which they are shown. */
const DISKS: readonly Disk[] = ['null-30us', 'null-2us', 'file'];

/** Neighbours in the order in which they are shown. */
const NEIGHBOURS: readonly SharingCell['neighbour'][] = ['idle', 'slow', 'flood'];

/** Disks of which anything was measured. */
export function measuredDisks(cells: readonly ExperimentCell[]): Disk[] {
  return DISKS.filter((disk) => cells.some((cell) => cell.disk === disk));
}

/** Numbers of jobs that a disk was measured with, ascending. */
export function measuredJobs(cells: readonly ExperimentCell[], disk: Disk): number[] {
  const jobs = new Set(cells.filter((cell) => cell.disk === disk).map((cell) => cell.jobs));
  return [...jobs].sort((a, b) => a - b);
}

/** Modes that a disk was measured in, in the order shown. */
export function measuredModes(cells: readonly ExperimentCell[], disk: Disk): Mode[] {
  return MODES.filter((mode) => cells.some((cell) => cell.disk === disk && cell.mode === mode));
}

/** One cell of the experiment, undefined where it was not measured. */
export function cellAt(
  cells: readonly ExperimentCell[],
  disk: Disk,
  jobs: number,
  mode: Mode,
): ExperimentCell | undefined {
  return cells.find((cell) => cell.disk === disk && cell.jobs === jobs && cell.mode === mode);
}

/** Neighbours of which anything was measured. */
export function measuredNeighbours(cells: readonly SharingCell[]): SharingCell['neighbour'][] {
  return NEIGHBOURS.filter((neighbour) => cells.some((cell) => cell.neighbour === neighbour));
}

/** Share of the requests that were done synchronously; undefined when there were none. */
export function syncShare(cell: Measurement | undefined): number | undefined {
  if (cell === undefined || cell.sync + cell.async === 0) return undefined;
  return cell.sync / (cell.sync + cell.async);
}

/** How auto compares with the better of the two forced modes over all cells measured in all three. */
export interface AutoVerdict {
  readonly cells: number;
  /** Auto's mean latency over the better mode's, where that is lowest and where it is highest. */
  readonly lowestRatio: number;
  readonly highestRatio: number;
  /** Where it is highest. */
  readonly disk: Disk;
  readonly jobs: number;
}

/** @returns undefined when no cell was measured in all three modes. */
export function autoVerdict(cells: readonly ExperimentCell[]): AutoVerdict | undefined {
  let verdict: AutoVerdict | undefined;
  for (const auto of cells) {
    if (auto.mode !== 'auto') continue;
    const aio = cellAt(cells, auto.disk, auto.jobs, 'aio');
    const sio = cellAt(cells, auto.disk, auto.jobs, 'sio');
    if (aio === undefined || sio === undefined) continue;
    const ratio = auto.latency_us.mean / Math.min(aio.latency_us.mean, sio.latency_us.mean);
    if (!Number.isFinite(ratio)) continue;
    const highest = verdict === undefined || ratio > verdict.highestRatio;
    verdict = {
      cells: (verdict?.cells ?? 0) + 1,
      lowestRatio: Math.min(verdict?.lowestRatio ?? ratio, ratio),
      highestRatio: Math.max(verdict?.highestRatio ?? ratio, ratio),
      disk: highest ? auto.disk : verdict!.disk,
      jobs: highest ? auto.jobs : verdict!.jobs,
    };
  }
  return verdict;
}
