import { formatCount, formatMicros } from '../report/format.js';
import { type Cell, type Paint, type TextColumn, textTable } from '../report/text-table.js';
import type { Client, DaemonBenchResult, DaemonCell, Footprint, NeighbourCell } from './daemon-results.js';

const RIGHT = (width: number): TextColumn => ({ width, align: 'right' });
const LEFT = (width: number): TextColumn => ({ width, align: 'left' });
const CLIENT_NAMES: Readonly<Record<Client, string>> = {
  event: 'client asleep until its interrupt',
  poll: 'client polls its used ring',
};

/** `ours / QEMU's`, green where that is in our favour, red where it is not. */
function ratio(ours: number, qemu: number, smallerIsBetter: boolean): Cell {
  const value = ours / qemu;
  if (!Number.isFinite(value)) return '–';
  const good = smallerIsBetter ? value <= 1 : value >= 1;
  return [good ? 'green' : 'red', `${value.toFixed(value < 10 ? 2 : 0)} x`];
}

const kilo = (iops: number): string =>
  iops < 1000 ? `${(iops / 1000).toFixed(2)}k` : `${formatCount(iops / 1000)}k`;

/** Everything measured, for a terminal of 80 columns. */
export function renderDaemonTables(result: DaemonBenchResult, paint: Paint): string {
  const lines = [`4 KiB random requests; ${result.qemu_version} against ours, in turn; medians`, ''];
  for (const group of groupsOf(result.cells)) {
    const { disk, client, operation } = group[0]!;
    lines.push(
      paint('bold', `${disk}, ${operation}, ${CLIENT_NAMES[client]}`),
      ...cellLines(group, paint),
      '',
    );
  }
  if (result.neighbours.length > 0) {
    lines.push(paint('bold', 'null-co at depth 1 beside a neighbour on the same iothread'));
    lines.push(...neighbourLines(result.neighbours, paint), '');
  }
  lines.push(paint('bold', 'Start and memory'), ...footprintLines(result.footprint, paint), '');
  return lines.join('\n');
}

function groupsOf(cells: readonly DaemonCell[]): DaemonCell[][] {
  const groups = new Map<string, DaemonCell[]>();
  for (const cell of cells) {
    const key = `${cell.disk} ${cell.client} ${cell.operation}`;
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()];
}

const CELL_COLUMNS = [
  RIGHT(5),
  RIGHT(9),
  RIGHT(9),
  RIGHT(7),
  RIGHT(8),
  RIGHT(8),
  RIGHT(7),
  RIGHT(8),
  RIGHT(7),
];

function cellLines(cells: readonly DaemonCell[], paint: Paint): string[] {
  const head = ['depth', 'mean QEMU', 'ours, us', '', 'IOPS', 'ours', '', 'CPU QEMU', 'ours us'];
  const rows = cells.map(({ depth, qemu, ours }): Cell[] => [
    String(depth),
    formatMicros(qemu.mean_us),
    formatMicros(ours.mean_us),
    ratio(ours.mean_us, qemu.mean_us, true),
    kilo(qemu.iops),
    kilo(ours.iops),
    ratio(ours.iops, qemu.iops, false),
    formatMicros(qemu.cpu_us),
    formatMicros(ours.cpu_us),
  ]);
  return textTable(CELL_COLUMNS, [head.map((name): Cell => ['dim', name]), ...rows], paint);
}

const NEIGHBOUR_COLUMNS = [LEFT(24), RIGHT(8), RIGHT(7), RIGHT(8), RIGHT(7), RIGHT(9), RIGHT(8)];

function neighbourLines(cells: readonly NeighbourCell[], paint: Paint): string[] {
  const head = ['neighbour', 'p99 QEMU', 'ours us', 'IOPS', 'ours', 'max QEMU', 'ours us'];
  const rows = cells.map(({ neighbour, qemu, ours }): Cell[] => [
    neighbour,
    formatMicros(qemu.p99_us),
    formatMicros(ours.p99_us),
    kilo(qemu.iops),
    kilo(ours.iops),
    formatMicros(qemu.max_us),
    formatMicros(ours.max_us),
  ]);
  const lines = textTable(NEIGHBOUR_COLUMNS, [head.map((name): Cell => ['dim', name]), ...rows], paint);
  const sync = cells.reduce((sum, cell) => sum + cell.sync, 0);
  return [...lines, `Synchronous requests of ours in all of these: ${formatCount(sync)}`];
}

const FOOTPRINT_COLUMNS = [LEFT(40), RIGHT(10), RIGHT(10)];

function footprintLines({ qemu, ours }: DaemonBenchResult['footprint'], paint: Paint): string[] {
  const row = (name: string, pick: (each: Footprint) => number, digits: number): Cell[] => [
    name,
    pick(qemu).toFixed(digits),
    pick(ours).toFixed(digits),
  ];
  const head = ['', 'QEMU', 'ours'].map((name): Cell => ['dim', name]);
  return textTable(
    FOOTPRINT_COLUMNS,
    [
      head,
      row('start to a socket that answers, ms', ({ start_ms }) => start_ms, 0),
      row('resident with one export, MiB', ({ resident_mib }) => resident_mib, 1),
      row('each further idle export, MiB', ({ export_mib }) => export_mib, 2),
    ],
    paint,
  );
}
