import type { Measurement } from '../results.js';

/** A mark on the axis; only some carry a label. */
interface LogTick {
  readonly us: number;
  /** With its unit at a power of ten, the bare number at 2 and 5 where there is room for it, otherwise undefined. */
  readonly label: string | undefined;
  /** Whether it is a power of ten. */
  readonly major: boolean;
}

/** A logarithmic axis of latencies. */
export interface LogAxis {
  readonly minUs: number;
  readonly maxUs: number;
  /** Marks from left to right. */
  readonly ticks: readonly LogTick[];
  /** Where a latency lies, from 0 at the left end to 1 at the right; what lies outside is put at the end. */
  readonly position: (us: number) => number;
}

const STEPS = [1, 2, 5, 10] as const;
/** With no more decades than these there is room to label 2 and 5 too. */
const DECADES_WITH_ALL_LABELS = 3;
/** Below a clock tick there is nothing to show, and 0 has no logarithm. */
const LOWEST_US = 0.01;

/** The axis that holds all of these measurements, its ends rounded outwards to 1, 2 or 5 times a power of ten. */
export function logAxis(cells: readonly Measurement[]): LogAxis {
  let low = Infinity;
  let high = 0;
  for (const cell of cells) {
    for (const [upperUs] of cell.histogram) {
      low = Math.min(low, upperUs);
      high = Math.max(high, upperUs);
    }
    if (Number.isFinite(cell.latency_us.max)) high = Math.max(high, cell.latency_us.max);
  }
  const minUs = Number.isFinite(low) ? roundDown(Math.max(low, LOWEST_US) * 0.95) : 1;
  const maxUs = Math.max(roundUp(high), minUs * 10);
  const span = Math.log(maxUs / minUs);
  const position = (us: number): number => {
    const at = us > 0 ? Math.log(us / minUs) / span : 0;
    return Math.min(1, Math.max(0, at));
  };
  return { minUs, maxUs, ticks: ticksBetween(minUs, maxUs), position };
}

function ticksBetween(minUs: number, maxUs: number): LogTick[] {
  const all = Math.log10(maxUs / minUs) <= DECADES_WITH_ALL_LABELS;
  const ticks: LogTick[] = [];
  for (let exponent = Math.floor(Math.log10(minUs)); 10 ** exponent <= maxUs; exponent++) {
    for (let digit = 1; digit < 10; digit++) {
      // Divided rather than multiplied for small ones: 3 * 0.1 is not 0.3, and a label would show it.
      const us = exponent < 0 ? digit / 10 ** -exponent : digit * 10 ** exponent;
      if (us < minUs || us > maxUs) continue;
      const major = digit === 1;
      const labelled = major || (all && (digit === 2 || digit === 5));
      ticks.push({ us, label: labelled ? tickLabel(us, major) : undefined, major });
    }
  }
  return ticks;
}

function tickLabel(us: number, withUnit: boolean): string {
  const [value, unit] = us < 1 ? [Math.round(us * 1000), 'ns'] : us < 1000 ? [us, 'µs'] : [us / 1000, 'ms'];
  return withUnit ? `${value} ${unit}` : String(value);
}

function roundDown(us: number): number {
  const power = 10 ** Math.floor(Math.log10(us));
  const digit = STEPS.findLast((step) => step * power <= us) ?? 1;
  return power < 1 ? digit / Math.round(1 / power) : digit * power;
}

function roundUp(us: number): number {
  if (us <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(us));
  const digit = STEPS.find((step) => step * power >= us) ?? 10;
  return power < 1 ? digit / Math.round(1 / power) : digit * power;
}
