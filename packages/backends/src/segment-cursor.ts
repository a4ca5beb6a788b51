import type { MemoryRegion, SegmentList } from '@iothreads/core';

/**
 * A place in a scatter-gather list, for moving its bytes in several steps. Leaves the list as it is; used again by
 * `start`, so that a driver needs one for each transfer under way.
 */
export class SegmentCursor {
  /** Bytes from here to the end of the list. */
  left = 0;
  #list: SegmentList | undefined;
  #index = 0;
  /** Bytes of the current entry that are behind. */
  #within = 0;

  /** Goes to the first byte of `list`, which must not change until the cursor is done with it. */
  start(list: SegmentList): void {
    this.#list = list;
    this.#index = 0;
    this.#within = 0;
    this.left = list.byteLength;
  }

  /** Entries from here to the end, the one it stands in included. */
  get entriesLeft(): number {
    return this.#list!.length - this.#index;
  }

  /** The current entry's region. */
  get region(): MemoryRegion {
    return this.#list!.regions[this.#index]!;
  }

  /** The memory of the current entry's region; `offset` and `run` say which part of it. */
  get bytes(): Uint8Array {
    return this.#list!.regions[this.#index]!.bytes;
  }

  /** Where in `bytes` the cursor stands. */
  get offset(): number {
    return this.#list!.offsets[this.#index]! + this.#within;
  }

  /** Bytes from here to the end of the current entry. */
  get run(): number {
    return this.#list!.lengths[this.#index]! - this.#within;
  }

  /** Moves on by `byteLength` bytes, at most `left`. */
  advance(byteLength: number): void {
    const lengths = this.#list!.lengths;
    this.left -= byteLength;
    let within = this.#within + byteLength;
    while (this.#index < this.#list!.length && within >= lengths[this.#index]!) {
      within -= lengths[this.#index++]!;
    }
    this.#within = within;
  }

  /** Views over the memory from here on, one for each entry, `limit` of them at most. Does not move. */
  views(limit: number): Uint8Array[] {
    const list = this.#list!;
    const end = Math.min(list.length, this.#index + limit);
    const views: Uint8Array[] = [this.bytes.subarray(this.offset, this.offset + this.run)];
    for (let i = this.#index + 1; i < end; i++) {
      const offset = list.offsets[i]!;
      views.push(list.regions[i]!.bytes.subarray(offset, offset + list.lengths[i]!));
    }
    return views;
  }

  /** Adds the runs from here on to a vector, `limit` of them at most. Does not move. @returns how many it added */
  pushTo(
    vector: { push(address: number, byteLength: number): void },
    hostAddress: (region: MemoryRegion) => number,
    limit: number,
  ): number {
    const list = this.#list!;
    const end = Math.min(list.length, this.#index + limit);
    vector.push(hostAddress(this.region) + this.offset, this.run);
    for (let i = this.#index + 1; i < end; i++) {
      vector.push(hostAddress(list.regions[i]!) + list.offsets[i]!, list.lengths[i]!);
    }
    return end - this.#index;
  }

  /** Fills the memory from here on with `source`, at most `left` bytes, and moves behind them. */
  write(source: Uint8Array): void {
    for (let done = 0; done < source.length;) {
      const take = Math.min(this.run, source.length - done);
      this.bytes.set(source.subarray(done, done + take), this.offset);
      this.advance(take);
      done += take;
    }
  }

  /** Fills `target`, at most `left` bytes, from the memory from here on, and moves behind them. */
  read(target: Uint8Array): void {
    for (let done = 0; done < target.length;) {
      const take = Math.min(this.run, target.length - done);
      target.set(this.bytes.subarray(this.offset, this.offset + take), done);
      this.advance(take);
      done += take;
    }
  }
}
