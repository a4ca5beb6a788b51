import {
  clearEventfd,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  IoUring,
  IoVector,
  LinuxError,
  MAX_IO_VECTORS,
  ReadableWatch,
  type RingFile,
} from '@iothreads/linux';
import { AllocateMode, FileCall, type CallSequence } from '../call-sequence.js';
import type { BlockDriverContext } from '../../block-driver.js';
import type { FlatMemory } from '../image-file.js';
import { TransferGate } from '../transfer-gate.js';
import { BouncePool } from './bounce-pool.js';
import { hostAddress } from './host-address.js';
import { addressOfCall } from './linux-calls.js';
import { RingTransfer } from './ring-transfer.js';

const ENTRIES = 256;
/** As many as the completion ring has room for: older kernels take no more entries once it has overflown. */
export const MAX_UNDER_WAY = 4 * ENTRIES;
const VECTOR_CAPACITY = 4 * MAX_IO_VECTORS;

/** A driver whose requests are in the ring. */
export interface RingUser {
  /** Requests that it was given and has not completed. */
  readonly inFlight: number;
  /** There are completions: `flush` soon. */
  attend(): void;
}

/**
 * The io_uring of this thread, shared by its files: entries are prepared one by one and submitted by `flush`, which also
 * collects what is complete, whoever's it is.
 */
export class ThreadRing {
  static #current: ThreadRing | undefined;

  readonly gate = new TransferGate(MAX_UNDER_WAY);
  readonly bounces = new BouncePool();
  readonly takeBounce = (byteLength: number): FlatMemory | undefined => this.bounces.take(byteLength);
  readonly #ring = new IoUring(ENTRIES);
  readonly #watch: ReadableWatch;
  readonly #closing: (() => void) | undefined;
  readonly #vector = new IoVector(VECTOR_CAPACITY);
  readonly #users = new Set<RingUser>();
  /** All there are, by the number that their entries carry; those that are free. */
  readonly #transfers: RingTransfer[] = [];
  readonly #idle: RingTransfer[] = [];
  /** What is prepared and not submitted, in order. */
  readonly #batch: RingTransfer[] = [];
  #batched = 0;
  #flushing = false;
  /** Requests of drivers that have left: nobody else waits for them. */
  #orphans = 0;

  /** The ring of this thread, made for its first user. @throws LinuxError where io_uring can't be had */
  static join(user: RingUser, { outlives }: BlockDriverContext): ThreadRing {
    const ring = (ThreadRing.#current ??= new ThreadRing(outlives));
    ring.#users.add(user);
    return ring;
  }

  private constructor(outlives: BlockDriverContext['outlives']) {
    this.#closing = outlives?.(this.#ring.remains);
    process.once('exit', this.#onExit);
    this.#watch = new ReadableWatch(this.#ring.eventFd, this.#onReadable);
    // Whoever waits for a request has something of its own that keeps the thread alive.
    this.#watch.unref();
  }

  /** With requests in flight, too: they are collected without it. */
  leave(user: RingUser): void {
    this.#users.delete(user);
    this.#orphans += user.inFlight;
    if (this.#orphans > 0 && this.arm()) this.flush();
    this.#closeWhenIdle();
  }

  /** A request of a driver that has left is over. */
  orphanDone(): void {
    this.#orphans--;
  }

  registerFile(fd: number): RingFile {
    return this.#ring.registerFile(fd);
  }

  /** The kernel keeps the file for what is in flight. */
  unregisterFile(file: RingFile): void {
    this.#ring.unregisterFile(file);
  }

  takeTransfer(): RingTransfer {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const transfer = new RingTransfer(this, this.#transfers.length);
    this.#transfers.push(transfer);
    return transfer;
  }

  giveTransfer(transfer: RingTransfer): void {
    this.#idle.push(transfer);
  }

  /** Prepares the call that a transfer's sequence has come to; the next `flush` submits it. */
  prepare(transfer: RingTransfer, file: RingFile): void {
    const ring = this.#ring;
    const { sequence, index } = transfer;
    const { call, position, byteLength } = sequence;
    if (ring.prepared === ring.entries) this.#submit();
    switch (call) {
      case FileCall.READ:
        if (sequence.vectored) this.#prepareVector(sequence, file, index);
        else ring.read(file, addressOfCall(sequence), byteLength, position, index);
        break;
      case FileCall.WRITE:
        if (sequence.vectored) this.#prepareVector(sequence, file, index);
        else ring.write(file, addressOfCall(sequence), byteLength, position, index);
        break;
      case FileCall.SYNC:
        ring.syncData(file, index);
        break;
      default: {
        const mode = sequence.mode === AllocateMode.PUNCH_HOLE ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
        ring.allocate(file, mode | FALLOC_FL_KEEP_SIZE, position, byteLength, index);
      }
    }
    this.#batch[this.#batched++] = transfer;
  }

  #prepareVector({ call, cursor, position }: CallSequence, file: RingFile, index: number): void {
    const vector = this.#vector;
    if (vector.capacity - vector.length < Math.min(cursor.entriesLeft, MAX_IO_VECTORS)) this.#submit();
    const address = vector.addressAt(vector.length);
    const count = cursor.pushTo(vector, hostAddress, MAX_IO_VECTORS);
    if (call === FileCall.READ) this.#ring.readVector(file, address, count, position, index);
    else this.#ring.writeVector(file, address, count, position, index);
  }

  /** Whether `flush` would find completions, at the cost of a few plain reads. */
  hasCompletions(): boolean {
    return this.#ring.hasCompletions();
  }

  /** Completions make somebody's `attend` be called from now on. @returns whether there are some already */
  arm(): boolean {
    return this.#ring.arm();
  }

  /** Completions are looked for from now on. */
  disarm(): void {
    if (this.#orphans === 0) this.#ring.disarm();
  }

  /**
   * Submits what is prepared and collects what is complete, until nothing is prepared any more: bounded by what the devices
   * have in flight, because completions give them no turn.
   */
  flush(): void {
    // From within a completion: whoever collects goes on with what has been prepared.
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      do {
        this.#submit();
        this.#ring.reap(this.#onCompletion);
      } while (this.#batched > 0);
    } finally {
      this.#flushing = false;
    }
    if (this.#users.size === 0) this.#closeWhenIdle();
  }

  #submit(): void {
    const count = this.#batched;
    if (count === 0) return;
    let failure: LinuxError | undefined;
    try {
      this.#ring.submit();
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      failure = error;
    }
    this.#batched = 0;
    this.#vector.clear();
    if (failure === undefined) return;
    // The kernel takes them in order; the rest it has not seen.
    const refused = this.#batch.slice(count - this.#ring.prepared, count);
    this.#ring.withdraw();
    for (const transfer of refused) transfer.fail(failure);
  }

  readonly #onCompletion = (index: number, result: number): void => {
    this.#transfers[index]!.returned(result);
  };

  readonly #onReadable = (): void => {
    clearEventfd(this.#ring.eventFd);
    for (const user of this.#users) if (user.inFlight > 0) user.attend();
    if (this.#orphans > 0) this.flush();
  };

  /**
   * A disk of a user's ends the thread, by an exit or an error. Memory of its own that the kernel works in, bounces for direct I/O,
   * is given back with the thread: nothing may be in flight then. (Threads that are terminated from outside have no such moment.)
   */
  readonly #onExit = (): void => {
    this.#ring.drain();
  };

  #closeWhenIdle(): void {
    if (this.#users.size > 0 || this.#idle.length < this.#transfers.length || this.#flushing) return;
    if (ThreadRing.#current === this) ThreadRing.#current = undefined;
    process.off('exit', this.#onExit);
    this.#watch.close();
    this.#closing?.();
    this.#ring.close();
  }
}
