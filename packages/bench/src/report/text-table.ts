import { styleText } from 'node:util';

/** How a piece of text is shown where colours are wanted. */
type TextStyle = Parameters<typeof styleText>[0];

/** Gives text a style, or leaves it as it is. */
export type Paint = (style: TextStyle, text: string) => string;

/** A piece of text with its style; a plain string has none. */
export type Cell = string | readonly [style: TextStyle, text: string];

/** A column: how wide it is at least, and on which side its text stands. */
export interface TextColumn {
  readonly width: number;
  readonly align: 'left' | 'right';
}

/** Paints with escape sequences, or, without colour, not at all. */
export function painter(color: boolean): Paint {
  // The caller has decided already; whether this process' own output is a terminal is not the question.
  return color ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}

/** Lines of cells set in columns with one space between. Padding comes before painting: escapes have no width. */
export function textTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly Cell[])[],
  paint: Paint,
): string[] {
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const [style, text] = typeof cell === 'string' ? [undefined, cell] : cell;
        const { width, align } = columns[i] ?? { width: 0, align: 'left' };
        const padded = align === 'left' ? text.padEnd(width) : text.padStart(width);
        return style === undefined ? padded : paint(style, padded);
      })
      .join(' ')
      .trimEnd(),
  );
}

/** Text from elsewhere, fit for one line of a terminal: no control characters, no longer than `width`. */
export function plainLine(text: string, width: number): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}]/gu, ' ');
  return clean.length <= width ? clean : `${clean.slice(0, width - 1)}…`;
}
