/** New samples weigh an eighth: quick to learn, slow enough that one odd request changes little. */
const WEIGHT = 1 / 8;
/** ... unless they are lower by far. */
const DROP_WEIGHT = 1 / 2;
/** A sample above this many times the running figure is an outlier ... */
const OUTLIER = 4;
/** ... and counts as this many times the figure: more, and one in a hundred would flip decisions for a while. */
const DAMPED = 2;
/** So many outliers in a row are no accident: the cost has jumped and what was learnt is worth nothing. */
const JUMP = 8;

/** A running mean of a cost in nanoseconds that shrugs off outliers and notices a jump. */
export class RunningCost {
  #mean = NaN;
  #outliers = 0;

  /** The running mean in nanoseconds; NaN until there is a sample. */
  get ns(): number {
    return this.#mean;
  }

  /** @returns false when the cost has jumped: the figure has been forgotten */
  add(sampleNs: number): boolean {
    const mean = this.#mean;
    if (Number.isNaN(mean)) {
      this.#mean = sampleNs;
      return true;
    }
    // Half a microsecond of slack: below that a sample is mostly the clock's own cost.
    if (sampleNs <= OUTLIER * mean + 500) {
      this.#outliers = 0;
      // Far less than the mean is no accident: the first request of all found cold code, or the disk has become faster.
      const weight = sampleNs * OUTLIER < mean ? DROP_WEIGHT : WEIGHT;
      this.#mean = mean + (sampleNs - mean) * weight;
      return true;
    }
    if (++this.#outliers >= JUMP) {
      this.forget();
      return false;
    }
    this.#mean = mean + (DAMPED - 1) * mean * WEIGHT;
    return true;
  }

  forget(): void {
    this.#mean = NaN;
    this.#outliers = 0;
  }
}
