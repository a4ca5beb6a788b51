import type { BlockRequest } from '@iothreads/core';

const INITIAL_CAPACITY = 256;

/**
 * Requests in the order of their deadlines, first in, first out: the latency is the same for all, so they never
 * overtake. A ring over arrays that grow when they are full and are otherwise used again.
 */
export class DeadlineQueue {
  length = 0;
  #capacity = INITIAL_CAPACITY;
  #head = 0;
  #requests: (BlockRequest | undefined)[] = Array.from({ length: INITIAL_CAPACITY });
  #tags = new Float64Array(INITIAL_CAPACITY);
  #deadlinesNs = new Float64Array(INITIAL_CAPACITY);

  /** Deadline of the first request, Infinity when there is none. */
  get nextNs(): number {
    return this.length === 0 ? Infinity : this.#deadlinesNs[this.#head]!;
  }

  /** The first request; there must be one. */
  get first(): BlockRequest {
    return this.#requests[this.#head]!;
  }

  /** The tag that the first request was submitted under; there must be one. */
  get firstTag(): number {
    return this.#tags[this.#head]!;
  }

  /** Appends; `deadlineNs` is not before that of the last. */
  push(request: BlockRequest, tag: number, deadlineNs: number): void {
    if (this.length === this.#capacity) this.#grow();
    // The capacity is a power of two.
    const at = (this.#head + this.length) & (this.#capacity - 1);
    this.#requests[at] = request;
    this.#tags[at] = tag;
    this.#deadlinesNs[at] = deadlineNs;
    this.length++;
  }

  /** Removes the first; there must be one. */
  drop(): void {
    this.#requests[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#capacity - 1);
    this.length--;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const requests: (BlockRequest | undefined)[] = Array.from({ length: capacity });
    const tags = new Float64Array(capacity);
    const deadlinesNs = new Float64Array(capacity);
    for (let i = 0; i < this.length; i++) {
      const from = (this.#head + i) & (this.#capacity - 1);
      requests[i] = this.#requests[from];
      tags[i] = this.#tags[from]!;
      deadlinesNs[i] = this.#deadlinesNs[from]!;
    }
    this.#requests = requests;
    this.#tags = tags;
    this.#deadlinesNs = deadlinesNs;
    this.#capacity = capacity;
    this.#head = 0;
  }
}
