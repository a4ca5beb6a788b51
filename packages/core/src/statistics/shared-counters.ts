/**
 * Looks at a counter whose carry is under way. A carry takes nanoseconds and comes once in 2^31 events, but its writer may
 * lose its processor in the middle for a while; one that died there must not hang the reader.
 */
const MAX_TRIES = 5_000_000;

/**
 * Counters in shared memory that one thread writes and any thread reads, without a lock and without losing a carry.
 *
 * Layout, 32-bit words: a sequence, then the low halves, then the high halves. A counter's value is high × 2^31 + low.
 * Counting is one plain increment; only a carry, every 2^31 events, moves the sequence, odd while it lasts.
 */
export class SharedCounters {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  readonly #words: Uint32Array;
  readonly #size: number;

  /** Bytes of buffer that `size` counters take. */
  static bytesFor(size: number): number {
    return 4 * (1 + 2 * size);
  }

  /** @param byteOffset multiple of 4; `bytesFor(size)` bytes from there on are the counters' own */
  constructor(buffer: ArrayBuffer | SharedArrayBuffer, byteOffset: number, size: number) {
    this.buffer = buffer;
    this.#words = new Uint32Array(buffer, byteOffset, 1 + 2 * size);
    this.#size = size;
  }

  /** How many counters there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds `amount`, below 2^31, to counter `index`. The writing thread only. */
  add(index: number, amount: number): void {
    const words = this.#words;
    const low = words[1 + index]! + amount;
    if (low < 0x8000_0000) words[1 + index] = low;
    else this.#carry(index, low);
  }

  #carry(index: number, low: number): void {
    const words = this.#words;
    Atomics.add(words, 0, 1);
    Atomics.add(words, 1 + this.#size + index, 1);
    Atomics.store(words, 1 + index, low - 0x8000_0000);
    Atomics.add(words, 0, 1);
  }

  /** The value of counter `index`, from any thread. Exact below 2^53. */
  read(index: number): number {
    const words = this.#words;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const before = Atomics.load(words, 0);
      if ((before & 1) === 1) continue;
      const high = Atomics.load(words, 1 + this.#size + index);
      const low = Atomics.load(words, 1 + index);
      if (Atomics.load(words, 0) === before) return high * 0x8000_0000 + low;
    }
    return words[1 + this.#size + index]! * 0x8000_0000 + words[1 + index]!;
  }

  /** Adds another's values to these; the other may be written meanwhile. */
  merge(other: SharedCounters): void {
    for (let i = 0; i < this.#size; i++) {
      let left = other.read(i);
      while (left > 0) {
        const step = Math.min(left, 0x7fff_ffff);
        this.add(i, step);
        left -= step;
      }
    }
  }
}
