import { GuestMemory } from '../memory/guest-memory.js';
import type { BouncedMemory } from './bounced-memory.js';

/** Guest memory whose buffer may be another one at each use: every view over it is made anew when it is. */
export class MovingMemory extends GuestMemory {
  readonly #current: () => ArrayBuffer | SharedArrayBuffer;
  #buffer: ArrayBuffer | SharedArrayBuffer;
  #moves = 0;

  /** @throws VirtioError `ERR_MEMORY_REGION` as `GuestMemory` does */
  constructor(options: BouncedMemory) {
    const buffer = options.buffer();
    const regions = options.regions ?? [{ guestAddress: 0, byteOffset: 0, size: buffer.byteLength }];
    super(regions.map((region) => ({ ...region, buffer })));
    this.#current = options.buffer;
    this.#buffer = buffer;
  }

  /** How often it has moved. */
  get moves(): number {
    return this.#moves;
  }

  /** @throws VirtioError `ERR_MEMORY_REGION` when it has shrunk */
  override follow(): void {
    const buffer = this.#current();
    if (buffer === this.#buffer) return;
    for (const region of this.regions) region.relocate(buffer);
    this.#buffer = buffer;
    this.#moves++;
  }
}
