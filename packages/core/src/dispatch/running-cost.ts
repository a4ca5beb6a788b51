/** New samples weigh an eighth: quick to learn, slow enough that one odd request changes little. */
const WEIGHT = 1 / 8;
/** ... unless they are lower by far: the disk has become faster, or something had held up those before. */
const DROP_WEIGHT = 1 / 2;
/** So many samples of different moments, and the figure is worth something. */
export const FEW_SAMPLES = 4;
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
  readonly #least: number;
  #mean = NaN;
  #samples = 0;
  #lastNs = -Infinity;
  #outliers = 0;
  #lastOutlierNs = -Infinity;

  /** @param least samples of different moments until there is a figure: the first ones met cold code */
  constructor(least: number = FEW_SAMPLES) {
    this.#least = least;
  }

  /** The running mean in nanoseconds; NaN until there are enough samples. */
  get ns(): number {
    return this.#samples < this.#least ? NaN : this.#mean;
  }

  /**
   * Learns from one sample.
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
      if (this.#samples < this.#least && nowNs !== this.#lastNs) this.#samples++;
      this.#lastNs = nowNs;
      // Early samples met cold code: the least of them is nearest to the truth.
      const early = this.#samples < this.#least && sampleNs < mean;
      const weight = early ? 1 : sampleNs * OUTLIER < mean ? DROP_WEIGHT : WEIGHT;
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

  /** Starts anew: what was learnt is worth nothing. */
  forget(): void {
    this.#mean = NaN;
    this.#samples = 0;
    this.#outliers = 0;
  }
}
