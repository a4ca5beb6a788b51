/** A piece of a document that is markup already: it is never escaped again. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template: markup as it is, text and numbers escaped, nothing for undefined, lists one by one. */
export type Part = Markup | string | number | undefined | readonly Part[];

/** Template tag for HTML and SVG that escapes whatever is put in, so that forgetting to escape is not possible. */
export function markup(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  let text = strings[0]!;
  for (let i = 0; i < parts.length; i++) text += render(parts[i]) + strings[i + 1]!;
  return new Markup(text);
}

/** Escapes text for element content and for attributes in either kind of quotes. */
function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function render(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Markup) return part.text;
  if (typeof part === 'string') return escapeText(part);
  if (typeof part === 'number') return escapeText(String(part));
  return part.map(render).join('');
}
