import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ScratchDirectory } from '../load/scratch-directory.js';
import { filesIn, type FuzzOutcome } from './fuzz-files.js';
import { FuzzFinding } from './fuzz-finding.js';
import { type FuzzOptions, type FuzzReport, makeCase, playCases } from './play-cases.js';
import { SURFACES } from './surfaces.js';

/** No case takes so long: a process that is at one for longer hangs. */
const HANG_MS = 30_000;
const LOOK_MS = 250;
/** Megabytes of a process's heap: whoever collects without bounds is told apart from whoever is slow. */
const HEAP_MB = 512;
const PROGRAM = fileURLToPath(new URL('./fuzz-process.js', import.meta.url));

/**
 * Plays cases until enough inputs have been consumed.
 * @param onProgress told now and then
 * @throws Error at the first thing that is wrong: what, where, and how to play it again
 */
export async function runFuzz(
  options: FuzzOptions,
  onProgress: (report: FuzzReport) => void = () => undefined,
): Promise<FuzzReport> {
  if (SURFACES[options.surface].blocking) return playApart(options, onProgress);
  return playCases(options, (_, report) => {
    onProgress(report);
  });
}

/** In a process of its own, which is ended when it hangs, and may end by itself. */
async function playApart(
  options: FuzzOptions,
  onProgress: (report: FuzzReport) => void,
): Promise<FuzzReport> {
  const { surface, seed, from = 0 } = options;
  await using directory = await ScratchDirectory.create(tmpdir(), 'iothreads-fuzz-');
  const files = filesIn(directory.path);
  const progress = (): readonly [index: number, inputs: number] => {
    const bytes = existsSync(files.progress) ? readFileSync(files.progress) : Buffer.alloc(0);
    return bytes.length < 16 ? [from, 0] : [bytes.readDoubleLE(0), bytes.readDoubleLE(8)];
  };
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${HEAP_MB}`, PROGRAM, directory.path, JSON.stringify(options)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const end = await endOf(child, () => {
    const [index, inputs] = progress();
    onProgress({ surface, seed, cases: index - from, inputs });
    return index;
  });
  const outcome = existsSync(files.outcome)
    ? (JSON.parse(readFileSync(files.outcome, 'utf8')) as FuzzOutcome)
    : {};
  if (outcome.report !== undefined) return outcome.report;
  if (outcome.found !== undefined) throw new Error(outcome.found);
  const [index] = progress();
  throw new FuzzFinding(surface, seed, index, end, await makeCase(surface, seed, index));
}

/**
 * Waits for the end of a process, and ends it when it stays at one case for too long.
 * @param look at which case it is
 * @returns how it ended, for people
 */
async function endOf(child: ChildProcess, look: () => number): Promise<string> {
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(0, 2000);
  });
  let hangs = false;
  let last = -1;
  let sinceMs = performance.now();
  const timer = setInterval(() => {
    const index = look();
    if (index !== last) {
      last = index;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > HANG_MS) {
      hangs = true;
      kill();
    }
  }, LOOK_MS);
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => {
        resolve(hangs ? 'hangs' : `the process ended by ${signal ?? `status ${status}`}: ${errors}`);
      });
    });
  } finally {
    clearInterval(timer);
    process.off('exit', kill);
  }
}
