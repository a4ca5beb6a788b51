// What a guest may rely on: for each sector the versions that it has asked for, and from when on each of them must survive.

/** What a sector is to hold: a generation, 0 for zeroes, ANYTHING after a discard. */
const ANYTHING = -1;

interface Version {
  readonly value: number;
  /** The position of the log when it was asked for. */
  readonly since: number;
  /** From which position of the log on it, or a later one, must be there: Infinity while nothing was promised. */
  durableFrom: number;
}

interface Sector {
  readonly versions: Version[];
  /** Index of the last one that the guest has seen complete. */
  completed: number;
}

/** A write, zeroes or a discard that is under way. */
export interface Change {
  readonly first: number;
  readonly count: number;
}

/** What the disk had promised when a flush was submitted: the version of each sector. */
export type Promised = readonly number[];

/** Sectors are changed by one request at a time each; requests on different ones overlap as they like. */
export class GuestHistory {
  readonly #sectors: readonly Sector[];
  #generations = 0;

  constructor(sectors: number) {
    this.#sectors = Array.from({ length: sectors }, () => ({
      versions: [{ value: 0, since: 0, durableFrom: 0 }],
      completed: 0,
    }));
  }

  get size(): number {
    return this.#sectors.length;
  }

  /** A generation that no sector has had. */
  nextGeneration(): number {
    return ++this.#generations;
  }

  /**
   * A request is about to be submitted that leaves `generations` behind, 0 for zeroes.
   * @param since the position of the log
   */
  write(first: number, generations: readonly number[], since: number): Change {
    for (const [index, value] of generations.entries()) {
      this.#sectors[first + index]!.versions.push({ value, since, durableFrom: Infinity });
    }
    return { first, count: generations.length };
  }

  discard(first: number, count: number, since: number): Change {
    return this.write(first, repeat(count, ANYTHING), since);
  }

  /** The guest has seen a change complete. @param durableFrom where that is a promise: in write-through mode */
  completed({ first, count }: Change, durableFrom = Infinity): void {
    for (const sector of this.#sectors.slice(first, first + count)) {
      sector.completed = sector.versions.length - 1;
      sector.versions[sector.completed]!.durableFrom = durableFrom;
    }
  }

  /** A flush is about to be submitted. */
  promised(): Promised {
    return this.#sectors.map(({ completed }) => completed);
  }

  /** The guest has seen it complete, when the log had come to `durableFrom`. */
  flushed(promised: Promised, durableFrom: number): void {
    for (const [index, version] of promised.entries()) {
      const found = this.#sectors[index]!.versions[version]!;
      found.durableFrom = Math.min(found.durableFrom, durableFrom);
    }
  }

  /**
   * What is wrong with a disk after a crash.
   * @param generationOf what the disk holds
   * @param cut the position of the log at which it crashed; `THE_END` for now
   * @param completed whether all that was complete must be there: true where the host has not crashed
   */
  mistake(generationOf: (sector: number) => number, cut: number, completed = false): string | undefined {
    for (const [index, sector] of this.#sectors.entries()) {
      const found = generationOf(index);
      // From the last one that had been asked for back to the one that must be there at least.
      for (let at = sector.versions.length - 1; ; at--) {
        const { value, since, durableFrom } = sector.versions[at]!;
        if (since > cut) continue;
        if (value === found || value === ANYTHING) break;
        if (durableFrom > cut && !(completed && at === sector.completed)) continue;
        return `sector ${index} holds generation ${found} at ${cut}, but ${value} was promised`;
      }
    }
    return undefined;
  }
}

export const repeat = (count: number, value: number): number[] => Array.from({ length: count }, () => value);
