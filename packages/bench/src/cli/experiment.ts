import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { runExperiment } from '../experiment/run-experiment.js';
import { renderReport } from '../report/html-document.js';
import { renderTables } from '../report/terminal-tables.js';
import { exitOnSignals } from './exit-on-signals.js';
import { parsePlan, USAGE, UsageError } from './experiment-options.js';
import { ProgressLine } from './progress-line.js';

const REPORT = 'out/report.html';

async function main(): Promise<void> {
  const { plan, json, help } = parsePlan(process.argv.slice(2), tmpdir());
  if (help) {
    process.stdout.write(USAGE);
    return;
  }
  const line = new ProgressLine(process.stderr);
  const result = await runExperiment(plan, (done, total, what) => {
    line.show(done, total, what);
  });
  line.end();
  const { stdout } = process;
  stdout.write(
    renderTables(result, { color: stdout.isTTY && stdout.hasColors(), columns: stdout.columns ?? 80 }),
  );
  await write(REPORT, renderReport(result));
  stdout.write(`\nDistributions: ${REPORT}\n`);
  if (json !== undefined) await write(json, `${JSON.stringify(result)}\n`);
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(resolve(file)), { recursive: true });
  await writeFile(file, text);
}

exitOnSignals();
try {
  await main();
} catch (error) {
  // A mistake on the command line, or a file that can't be written: a line, not a stack.
  if (!(error instanceof UsageError) && !(error instanceof Error && 'errno' in error)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
