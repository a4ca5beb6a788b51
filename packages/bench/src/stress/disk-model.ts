export const BLOCK_BYTES = 4096;
const WORDS = BLOCK_BYTES / 4;

/** Generation of a block of zeroes. */
const ZEROES = 0;
/** Generation of a block that may hold anything: it has been discarded. */
const UNKNOWN = 0xffff_ffff;

/** What a disk must hold: for each block the generation that was written last, from which its bytes follow. */
export class DiskModel {
  readonly #generations: Uint32Array;
  /** Blocks that a request in flight touches: nobody else may, or their content would be anybody's guess. */
  readonly #busy: Uint8Array;
  #nextGeneration = 1;

  constructor(blocks: number) {
    this.#generations = new Uint32Array(blocks);
    this.#busy = new Uint8Array(blocks);
  }

  get blocks(): number {
    return this.#generations.length;
  }

  /** Claims a run of blocks. @returns false when one of them is in use */
  claim(block: number, count: number): boolean {
    for (let i = 0; i < count; i++) if (this.#busy[block + i] === 1) return false;
    this.#busy.fill(1, block, block + count);
    return true;
  }

  release(block: number, count: number): void {
    this.#busy.fill(0, block, block + count);
  }

  /** Fills a buffer with what a write of new generations puts there. @returns the first block's generation */
  compose(block: number, count: number, data: Uint8Array): number {
    const generation = this.#nextGeneration;
    this.#nextGeneration += count;
    const words = new Uint32Array(data.buffer, data.byteOffset, count * WORDS);
    for (let i = 0; i < count; i++)
      fill(words.subarray(i * WORDS, (i + 1) * WORDS), block + i, generation + i);
    return generation;
  }

  wrote(block: number, count: number, generation: number): void {
    for (let i = 0; i < count; i++) this.#generations[block + i] = generation + i;
  }

  zeroed(block: number, count: number): void {
    this.#generations.fill(ZEROES, block, block + count);
  }

  discarded(block: number, count: number): void {
    this.#generations.fill(UNKNOWN, block, block + count);
  }

  /** Checks what was read. @throws Error naming the first block and word that are wrong */
  check(block: number, count: number, data: Uint8Array, where: string): void {
    const words = new Uint32Array(data.buffer, data.byteOffset, count * WORDS);
    const expected = new Uint32Array(WORDS);
    for (let i = 0; i < count; i++) {
      const generation = this.#generations[block + i]!;
      if (generation === UNKNOWN) continue;
      fill(expected, block + i, generation);
      for (let word = 0; word < WORDS; word++) {
        if (words[i * WORDS + word] === expected[word]) continue;
        throw new Error(
          `${where}: block ${block + i}, word ${word} is ${words[i * WORDS + word]}, ` +
            `not ${expected[word]} of generation ${generation}`,
        );
      }
    }
  }
}

/** The words of a block follow from its place and its generation: a block in the wrong place is as wrong as an old one. */
function fill(words: Uint32Array, block: number, generation: number): void {
  if (generation === ZEROES) {
    words.fill(0);
    return;
  }
  const base = Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(generation, 0x85ebca6b);
  for (let i = 0; i < words.length; i++) words[i] = base + i;
}
