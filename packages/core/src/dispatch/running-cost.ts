/** New samples weigh an eighth: quick to learn, slow enough that one odd request changes little. */
const WEIGHT = 1 / 8;
/** ... unless they are lower by far: the first of all found cold code, or the disk has become faster. */
const DROP_WEIGHT = 1 / 2;
/** So many samples, and the figure is worth something. */
const SAMPLES = 4;
/** A sample above this many times the running figure is an outlier ... */
const OUTLIER = 4;
/** ... and counts as this many times the figure: more, and one in a hundred would flip what is nearly a tie. */
const DAMPED = 1.25;
/** Outliers closer together than this have one cause: a stall hits everything in flight. */
const TOGETHER_NS = 1_000_000;
/** So many outliers in a row, apart from each other, are no accident: what was learnt is worth nothing. */
const JUMP = 8;

/** A running mean of a cost in nanoseconds that shrugs off outliers and notices a jump. */
export class RunningCost {
  #mean = NaN;
  #samples = 0;
  #outliers = 0;
  #lastOutlierNs = -Infinity;

  /** The running mean in nanoseconds; NaN until there are enough samples. */
  get ns(): number {
    return this.#samples < SAMPLES ? NaN : this.#mean;
  }

  /**
   * @param nowNs when the sample was taken
   * @returns false when the cost has jumped: the figure has been forgotten
   */
  add(sampleNs: number, nowNs: number): boolean {
    const mean = this.#mean;
    if (this.#samples === 0) {
      this.#mean = sampleNs;
      this.#samples = 1;
      return true;
    }
    // Half a microsecond of slack: below that a sample is mostly the clock's own cost.
    if (sampleNs <= OUTLIER * mean + 500) {
      this.#outliers = 0;
      if (this.#samples < SAMPLES) this.#samples++;
      const weight = sampleNs * OUTLIER < mean ? DROP_WEIGHT : WEIGHT;
      this.#mean = mean + (sampleNs - mean) * weight;
      return true;
    }
    if (nowNs - this.#lastOutlierNs < TOGETHER_NS) return true;
    this.#lastOutlierNs = nowNs;
    if (++this.#outliers >= JUMP) {
      this.forget();
      return false;
    }
    this.#mean = mean + (DAMPED - 1) * mean * WEIGHT;
    return true;
  }

  forget(): void {
    this.#mean = NaN;
    this.#samples = 0;
    this.#outliers = 0;
  }
}
