import type { ExperimentResult } from '../results.js';
import { breakdownSection } from './breakdown-section.js';
import { distributionSection } from './distribution-section.js';
import { machineSection } from './machine-section.js';
import { Markup, markup } from './markup.js';
import { scaleSection } from './scale-section.js';
import { sharingSection } from './sharing-section.js';
import { STYLE_SHEET } from './style-sheet.js';
import { summarySection } from './summary-section.js';

/**
 * The report as one HTML document that needs nothing else: style and drawings are inside, no script, no fetches. Cells
 * that were not measured are left out or said to be missing.
 */
export function renderReport(result: ExperimentResult): string {
  const { machine } = result;
  const title = 'Synchronous and asynchronous I/O in an iothread';
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${new Markup(STYLE_SHEET)}</style>
</head>
<body>
<main>
<header>
<h1>${title}</h1>
<p class="lead-in">iothreads, virtio-blk in Node.js ${machine.node} on ${machine.cpu}, ${machine.date}</p>
</header>
${summarySection(result)}${distributionSection(result)}${sharingSection(result)}${scaleSection(result)}${breakdownSection(result)}${machineSection(result)}</main>
</body>
</html>
`.text;
}
