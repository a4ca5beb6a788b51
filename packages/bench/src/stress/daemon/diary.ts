const LINES = 40;

/** What was done last, for whoever asks what was going on when something went wrong. */
export class Diary {
  readonly #beganMs = performance.now();
  readonly #lines: string[] = [];

  note(what: string): void {
    this.#lines.push(`${((performance.now() - this.#beganMs) / 1000).toFixed(3)} s: ${what}`);
    if (this.#lines.length > LINES) this.#lines.shift();
  }

  toString(): string {
    return this.#lines.join('\n');
  }
}
