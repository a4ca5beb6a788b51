// Ends a CI run: prints what the test runner counted, and fails where anything failed or was skipped.
import { readFileSync } from 'node:fs';

const [file, earlier] = process.argv.slice(2);
let counts;
try {
  counts = JSON.parse(readFileSync(file, 'utf8'));
} catch {
  process.stdout.write('no test was run\n0 passed, 1 failed, 0 skipped\n');
  process.exit(1);
}
const passed = counts.numPassedTests;
// A file that can't even be loaded is a failure without a test.
const broken = counts.testResults.filter(
  ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
);
const failed = counts.numFailedTests + broken.length;
const skipped = counts.numPendingTests + counts.numTodoTests;
if (skipped > 0) process.stdout.write('every suite is expected to run here, but tests were skipped\n');
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = earlier !== '0' || failed > 0 || skipped > 0 || passed === 0 ? 1 : 0;
