import { nowNs } from '../clock.js';

/**
 * One slot of shared memory an iothread, all in one buffer, so that a doorbell can reach whichever iothread serves its
 * queue at the moment. Slots are a cache line apart.
 */
const WORDS_PER_SLOT = 16;
/** Moves with every kick: what a sleeping loop waits on. */
const SEQUENCE = 0;
/** 1 while the loop sleeps, or is about to: only then does a kick cost more than two stores. */
const SLEEPING = 1;

/** 64-bit words: when the last kick of a sleeping loop was made. A hint for the polling controller, nothing more. */
const WORDS64_PER_SLOT = WORDS_PER_SLOT / 2;
const KICKED_NS = 1;

export const MAX_IOTHREADS = 256;

export function createWakeBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(MAX_IOTHREADS * WORDS_PER_SLOT * Int32Array.BYTES_PER_ELEMENT);
}

/** The side of those who kick, on any thread. */
export class Waker {
  readonly #words: Int32Array;
  readonly #words64: Float64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
    this.#words64 = new Float64Array(buffer);
  }

  /** Makes iothread `slot` look at its doorbells; wakes it if it sleeps. */
  wake(slot: number): void {
    const at = slot * WORDS_PER_SLOT;
    Atomics.add(this.#words, at + SEQUENCE, 1);
    if (Atomics.load(this.#words, at + SLEEPING) === 0) return;
    this.#words64[slot * WORDS64_PER_SLOT + KICKED_NS] = nowNs();
    Atomics.notify(this.#words, at + SEQUENCE);
  }
}

/** The iothread's own side of its slot. */
export class WakeSlot {
  readonly #words: Int32Array;
  readonly #kickedNs: Float64Array;
  readonly #at: number;
  #seen: number;
  #waiting = false;

  constructor(buffer: SharedArrayBuffer, slot: number) {
    this.#words = new Int32Array(buffer);
    this.#kickedNs = new Float64Array(buffer, (slot * WORDS64_PER_SLOT + KICKED_NS) * 8, 1);
    this.#at = slot * WORDS_PER_SLOT;
    this.#seen = Atomics.load(this.#words, this.#at + SEQUENCE);
    // Who had the slot before may have died asleep.
    this.awake();
  }

  /** Whether there was a kick since the last call. */
  takeKick(): boolean {
    // A plain read: a loop that polls sees a kick a pass later at worst, and going to sleep looks with a fence.
    const sequence = this.#words[this.#at + SEQUENCE]!;
    if (sequence === this.#seen) return false;
    this.#seen = sequence;
    return true;
  }

  /**
   * Asks to be woken: `onWake` is called on this thread after the next kick.
   * @returns false when a kick came meanwhile: don't sleep
   */
  sleep(onWake: () => void): boolean {
    Atomics.store(this.#words, this.#at + SLEEPING, 1);
    // A kicker moves the sequence first and looks at SLEEPING then; this does the opposite. One of us sees the other.
    if (this.kicked) {
      this.awake();
      return false;
    }
    // A wait that is still pending from an earlier sleep is notified as well: one is enough.
    if (this.#waiting) return true;
    const wait = Atomics.waitAsync(this.#words, this.#at + SEQUENCE, this.#seen);
    if (!wait.async) {
      this.awake();
      return false;
    }
    this.#waiting = true;
    void wait.value.then(() => {
      this.#waiting = false;
      onWake();
    });
    return true;
  }

  /** The same as `kicked` by a plain read: for loops that look all the time. */
  get stirs(): boolean {
    return this.#words[this.#at + SEQUENCE] !== this.#seen;
  }

  /** Whether a kick is on its way that `takeKick` has not returned yet. */
  get kicked(): boolean {
    return Atomics.load(this.#words, this.#at + SEQUENCE) !== this.#seen;
  }

  /** When the loop was last kicked out of its sleep: earlier than it notices, by what waking up takes. */
  get kickedNs(): number {
    return this.#kickedNs[0]!;
  }

  awake(): void {
    Atomics.store(this.#words, this.#at + SLEEPING, 0);
  }
}
