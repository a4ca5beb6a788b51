import type { ExperimentCell, Mode } from '../results.js';
import { MODES, MODE_NAMES, cellAt } from './cells.js';
import { DISK_2019, JOBS_2019, latency2019Us } from './experiment-2019.js';
import { formatJobs, formatMicros } from './format.js';
import { type Markup, markup } from './markup.js';
import { FIGURE_WIDTH, coordinate as c, svgFigure } from './svg.js';

const LEFT = 92;
const RIGHT = 14;
const WIDTH = FIGURE_WIDTH - LEFT - RIGHT;
const ROW_HEIGHT = 17;
const GROUP_GAP = 11;
const GROUP_HEIGHT = MODES.length * ROW_HEIGHT + GROUP_GAP;
const TOP = 6;
const TICKS = 5;

/** Average latencies of 2019 (hollow) and of this run (filled), joined by a line for each cell. */
export function comparisonChart(cells: readonly ExperimentCell[]): Markup {
  const means = cells.filter(({ disk }) => disk === DISK_2019).map(({ latency_us }) => latency_us.mean);
  const figures2019 = JOBS_2019.flatMap((jobs) =>
    MODES.map((mode) => latency2019Us(DISK_2019, jobs, mode) ?? 0),
  );
  const highestUs = Math.max(...figures2019, ...means.filter(Number.isFinite));
  const stepUs = niceStep(highestUs / TICKS);
  const endUs = Math.ceil(highestUs / stepUs) * stepUs;
  const x = (us: number): number => c(LEFT + (us / endUs) * WIDTH);
  const bottom = TOP + JOBS_2019.length * GROUP_HEIGHT - GROUP_GAP + 4;

  const described: string[] = [];
  const rows = JOBS_2019.flatMap((jobs, group) =>
    MODES.map((mode, row) => {
      const then = latency2019Us(DISK_2019, jobs, mode);
      const now = finite(cellAt(cells, DISK_2019, jobs, mode)?.latency_us.mean);
      described.push(
        `${formatJobs(jobs)}, ${MODE_NAMES[mode]}: ${formatMicros(then)} in 2019, ${formatMicros(now)} now.`,
      );
      const y = TOP + group * GROUP_HEIGHT + (row + 0.5) * ROW_HEIGHT;
      const groupName = markup`<text class="name" x="0" y="${c(y + 4)}">${formatJobs(jobs)}</text>`;
      return [row === 0 ? groupName : undefined, drawRow(mode, y, then, now, x)];
    }),
  );
  const ticks = Array.from({ length: Math.round(endUs / stepUs) + 1 }, (_, i) => {
    const at = x(i * stepUs);
    return markup`<path class="grid" d="M${at} ${TOP}V${bottom}"/><text class="axis-label" x="${at}" y="${bottom + 14}">${i * stepUs}</text>`;
  });
  const figure = {
    id: 'comparison',
    caption: markup`Average latency in µs <span class="key">○ 2019 ● this run</span>`,
    title: 'Average latency of 2019 and of this run, in µs',
    description: described.join(' '),
    height: bottom + 20,
  };
  return svgFigure(figure, [markup`<g>${ticks}</g>`, rows]);
}

function drawRow(
  mode: Mode,
  y: number,
  then: number | undefined,
  now: number | undefined,
  x: (us: number) => number,
): Markup {
  const line =
    then === undefined || now === undefined
      ? undefined
      : markup`<path class="link" d="M${x(then)} ${y}H${x(now)}"/>`;
  const hollow =
    then === undefined ? undefined : markup`<circle class="then" cx="${x(then)}" cy="${y}" r="4"/>`;
  const filled = now === undefined ? undefined : markup`<circle class="now" cx="${x(now)}" cy="${y}" r="4"/>`;
  return markup`<g class="${mode}"><text class="mode" x="${LEFT - 38}" y="${c(y + 4)}">${MODE_NAMES[mode]}</text>${line}${hollow}${filled}</g>
`;
}

function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return ([1, 2, 5].find((digit) => digit * power >= step) ?? 10) * power;
}

/** A cell that saw no request has no mean, and nothing is drawn for it. */
function finite(us: number | undefined): number | undefined {
  return Number.isFinite(us) ? us : undefined;
}
