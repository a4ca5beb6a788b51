/** QEMU's iothread properties; the same names in camel case. */
export interface PollingSettings {
  /** The longest to poll before sleeping, nanoseconds; 0 turns polling off. */
  readonly pollMaxNs: number;
  /** Factor by which polling grows; 0 means 2, as in QEMU. */
  readonly pollGrow: number;
  /** Divisor by which polling shrinks; 0 means back to nothing at once, as in QEMU. */
  readonly pollShrink: number;
}

/**
 * Unlike QEMU's, polling shrinks by halves: where the host takes a processor away for a moment now and then, starting from
 * nothing each time costs a second wake-up.
 */
export const DEFAULT_POLLING: PollingSettings = { pollMaxNs: 32768, pollGrow: 0, pollShrink: 2 };

/** Where growing starts from nothing. */
const FIRST_POLL_NS = 4096;

/**
 * How long a loop polls before it goes to sleep, learnt from how long it had nothing to do the times before: long
 * enough to catch what comes soon, not at all where nothing comes soon.
 */
export class PollingController {
  readonly settings: PollingSettings;
  #pollNs = 0;

  constructor(settings: PollingSettings) {
    this.settings = settings;
  }

  /** For how long to poll now. */
  get pollNs(): number {
    return this.#pollNs;
  }

  /** @param idleNs how long the loop has just been without work, polling and sleeping together */
  adjust(idleNs: number): void {
    const { pollMaxNs, pollGrow, pollShrink } = this.settings;
    if (pollMaxNs === 0 || idleNs <= this.#pollNs) return;
    if (idleNs > pollMaxNs) {
      const shrunk = pollShrink === 0 ? 0 : this.#pollNs / pollShrink;
      // Less than it grows from is not worth looking at a clock for.
      this.#pollNs = shrunk < FIRST_POLL_NS ? 0 : Math.floor(shrunk);
    } else if (this.#pollNs < pollMaxNs) {
      const grown = this.#pollNs === 0 ? FIRST_POLL_NS : this.#pollNs * (pollGrow === 0 ? 2 : pollGrow);
      this.#pollNs = Math.min(grown, pollMaxNs);
    }
  }
}
