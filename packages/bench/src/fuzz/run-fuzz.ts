import { Worker } from 'node:worker_threads';
import { FuzzFinding } from './fuzz-finding.js';
import type { FuzzWorkerData } from './fuzz-worker.js';
import { type FuzzOptions, type FuzzReport, makeCase, playCases } from './play-cases.js';
import { SURFACES } from './surfaces.js';

/** No case takes so long: a thread that is at one for longer hangs. */
const HANG_MS = 30_000;
const LOOK_MS = 250;
/** Megabytes of a thread's heap: whoever collects without bounds is told apart from whoever is slow. */
const HEAP_MB = 512;

/**
 * Plays cases until enough inputs have been consumed.
 * @param onProgress told now and then
 * @throws FuzzFinding, or an Error with the same text, at the first thing that is wrong
 */
export function runFuzz(
  options: FuzzOptions,
  onProgress: (report: FuzzReport) => void = () => undefined,
): Promise<FuzzReport> {
  if (SURFACES[options.surface].blocking) return playOnThread(options, onProgress);
  return playCases(options, (_, report) => {
    onProgress(report);
  });
}

async function playOnThread(
  options: FuzzOptions,
  onProgress: (report: FuzzReport) => void,
): Promise<FuzzReport> {
  const { surface, seed } = options;
  const progress = new Float64Array(new SharedArrayBuffer(16));
  progress[0] = options.from ?? 0;
  const workerData: FuzzWorkerData = { options, progress };
  const worker = new Worker(new URL('./fuzz-worker.js', import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  let found: string | undefined;
  const outcome = new Promise<FuzzReport>((resolve, reject) => {
    worker.on('message', (message: { report?: FuzzReport; finding?: string; reduced?: string }) => {
      if (message.report !== undefined) resolve(message.report);
      if (message.reduced !== undefined) reject(new Error(message.reduced));
      found ??= message.finding;
    });
    worker.on('error', reject);
    worker.on('exit', (code) => {
      reject(new Error(`the thread ended by itself, with status ${code}`));
    });
  });
  let last = -1;
  let sinceMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      const index = progress[0]!;
      if (index !== last) {
        last = index;
        sinceMs = performance.now();
        onProgress({ surface, seed, cases: index - (options.from ?? 0), inputs: progress[1]! });
      } else if (performance.now() - sinceMs > HANG_MS) reject(new Error('hangs'));
    }, LOOK_MS);
  });
  try {
    return await Promise.race([outcome, hung]);
  } catch (error) {
    // A case that was being made smaller may hang as well: what was found first counts.
    if (found !== undefined) throw new Error((error as Error).message.startsWith('surface') ? (error as Error).message : found);
    const index = progress[0]!;
    const what = error instanceof Error ? error.message : String(error);
    if (what.startsWith('surface ')) throw error;
    throw new FuzzFinding(surface, seed, index, what, await makeCase(surface, seed, index));
  } finally {
    clearInterval(timer);
    outcome.catch(() => undefined);
    await worker.terminate();
  }
}
