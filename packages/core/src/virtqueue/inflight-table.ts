import { VirtioError } from '../virtio-error.js';

/**
 * Layout of one queue's part (vhost-user, "Inflight I/O tracking", split virtqueues), little-endian: features u64 @0, version u16 @8,
 * number of entries u16 @10, head completed last u16 @12, used index u16 @14, then an entry for each head.
 */
const VERSION = 4;
const ENTRIES = 5;
const LAST_BATCH_HEAD = 6;
const USED_IDX = 7;
const HEADER_BYTES = 16;
/** An entry: in flight u8 @0, head completed before this one u16 @6, counter u64 @8. */
const ENTRY_BYTES = 16;
const NEXT = 6;
const COUNTER = 8;
/** Queues' parts begin at multiples of this. */
const ALIGNMENT = 64;

const KNOWN_VERSION = 1;

/**
 * Which requests of one queue are in flight, in memory that outlives this process: the next back end finds there what this one
 * has taken and not completed.
 *
 * A process that is killed has done all the stores before some instruction and none behind it. That is why their order
 * matters here, and why plain ones will do.
 */
export class InflightTable {
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #size: number;
  /** The counter of the request that is taken next: two words, so that no number is boxed. */
  #counterLow = 0;
  #counterHigh = 0;
  /** Heads completed since the last publication; what is in the table the front end could change. */
  readonly #completed: Uint16Array;
  #completedCount = 0;

  /** Bytes that a queue takes. */
  static bytesFor(size: number): number {
    return Math.ceil((HEADER_BYTES + size * ENTRY_BYTES) / ALIGNMENT) * ALIGNMENT;
  }

  /**
   * @param byteOffset where the queue's part begins, a multiple of 8; it has `bytesFor(size)` bytes
   * @param size of the queue
   */
  constructor(buffer: ArrayBufferLike, byteOffset: number, size: number) {
    const byteLength = HEADER_BYTES + size * ENTRY_BYTES;
    this.#words = new Uint32Array(buffer, byteOffset, byteLength / 4);
    this.#halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
    this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.#size = size;
    this.#completed = new Uint16Array(size);
  }

  /** Whether a back end has been here before. */
  get used(): boolean {
    return this.#halves[VERSION] !== 0;
  }

  /** A request has been taken from the ring: its place among the others first, then the mark. */
  take(head: number): void {
    const at = HEADER_BYTES + head * ENTRY_BYTES;
    const counter = (at + COUNTER) >> 2;
    this.#words[counter] = this.#counterLow;
    this.#words[counter + 1] = this.#counterHigh;
    this.#counterLow = (this.#counterLow + 1) | 0;
    if (this.#counterLow === 0) this.#counterHigh++;
    this.#bytes[at] = 1;
  }

  /** A request is in the used ring, where the driver does not see it yet: it joins the batch that is published next. */
  complete(head: number): void {
    const halves = this.#halves;
    halves[(HEADER_BYTES + head * ENTRY_BYTES + NEXT) >> 1] = halves[LAST_BATCH_HEAD]!;
    halves[LAST_BATCH_HEAD] = head;
    // No queue completes more than its size between two publications, unless its driver gives heads back that it does not have.
    if (this.#completedCount < this.#size) this.#completed[this.#completedCount++] = head;
  }

  /** The driver sees the batch: its used index is `usedIdx` now. */
  published(usedIdx: number): void {
    for (let i = 0; i < this.#completedCount; i++) {
      this.#bytes[HEADER_BYTES + this.#completed[i]! * ENTRY_BYTES] = 0;
    }
    this.#completedCount = 0;
    this.#halves[USED_IDX] = usedIdx;
  }

  /**
   * Prepares the table for a queue that begins, or goes on after a back end that may have been killed at any moment. Nothing of it
   * is believed before it has been looked at: it is the front end's.
   * @param usedIdx the used ring's index, as the driver sees it
   * @returns heads in flight, in the order in which they were taken
   * @throws VirtioError `ERR_INFLIGHT` when it can't be what a back end has left
   */
  recover(usedIdx: number): readonly number[] {
    const halves = this.#halves;
    const version = halves[VERSION]!;
    if (!this.used) {
      this.#bytes.fill(0);
      halves[ENTRIES] = this.#size;
      halves[USED_IDX] = usedIdx;
      halves[VERSION] = KNOWN_VERSION;
      return [];
    }
    if (version !== KNOWN_VERSION || this.#words[0] !== 0 || this.#words[1] !== 0) {
      throw damaged(`is of version ${version}, or has features: only version 1 without any is known`);
    }
    if (halves[ENTRIES] !== this.#size) {
      throw damaged(`has ${halves[ENTRIES]} entries, its queue ${this.#size}`);
    }
    this.#finishBatch(usedIdx);
    const heads = this.#inOrder();
    this.#countOn(heads);
    return heads;
  }

  /** The batch that was published last may not have been unmarked, or not all of it. */
  #finishBatch(usedIdx: number): void {
    const halves = this.#halves;
    const published = (usedIdx - halves[USED_IDX]!) & 0xffff;
    // More than a batch can have: the ring has been made anew since, and there is nothing to finish.
    if (published <= this.#size) {
      let head = halves[LAST_BATCH_HEAD]!;
      for (let i = 0; i < published; i++) {
        if (head >= this.#size) throw damaged(`names head ${head} of a queue of ${this.#size}`);
        const at = HEADER_BYTES + head * ENTRY_BYTES;
        this.#bytes[at] = 0;
        head = halves[(at + NEXT) >> 1]!;
      }
    }
    halves[USED_IDX] = usedIdx;
  }

  #inOrder(): number[] {
    const heads: number[] = [];
    for (let head = 0; head < this.#size; head++) {
      if (this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] !== 0) heads.push(head);
    }
    const counters = new Map(heads.map((head) => [head, this.#counterOf(head)]));
    return heads.toSorted((a, b) => (counters.get(a)! < counters.get(b)! ? -1 : 1));
  }

  #counterOf(head: number): bigint {
    const at = (HEADER_BYTES + head * ENTRY_BYTES + COUNTER) >> 2;
    return (BigInt(this.#words[at + 1]!) << 32n) | BigInt(this.#words[at]!);
  }

  /** Counts from 0 again, so that no counter that a front end could have left overflows. Killed within, the order is the same. */
  #countOn(heads: readonly number[]): void {
    this.#counterLow = this.#counterHigh = 0;
    for (const head of heads) this.take(head);
  }
}

const damaged = (what: string): VirtioError =>
  new VirtioError('ERR_INFLIGHT', `the table of requests in flight ${what}: begin with a new one`);
