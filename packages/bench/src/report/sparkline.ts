import type { Histogram } from '../results.js';
import { binShares } from './histogram-bins.js';
import type { LogAxis } from './log-axis.js';

const LEVELS = '▁▂▃▄▅▆▇█';
/** A column with less than this share is an outlier: a dot, since the lowest block would claim too much. */
const OUTLIER_SHARE = 0.001;

/** What the sparkline's height means, for the text beside it. */
export const SPARKLINE_LEGEND = 'height: square root of the share; dot: a share under 0.1 %';

/** A distribution as one line of `width` characters over a logarithmic axis. */
export function sparkline(histogram: Histogram, axis: LogAxis, width: number): string {
  const shares = binShares(histogram, axis, width);
  const peak = Math.max(...shares);
  return shares
    .map((share) => {
      if (share === 0) return ' ';
      if (share < OUTLIER_SHARE) return '.';
      return LEVELS[Math.min(LEVELS.length - 1, Math.floor(Math.sqrt(share / peak) * LEVELS.length))]!;
    })
    .join('');
}

/** The axis for sparklines of that width: ticks with their labels, powers of ten first, others where there is room. */
export function sparklineAxis(axis: LogAxis, width: number): string {
  let line = ' '.repeat(width);
  const ticks = axis.ticks.toSorted((a, b) => Number(b.major) - Number(a.major));
  for (const { us, label } of ticks) {
    const column = Math.min(width - 1, Math.floor(axis.position(us) * width));
    const text = `╵${label}`;
    const end = column + text.length;
    const free = line.slice(Math.max(0, column - 1), end + 1).trim() === '';
    if (label === undefined || end > width || !free) continue;
    line = line.slice(0, column) + text + line.slice(end);
  }
  return line;
}
