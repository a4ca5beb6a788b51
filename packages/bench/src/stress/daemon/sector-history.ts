import { SECTOR_SIZE } from '@iothreads/core';

/** What each sector of a disk may hold: the generations that were written to it last, of which one is there. */
export class SectorHistory {
  readonly #possible: Set<number>[];
  #generation = 0;

  constructor(sectors: number) {
    this.#possible = Array.from({ length: sectors }, () => new Set([0]));
  }

  get sectors(): number {
    return this.#possible.length;
  }

  /**
   * What a write puts there. From now on both may be there, what was there before and this.
   * @param count sectors
   * @returns the data, and what to call once it is known that all of it is there
   */
  write(sector: number, count: number): { readonly data: Uint8Array; readonly succeeded: () => void } {
    const generation = ++this.#generation;
    const data = new Uint8Array(count * SECTOR_SIZE);
    const sectors = Array.from({ length: count }, (_, i) => this.#possible[sector + i]!);
    for (const [i, possible] of sectors.entries()) {
      data.set(contentOf(sector + i, generation), i * SECTOR_SIZE);
      possible.add(generation);
    }
    return {
      data,
      succeeded: () => {
        for (const possible of sectors) {
          possible.clear();
          possible.add(generation);
        }
      },
    };
  }

  /** @throws Error naming the sector that holds anything else */
  verify(sector: number, data: Uint8Array): void {
    for (let i = 0; i * SECTOR_SIZE < data.length; i++) {
      const found = data.subarray(i * SECTOR_SIZE, (i + 1) * SECTOR_SIZE);
      const possible = this.#possible[sector + i]!;
      const generation = generationOf(found);
      if (possible.has(generation) && Buffer.compare(found, contentOf(sector + i, generation)) === 0)
        continue;
      const words = [...new Uint32Array(found.slice(0, 8).buffer)].join(', ');
      throw new Error(
        `sector ${sector + i} holds ${words}; generation ${[...possible].join(' or ')} was written there`,
      );
    }
  }
}

const generationOf = (sector: Uint8Array): number => new Uint32Array(sector.slice(4, 8).buffer)[0]!;

/** Number and generation at the sector's start, their mix in the rest; zeroes before the first write. */
function contentOf(sector: number, generation: number): Uint8Array {
  const words = new Uint32Array(SECTOR_SIZE / 4);
  if (generation > 0) {
    words.fill(Math.imul(sector + 1, 0x9e3779b1) ^ generation);
    words[0] = sector;
    words[1] = generation;
  }
  return new Uint8Array(words.buffer);
}
