import { DEFAULT_POLLING, PollingController } from '@iothreads/core';

const NS_PER_MS = 1e6;

/** How long a halted guest's thread looks for completions of a disk before it sleeps: learnt from how long they took before. */
export class HaltPolling {
  readonly #controller: PollingController;
  /** Since when the guest has been waiting, by `performance.now()`; NaN while it doesn't. */
  #sinceMs = NaN;
  /** Whether the thread has slept meanwhile. */
  #slept = false;

  /** @param pollMaxNs 0 turns polling off */
  constructor(pollMaxNs: number) {
    this.#controller = new PollingController({ ...DEFAULT_POLLING, pollMaxNs });
  }

  /** The guest has halted with requests in flight. @returns for how long to look, milliseconds */
  wait(nowMs: number): number {
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = nowMs;
    return this.#controller.pollNs / NS_PER_MS;
  }

  /** Nothing came. */
  giveUp(): void {
    this.#slept = true;
  }

  /** What the guest waited for has come. */
  end(nowMs: number): void {
    if (Number.isNaN(this.#sinceMs)) return;
    this.#controller.adjust((nowMs - this.#sinceMs) * NS_PER_MS, this.#slept);
    this.#sinceMs = NaN;
    this.#slept = false;
  }
}
