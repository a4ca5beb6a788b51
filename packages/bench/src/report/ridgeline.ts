import type { Measurement } from '../results.js';
import { formatLatency } from './format.js';
import { binShares, bucketLowerUs } from './histogram-bins.js';
import { placeLabels } from './label-places.js';
import type { LogAxis } from './log-axis.js';
import { type Markup, markup } from './markup.js';
import { coordinate as c, textWidth } from './svg.js';

/** Where a ridge stands in its panel: the plot's left edge and width, and the line its area rises from. */
export interface RidgePlace {
  readonly left: number;
  readonly width: number;
  readonly baseline: number;
}

/** How a ridge is drawn, the same for all that are to be compared. */
export interface RidgeScale {
  readonly axis: LogAxis;
  readonly binCount: number;
  /** Share of requests that reaches full height. */
  readonly peakShare: number;
}

/** Height of the tallest bin. */
export const RIDGE_HEIGHT = 54;
/** Bins lower than this would not be seen: their buckets get a mark of the rug instead. */
const VISIBLE_HEIGHT = 1.5;
const RUG_TOP = 2;
const RUG_HEIGHT = 5;
const LABEL_OFFSET = 20;
const LABEL_SIZE = 10;
/** How far labels may stand beyond the plot's right end. */
const LABEL_OVERHANG = 28;

/** Height of a share: square root, so that a peak of one percent is still a tenth as tall as one of hundred. */
export function ridgeHeight(share: number, scale: RidgeScale): number {
  return Math.sqrt(share / scale.peakShare) * RIDGE_HEIGHT;
}

/** One distribution: area, rug of the bins too low to see, and p50, p99 and maximum as labelled ticks. */
export function drawRidge(cell: Measurement, place: RidgePlace, scale: RidgeScale): Markup {
  const heights = binShares(cell.histogram, scale.axis, scale.binCount).map((share) =>
    ridgeHeight(share, scale),
  );
  return markup`<path class="area" d="${areaPath(heights, place)}"/>
<path class="rug" d="${rugPath(cell, heights, place, scale)}"/>
${quantileTicks(cell, place, scale.axis)}`;
}

function areaPath(heights: readonly number[], { left, width, baseline }: RidgePlace): string {
  const step = width / heights.length;
  let path = '';
  let open = false;
  for (let bin = 0; bin < heights.length; bin++) {
    const height = heights[bin]!;
    const x = c(left + bin * step);
    if (height >= VISIBLE_HEIGHT) {
      if (!open) path += `M${x} ${baseline}`;
      path += `V${c(baseline - height)}H${c(left + (bin + 1) * step)}`;
    } else if (open) path += `V${baseline}Z`;
    open = height >= VISIBLE_HEIGHT;
  }
  return open ? `${path}V${baseline}Z` : path;
}

function rugPath(
  cell: Measurement,
  heights: readonly number[],
  place: RidgePlace,
  scale: RidgeScale,
): string {
  let path = '';
  for (const [upperUs] of cell.histogram) {
    const at = scale.axis.position((bucketLowerUs(upperUs) + upperUs) / 2);
    const bin = Math.min(heights.length - 1, Math.floor(at * heights.length));
    if (heights[bin]! >= VISIBLE_HEIGHT) continue;
    path += `M${c(place.left + at * place.width)} ${place.baseline + RUG_TOP}v${RUG_HEIGHT}`;
  }
  return path;
}

function quantileTicks(cell: Measurement, { left, width, baseline }: RidgePlace, axis: LogAxis): Markup[] {
  const { p50, p99, max } = cell.latency_us;
  const quantiles = (
    [
      ['p50', p50],
      ['p99', p99],
      ['max', max],
    ] as const
  )
    .filter(([, us]) => Number.isFinite(us))
    .map(([name, us]) => ({ name, value: formatLatency(us), at: left + axis.position(us) * width }));
  const widths = quantiles.map(({ name, value }) => textWidth(`${name} ${value} `, LABEL_SIZE));
  const centres = placeLabels(
    quantiles.map(({ at }, i) => ({ at, width: widths[i]! })),
    left - 2,
    left + width + LABEL_OVERHANG,
  );
  return quantiles.map(({ name, value, at }, i) => {
    const centre = centres[i]!;
    // A label may have had to give way to its neighbour: the line leads to the end of it that is nearest.
    const reach = widths[i]! / 2 - LABEL_SIZE / 2;
    const nearest = Math.min(centre + reach, Math.max(centre - reach, at));
    const foot = baseline + RUG_TOP + RUG_HEIGHT;
    const lead = `M${c(at)} ${baseline - RIDGE_HEIGHT / 2}V${foot}L${c(nearest)} ${baseline + LABEL_OFFSET - LABEL_SIZE + 1}`;
    return markup`<path class="tick ${name}" d="${lead}"/>
<text class="quantile" x="${c(centre)}" y="${baseline + LABEL_OFFSET}"><tspan class="faint">${name}</tspan> ${value}</text>
`;
  });
}
