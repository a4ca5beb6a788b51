import type { ProcessFigures } from './process-figures.js';

/** Points from which memory is compared. */
const MEMORY_POINTS = 60;

/** Medians of resident memory, MiB: a single point is anybody's guess. */
export interface MemoryCourse {
  /** Of the second third of all points: in the first one a process grows to its size. */
  readonly beforeMib: number;
  /** Of the last third. */
  readonly nowMib: number;
}

/** Points at which nothing was in use, one after the other in one process. */
export class LeakWatch {
  readonly #what: string;
  readonly #warmUp: number;
  readonly #points: ProcessFigures[] = [];

  /** @param warmUp points that are not counted: a process grows to its size first */
  constructor(what: string, warmUp: number) {
    this.#what = what;
    this.#warmUp = warmUp;
  }

  get first(): ProcessFigures | undefined {
    return this.#points[this.#warmUp];
  }

  get last(): ProcessFigures | undefined {
    return this.#points.length > this.#warmUp ? this.#points.at(-1) : undefined;
  }

  /** @throws Error when something that is counted has grown since the first point after the warm-up */
  add(figures: ProcessFigures): void {
    this.#points.push(figures);
    const { first } = this;
    if (first === undefined) return;
    for (const what of ['fds', 'mappings', 'threads', 'handles'] as const) {
      if (figures[what] > first[what]) {
        throw new Error(`${this.#what} leaks: ${first[what]} ${what} have become ${figures[what]}`);
      }
    }
    this.#checkMemory();
  }

  /** Undefined while there are too few points. */
  get memory(): MemoryCourse | undefined {
    if (this.#points.length < MEMORY_POINTS) return undefined;
    const third = Math.floor(this.#points.length / 3);
    const resident = this.#points.map(({ residentMib }) => residentMib);
    return { beforeMib: median(resident.slice(third, 2 * third)), nowMib: median(resident.slice(-third)) };
  }

  #checkMemory(): void {
    const { memory } = this;
    if (memory === undefined || memory.nowMib <= memory.beforeMib * 1.1 + 10) return;
    const { beforeMib, nowMib } = memory;
    throw new Error(`${this.#what} leaks: ${beforeMib.toFixed(0)} MiB have become ${nowMib.toFixed(0)}`);
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
