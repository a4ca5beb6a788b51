import type { Measurement } from '../results.js';
import { formatLatency, formatShare } from './format.js';
import { binShares } from './histogram-bins.js';
import type { LogAxis } from './log-axis.js';
import { type Markup, markup } from './markup.js';
import { RIDGE_HEIGHT, type RidgeScale, drawRidge, ridgeHeight } from './ridgeline.js';
import { FIGURE_WIDTH, coordinate as c, svgFigure } from './svg.js';

/** One row of a panel. */
interface Ridge {
  /** What it is, and a word more below. */
  readonly label: string;
  readonly note: string;
  /** Class that gives it its colour. */
  readonly tone: string;
  /** Undefined where it was not measured: the row stays, so that panels can be compared row by row. */
  readonly cell: Measurement | undefined;
}

/** One of several panels that share their axis and their height. */
export interface RidgePanel {
  readonly id: string;
  readonly caption: string;
  readonly title: string;
  readonly ridges: readonly Ridge[];
}

/** Bins an octave: wide enough to be smooth, narrow enough to tell peaks a tenth apart. */
const BINS_AN_OCTAVE = 12;
const LEFT = 62;
const RIGHT = 32;
const TOP = 4;
const ROW_HEIGHT = RIDGE_HEIGHT + 30;
const AXIS_HEIGHT = 22;
const WIDTH = FIGURE_WIDTH - LEFT - RIGHT;
/** Heights that get a guide line. */
const GUIDES = [0.01, 0.1, 0.5] as const;

/** The scale for panels that show these measurements. */
export function ridgeScale(cells: readonly Measurement[], axis: LogAxis): RidgeScale {
  const binCount = Math.max(1, Math.round(Math.log2(axis.maxUs / axis.minUs) * BINS_AN_OCTAVE));
  let peakShare = 0;
  for (const cell of cells) peakShare = Math.max(peakShare, ...binShares(cell.histogram, axis, binCount));
  return { axis, binCount, peakShare: peakShare === 0 ? 1 : peakShare };
}

/** What the height means, for the text beside the panels. */
export const RIDGE_LEGEND =
  'Height: share of the requests in bins of a twelfth of an octave, on a square-root scale; the marks under a line are ' +
  'buckets too rare to be seen as height. Latency runs along a logarithmic axis.';

/** Distributions one below the other, over one axis. */
export function drawRidgePanel(panel: RidgePanel, scale: RidgeScale): Markup {
  const bottom = TOP + panel.ridges.length * ROW_HEIGHT;
  const figure = {
    id: panel.id,
    caption: panel.caption,
    title: panel.title,
    description: panel.ridges.map(describe).join(' '),
    height: bottom + AXIS_HEIGHT,
  };
  const rows = panel.ridges.map((ridge, row) =>
    drawRow(ridge, TOP + row * ROW_HEIGHT + RIDGE_HEIGHT, scale, row === 0),
  );
  return svgFigure(figure, [drawAxis(scale.axis, bottom), rows]);
}

function describe({ label, note, cell }: Ridge): string {
  if (cell === undefined) return `${label}: not measured.`;
  const { mean, p50, p99, max } = cell.latency_us;
  const figures = [`mean ${formatLatency(mean)}`, `p50 ${formatLatency(p50)}`, `p99 ${formatLatency(p99)}`];
  return `${label} (${note}): ${figures.join(', ')}, max ${formatLatency(max)}.`;
}

function drawRow(ridge: Ridge, baseline: number, scale: RidgeScale, first: boolean): Markup {
  const { label, note, tone, cell } = ridge;
  return markup`<g class="ridge ${tone}">
<text class="name" x="0" y="${baseline - 12}">${label}</text>
<text class="faint" x="0" y="${baseline + 1}">${note}</text>
${cell === undefined ? undefined : drawGuides(baseline, scale, first)}
<path class="baseline" d="M${LEFT} ${baseline}h${WIDTH}"/>
${
  cell === undefined
    ? markup`<text class="faint" x="${LEFT + 8}" y="${baseline - 6}">not measured</text>`
    : drawRidge(cell, { left: LEFT, width: WIDTH, baseline }, scale)
}</g>
`;
}

/** Guides are the same for every row of all panels; naming them once is enough. */
function drawGuides(baseline: number, scale: RidgeScale, named: boolean): Markup[] {
  return GUIDES.filter((share) => share <= scale.peakShare).map((share) => {
    const y = c(baseline - ridgeHeight(share, scale));
    const name = markup`<text class="guide-name" x="${FIGURE_WIDTH}" y="${c(y + 3)}">${formatShare(share).replace('.0', '')}</text>`;
    return markup`<path class="guide" d="M${LEFT} ${y}h${WIDTH}"/>${named ? name : undefined}`;
  });
}

function drawAxis(axis: LogAxis, bottom: number): Markup {
  const marks = axis.ticks.map(({ us, label, major }) => {
    const x = c(LEFT + axis.position(us) * WIDTH);
    const grid = major ? markup`<path class="grid" d="M${x} ${TOP}V${bottom}"/>` : undefined;
    const name = markup`<text class="axis-label" x="${x}" y="${bottom + 17}">${label}</text>`;
    return markup`${grid}<path class="axis" d="M${x} ${bottom}v${label === undefined ? 3 : 5}"/>${label === undefined ? undefined : name}
`;
  });
  return markup`<g><path class="axis" d="M${LEFT} ${bottom}h${WIDTH}"/>${marks}</g>
`;
}
