import type { GuestMemory } from '../memory/guest-memory.js';
import { SegmentList } from '../memory/segment-list.js';
import {
  DESCRIPTOR_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  type SplitRing,
} from './split-ring.js';

/**
 * The most descriptors a chain may have, indirect ones included: 1024 data buffers, a header and a status. Some drivers
 * exceed the ring's size through an indirect table, which is why the ring's size is not the bound.
 */
export const MAX_CHAIN_DESCRIPTORS = 1026;

/** The buffers of a chain, in its order: first those that the device reads, then those that it writes. */
export interface ChainBuffers {
  readonly readable: SegmentList;
  readonly writable: SegmentList;
}

/**
 * Walks descriptor chains, virtio 1.3 sections 2.7.5 and 2.7.5.3. Each descriptor is read once and the copy is worked
 * on, since a hostile guest may change it meanwhile.
 */
export class DescriptorWalker {
  readonly #memory: GuestMemory;
  readonly #ring: SplitRing;
  readonly #indirect: boolean;
  readonly #straddling = new SegmentList();
  readonly #scratch = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #scratchView = new DataView(this.#scratch.buffer);

  constructor(memory: GuestMemory, ring: SplitRing, indirect: boolean) {
    this.#memory = memory;
    this.#ring = ring;
    this.#indirect = indirect;
  }

  /**
   * Collects the buffers of the chain that starts at `head`. A descriptor without a byte is skipped, whatever its direction.
   *
   * @param head below the ring's size
   * @returns false when the chain breaks the rules; `out` is then good for nothing but the status byte: the last
   * writable byte of `out`, where there is one
   */
  walk(head: number, out: ChainBuffers): boolean {
    const { descriptors, size } = this.#ring;
    const { readable, writable } = out;
    readable.clear();
    writable.clear();
    let sound = true;
    let index = head;
    // Bounded: a chain that visits more descriptors than the table has contains a loop.
    for (let visited = 0; visited < size && visited < MAX_CHAIN_DESCRIPTORS; visited++) {
      const at = index * 4;
      const low = descriptors[at]! | 0;
      const high = descriptors[at + 1]!;
      const length = descriptors[at + 2]!;
      const flagsAndNext = descriptors[at + 3]!;
      const flags = flagsAndNext & 0xffff;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // An indirect descriptor ends the chain (2.7.5.3.1), its WRITE flag means nothing (2.7.5.3.2).
        if (!this.#indirect || (flags & VIRTQ_DESC_F_NEXT) !== 0) return false;
        return this.#walkIndirect(high, low, length, MAX_CHAIN_DESCRIPTORS - visited, out) && sound;
      }
      if ((flags & VIRTQ_DESC_F_WRITE) !== 0) {
        if (!this.#memory.translate(high, low, length, writable)) sound = lostWritable(writable);
      } else if (
        (writable.length > 0 && length > 0) ||
        !this.#memory.translate(high, low, length, readable)
      ) {
        sound = false;
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return sound;
      index = flagsAndNext >>> 16;
      if (index >= size) return false;
    }
    return false;
  }

  #walkIndirect(high: number, low: number, byteLength: number, bound: number, out: ChainBuffers): boolean {
    if (byteLength === 0 || byteLength % DESCRIPTOR_BYTES !== 0 || high >= 0x20_0000) return false;
    const count = byteLength / DESCRIPTOR_BYTES;
    const table = high * 0x1_0000_0000 + (low >>> 0);
    const memory = this.#memory;
    const whole = memory.regionOf(table, byteLength);
    if (whole === undefined && !this.#inMemory(table, byteLength)) return false;
    const { readable, writable } = out;
    let sound = true;
    let index = 0;
    for (let visited = 0; visited < count && visited < bound; visited++) {
      let view: DataView = this.#scratchView;
      let at = 0;
      if (whole !== undefined) {
        view = whole.view;
        at = table - whole.guestAddress + index * DESCRIPTOR_BYTES;
      } else {
        this.#fetch(table + index * DESCRIPTOR_BYTES);
      }
      const addressLow = view.getInt32(at, true);
      const addressHigh = view.getUint32(at + 4, true);
      const length = view.getUint32(at + 8, true);
      const flagsAndNext = view.getUint32(at + 12, true);
      const flags = flagsAndNext & 0xffff;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) return false;
      if ((flags & VIRTQ_DESC_F_WRITE) !== 0) {
        if (!memory.translate(addressHigh, addressLow, length, writable)) sound = lostWritable(writable);
      } else if (
        (writable.length > 0 && length > 0) ||
        !memory.translate(addressHigh, addressLow, length, readable)
      ) {
        sound = false;
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return sound;
      index = flagsAndNext >>> 16;
      if (index >= count) return false;
    }
    return false;
  }

  /** Whether a table that spans regions is all in memory. */
  #inMemory(address: number, byteLength: number): boolean {
    this.#straddling.clear();
    const high = Math.floor(address / 0x1_0000_0000);
    return this.#memory.translate(high, address % 0x1_0000_0000, byteLength, this.#straddling);
  }

  /** Copies one descriptor of a table that spans regions; known to be in memory. */
  #fetch(address: number): void {
    this.#inMemory(address, DESCRIPTOR_BYTES);
    this.#straddling.copyTo(this.#scratch, DESCRIPTOR_BYTES);
  }
}

/**
 * A writable buffer can't be reached: the walk goes on to find the status byte, which is the chain's last writable one,
 * so none of the bytes before this buffer is it.
 * @returns false: the chain is not sound
 */
function lostWritable(writable: SegmentList): false {
  writable.clear();
  return false;
}
