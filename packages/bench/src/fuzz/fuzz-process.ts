import { openSync, writeFileSync, writeSync } from 'node:fs';
import { FuzzFinding } from './fuzz-finding.js';
import { filesIn, type FuzzOutcome } from './fuzz-files.js';
import { type FuzzOptions, playCases } from './play-cases.js';

// A process of its own for surfaces that could hang it, or end it. It tells how far it is by files, which need no turn of a loop.
const { progress, outcome } = filesIn(process.argv[2]!);
const options = JSON.parse(process.argv[3]!) as FuzzOptions;

// Most texts are mistakes, and each of them makes an error: to write down where takes longer than all the rest.
Error.stackTraceLimit = 3;

const tell = (what: FuzzOutcome): void => {
  writeFileSync(outcome, JSON.stringify(what));
};
const fd = openSync(progress, 'w');
const words = new Float64Array(2);
try {
  const report = await playCases(
    options,
    (index, { inputs }) => {
      words[0] = index;
      words[1] = inputs;
      writeSync(fd, words, 0, words.byteLength, 0);
    },
    ({ message }) => {
      tell({ found: message });
    },
  );
  tell({ report });
} catch (error) {
  if (!(error instanceof FuzzFinding)) throw error;
  tell({ found: error.message });
}
