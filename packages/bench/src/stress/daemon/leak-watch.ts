import { setTimeout } from 'node:timers/promises';
import type { ProcessFigures } from './process-figures.js';

const COUNTED = ['fds', 'mappings', 'threads', 'handles'] as const;
const SETTLE_MS = 10_000;

/** Looks at memory from which it is compared. */
const MEMORY_LOOKS = 9;

/** Medians of resident memory, MiB: a single point is anybody's guess. */
export interface MemoryCourse {
  /** Of the second third of all looks: in the first one a process grows to its size. */
  readonly beforeMib: number;
  /** Of the last third. */
  readonly nowMib: number;
}

/** Points at which nothing was in use, one after the other in one process. */
export class LeakWatch {
  readonly #what: string;
  readonly #warmUp: number;
  readonly #settleMs: number;
  readonly #points: ProcessFigures[] = [];
  readonly #residentMib: number[] = [];

  /**
   * @param warmUp points that are not counted: a process grows to its size first
   * @param settleMs for how long what is above the first point may be on its way out
   */
  constructor(what: string, warmUp: number, settleMs: number = SETTLE_MS) {
    this.#what = what;
    this.#warmUp = warmUp;
    this.#settleMs = settleMs;
  }

  get first(): ProcessFigures | undefined {
    return this.#points[this.#warmUp];
  }

  get last(): ProcessFigures | undefined {
    return this.#points.length > this.#warmUp ? this.#points.at(-1) : undefined;
  }

  /**
   * One point more. What is above the first point after the warm-up is given a while to go: threads end, and the kernel
   * closes, when the one who has asked for it has gone on.
   * @throws Error when it stays
   */
  async add(read: () => ProcessFigures): Promise<void> {
    const endMs = performance.now() + this.#settleMs;
    let figures = read();
    while (this.#grown(figures) !== undefined && performance.now() < endMs) {
      await setTimeout(20);
      figures = read();
    }
    const grown = this.#grown(figures);
    if (grown !== undefined) {
      throw new Error(`${this.#what} leaks: ${this.first![grown]} ${grown} have become ${figures[grown]}`);
    }
    this.#points.push(figures);
  }

  #grown(figures: ProcessFigures): (typeof COUNTED)[number] | undefined {
    const { first } = this;
    return first === undefined ? undefined : COUNTED.find((what) => figures[what] > first[what]);
  }

  /** One look more at memory, when garbage has been collected. */
  addMemory(residentMib: number): void {
    this.#residentMib.push(residentMib);
  }

  /** Undefined after too few looks. */
  get memory(): MemoryCourse | undefined {
    const resident = this.#residentMib;
    if (resident.length < MEMORY_LOOKS) return undefined;
    const third = Math.floor(resident.length / 3);
    return { beforeMib: median(resident.slice(third, 2 * third)), nowMib: median(resident.slice(-third)) };
  }

  /**
   * There are no more points. A process is higher now and then: only the whole course tells.
   * @throws Error when memory has grown to the end
   */
  finish(): void {
    const { memory } = this;
    if (memory === undefined || memory.nowMib <= memory.beforeMib * 1.05 + 10) return;
    const { beforeMib, nowMib } = memory;
    throw new Error(`${this.#what} leaks: ${beforeMib.toFixed(0)} MiB have become ${nowMib.toFixed(0)}`);
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
