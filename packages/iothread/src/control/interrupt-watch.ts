import type { DeviceChannel } from '../shared/device-channel.js';

export interface InterruptWatchOptions {
  readonly channel: DeviceChannel;
  /** Everything that interrupts come from. */
  readonly sources: readonly number[];
  /**
   * Looks at a source. @param rang whether it has interrupted since the last look
   * @returns whether listeners are to be told
   */
  readonly look: (source: number, rang: boolean) => boolean;
  /** Before waiting for the next interrupt of a source. @returns whether there is something to look at already */
  readonly arm: (source: number) => boolean;
  /** What a listener, or a look, threw. */
  readonly report: (error: Error) => void;
}

/**
 * Tells listeners of a device's interrupts, on the thread that the device belongs to: when they wake it up, or whenever it is asked
 * to look.
 */
export class InterruptWatch {
  readonly #options: InterruptWatchOptions;
  readonly #listeners = new Set<(source: number) => void>();
  /** How many interrupts of each source have been seen. */
  readonly #seen = new Map<number, number>();
  /** Sources whose next interrupt wakes this thread up, and how many of theirs had been seen when that was asked for. */
  readonly #armed = new Map<number, number>();
  #waiting = false;
  #ended = false;

  constructor(options: InterruptWatchOptions) {
    this.#options = options;
    for (const source of options.sources) this.#seen.set(source, options.channel.interrupts(source));
  }

  /** @returns a function that ends it */
  listen(listener: (source: number) => void): () => void {
    // One of its own, so that somebody who listens twice is told twice.
    const own = (source: number): void => {
      listener(source);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Looks at every source without waiting. @returns how many had something to tell */
  look(): number {
    let told = 0;
    for (const source of this.#options.sources) if (this.#lookAt(source)) told++;
    return told;
  }

  /**
   * The next interrupt of each source wakes this thread up, once.
   * @returns whether there is something to look at already
   */
  arm(): boolean {
    const { sources, channel } = this.#options;
    let stirs = false;
    for (const source of sources) {
      const seen = this.#seen.get(source)!;
      if (this.#options.arm(source) || channel.interrupts(source) !== seen) stirs = true;
      const waits = this.#armed.has(source);
      this.#armed.set(source, seen);
      if (waits) continue;
      this.#waitOnce(source).catch((error: unknown) => {
        this.#options.report(error as Error);
      });
    }
    return stirs;
  }

  async #waitOnce(source: number): Promise<void> {
    let seen: number;
    // What was waited for may have been pulled meanwhile, and another one been asked for.
    do {
      seen = this.#armed.get(source)!;
      await this.#options.channel.interruptAfter(source, seen);
    } while (this.#armed.get(source) !== seen && !this.#ended);
    this.#armed.delete(source);
    if (!this.#ended) this.#lookAt(source);
  }

  /** From now on interrupts wake this thread up. */
  wait(): void {
    if (this.#waiting || this.#ended) return;
    this.#waiting = true;
    for (const source of this.#options.sources) {
      this.#waitFor(source).catch((error: unknown) => {
        this.#options.report(error as Error);
      });
    }
  }

  /** The device is gone. */
  end(): void {
    this.#ended = true;
    // Those who wait see that it has ended.
    for (const source of this.#options.sources) this.#options.channel.interrupt(source);
  }

  async #waitFor(source: number): Promise<void> {
    const { channel, arm } = this.#options;
    while (!this.#ended) {
      const seen = channel.interrupts(source);
      this.#lookAt(source);
      if (arm(source)) continue;
      await channel.interruptAfter(source, seen);
    }
  }

  #lookAt(source: number): boolean {
    const count = this.#options.channel.interrupts(source);
    const rang = count !== this.#seen.get(source);
    this.#seen.set(source, count);
    try {
      if (!this.#options.look(source, rang)) return false;
    } catch (error) {
      this.#options.report(error as Error);
      return false;
    }
    for (const listener of this.#listeners) {
      try {
        listener(source);
      } catch (error) {
        this.#options.report(error as Error);
      }
    }
    return true;
  }
}
