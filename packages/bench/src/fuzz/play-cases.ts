import { Random } from '../stress/random.js';
import { FuzzFinding } from './fuzz-finding.js';
import { reduceCase } from './reduce-case.js';
import type { FuzzSurface, Json, SurfaceName } from './surface.js';
import { SURFACES } from './surfaces.js';

/** Which cases to play. */
export interface FuzzOptions {
  readonly surface: SurfaceName;
  readonly seed: number;
  /** Index of the first case; default 0. */
  readonly from?: number;
  /** Ends after so many cases; default: no end ... */
  readonly cases?: number;
  /** ... or when so many inputs have been consumed; default: no end ... */
  readonly inputs?: number;
  /** ... or after so many milliseconds, whichever comes first; default: no end. */
  readonly durationMs?: number;
}

/** How much was played. Whatever goes wrong is an exception. */
export interface FuzzReport {
  readonly surface: SurfaceName;
  readonly seed: number;
  cases: number;
  /** Chains, requests, messages or texts that the code under test has consumed. */
  inputs: number;
}

/** Cases between two looks at what shows only after many. */
const SETTLE_CASES = 2000;
/** Cases between two looks at the clock. */
const CLOCK_CASES = 16;
const REDUCE_MS = 10_000;
/** Characters of what went wrong. */
const MOST_TEXT = 2000;

/** Everything about a case follows from these two. */
const randomOf = (seed: number, index: number): Random =>
  new Random(Math.imul(seed ^ 0x5bd1_e995, 0x9e37_79b1) ^ Math.imul(index + 1, 0x85eb_ca6b));

/** Plays cases on this thread. @param begins told of each case before it is played. @throws FuzzFinding */
export async function playCases(
  options: FuzzOptions,
  begins: (index: number, report: FuzzReport) => void,
  breaks: (finding: FuzzFinding) => void = () => undefined,
): Promise<FuzzReport> {
  const {
    surface: name,
    seed,
    from = 0,
    cases = Infinity,
    inputs = Infinity,
    durationMs = Infinity,
  } = options;
  const report: FuzzReport = { surface: name, seed, cases: 0, inputs: 0 };
  const endMs = performance.now() + durationMs;
  const surface = await openSurface(name);
  let each: unknown;
  try {
    for (let index = from; index < from + cases && report.inputs < inputs; index++) {
      if (index % CLOCK_CASES === 0 && performance.now() > endMs) break;
      begins(index, report);
      each = surface.make(randomOf(seed, index));
      const consumed = surface.play(each);
      report.inputs += typeof consumed === 'number' ? consumed : await consumed;
      report.cases++;
      if (report.cases % SETTLE_CASES === 0) await surface.settle?.();
    }
    await surface.settle?.();
  } catch (error) {
    const index = from + report.cases;
    const finding = (what: string, json: unknown): FuzzFinding =>
      new FuzzFinding(name, seed, index, what, json);
    breaks(finding(textOf(error), each));
    await closeQuietly(surface);
    const reduced = await reduceCase(
      each as Json,
      (smaller) => fails(name, smaller),
      performance.now() + REDUCE_MS,
    );
    throw finding(textOf(error), reduced);
  }
  await surface.close?.();
  return report;
}

/** A surface, to play cases of one's own. */
export const openSurface = (name: SurfaceName): Promise<FuzzSurface> => SURFACES[name].create();

/** Plays one case, as new. @throws whatever is wrong */
async function playCase(name: SurfaceName, each: unknown): Promise<void> {
  const surface = await openSurface(name);
  try {
    await surface.play(each);
    await surface.settle?.();
  } finally {
    await surface.close?.();
  }
}

/** The case that a seed and an index make. */
export async function makeCase(name: SurfaceName, seed: number, index: number): Promise<unknown> {
  const surface = await openSurface(name);
  try {
    return surface.make(randomOf(seed, index));
  } finally {
    await surface.close?.();
  }
}

async function fails(name: SurfaceName, each: Json): Promise<boolean> {
  try {
    await playCase(name, each);
    return false;
  } catch (error) {
    // A case that can't be written down any more is none.
    return !(error instanceof TypeError || error instanceof RangeError) || isProducts(error);
  }
}

/** Whether an error came out of the product, not of what writes cases down. */
const isProducts = (error: Error): boolean => !(error.stack ?? '').split('\n')[1]?.includes('/fuzz/');

async function closeQuietly(surface: FuzzSurface): Promise<void> {
  try {
    await surface.close?.();
  } catch {
    // What is broken may not be closed; what broke it is told.
  }
}

const textOf = (error: unknown): string =>
  (error instanceof Error ? (error.stack ?? error.message) : String(error)).slice(0, MOST_TEXT);
