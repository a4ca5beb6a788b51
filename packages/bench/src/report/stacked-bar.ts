import { formatLatency } from './format.js';
import { placeLabels } from './label-places.js';
import { type Markup, markup } from './markup.js';
import { FIGURE_WIDTH, coordinate as c, svgFigure, textWidth } from './svg.js';

/** A part of the bar. */
export interface Segment {
  readonly name: string;
  readonly ns: number;
  /** Class that gives it its colour. */
  readonly tone: string;
}

export interface StackedBar {
  readonly id: string;
  readonly title: string;
  readonly segments: readonly Segment[];
  readonly totalNs: number;
  /** What a bar over the whole width would come to, so that bars can be compared. */
  readonly fullNs: number;
}

const BAR_HEIGHT = 26;
const LABEL_SIZE = 10;
const LABEL_GAP = 7;
const KEY_Y = BAR_HEIGHT + 14;
const LABEL_Y = KEY_Y + 14;
const HEIGHT = LABEL_Y + 18;
/** A name that had to go farther from its segment than this is tied to it by colour alone: lines would cross. */
const LEAD_REACH = 14;
/** A step too short to be drawn to scale is still drawn. */
const LEAST_WIDTH = 1;

/** One bar of segments side by side, each named below in its colour, with a line where the name is near enough. */
export function drawStackedBar({ id, title, segments, totalNs, fullNs }: StackedBar): Markup {
  const unit = fullNs > 0 ? FIGURE_WIDTH / fullNs : 0;
  let x = 0;
  const parts = segments.map((segment) => {
    const width = segment.ns * unit;
    const part = { ...segment, x, width, value: formatLatency(segment.ns / 1000) };
    x += width;
    return part;
  });
  const widths = parts.map(({ name, value }) =>
    textWidth(name.length > value.length ? name : value, LABEL_SIZE),
  );
  const centres = placeLabels(
    parts.map((part, i) => ({ at: part.x + part.width / 2, width: widths[i]! + LABEL_GAP })),
    0,
    FIGURE_WIDTH,
  );
  const drawing = parts.map((part, i) => {
    const centre = centres[i]!;
    const left = centre - widths[i]! / 2;
    const width = c(Math.max(LEAST_WIDTH, part.width - 1));
    return markup`<g class="${part.tone}"><rect x="${c(part.x)}" y="0" width="${width}" height="${BAR_HEIGHT}"/>
${drawLead(part.x + part.width / 2, left, left + widths[i]!)}
<rect x="${c(left)}" y="${KEY_Y}" width="${c(widths[i]!)}" height="2.5"/>
<text class="step" x="${c(centre)}" y="${LABEL_Y}">${part.name}<tspan class="faint" x="${c(centre)}" dy="12">${part.value}</tspan></text></g>
`;
  });
  const figure = {
    id,
    caption: markup`${title} <span class="key">${formatLatency(totalNs / 1000)}</span>`,
    title: `${title}: time of every step`,
    description: `${parts.map(({ name, value }) => `${name} ${value}`).join(', ')}.`,
    height: HEIGHT,
  };
  return svgFigure(figure, drawing);
}

function drawLead(middle: number, left: number, right: number): Markup | undefined {
  const nearest = Math.min(right, Math.max(left, middle));
  if (Math.abs(nearest - middle) > LEAD_REACH) return undefined;
  return markup`<path class="lead" d="M${c(middle)} ${BAR_HEIGHT + 2}v3L${c(nearest)} ${KEY_Y - 1}"/>`;
}
