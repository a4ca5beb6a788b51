import type { ExperimentResult, ScaleCell } from '../results.js';
import { NOT_MEASURED, dataTable } from './data-table.js';
import { formatCount } from './format.js';
import { type Markup, markup } from './markup.js';
import { scaleChange } from './scale-change.js';

/** What idle devices on the same iothread cost a busy one. */
export function scaleSection({ scale }: ExperimentResult): Markup {
  return markup`<section id="scale">
<h2>Idle devices</h2>
${scale.length === 0 ? NOT_MEASURED : scaleTable(scale)}</section>
`;
}

function scaleTable(scale: readonly ScaleCell[]): Markup {
  const rows = scale.map((cell) => [cell.idle_devices, formatCount(cell.iops), scaleChange(scale, cell)]);
  return markup`<p>A busy device, alone on its iothread and among idle ones, which should cost it next to nothing.</p>
${dataTable({
  caption: 'IOPS of the busy device',
  head: ['Idle devices', 'IOPS', 'change'],
  textColumns: 0,
  rows,
})}`;
}
