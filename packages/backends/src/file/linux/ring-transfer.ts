import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  type BlockRequest,
  type BlockStatus,
  type MemoryRegion,
} from '@iothreads/core';
import { LinuxError } from '@iothreads/linux';
import { failRequest } from '../../driver-error-channel.js';
import { CallSequence, FileCall } from '../call-sequence.js';
import type { Gated } from '../transfer-gate.js';
import type { ThreadRing } from './thread-ring.js';
import type { UringFileDriver } from './uring-file-driver.js';

const CALL_NAMES = {
  [FileCall.READ]: 'read',
  [FileCall.WRITE]: 'write',
  [FileCall.SYNC]: 'fdatasync',
  [FileCall.ALLOCATE]: 'fallocate',
};

/** One request under way in the thread's ring: as many entries as it takes, one after the other, and one completion. */
export class RingTransfer implements Gated {
  /** The number that its entries carry. */
  readonly index: number;
  readonly sequence = new CallSequence();
  readonly #ring: ThreadRing;
  #driver: UringFileDriver | undefined;
  /** Memory that the kernel works in: kept even if the request's device gives it up, and its regions with it. */
  readonly #regions: (MemoryRegion | undefined)[] = [];
  #regionCount = 0;

  constructor(ring: ThreadRing, index: number) {
    this.#ring = ring;
    this.index = index;
  }

  /** Begins a request that `file.settle` leaves to be done, as soon as there is room for it. */
  start(driver: UringFileDriver, request: BlockRequest): void {
    this.#driver = driver;
    this.sequence.start(driver.image, request);
    this.#ring.gate.enter(this);
  }

  ready(): boolean {
    return this.sequence.takeBounce(this.#ring.takeBounce);
  }

  begin(): void {
    // Given up while it waited: its next step is not taken.
    if (this.#givenUp) {
      this.#finish(VIRTIO_BLK_S_IOERR);
      return;
    }
    this.#keepRegions();
    this.#go();
  }

  /** No step is taken any more: its memory may be another request's, its file another one. */
  get #givenUp(): boolean {
    return this.sequence.stale || this.#driver!.closed;
  }

  #go(): void {
    const { sequence } = this;
    let more: boolean;
    try {
      more = sequence.next();
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    if (more) this.#ring.prepare(this, this.#driver!.ringFile(sequence.fd));
    else this.#finish(VIRTIO_BLK_S_OK);
  }

  /** An entry is complete. @param result what the call returned, or minus its errno */
  returned(result: number): void {
    const { sequence } = this;
    if (this.#givenUp) {
      // Given up by its device meanwhile: what it says now may be another request's. The completion reports it.
      this.#finish(VIRTIO_BLK_S_IOERR);
      return;
    }
    if (result < 0) {
      const error = new LinuxError(CALL_NAMES[sequence.call], -result);
      if (sequence.failed(error.code)) this.#go();
      else this.fail(error);
      return;
    }
    const stuck = sequence.done(result);
    if (stuck === undefined) this.#go();
    else this.fail(stuck);
  }

  fail(error: Error): void {
    this.#finish(failRequest('file', this.sequence.request, error));
  }

  #keepRegions(): void {
    const { regions, length } = this.sequence.request.data;
    let last: MemoryRegion | undefined;
    for (let i = 0; i < length; i++) {
      if (regions[i] === last) continue;
      last = regions[i]!;
      this.#regions[this.#regionCount++] = last;
    }
  }

  #finish(status: BlockStatus): void {
    const { request, tag, bounce } = this.sequence;
    const driver = this.#driver!;
    while (this.#regionCount > 0) this.#regions[--this.#regionCount] = undefined;
    this.#driver = undefined;
    if (bounce !== undefined) {
      this.sequence.bounce = undefined;
      this.#ring.bounces.give(bounce);
    }
    // First: the completion may submit more, and finds this transfer free.
    this.#ring.giveTransfer(this);
    this.#ring.gate.leave();
    driver.finished(request, tag, status);
  }
}
