import type { BreakdownStep, ExperimentResult, Machine, ScaleCell } from '../results.js';
import { breakdownVariants, variantTitle } from './breakdown-variants.js';
import { measuredDisks } from './cells.js';
import { formatCount, formatLatency, formatMicros, formatShare } from './format.js';
import { scaleChange } from './scale-change.js';
import { SPARKLINE_LEGEND } from './sparkline.js';
import { diskLines } from './terminal-experiment.js';
import { sharingLines } from './terminal-sharing.js';
import { type Paint, painter, plainLine, textTable } from './text-table.js';

/** How the tables are printed. */
export interface TableOptions {
  /** Whether to use escape sequences for colour: not when the output is piped. */
  readonly color: boolean;
  /** Width of the terminal. Lines use at most 80 columns of it, and 64 even where there are fewer. */
  readonly columns: number;
}

const LEAST_COLUMNS = 64;
const MOST_COLUMNS = 80;

/** The result as text for a terminal. */
export function renderTables(result: ExperimentResult, options: TableOptions): string {
  const width = Math.min(MOST_COLUMNS, Math.max(LEAST_COLUMNS, options.columns || MOST_COLUMNS));
  const paint = painter(options.color);
  const heading = (text: string): string => paint('bold', text);
  const missing = paint('dim', 'not measured');
  const disks = measuredDisks(result.experiment);
  const blocks: string[][] = [
    ...disks.map((disk) => diskLines(result.experiment, disk, width, paint)),
    ...(disks.length === 0 ? [[heading('experiment'), missing]] : [[paint('dim', SPARKLINE_LEGEND)]]),
    [heading('sharing an iothread'), ...(sharingLines(result.sharing, width, paint) ?? [missing])],
    [heading('idle devices'), ...(result.scale.length === 0 ? [missing] : scaleLines(result.scale, paint))],
    [
      `${heading('where the time of an asynchronous request goes')} ${paint('dim', 'mean in µs')}`,
      ...(result.breakdown.length === 0 ? [missing] : breakdownLines(result.breakdown, width, paint)),
    ],
    machineLines(result.machine, width).map((line) => paint('dim', line)),
  ];
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function scaleLines(scale: readonly ScaleCell[], paint: Paint): string[] {
  const right = { align: 'right' } as const;
  const columns = [
    { width: 5, ...right },
    { width: 12, ...right },
    { width: 8, ...right },
  ];
  const rows = scale.map((cell) => [
    String(cell.idle_devices),
    formatCount(cell.iops),
    scaleChange(scale, cell),
  ]);
  return textTable(
    columns,
    [
      [
        ['dim', 'idle'],
        ['dim', 'IOPS'],
        ['dim', 'change'],
      ],
      ...rows,
    ],
    paint,
  );
}

function breakdownLines(breakdown: readonly BreakdownStep[], width: number, paint: Paint): string[] {
  const variants = breakdownVariants(breakdown);
  const longest = Math.max(...breakdown.map(({ mean_ns }) => mean_ns));
  const nameWidth = Math.min(24, Math.max(...breakdown.map(({ step }) => step.length)));
  const columns = [
    { width: nameWidth + 2, align: 'left' },
    { width: 8, align: 'right' },
    { width: 7, align: 'right' },
  ] as const;
  const barWidth = width - columns.reduce((sum, column) => sum + column.width + 1, 0);
  return variants.flatMap(({ variant, steps, totalNs }) => {
    const rows = steps.map(({ step, mean_ns }) => {
      const bar = '█'.repeat(Math.round((mean_ns / longest) * barWidth)) || '▏';
      const name = `  ${plainLine(step, nameWidth)}`;
      return [name, formatMicros(mean_ns / 1000), formatShare(mean_ns / totalNs), ['magenta', bar] as const];
    });
    return [`${variantTitle(variant)}: ${formatLatency(totalNs / 1000)}`, ...textTable(columns, rows, paint)];
  });
}

function machineLines(
  { cpu, cores, node, v8, kernel, platform, date, lost_pct, runtime_s }: Machine,
  width: number,
): string[] {
  return [
    `${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}`,
    `Node.js ${node}, V8 ${v8}`,
    `${kernel}, ${platform}`,
    `${date}, run time ${runtime_s} s`,
    `the host or other programs took ${lost_pct} % of the vCPU’s time`,
  ].map((line) => plainLine(line, width));
}
