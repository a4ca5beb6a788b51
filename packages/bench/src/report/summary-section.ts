import type { ExperimentResult, Mode } from '../results.js';
import { MODES, MODE_NAMES, autoVerdict, cellAt, measuredJobs, syncShare } from './cells.js';
import { comparisonChart } from './comparison-chart.js';
import { NOT_MEASURED, scrollFrame } from './data-table.js';
import { BACKGROUND_2019, DISK_2019, JOBS_2019, latency2019Us } from './experiment-2019.js';
import { MISSING, formatChange, formatJobs, formatMicros, formatShare } from './format.js';
import { type Markup, markup } from './markup.js';

/** What 2019 found, and the same cells of this run beside it. */
export function summarySection(result: ExperimentResult): Markup {
  const measured = measuredJobs(result.experiment, DISK_2019);
  const jobs = [...new Set([...JOBS_2019, ...measured])].sort((a, b) => a - b);
  return markup`<section id="summary">
<h2>2019 and now</h2>
<p>${BACKGROUND_2019}</p>
${verdict(result)}
${measured.length === 0 ? NOT_MEASURED : undefined}
<div class="beside">
${comparisonTable(result, jobs)}
${comparisonChart(result.experiment)}
</div>
</section>
`;
}

function verdict({ experiment }: ExperimentResult): Markup | undefined {
  const found = autoVerdict(experiment);
  if (found === undefined) return undefined;
  const { cells, lowestRatio, highestRatio, disk, jobs } = found;
  const change = (ratio: number): Markup => markup`<span class="nowrap">${formatChange(ratio)}</span>`;
  const where = `${disk}, ${formatJobs(jobs)}`;
  if (cells === 1) {
    return markup`<p>In the one cell measured in all three modes (${where}), the mean latency of auto is ${change(highestRatio)}
against the better of the two forced modes.</p>`;
  }
  return markup`<p>Over the ${cells} cells measured in all three modes, the mean latency of auto against the better of the two
forced modes lies between ${change(lowestRatio)} and ${change(highestRatio)} (the highest: ${where}).</p>`;
}

function comparisonTable(result: ExperimentResult, jobs: readonly number[]): Markup {
  const groups = MODES.map(
    (mode) => markup`<th scope="colgroup" colspan="2" class="${mode}">${MODE_NAMES[mode]}</th>`,
  );
  const heads = MODES.map(
    () => markup`<th scope="col" class="number faint">2019</th><th scope="col" class="number">run</th>`,
  );
  const rows = jobs.map((count) => {
    const auto = cellAt(result.experiment, DISK_2019, count, 'auto');
    return markup`<tr><th scope="row" class="number">${count}</th>${MODES.map((mode) => pair(result, count, mode))}
<td class="number">${formatShare(syncShare(auto))}</td></tr>
`;
  });
  const caption = 'Average latency in µs over a disk of 30 µs, 2019 and in this run';
  return scrollFrame(
    caption,
    markup`<table class="comparison">
<caption>${caption}</caption>
<colgroup></colgroup><colgroup span="2"></colgroup><colgroup span="2"></colgroup><colgroup span="2"></colgroup><colgroup></colgroup>
<thead>
<tr><th scope="col" rowspan="2" class="number">Jobs</th>${groups}<th scope="col" rowspan="2" class="number">auto: sync</th></tr>
<tr>${heads}</tr>
</thead>
<tbody>
${rows}</tbody>
</table>`,
  );
}

function pair(result: ExperimentResult, jobs: number, mode: Mode): Markup {
  const then = latency2019Us(DISK_2019, jobs, mode);
  const now = cellAt(result.experiment, DISK_2019, jobs, mode)?.latency_us.mean;
  return markup`<td class="number faint">${then ?? MISSING}</td><td class="number strong">${formatMicros(now)}</td>`;
}
