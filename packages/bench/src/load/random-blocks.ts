/** Numbers of blocks in random order, the same in every run: xorshift, nothing but integers. */
export class RandomBlocks {
  readonly #blocks: number;
  #state = 0x2545f491;

  constructor(blocks: number) {
    this.#blocks = blocks;
  }

  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % this.#blocks;
  }
}
