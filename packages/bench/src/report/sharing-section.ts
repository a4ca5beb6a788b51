import type { ExperimentResult, SharingCell } from '../results.js';
import { MODE_NAMES, measuredNeighbours, syncShare } from './cells.js';
import { NOT_MEASURED, dataTable, swatch } from './data-table.js';
import { formatCount, formatMicros, formatShare } from './format.js';
import { logAxis } from './log-axis.js';
import { type Markup, type Part, markup } from './markup.js';
import { RIDGE_LEGEND, type RidgePanel, drawRidgePanel, ridgeScale } from './ridge-panel.js';

const NEIGHBOUR_TITLES: Readonly<Record<SharingCell['neighbour'], string>> = {
  idle: 'Beside an idle device',
  slow: 'Beside a slow device',
  flood: 'Beside a flooded device',
};

/** Rows of every panel and of the table, from the one that is at its neighbour's mercy to the one that is not. */
const ROWS: readonly Pick<SharingCell, 'placement' | 'mode'>[] = [
  { placement: 'shared', mode: 'sio' },
  { placement: 'shared', mode: 'auto' },
  { placement: 'own', mode: 'sio' },
  { placement: 'own', mode: 'auto' },
];

/** One device beside another: what the neighbour costs it on a shared iothread and on one of its own. */
export function sharingSection({ sharing }: ExperimentResult): Markup {
  return markup`<section id="sharing">
<h2>Sharing an iothread</h2>
${sharing.length === 0 ? NOT_MEASURED : sharingPart(sharing)}</section>
`;
}

function sharingPart(sharing: readonly SharingCell[]): Markup {
  const scale = ridgeScale(sharing, logAxis(sharing));
  const rows = ROWS.filter((row) => sharing.some((cell) => matches(cell, row)));
  const panels = measuredNeighbours(sharing).map((neighbour) => {
    const panel: RidgePanel = {
      id: `sharing-${neighbour}`,
      caption: NEIGHBOUR_TITLES[neighbour],
      title: `${NEIGHBOUR_TITLES[neighbour]}: latency distributions`,
      ridges: rows.map((row) => ({
        label: MODE_NAMES[row.mode],
        note: row.placement,
        tone: `${row.mode} ${row.placement}`,
        cell: sharing.find((cell) => cell.neighbour === neighbour && matches(cell, row)),
      })),
    };
    return drawRidgePanel(panel, scale);
  });
  return markup`<p>Latency of a device beside a neighbour, both on one shared iothread or each on its own. Whatever is done
synchronously on a shared iothread keeps the other device waiting, so auto must show no synchronous request there.</p>
<p class="legend">${RIDGE_LEGEND}</p>
<div class="panels">
${panels}</div>
${sharingTable(sharing, rows)}`;
}

function sharingTable(sharing: readonly SharingCell[], order: typeof ROWS): Markup {
  const rows: Part[][] = measuredNeighbours(sharing).flatMap((neighbour) =>
    order.flatMap((row) => {
      const cell = sharing.find((each) => each.neighbour === neighbour && matches(each, row));
      if (cell === undefined) return [];
      const { mean, p50, p90, p99, p99_9, max } = cell.latency_us;
      const figures = [mean, p50, p90, p99, p99_9, max].map(formatMicros);
      const mode = [swatch(`${cell.mode} ${cell.placement}`), MODE_NAMES[cell.mode]];
      return [
        [neighbour, cell.placement, mode, formatCount(cell.iops), ...figures, formatShare(syncShare(cell))],
      ];
    }),
  );
  return dataTable({
    caption: 'A device beside a neighbour: latencies in µs',
    head: ['Neighbour', 'Iothread', 'Mode', 'IOPS', 'mean', 'p50', 'p90', 'p99', 'p99.9', 'max', 'sync'],
    textColumns: 3,
    rows,
  });
}

function matches(cell: SharingCell, row: Pick<SharingCell, 'placement' | 'mode'>): boolean {
  return cell.placement === row.placement && cell.mode === row.mode;
}
