// What a disk may hold after a power cut, at any point of a log of `blklogwrites`.
import type { WriteLogEntry } from '@iothreads/backends';
import { generationOf } from '../../support/generations.js';

/** A disk as one cut has left it. */
export interface CrashImage {
  /** The position of the log at which the power was cut. */
  readonly cut: number;
  /** Which of the writes that nothing had made durable are there. */
  readonly variant: string;
  /** By sector; good until the next one is asked for. */
  readonly generations: Uint32Array;
}

/** A cut behind everything. */
export const THE_END = Number.MAX_SAFE_INTEGER;

interface Change {
  readonly at: number;
  readonly reached: number;
  readonly sector: number;
  /** What it leaves behind; 0 for zeroes and for what is discarded. */
  readonly generations: readonly number[];
}

/** Requests beyond a cut that may have been in flight there: more than any load has. */
const MAX_IN_FLIGHT = 256;

/** @throws Error when a write brought a sector that is torn, or another's */
function changesOf(entries: readonly WriteLogEntry[]): Change[] {
  return entries
    .filter(({ kind }) => kind !== 'flush')
    .map(({ at, reached, sector, sectors, data }) => ({
      at,
      reached,
      sector,
      generations: Array.from({ length: sectors }, (_, index) => {
        const generation = data === undefined ? 0 : generationOf(data, index, sector + index);
        if (generation === undefined) throw new Error(`sector ${sector + index} was written torn, at ${at}`);
        return generation;
      }),
    }));
}

/**
 * Cuts a log everywhere. What a completed flush covers is there; of the rest, and of what was in flight, nothing, everything, or any sectors.
 *
 * @param subsets random ones at each cut
 * @param chance whether a sector is there: 0 or 1
 */
export function* crashImages(
  entries: readonly WriteLogEntry[],
  sectors: number,
  subsets: number,
  chance: () => number,
): Generator<CrashImage> {
  const changes = changesOf(entries);
  const flushes = entries.filter(({ kind }) => kind === 'flush');
  const cuts = [...new Set([...entries.flatMap(({ at }) => [at, at + 1]), THE_END])];
  const durable = new Uint32Array(sectors);
  const generations = new Uint32Array(sectors);
  let covered = 0;
  let firstVolatile = 0;
  let firstAfter = 0;
  let nextFlush = 0;
  for (const cut of cuts) {
    for (; nextFlush < flushes.length && flushes[nextFlush]!.at < cut; nextFlush++) {
      covered = Math.max(covered, flushes[nextFlush]!.reached);
    }
    for (; firstVolatile < changes.length && changes[firstVolatile]!.at < covered; firstVolatile++) {
      apply(changes[firstVolatile]!, durable, () => true);
    }
    while (firstAfter < changes.length && changes[firstAfter]!.at < cut) firstAfter++;
    const complete = changes.slice(firstVolatile, firstAfter);
    const inFlight = changes
      .slice(firstAfter, firstAfter + MAX_IN_FLIGHT)
      .filter(({ reached }) => reached <= cut);
    const image = (variant: string, pending: readonly Change[], isThere: () => boolean): CrashImage => {
      generations.set(durable);
      for (const change of pending) apply(change, generations, isThere);
      return { cut, variant, generations };
    };
    yield image('nothing more', [], () => true);
    yield image('all that was complete', complete, () => true);
    yield image('all that had come', [...complete, ...inFlight], () => true);
    for (let i = 0; i < subsets; i++) {
      yield image(`subset ${i}`, [...complete, ...inFlight], () => chance() === 1);
    }
  }
}

function apply({ sector, generations }: Change, to: Uint32Array, isThere: () => boolean): void {
  for (const [index, generation] of generations.entries()) if (isThere()) to[sector + index] = generation;
}
