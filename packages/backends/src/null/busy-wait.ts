/** Below this the clock alone is watched. */
const FINE_NS = 1000;
/** A turn of the idle loop takes at least this long: a bound on its turns when the clock misleads. */
const LEAST_TURN_NS = 0.25;

/**
 * Waits for a moment without giving the thread away.
 *
 * Each reading of the clock makes a number that the garbage collector has to take away again: watched all the time, it
 * costs a collection every few milliseconds, and these are what makes a steady latency unsteady. So half of what is left
 * is spent in an idle loop, whose speed is learnt, before the clock is read again.
 */
export class BusyWait {
  readonly #nowNs: () => number;
  #turnNs = 1;
  /** Keeps the idle loop from being optimised away. */
  #residue = 1;

  constructor(nowNs: () => number) {
    this.#nowNs = nowNs;
  }

  until(deadlineNs: number): void {
    let nowNs = this.#nowNs();
    while (nowNs < deadlineNs) {
      const leftNs = deadlineNs - nowNs;
      if (leftNs <= FINE_NS) {
        nowNs = this.#nowNs();
        continue;
      }
      const turns = Math.ceil(leftNs / 2 / this.#turnNs);
      this.#idle(turns);
      const thenNs = this.#nowNs();
      // Slower than it is, the loop looks whenever the thread was interrupted: then the wait is finer, never too long.
      this.#turnNs = Math.max(LEAST_TURN_NS, (this.#turnNs + (thenNs - nowNs) / turns) / 2);
      nowNs = thenNs;
    }
  }

  #idle(turns: number): void {
    let residue = this.#residue;
    for (let i = 0; i < turns; i++) residue = (Math.imul(residue, 1_103_515_245) + 12_345) | 0;
    this.#residue = residue;
  }
}
