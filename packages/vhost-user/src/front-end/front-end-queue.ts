import {
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  RANGE_BYTES,
  SECTOR_SIZE,
  SERIAL_BYTES,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { BlkDriver, type GuestAllocator } from '@iothreads/core/testing';
import {
  clearEventfd,
  closeFd,
  createEventfd,
  ReadableWatch,
  signalEventfd,
  waitReadable,
} from '@iothreads/linux';
import { VhostUserError } from '../vhost-user-error.js';

/** How large a queue of a front end is, and how it hears of completions. */
export interface FrontEndQueueOptions {
  /** Descriptors, a power of two. */
  readonly size: number;
  /** Requests in flight at most: three descriptors each. */
  readonly depth: number;
  /** Bytes of data that a request can carry. */
  readonly dataBytes: number;
  readonly eventIdx: boolean;
  /** Whether the device calls when requests complete; without, the queue looks for itself. */
  readonly call: boolean;
}

/** What a request came to. */
export interface Completion {
  /** Status byte; 0xff where the device never wrote one. */
  readonly status: number;
  /** The request's data, a copy. */
  readonly data: Uint8Array;
}

/**
 * One queue of a front end. Benches use `driver`, `kick` and `waitForCall` themselves; tests use the promises below. Not both at
 * once: each takes the other's completions.
 */
export class FrontEndQueue {
  readonly index: number;
  readonly addresses: VirtqueueAddresses;
  readonly driver: BlkDriver;
  readonly kickFd = createEventfd();
  /** -1: the device does not call. */
  callFd: number;
  readonly #pending = new Map<
    number,
    { resolve: (done: Completion) => void; reject: (mistake: unknown) => void; byteLength: number }
  >();
  #slotsWanted: (() => void)[] = [];
  #watch: ReadableWatch | undefined;
  #polling = false;
  #closed = false;

  constructor(index: number, allocator: GuestAllocator, options: FrontEndQueueOptions) {
    this.index = index;
    this.addresses = allocator.allocateQueue(options.size);
    this.driver = new BlkDriver(allocator, { addresses: this.addresses, ...options });
    this.callFd = options.call ? createEventfd() : -1;
    // QEMU's own back end gives a connection up when it can't call.
    if (!options.call) this.driver.queue.disableInterrupts();
  }

  /** Rings the doorbell. */
  kick(): void {
    signalEventfd(this.kickFd);
  }

  /**
   * Blocks this thread until the device calls, and takes the call. `driver.queue.enableInterrupts()` has to come before.
   * @returns false when `timeoutMs` milliseconds were over first
   */
  waitForCall(timeoutMs: number): boolean {
    if (!waitReadable(this.callFd, timeoutMs)) return false;
    clearEventfd(this.callFd);
    return true;
  }

  /** Uses another eventfd for calls; the one before is closed. The back end must have been told. */
  replaceCall(fd: number): void {
    this.#unwatch();
    if (this.callFd !== -1) closeFd(this.callFd);
    this.callFd = fd;
    this.#listen();
  }

  /**
   * Reads from the disk.
   * @param sector of 512 bytes each
   * @returns a copy of the data
   * @throws VhostUserError `ERR_REQUEST_FAILED`, as all that follow; `ERR_DISCONNECTED` once it is closed
   */
  async read(sector: number, byteLength: number): Promise<Uint8Array> {
    return this.#succeed('read', sector, await this.request(VIRTIO_BLK_T_IN, sector, byteLength));
  }

  /** Writes bytes, a multiple of 512. */
  async write(sector: number, bytes: Uint8Array): Promise<void> {
    this.#succeed('write', sector, await this.request(VIRTIO_BLK_T_OUT, sector, bytes.length, bytes));
  }

  /** What was written before is durable when this resolves. */
  async flush(): Promise<void> {
    this.#succeed('flush', 0, await this.request(VIRTIO_BLK_T_FLUSH, 0, 0));
  }

  /** Discards bytes, a multiple of 512: what they read as is left to the disk. */
  async discard(sector: number, byteLength: number): Promise<void> {
    const range = encodeRange(sector, byteLength);
    this.#succeed('discard', sector, await this.request(VIRTIO_BLK_T_DISCARD, 0, range.length, range));
  }

  /** Sets bytes to zero, a multiple of 512. */
  async writeZeroes(sector: number, byteLength: number): Promise<void> {
    const range = encodeRange(sector, byteLength);
    this.#succeed(
      'write-zeroes',
      sector,
      await this.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, range.length, range),
    );
  }

  /** The disk's serial number, at most 20 bytes. */
  async getId(): Promise<string> {
    const data = this.#succeed('get-id', 0, await this.request(VIRTIO_BLK_T_GET_ID, 0, SERIAL_BYTES));
    return new TextDecoder().decode(data).replace(/\0.*$/s, '');
  }

  /**
   * Any request, right or wrong.
   * @param byteLength bytes of data to send or to fill
   * @param bytes what to send
   */
  async request(type: number, sector: number, byteLength: number, bytes?: Uint8Array): Promise<Completion> {
    let slot = this.driver.takeSlot();
    while (slot === -1) {
      await new Promise<void>((resolve) => this.#slotsWanted.push(resolve));
      this.#expectOpen();
      slot = this.driver.takeSlot();
    }
    this.#expectOpen();
    if (bytes !== undefined) this.driver.data(slot).set(bytes);
    const completion = new Promise<Completion>((resolve, reject) => {
      this.#pending.set(slot, { resolve, reject, byteLength });
    });
    this.driver.start(slot, type, sector, byteLength);
    if (this.driver.publish()) this.kick();
    this.#listen();
    return completion;
  }

  /** Requests of `request` that have not completed. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Closes the eventfds; requests in flight never complete. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    closeFd(this.kickFd);
    if (this.callFd !== -1) closeFd(this.callFd);
    for (const wanted of this.#slotsWanted.splice(0)) wanted();
  }

  #expectOpen(): void {
    if (this.#closed) throw new VhostUserError('ERR_DISCONNECTED', 'the front end has been closed');
  }

  /** @returns the data */
  #succeed(what: string, sector: number, completion: Completion): Uint8Array {
    if (completion.status !== VIRTIO_BLK_S_OK) {
      throw new VhostUserError(
        'ERR_REQUEST_FAILED',
        `${what} at sector ${sector} has failed with status ${completion.status}`,
      );
    }
    return completion.data;
  }

  /** Completions are looked for as long as there is something in flight. */
  #listen(): void {
    if (this.#closed || this.#pending.size === 0) return;
    if (this.callFd === -1) {
      this.#pollOnce();
      return;
    }
    this.#watch ??= new ReadableWatch(this.callFd, () => {
      clearEventfd(this.callFd);
      this.#takeDone();
    });
    if (this.#lookAgain()) this.#takeDone();
  }

  #pollOnce(): void {
    if (this.#polling) return;
    this.#polling = true;
    setImmediate(() => {
      this.#polling = false;
      if (this.#closed) return;
      this.#takeDone();
      this.#listen();
    });
  }

  /** A device that completes what is not in flight can't be trusted with the rest: everybody who waits hears of it. */
  #takeDone(): void {
    try {
      this.#takeAllDone();
    } catch (mistake) {
      for (const { reject } of this.#pending.values()) reject(mistake);
      this.close();
    }
  }

  #takeAllDone(): void {
    do {
      for (let slot = this.driver.takeDone(); slot !== -1; slot = this.driver.takeDone()) {
        const { resolve, byteLength } = this.#pending.get(slot)!;
        this.#pending.delete(slot);
        resolve({ status: this.driver.status(slot), data: this.driver.data(slot).slice(0, byteLength) });
        this.#slotsWanted.shift()?.();
      }
    } while (this.#lookAgain());
    if (this.#pending.size === 0) this.#unwatch();
  }

  #lookAgain(): boolean {
    if (this.callFd !== -1) return this.driver.queue.enableInterrupts();
    this.driver.queue.disableInterrupts();
    return false;
  }

  #unwatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }
}

/** What a discard or write-zeroes request carries. */
export function encodeRange(sector: number, byteLength: number): Uint8Array {
  const range = new DataView(new ArrayBuffer(RANGE_BYTES));
  range.setBigUint64(0, BigInt(sector), true);
  range.setUint32(8, byteLength / SECTOR_SIZE, true);
  return new Uint8Array(range.buffer);
}
