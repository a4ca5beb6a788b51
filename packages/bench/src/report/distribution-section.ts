import type { Disk, ExperimentCell, ExperimentResult } from '../results.js';
import { MODE_NAMES, cellAt, measuredDisks, measuredJobs, measuredModes, syncShare } from './cells.js';
import { NOT_MEASURED, dataTable, swatch } from './data-table.js';
import { formatCount, formatJobs, formatMicros, formatShare } from './format.js';
import { logAxis } from './log-axis.js';
import { type Markup, type Part, markup } from './markup.js';
import { RIDGE_LEGEND, drawRidgePanel, ridgeScale } from './ridge-panel.js';

/** What each disk is, in a few words. */
const DISK_TITLES: Readonly<Record<Disk, string>> = {
  'null-30us': 'A disk of 30 µs',
  'null-2us': 'A disk of 2 µs',
  file: 'A file',
};

/** Latency distributions: for each disk a row of panels, one for each number of jobs, the modes as ridges. */
export function distributionSection({ experiment }: ExperimentResult): Markup {
  const disks = measuredDisks(experiment);
  return markup`<section id="distributions">
<h2>Latency distributions</h2>
${
  disks.length === 0
    ? NOT_MEASURED
    : markup`<p class="legend">${RIDGE_LEGEND} Panels of one disk share both scales.</p>
${disks.map((disk) => diskPart(experiment, disk))}`
}</section>
`;
}

function diskPart(experiment: readonly ExperimentCell[], disk: Disk): Markup {
  const cells = experiment.filter((cell) => cell.disk === disk);
  const scale = ridgeScale(cells, logAxis(cells));
  const modes = measuredModes(cells, disk);
  const panels = measuredJobs(cells, disk).map((jobs) => {
    const ridges = modes.map((mode) => {
      const cell = cellAt(cells, disk, jobs, mode);
      const note = cell === undefined ? '' : `mean ${formatMicros(cell.latency_us.mean)}`;
      return { label: MODE_NAMES[mode], note, tone: mode, cell };
    });
    const title = `${DISK_TITLES[disk]}, ${formatJobs(jobs)}: latency distributions`;
    return drawRidgePanel({ id: `latency-${disk}-${jobs}`, caption: formatJobs(jobs), title, ridges }, scale);
  });
  return markup`<h3>${DISK_TITLES[disk]} <code>${disk}</code></h3>
<div class="panels">
${panels}</div>
${diskTable(cells, disk)}`;
}

function diskTable(cells: readonly ExperimentCell[], disk: Disk): Markup {
  const rows: Part[][] = measuredJobs(cells, disk).flatMap((jobs) =>
    measuredModes(cells, disk).flatMap((mode) => {
      const cell = cellAt(cells, disk, jobs, mode);
      if (cell === undefined) return [];
      const { mean, p50, p90, p99, p99_9, max } = cell.latency_us;
      const figures = [mean, p50, p90, p99, p99_9, max].map(formatMicros);
      return [
        [
          [swatch(mode), MODE_NAMES[mode]],
          jobs,
          formatCount(cell.iops),
          ...figures,
          formatShare(syncShare(cell)),
        ],
      ];
    }),
  );
  return markup`<details open><summary>Figures</summary>
${dataTable({
  caption: `${DISK_TITLES[disk]}: latencies in µs`,
  head: ['Mode', 'Jobs', 'IOPS', 'mean', 'p50', 'p90', 'p99', 'p99.9', 'max', 'sync'],
  textColumns: 1,
  rows,
})}</details>
`;
}
