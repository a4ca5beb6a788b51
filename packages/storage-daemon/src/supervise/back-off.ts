/** Whoever has served for this long has not crashed "again": the next restart is the first one again. */
export const STEADY_MS = 30_000;
/** The pause before the second restart in a row; it doubles for each further one. */
export const FIRST_PAUSE_MS = 50;
export const LONGEST_PAUSE_MS = 10_000;

/** How long to wait before a daemon that crashes again and again is started again. */
export class BackOff {
  #inARow = 0;

  /**
   * The pause before the next start, milliseconds: none for the first crash after a steady time.
   * @param servedMs for how long the one that has crashed had been ready
   */
  pauseMs(servedMs: number): number {
    this.#inARow = servedMs >= STEADY_MS ? 1 : this.#inARow + 1;
    if (this.#inARow === 1) return 0;
    return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(this.#inARow - 2, 30), LONGEST_PAUSE_MS);
  }
}
