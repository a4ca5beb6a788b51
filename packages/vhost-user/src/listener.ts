import { acceptUnix, closeFd, LinuxError, ReadableWatch } from '@iothreads/linux';
import { setTimeout } from 'node:timers/promises';

/** For how long nobody is accepted when the process has no descriptors left. */
const PAUSE_MS = 200;

/** Takes connections from a listening socket one by one; the others wait in its backlog. */
export class Listener {
  readonly #fd: number;
  /** Resolves when the listener is closed. */
  readonly closed: Promise<void>;
  #closed = false;
  #onClosed!: () => void;
  #wake: (() => void) | undefined;

  /** @param fd a non-blocking listening socket, the listener's from now on */
  constructor(fd: number) {
    this.#fd = fd;
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  /**
   * Waits for a connection.
   * @param onFailure told of a reason why none can be taken at the moment; it is tried again
   * @returns its descriptor, the caller's to close; undefined when the listener is closed
   */
  async accept(onFailure: (error: LinuxError) => void): Promise<number | undefined> {
    while (!this.#closed) {
      try {
        const fd = acceptUnix(this.#fd);
        if (fd !== -1) return fd;
        await this.#readable();
      } catch (error) {
        if (!(error instanceof LinuxError)) throw error;
        onFailure(error);
        await setTimeout(PAUSE_MS);
      }
    }
    return undefined;
  }

  async #readable(): Promise<void> {
    await new Promise<void>((resolve) => {
      const watch = new ReadableWatch(this.#fd, () => this.#wake?.());
      this.#wake = () => {
        this.#wake = undefined;
        watch.close();
        resolve();
      };
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClosed();
    this.#wake?.();
    closeFd(this.#fd);
  }
}
