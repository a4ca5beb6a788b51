import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, type BlockRequest, type BlockStatus } from '@iothreads/core';
import { fdatasync, read, readv, write, writev } from 'node:fs';
import { failRequest } from '../driver-error-channel.js';
import { CallSequence, FileCall } from './call-sequence.js';
import { MAX_VECTORS } from './file-limits.js';
import { TransferGate, type Gated } from './transfer-gate.js';
import type { FlatMemory, ImageFile } from './image-file.js';

/** Requests under way on a thread: far more than the thread pool does at a time. */
export const MAX_TRANSFERS = 1024;
const gate = new TransferGate(MAX_TRANSFERS);

/**
 * One asynchronous request under way on a file: as many calls of the thread pool as it takes, one after the other, and
 * one completion. Used again from request to request. The calls work in the guest's memory itself.
 */
export class FileTransfer implements Gated {
  readonly #file: ImageFile;
  /** fallocate(2), for which the thread pool has no call: made on the spot. */
  readonly #allocate: (sequence: CallSequence) => void;
  /** Takes the transfer back, right before its request completes. */
  readonly #release: (transfer: FileTransfer) => void;
  readonly #sequence = new CallSequence();
  readonly #takeBounce = (byteLength: number): FlatMemory | undefined =>
    this.#file.direct!.takeBounce(byteLength);

  constructor(
    file: ImageFile,
    allocate: (sequence: CallSequence) => void,
    release: (transfer: FileTransfer) => void,
  ) {
    this.#file = file;
    this.#allocate = allocate;
    this.#release = release;
  }

  /** Begins a request that `file.settle` leaves to be done, as soon as there is room for it. */
  start(request: BlockRequest): void {
    this.#sequence.start(this.#file, request);
    gate.enter(this);
  }

  ready(): boolean {
    return this.#sequence.takeBounce(this.#takeBounce);
  }

  begin(): void {
    // Given up while it waited: its next step is not taken.
    if (this.#sequence.stale) this.#finish(VIRTIO_BLK_S_IOERR);
    else this.#go();
  }

  #go(): void {
    const sequence = this.#sequence;
    for (;;) {
      try {
        if (!sequence.next()) break;
        if (sequence.call !== FileCall.ALLOCATE) {
          this.#call();
          return;
        }
        this.#allocate(sequence);
        sequence.done(0);
      } catch (error) {
        if (sequence.failed((error as NodeJS.ErrnoException).code ?? '')) continue;
        this.#fail(error);
        return;
      }
    }
    this.#finish(VIRTIO_BLK_S_OK);
  }

  #call(): void {
    const { call, fd, flat, flatOffset, cursor, position, byteLength, vectored } = this.#sequence;
    if (call === FileCall.SYNC) {
      fdatasync(fd, this.#synced);
    } else if (call === FileCall.READ) {
      if (flat !== undefined) read(fd, flat.bytes, flatOffset, byteLength, position, this.#returned);
      else if (vectored) readv(fd, cursor.views(MAX_VECTORS), position, this.#returned);
      else read(fd, cursor.bytes, cursor.offset, byteLength, position, this.#returned);
    } else if (flat !== undefined) {
      write(fd, flat.bytes, flatOffset, byteLength, position, this.#returned);
    } else if (vectored) {
      writev(fd, cursor.views(MAX_VECTORS), position, this.#returned);
    } else {
      write(fd, cursor.bytes, cursor.offset, byteLength, position, this.#returned);
    }
  }

  // Properties, made once: a callback for each request would be one more allocation.
  readonly #returned = (error: NodeJS.ErrnoException | null, byteLength: number): void => {
    const sequence = this.#sequence;
    if (sequence.stale) {
      // Given up by its device meanwhile: what it says now may be another request's. The completion reports it.
      this.#finish(VIRTIO_BLK_S_IOERR);
      return;
    }
    if (error !== null && !sequence.failed(error.code ?? '')) {
      this.#fail(error);
      return;
    }
    const stuck = error === null ? sequence.done(byteLength) : undefined;
    if (stuck === undefined) this.#go();
    else this.#fail(stuck);
  };

  readonly #synced = (error: NodeJS.ErrnoException | null): void => {
    this.#returned(error, 0);
  };

  #fail(error: unknown): void {
    this.#finish(failRequest('file', this.#sequence.request, error));
  }

  #finish(status: BlockStatus): void {
    const { request, tag, bounce } = this.#sequence;
    if (bounce !== undefined) {
      this.#sequence.bounce = undefined;
      this.#file.direct!.giveBounce(bounce);
    }
    // First: the completion may submit more, and finds this transfer free.
    this.#release(this);
    gate.leave();
    request.complete(tag, status);
  }
}
