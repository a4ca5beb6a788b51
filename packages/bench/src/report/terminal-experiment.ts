import type { Disk, ExperimentCell, Mode } from '../results.js';
import { MODES, MODE_NAMES, cellAt, measuredJobs, measuredModes, syncShare } from './cells.js';
import { DISK_2019, latency2019Us } from './experiment-2019.js';
import { formatCount, formatMicros, formatShare } from './format.js';
import { logAxis } from './log-axis.js';
import { sparkline, sparklineAxis } from './sparkline.js';
import { type Cell, type Paint, type TextColumn, textTable } from './text-table.js';

/** Colours of the modes in a terminal, as near as eight colours come to those of the report. */
export const MODE_STYLES = { aio: 'cyan', sio: 'yellow', auto: 'green' } as const;

const MEAN_COLUMNS: readonly TextColumn[] = [
  { width: 4, align: 'right' },
  // Three times a figure and, beside it, that of 2019.
  ...MODES.flatMap((): TextColumn[] => [
    { width: 9, align: 'right' },
    { width: 5, align: 'left' },
  ]),
  { width: 10, align: 'right' },
];
const SHAPE_COLUMNS: readonly TextColumn[] = [
  { width: 4, align: 'right' },
  { width: 4, align: 'left' },
  { width: 7, align: 'right' },
  { width: 7, align: 'right' },
  { width: 7, align: 'right' },
];
const SHAPE_WIDTH = SHAPE_COLUMNS.reduce((sum, { width }) => sum + width + 1, 0) + 1;

/** One disk: a table of mean latencies, 2019 beside them, and a line with the distribution of every cell. */
export function diskLines(all: readonly ExperimentCell[], disk: Disk, width: number, paint: Paint): string[] {
  const cells = all.filter((cell) => cell.disk === disk);
  const compared = disk === DISK_2019 ? '; in parentheses: 2019' : '';
  return [
    `${paint('bold', disk)} ${paint('dim', `mean latency in µs${compared}`)}`,
    ...meanLines(cells, disk, paint),
    '',
    ...shapeLines(cells, disk, width, paint),
  ];
}

function meanLines(cells: readonly ExperimentCell[], disk: Disk, paint: Paint): string[] {
  const head: Cell[] = [
    ['dim', 'jobs'],
    ...MODES.flatMap((mode): Cell[] => [[MODE_STYLES[mode], MODE_NAMES[mode]], '']),
    ['dim', 'auto sync'],
  ];
  const rows = measuredJobs(cells, disk).map((jobs): Cell[] => [
    String(jobs),
    ...MODES.flatMap((mode) => meanCells(cells, disk, jobs, mode)),
    formatShare(syncShare(cellAt(cells, disk, jobs, 'auto'))),
  ]);
  return textTable(MEAN_COLUMNS, [head, ...rows], paint);
}

function meanCells(cells: readonly ExperimentCell[], disk: Disk, jobs: number, mode: Mode): Cell[] {
  const then = latency2019Us(disk, jobs, mode);
  const now = formatMicros(cellAt(cells, disk, jobs, mode)?.latency_us.mean);
  return [now, then === undefined ? '' : ['dim', `(${formatCount(then)})`]];
}

function shapeLines(cells: readonly ExperimentCell[], disk: Disk, width: number, paint: Paint): string[] {
  const axis = logAxis(cells);
  const sparkWidth = width - SHAPE_WIDTH;
  const head: Cell[] = ['', '', ...['p50', 'p99', 'max'].map((name): Cell => ['dim', name])];
  head.push(['dim', ` ${sparklineAxis(axis, sparkWidth).trimEnd()}`]);
  const rows = measuredJobs(cells, disk).flatMap((jobs) =>
    measuredModes(cells, disk).flatMap((mode, row): Cell[][] => {
      const cell = cellAt(cells, disk, jobs, mode);
      const first = row === 0 ? String(jobs) : '';
      if (cell === undefined)
        return [[first, [MODE_STYLES[mode], MODE_NAMES[mode]], ['dim', 'not measured']]];
      const { p50, p99, max } = cell.latency_us;
      const spark = ` ${sparkline(cell.histogram, axis, sparkWidth)}`;
      return [
        [
          first,
          [MODE_STYLES[mode], MODE_NAMES[mode]],
          ...[p50, p99, max].map(formatMicros),
          [MODE_STYLES[mode], spark],
        ],
      ];
    }),
  );
  return textTable(SHAPE_COLUMNS, [head, ...rows], paint);
}
