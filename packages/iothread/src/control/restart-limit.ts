/** How often a worker that died is started again. */
export interface RestartLimits {
  /** Restarts ... */
  readonly times: number;
  /** ... within so many milliseconds; one more death in that time is the last. */
  readonly withinMs: number;
}

export const MAX_RESTARTS = 10;
export const DEFAULT_RESTARTS: RestartLimits = { times: MAX_RESTARTS, withinMs: 60_000 };

/** A worker that lived for so long was not wrong from the beginning. */
const SETTLED_MS = 1000;
const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 1000;

/** When a worker is started again: at once, later and later if it dies as soon as it lives, and not at all in the end. */
export class RestartLimit {
  readonly #limits: RestartLimits;
  /** When it died, as far as that still counts. */
  #deathsMs: number[] = [];
  /** Deaths in a row that came at once. */
  #early = 0;

  constructor(limits: RestartLimits) {
    this.#limits = limits;
  }

  /**
   * A worker has died.
   * @param nowMs on any clock that goes on
   * @param livedMs for how long it worked
   * @returns how long to wait until it is started again, milliseconds; undefined when it is not
   */
  died(nowMs: number, livedMs: number): number | undefined {
    const { times, withinMs } = this.#limits;
    this.#deathsMs = this.#deathsMs.filter((deathMs) => nowMs - deathMs < withinMs);
    if (this.#deathsMs.length >= times) return undefined;
    this.#deathsMs.push(nowMs);
    this.#early = livedMs < SETTLED_MS ? this.#early + 1 : 0;
    // The first one may be a coincidence.
    return this.#early <= 1 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (this.#early - 2), LAST_DELAY_MS);
  }

  /** What was too much, for a message. */
  get reached(): string {
    return `it has died ${this.#limits.times + 1} times within ${this.#limits.withinMs / 1000} s`;
  }
}
