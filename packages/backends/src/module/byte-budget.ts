/** Bounds the bytes that are in use at a time: whoever wants more waits, in order, for others to give theirs back. */
export class ByteBudget {
  #left: number;
  readonly #waiting: { readonly byteLength: number; readonly go: () => void }[] = [];

  constructor(byteLength: number) {
    this.#left = byteLength;
  }

  /**
   * Takes bytes, at most as many as the budget has in all.
   * @returns what resolves when they are there; undefined when they are there at once
   */
  take(byteLength: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && byteLength <= this.#left) {
      this.#left -= byteLength;
      return undefined;
    }
    return new Promise((go) => {
      this.#waiting.push({ byteLength, go });
    });
  }

  give(byteLength: number): void {
    this.#left += byteLength;
    // Bounded: each turn lets somebody go who waits.
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || next.byteLength > this.#left) return;
      this.#waiting.shift();
      this.#left -= next.byteLength;
      next.go();
    }
  }
}
