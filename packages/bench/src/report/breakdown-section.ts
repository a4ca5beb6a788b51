import type { BreakdownStep, ExperimentResult } from '../results.js';
import { NOT_MEASURED, dataTable, swatch } from './data-table.js';
import { formatMicros } from './format.js';
import { type Markup, type Part, markup } from './markup.js';
import { type BreakdownVariant, breakdownVariants, variantTitle } from './breakdown-variants.js';
import { type Segment, drawStackedBar } from './stacked-bar.js';

/** Where the time of an asynchronous request goes. */
export function breakdownSection({ breakdown }: ExperimentResult): Markup {
  return markup`<section id="breakdown">
<h2>Where the time of an asynchronous request goes</h2>
${breakdown.length === 0 ? NOT_MEASURED : breakdownPart(breakdown)}</section>
`;
}

function breakdownPart(breakdown: readonly BreakdownStep[]): Markup {
  const variants = breakdownVariants(breakdown);
  const names = [...new Set(breakdown.map(({ step }) => step))];
  const fullNs = Math.max(...variants.map(({ totalNs }) => totalNs));
  const bars = variants.map(({ variant, steps, totalNs }, i) => {
    const segments = steps.map(({ step, mean_ns }): Segment => ({
      name: step,
      ns: mean_ns,
      tone: tone(names, step),
    }));
    const title = variantTitle(variant);
    return drawStackedBar({ id: `breakdown-${i}`, title, segments, totalNs, fullNs });
  });
  const columns = [...names.map((name) => markup`${swatch(tone(names, name))}${name}`), 'total'];
  const rows: Part[][] = variants.map((variant) => [
    variantTitle(variant.variant),
    ...names.map((name) => formatMicros(nanoseconds(variant, name) / 1000)),
    formatMicros(variant.totalNs / 1000),
  ]);
  const caption = 'Mean time of every step, µs';
  return markup`<p>Mean time of every step between doorbell and interrupt${variants.length > 1 ? ', on one scale' : ''}.</p>
<div class="stack">
${bars}</div>
${dataTable({ caption, head: ['Request', ...columns], textColumns: 1, rows })}
`;
}

function nanoseconds({ steps }: BreakdownVariant, name: string): number {
  return steps.find(({ step }) => step === name)?.mean_ns ?? NaN;
}

function tone(names: readonly string[], name: string): string {
  return `step-${(names.indexOf(name) % 6) + 1}`;
}
