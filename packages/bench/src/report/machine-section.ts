import type { ExperimentResult } from '../results.js';
import { type Markup, markup } from './markup.js';

/** Where and when it was measured. */
export function machineSection({ machine }: ExperimentResult): Markup {
  const facts: [string, string][] = [
    ['Processor', `${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`],
    ['Node.js', `${machine.node}, V8 ${machine.v8}`],
    ['Kernel', machine.kernel],
    ['Platform', machine.platform],
    ['Date', machine.date],
    ['Taken away', `${machine.lost_pct} % of the vCPU’s time, by the host or other programs`],
    ['Run time', `${machine.runtime_s} s`],
  ];
  return markup`<section id="machine">
<h2>The machine</h2>
<dl>
${facts.map(
  ([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>
`,
)}</dl>
</section>
`;
}
