import { SECTOR_SIZE } from '@iothreads/core';

const ZEROES = 0;

/** What each sector of a disk may hold: the generations that were written to it last, of which one is there. */
export class SectorHistory {
  readonly #possible: Set<number>[];
  #generation = ZEROES;

  constructor(sectors: number) {
    this.#possible = Array.from({ length: sectors }, () => new Set([ZEROES]));
  }

  get sectors(): number {
    return this.#possible.length;
  }

  /** The disk is another one, of zeroes. */
  reset(): void {
    for (const possible of this.#possible) became(possible, ZEROES);
  }

  /**
   * What a write puts there. From now on both may be there, what was there before and this.
   * @param count sectors
   * @returns the data, and what to call once it is known that all of it is there
   */
  write(sector: number, count: number): { readonly data: Uint8Array; readonly succeeded: () => void } {
    const generation = ++this.#generation;
    const data = new Uint8Array(count * SECTOR_SIZE);
    for (let i = 0; i < count; i++) data.set(contentOf(sector + i, generation), i * SECTOR_SIZE);
    return { data, succeeded: this.#change(sector, count, generation) };
  }

  /** The same of zeroes. After a discard nobody knows, so that there is nothing to call. */
  zero(sector: number, count: number): { readonly succeeded: () => void } {
    return { succeeded: this.#change(sector, count, ZEROES) };
  }

  #change(sector: number, count: number, generation: number): () => void {
    const sectors = this.#possible.slice(sector, sector + count);
    for (const possible of sectors) possible.add(generation);
    return () => {
      for (const possible of sectors) became(possible, generation);
    };
  }

  /**
   * What has been read is there from now on: a write that failed, or whose guest has gone, must not come later.
   * @throws Error naming the sector that holds anything else
   */
  verify(sector: number, data: Uint8Array): void {
    for (let i = 0; i * SECTOR_SIZE < data.length; i++) {
      const found = data.subarray(i * SECTOR_SIZE, (i + 1) * SECTOR_SIZE);
      const possible = this.#possible[sector + i]!;
      const generation = generationOf(found);
      if (possible.has(generation) && Buffer.compare(found, contentOf(sector + i, generation)) === 0) {
        if (possible.size > 1) became(possible, generation);
        continue;
      }
      const words = [...new Uint32Array(found.slice(0, 8).buffer)].join(', ');
      throw new Error(
        `sector ${sector + i} holds ${words}; generation ${[...possible].join(' or ')} was written there`,
      );
    }
  }
}

function became(possible: Set<number>, generation: number): void {
  possible.clear();
  possible.add(generation);
}

const generationOf = (sector: Uint8Array): number => new Uint32Array(sector.slice(4, 8).buffer)[0]!;

/** Number and generation at the sector's start, their mix in the rest; zeroes before the first write. */
function contentOf(sector: number, generation: number): Uint8Array {
  const words = new Uint32Array(SECTOR_SIZE / 4);
  if (generation !== ZEROES) {
    words.fill(Math.imul(sector + 1, 0x9e3779b1) ^ generation);
    words[0] = sector;
    words[1] = generation;
  }
  return new Uint8Array(words.buffer);
}
