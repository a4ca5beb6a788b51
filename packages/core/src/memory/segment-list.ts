import type { MemoryRegion } from './memory-region.js';

/**
 * A scatter-gather list: runs of bytes, each inside one memory region. Reused from request to request, so that nothing
 * is allocated while it is filled; `length` says how many entries are in use.
 */
export class SegmentList {
  /** Regions of the entries; only the first `length` mean anything. */
  readonly regions: MemoryRegion[] = [];
  /** Byte offsets within the regions. */
  readonly offsets: number[] = [];
  /** Bytes of each entry, never 0. */
  readonly lengths: number[] = [];
  length = 0;
  /** Sum of the entries' bytes. */
  byteLength = 0;

  /** Empties the list for the next request; it still names the regions of the one before. */
  clear(): void {
    this.length = 0;
    this.byteLength = 0;
  }

  /** Empties the list and lets go of the regions that it has named so far: their memory may be unmapped. */
  forget(): void {
    this.clear();
    this.regions.length = 0;
  }

  /** Adds a run that the caller has checked to lie within the region. Runs of no bytes are skipped. */
  push(region: MemoryRegion, offset: number, byteLength: number): void {
    if (byteLength === 0) return;
    const index = this.length;
    // Contiguous with the run before it (a buffer split over descriptors): one longer run is one operation less.
    if (index > 0 && this.regions[index - 1] === region) {
      const last = index - 1;
      if (offset === this.offsets[last]! + this.lengths[last]!) {
        this.lengths[last]! += byteLength;
        this.byteLength += byteLength;
        return;
      }
    }
    this.regions[index] = region;
    this.offsets[index] = offset;
    this.lengths[index] = byteLength;
    this.length = index + 1;
    this.byteLength += byteLength;
  }

  /** Removes the first `byteLength` bytes, which must be there. */
  dropFront(byteLength: number): void {
    if (byteLength === this.byteLength) {
      this.clear();
      return;
    }
    let left = byteLength;
    let gone = 0;
    while (gone < this.length && left >= this.lengths[gone]!) left -= this.lengths[gone++]!;
    if (gone > 0) {
      for (let i = gone; i < this.length; i++) {
        this.regions[i - gone] = this.regions[i]!;
        this.offsets[i - gone] = this.offsets[i]!;
        this.lengths[i - gone] = this.lengths[i]!;
      }
      this.length -= gone;
    }
    if (left > 0) {
      this.offsets[0]! += left;
      this.lengths[0]! -= left;
    }
    this.byteLength -= byteLength;
  }

  /** Removes the last byte, which must be there. */
  dropLastByte(): void {
    const last = this.length - 1;
    if (--this.lengths[last]! === 0) this.length = last;
    this.byteLength--;
  }

  /** Copies the first `byteLength` bytes out. @returns how many there were to copy. */
  copyTo(target: Uint8Array, byteLength: number): number {
    let done = 0;
    for (let i = 0; i < this.length && done < byteLength; i++) {
      const bytes = this.regions[i]!.bytes;
      const offset = this.offsets[i]!;
      const take = Math.min(this.lengths[i]!, byteLength - done);
      for (let k = 0; k < take; k++) target[done + k] = bytes[offset + k]!;
      done += take;
    }
    return done;
  }

  /** Copies all of it to `target`, from `offset` on; there must be room. The quick way for more than a few bytes. */
  gather(target: Uint8Array, offset: number): void {
    let at = offset;
    for (let i = 0; i < this.length; i++) {
      const from = this.offsets[i]!;
      const byteLength = this.lengths[i]!;
      target.set(this.regions[i]!.bytes.subarray(from, from + byteLength), at);
      at += byteLength;
    }
  }

  /** Copies `source` in, from the list's first byte on. @returns how many bytes fitted. */
  copyFrom(source: Uint8Array): number {
    let done = 0;
    for (let i = 0; i < this.length && done < source.length; i++) {
      const take = Math.min(this.lengths[i]!, source.length - done);
      this.regions[i]!.bytes.set(source.subarray(done, done + take), this.offsets[i]);
      done += take;
    }
    return done;
  }

  /** Sets every byte to 0. */
  zero(): void {
    for (let i = 0; i < this.length; i++) {
      const offset = this.offsets[i]!;
      this.regions[i]!.bytes.fill(0, offset, offset + this.lengths[i]!);
    }
  }

  /** One view for each entry, over the guest's memory itself. Allocates: not for paths that need none. */
  views(): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let i = 0; i < this.length; i++) {
      const offset = this.offsets[i]!;
      views.push(this.regions[i]!.bytes.subarray(offset, offset + this.lengths[i]!));
    }
    return views;
  }
}
