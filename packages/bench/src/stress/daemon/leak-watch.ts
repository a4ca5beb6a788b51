import type { ProcessFigures } from './process-figures.js';

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

  /** The medians of the first and the last third: a single point is anybody's guess. */
  #checkMemory(): void {
    const counted = this.#points.slice(this.#warmUp).map(({ residentMib }) => residentMib);
    const third = Math.floor(counted.length / 3);
    if (third < 3) return;
    const [before, now] = [median(counted.slice(0, third)), median(counted.slice(-third))];
    if (now > before * 1.1 + 20) {
      throw new Error(`${this.#what} leaks: ${before.toFixed(0)} MiB have become ${now.toFixed(0)}`);
    }
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
