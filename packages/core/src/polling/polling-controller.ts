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

/** Waits that ended by being woken up, until one is polled through to the end to see what they hide. */
const TRIAL_INTERVAL = 16;

/**
 * How long a loop polls before it goes to sleep, learnt from how long it had nothing to do the times before: long
 * enough to catch what comes soon, not at all where nothing comes soon.
 */
export class PollingController {
  readonly settings: PollingSettings;
  #pollNs = 0;
  #wakeUps = 0;

  constructor(settings: PollingSettings) {
    this.settings = settings;
  }

  /** For how long to poll now. */
  get pollNs(): number {
    // Waking up takes longer than what was waited for, perhaps, and looks like a long wait itself: now and then the truth.
    return this.#wakeUps >= TRIAL_INTERVAL ? this.settings.pollMaxNs : this.#pollNs;
  }

  /**
   * Learns from one pause between two pieces of work.
   * @param idleNs how long the loop has just been without work, polling and sleeping together
   * @param woken whether it was asleep when the work came, so that waking up is in `idleNs` as well
   */
  adjust(idleNs: number, woken: boolean = false): void {
    const { pollMaxNs, pollGrow, pollShrink } = this.settings;
    if (woken) this.#wakeUps = this.#wakeUps >= TRIAL_INTERVAL ? 0 : this.#wakeUps + 1;
    else this.#wakeUps = 0;
    if (pollMaxNs === 0 || idleNs <= this.#pollNs) return;
    if (idleNs > pollMaxNs) {
      const shrunk = pollShrink === 0 ? 0 : this.#pollNs / pollShrink;
      // Less than it grows from is not worth looking at a clock for.
      this.#pollNs = shrunk < FIRST_POLL_NS ? 0 : Math.floor(shrunk);
      return;
    }
    // As far as it would have needed: smaller steps would be waited out asleep, and never come to an end.
    const factor = pollGrow < 2 ? 2 : pollGrow;
    let grown = Math.max(this.#pollNs, FIRST_POLL_NS);
    while (grown < idleNs) grown *= factor;
    this.#pollNs = Math.min(grown, pollMaxNs);
  }
}
