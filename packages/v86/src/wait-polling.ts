import { DEFAULT_POLLING, PollingController } from '@iothreads/core';

const NS_PER_MS = 1e6;

/** How long the emulator's thread looks for what its guest waits for: learnt from how long that took before. */
export class WaitPolling {
  readonly #controller: PollingController;
  /** Since when the guest has been waiting, by `performance.now()`; NaN while it doesn't. */
  #sinceMs = NaN;
  /** Whether the thread has done something else meanwhile. */
  #gaveUp = false;

  /** @param pollMaxNs 0 turns polling off */
  constructor(pollMaxNs: number) {
    this.#controller = new PollingController({ ...DEFAULT_POLLING, pollMaxNs });
  }

  /** The guest waits from now on, unless it does so already. @returns for how long to look, milliseconds */
  begin(nowMs: number): number {
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = nowMs;
    return this.#controller.pollNs / NS_PER_MS;
  }

  /** Nothing came. */
  giveUp(): void {
    this.#gaveUp = true;
  }

  /** What the guest waits for, if it does, has come. */
  end(nowMs: number): void {
    if (Number.isNaN(this.#sinceMs)) return;
    this.#controller.adjust((nowMs - this.#sinceMs) * NS_PER_MS, this.#gaveUp);
    this.#sinceMs = NaN;
    this.#gaveUp = false;
  }
}
