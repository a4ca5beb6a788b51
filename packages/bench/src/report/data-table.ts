import { type Markup, type Part, markup } from './markup.js';

/** A table of figures: the first `textColumns` columns are words and head their row, the others are numbers. */
export interface DataTable {
  readonly caption: string;
  readonly head: readonly Part[];
  readonly textColumns: number;
  readonly rows: readonly (readonly Part[])[];
}

/** The table in a frame that scrolls sideways on a narrow screen, by keyboard too. */
export function dataTable({ caption, head, textColumns, rows }: DataTable): Markup {
  const kind = (column: number): string => (column < textColumns ? 'word' : 'number');
  const headCells = head.map((part, i) => markup`<th scope="col" class="${kind(i)}">${part}</th>`);
  const bodyRows = rows.map((parts) => {
    const cells = parts.map((part, i) =>
      i < textColumns
        ? markup`<th scope="row" class="word">${part}</th>`
        : markup`<td class="number">${part}</td>`,
    );
    return markup`<tr>${cells}</tr>
`;
  });
  return scrollFrame(
    caption,
    markup`<table>
<caption>${caption}</caption>
<thead><tr>${headCells}</tr></thead>
<tbody>
${bodyRows}</tbody>
</table>`,
  );
}

/** A frame for what may be wider than the screen. */
export function scrollFrame(label: string, content: Markup): Markup {
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="${label}">${content}</div>
`;
}

/** What a section says when there is nothing to show. */
export const NOT_MEASURED = markup`<p class="missing">Not measured in this run.</p>
`;

/** A coloured square before the name of what is drawn in that colour. */
export function swatch(tone: string): Markup {
  return markup`<i class="swatch ${tone}"></i>`;
}
