import type { WriteStream } from 'node:tty';

/** A line on a terminal that says how far things are; nothing at all where there is no terminal. */
export class ProgressLine {
  readonly #stream: WriteStream & { fd: 2 };
  readonly #beganMs = performance.now();

  constructor(stream: WriteStream & { fd: 2 }) {
    this.#stream = stream;
  }

  show(done: number, total: number, what: string): void {
    if (!this.#stream.isTTY) return;
    const seconds = Math.round((performance.now() - this.#beganMs) / 1000);
    const share = String(Math.floor((100 * done) / total)).padStart(3);
    const text = `${share} %  ${what}  (${seconds} s)`;
    this.#stream.write(`\r${text.slice(0, (this.#stream.columns ?? 80) - 1)}\u001b[K`);
  }

  end(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K');
  }
}
