/** A level-triggered interrupt line, low at first. The machine hears of changes only. */
export class InterruptLine {
  readonly #setLevel: (level: boolean) => void;
  #level = false;

  constructor(setLevel: (level: boolean) => void) {
    this.#setLevel = setLevel;
  }

  set level(level: boolean) {
    if (level === this.#level) return;
    this.#level = level;
    this.#setLevel(level);
  }
}
