import { type Markup, type Part, markup } from './markup.js';

/** User units of every figure's width: narrow enough for a phone, where nothing may shrink to illegibility. */
export const FIGURE_WIDTH = 360;

/** A coordinate, rounded: tenths are finer than any screen. */
export function coordinate(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Roughly how wide a text is drawn, generously, since fonts differ. */
export function textWidth(text: string, fontSize: number): number {
  return text.length * fontSize * 0.58;
}

/** What a figure needs besides its drawing. */
export interface Figure {
  /** Unique in the document. */
  readonly id: string;
  /** What it is called, above it. */
  readonly caption: Part;
  /** The same for those who hear it. */
  readonly title: string;
  /** What it shows, in words and figures. */
  readonly description: string;
  readonly height: number;
}

/** A captioned drawing that scales with the page. */
export function svgFigure(figure: Figure, drawing: Part): Markup {
  const { id, height } = figure;
  return markup`<figure>
<figcaption>${figure.caption}</figcaption>
<svg viewBox="0 0 ${FIGURE_WIDTH} ${coordinate(height)}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${figure.title}</title>
<desc id="${id}-desc">${figure.description}</desc>
${drawing}
</svg>
</figure>
`;
}
