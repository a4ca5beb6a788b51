import { parentPort, workerData } from 'node:worker_threads';
import { FuzzFinding } from './fuzz-finding.js';
import { type FuzzOptions, playCases } from './play-cases.js';

/** What the thread is given: which cases, and where it tells how far it is. */
export interface FuzzWorkerData {
  readonly options: FuzzOptions;
  /** Index of the case that is being played; inputs so far. */
  readonly progress: Float64Array;
}

const { options, progress } = workerData as FuzzWorkerData;
const port = parentPort!;
// Most texts are mistakes, and each of them makes an error: to write down where takes longer than all the rest.
Error.stackTraceLimit = 3;
try {
  const report = await playCases(
    options,
    (index, { inputs }) => {
      progress[0] = index;
      progress[1] = inputs;
    },
    (finding) => {
      port.postMessage({ finding: finding.message });
    },
  );
  port.postMessage({ report });
} catch (error) {
  if (!(error instanceof FuzzFinding)) throw error;
  port.postMessage({ reduced: error.message });
}
