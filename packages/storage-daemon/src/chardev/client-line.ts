import type { Socket } from 'node:net';
import type { ChardevFrontend } from './chardev.js';

/** Clients beyond these are sent away. */
export const MAX_WAITING = 16;

/** Clients of a character device that stand in line: one is served, the next one waits. */
export class ClientLine {
  readonly #waiting: Socket[] = [];
  #served: Socket | undefined;
  #frontend: ChardevFrontend | undefined;
  #closed = false;
  readonly #arrivals = new Set<() => void>();

  get connected(): boolean {
    return this.#served !== undefined || this.#waiting.length > 0;
  }

  /** Resolves once the first client is there. @param signal gives up waiting, without an error */
  async arrival(signal: AbortSignal): Promise<void> {
    if (this.connected || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#arrivals.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** @param socket paused, so that nothing is read before its turn */
  add(socket: Socket): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) {
      socket.destroy();
      return;
    }
    // Whoever serves the client hears of it by 'close'.
    socket.on('error', () => undefined);
    this.#waiting.push(socket);
    for (const resolve of this.#arrivals) resolve();
    this.#arrivals.clear();
    this.#next();
  }

  attach(frontend: ChardevFrontend): void {
    this.#frontend = frontend;
    this.#next();
  }

  #next(): void {
    if (this.#frontend === undefined || this.#served !== undefined || this.#closed) return;
    const socket = this.#waiting.shift();
    if (socket === undefined) return;
    this.#served = socket;
    const over = (): void => {
      socket.destroy();
      this.#served = undefined;
      this.#next();
    };
    this.#frontend({ input: socket, output: socket }).then(over, over);
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    this.#served?.destroy();
  }
}
