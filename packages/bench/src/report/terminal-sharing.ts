import type { SharingCell } from '../results.js';
import { MODE_NAMES, measuredNeighbours, syncShare } from './cells.js';
import { formatCount, formatMicros, formatShare } from './format.js';
import { logAxis } from './log-axis.js';
import { sparkline, sparklineAxis } from './sparkline.js';
import { MODE_STYLES } from './terminal-experiment.js';
import { type Cell, type Paint, type TextColumn, textTable } from './text-table.js';

const COLUMNS: readonly TextColumn[] = [
  { width: 6, align: 'left' },
  { width: 6, align: 'left' },
  { width: 4, align: 'left' },
  { width: 9, align: 'right' },
  { width: 7, align: 'right' },
  { width: 7, align: 'right' },
  { width: 7, align: 'right' },
  { width: 7, align: 'right' },
];
const WIDTH = COLUMNS.reduce((sum, { width }) => sum + width + 1, 0);

/** One line for each cell, by neighbour. @returns undefined when there are none. */
export function sharingLines(
  cells: readonly SharingCell[],
  width: number,
  paint: Paint,
): string[] | undefined {
  if (cells.length === 0) return undefined;
  const axis = logAxis(cells);
  // On a narrow terminal a distribution of a few columns would tell nothing: it is left out.
  const sparkWidth = width - WIDTH >= 12 ? width - WIDTH : 0;
  const names = [
    'beside',
    'thread',
    'mode',
    'IOPS',
    'p50',
    'p99',
    'max',
    'sync',
    sparklineAxis(axis, sparkWidth),
  ];
  const rows = measuredNeighbours(cells).flatMap((neighbour) =>
    cells
      .filter((cell) => cell.neighbour === neighbour)
      .map((cell): Cell[] => {
        const { p50, p99, max } = cell.latency_us;
        return [
          cell.neighbour,
          cell.placement,
          [MODE_STYLES[cell.mode], MODE_NAMES[cell.mode]],
          formatCount(cell.iops),
          ...[p50, p99, max].map(formatMicros),
          formatShare(syncShare(cell)),
          [MODE_STYLES[cell.mode], sparkline(cell.histogram, axis, sparkWidth)],
        ];
      }),
  );
  return textTable(COLUMNS, [names.map((name): Cell => ['dim', name]), ...rows], paint);
}
