import { type BlockDriver, reportDriverError } from '@iothreads/backends';
import {
  BlockOperation,
  type BlockLimits,
  type BlockRequest,
  type BlockStatus,
  Popped,
  type RequestOwner,
  RequestParser,
  VIRTIO_BLK_S_OK,
  type Virtqueue,
  writeStatus,
} from '@iothreads/core';
import type { BlockStatistics } from '../shared/block-statistics.js';
import type { DeviceChannel } from '../shared/device-channel.js';
import { Dispatcher } from './dispatcher.js';
import { nextTag, RequestPool } from './request-pool.js';
import { type RequestTrace, TraceMoment } from './request-trace.js';

/** Requests taken from a device in one turn: the guest works on the first completions while the next are served. */
const BATCH = 16;
/** ... and while neighbours are active as well: what a flood on one can delay the others by. */
const CROWDED_BATCH = 8;
/** A synchronous batch shows its completions at least so often: the driver's side works on meanwhile. */
const PUBLISH_INTERVAL_NS = 10_000;

/** What a device needs of the loop that serves it. */
export interface DeviceHost {
  readonly nowNs: () => number;
  /** Whether more than one device is attached to this iothread. */
  readonly shared: boolean;
  /** Whether more than one device has had work lately. */
  readonly crowded: boolean;
  /** Something completed outside a turn: give the device one soon. */
  attend(device: AttachedDevice): void;
}

/** A queue of the device that this iothread serves. */
interface ServedQueue {
  /** Its index on the device. */
  readonly index: number;
  readonly virtqueue: Virtqueue;
}

/**
 * A virtio-blk device as one iothread serves it: the story of a request from the avail ring to the used ring.
 *
 * pop → parse → dispatch → sync or async by the driver → status byte → push → publish → interrupt
 */
export class AttachedDevice implements RequestOwner {
  readonly id: string;
  readonly driver: BlockDriver;
  readonly channel: DeviceChannel;
  readonly dispatcher = new Dispatcher();
  readonly #driverName: string;
  readonly #host: DeviceHost;
  readonly #statistics: BlockStatistics;
  readonly #parser: RequestParser;
  readonly #pool: RequestPool;
  readonly #batch: BlockRequest[] = [];
  /** The flush behind a write, where the cache is in write-through mode: a batch of one. */
  readonly #flush: BlockRequest[] = [];
  /** Requests that the driver completed from within `submit`: one reading of the clock for all of them. */
  readonly #doneInSubmit: BlockRequest[] = [];
  readonly #doneInSubmitStatus: BlockStatus[] = [];
  #queues: readonly ServedQueue[] = [];
  /** Where the next turn begins, so that no queue of the device is always first. */
  #firstQueue = 0;
  #inFlight = 0;
  #submitting = false;
  /** Set while the loop asks the driver for completions: their time, read once for all of them. */
  #pollingNs = NaN;
  #stopped = true;
  #onDrained: (() => void) | undefined;
  /** Whether its rings ask for kicks; so they do when they are fresh. */
  #armed = true;
  #trace: RequestTrace | undefined;
  /** Something was pushed since the last publication. */
  #unpublished = false;
  #abandoned = false;
  /** When it last had work; the loop's clock. */
  lastWorkNs = 0;

  constructor(options: {
    readonly id: string;
    readonly driver: BlockDriver;
    readonly driverName: string;
    readonly channel: DeviceChannel;
    readonly host: DeviceHost;
    readonly statistics: BlockStatistics;
    readonly limits: BlockLimits;
  }) {
    this.id = options.id;
    this.driver = options.driver;
    this.#driverName = options.driverName;
    this.channel = options.channel;
    this.#host = options.host;
    this.#statistics = options.statistics;
    this.#parser = new RequestParser(options.limits);
    this.#pool = new RequestPool(this);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queues(): readonly ServedQueue[] {
    return this.#queues;
  }

  /** Whether completions come as callbacks of libuv's, which a loop that does not return to it never sees. */
  get waitsForLibuv(): boolean {
    return this.#inFlight > 0 && this.driver.poll === undefined;
  }

  trace(trace: RequestTrace | undefined): void {
    this.#trace = trace;
  }

  /** Begins to serve queues. The caller gives the device a turn: what the driver made available before sent no kick. */
  start(queues: readonly ServedQueue[]): void {
    this.#queues = queues;
    this.#stopped = false;
  }

  /** Takes no request any more. @returns a promise that resolves when none is in flight and all are published */
  stop(): Promise<void> {
    this.#stopped = true;
    if (this.#inFlight === 0) {
      this.#publishAll();
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  /** Serves again after a `stop` that was given up. */
  resume(): void {
    this.#stopped = false;
    this.#onDrained = undefined;
  }

  /** Gives up on what is in flight, for good: late completions are dropped. @returns how many requests there are */
  abandon(): number {
    this.#abandoned = true;
    this.#pool.revoke();
    return this.#inFlight;
  }

  /** Whether a doorbell of its rang since the last call. */
  takeKicks(): boolean {
    let kicked = false;
    for (const queue of this.#queues) if (this.channel.takeKick(queue.index)) kicked = true;
    return kicked;
  }

  /** The loop watches the rings from now on: no kicks wanted. */
  #disarm(): void {
    this.#armed = false;
    for (const queue of this.#queues) queue.virtqueue.disableNotifications();
  }

  /** The loop stops watching the rings. @returns whether requests came meanwhile, for which there will be no kick */
  arm(): boolean {
    if (this.#stopped) return false;
    this.#armed = true;
    let more = false;
    for (const queue of this.#queues) {
      if (!queue.virtqueue.broken && queue.virtqueue.enableNotifications()) more = true;
    }
    return more;
  }

  /** Whether a turn would find new requests: a quick look. */
  stirs(): boolean {
    if (this.#stopped) return false;
    for (const queue of this.#queues) if (queue.virtqueue.hasNew()) return true;
    return false;
  }

  /** Whether requests wait in its rings: for the slow re-check against lost wake-ups. */
  hasAvailable(): boolean {
    return !this.#stopped && this.#queues.some((queue) => queue.virtqueue.available() > 0);
  }

  /** One turn: completions first, then a bounded batch of new requests. @returns how much there was to do */
  turn(nowNs: number): number {
    if (this.#armed) this.#disarm();
    let work = 0;
    if (this.driver.poll !== undefined && this.#inFlight > 0) {
      this.#pollingNs = nowNs;
      work += this.driver.poll(nowNs);
      this.#pollingNs = NaN;
    }
    if (this.#publishAll()) work++;
    if (!this.#stopped) work += this.#serve(nowNs);
    if (work > 0) this.lastWorkNs = nowNs;
    return work;
  }

  #serve(nowNs: number): number {
    const count = this.#popBatch(nowNs);
    if (count === 0) return this.#publishAll() ? 1 : 0;
    if (this.#trace !== undefined) {
      this.#trace.markAt(TraceMoment.WOKEN, nowNs);
      this.#trace.mark(TraceMoment.POPPED);
    }
    this.#dispatch(count, nowNs);
    this.#publishAll();
    return count;
  }

  /** Fills `#batch` with requests that go to the driver; guests' mistakes are answered on the spot. */
  #popBatch(nowNs: number): number {
    const queues = this.#queues;
    let left = this.#host.crowded ? CROWDED_BATCH : BATCH;
    let count = 0;
    for (let i = 0; i < queues.length && left > 0; i++) {
      const queue = queues[(this.#firstQueue + i) % queues.length]!;
      while (left > 0) {
        const request = this.#pool.take();
        const popped = queue.virtqueue.pop(request);
        if (popped === Popped.NONE || popped === Popped.BROKEN) {
          this.#pool.release(request);
          if (popped === Popped.BROKEN && !this.channel.broken) this.channel.setBroken(true);
          break;
        }
        left--;
        request.queueIndex = (this.#firstQueue + i) % queues.length;
        request.poppedNs = nowNs;
        this.#inFlight++;
        this.#parser.parse(request, popped === Popped.CHAIN);
        if (request.settled === -1) this.#batch[count++] = request;
        else this.#answer(request, request.settled);
      }
    }
    if (queues.length > 1) this.#firstQueue = (this.#firstQueue + 1) % queues.length;
    return count;
  }

  /** Answers a request that never reaches the driver. */
  #answer(request: BlockRequest, status: BlockStatus): void {
    if (status !== VIRTIO_BLK_S_OK) this.#statistics.countInvalid();
    this.#settle(request, status);
    this.#pool.release(request);
  }

  #dispatch(count: number, nowNs: number): void {
    const { dispatcher, driver } = this;
    const canSync = driver.executeSync !== undefined;
    dispatcher.split(this.#batch, count, this.#inFlight, canSync, this.#host.shared, nowNs);
    // Asynchronous ones first: they make progress while the loop is busy with the others.
    if (dispatcher.asyncCount > 0) this.#submit(dispatcher.async, dispatcher.asyncCount);
    if (dispatcher.syncCount > 0) this.#execute(dispatcher.sync, dispatcher.syncCount);
  }

  #submit(requests: readonly BlockRequest[], count: number): void {
    const startNs = this.#host.nowNs();
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      request.sync = false;
      request.pending = true;
      request.submittedNs = startNs;
      request.outstanding = this.#inFlight;
    }
    this.#submitting = true;
    this.driver.submit(requests, count);
    this.#submitting = false;
    this.#trace?.mark(TraceMoment.SUBMITTED);
    const done = this.#doneInSubmit.length;
    if (done === 0) return;
    const endNs = this.#host.nowNs();
    for (let i = 0; i < done; i++) this.#finish(this.#doneInSubmit[i]!, this.#doneInSubmitStatus[i]!, endNs);
    this.#doneInSubmit.length = 0;
    this.#doneInSubmitStatus.length = 0;
  }

  #execute(requests: readonly BlockRequest[], count: number): void {
    const { nowNs } = this.#host;
    let startNs = nowNs();
    let publishedNs = startNs;
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      request.sync = true;
      request.submittedNs = startNs;
      let status = this.driver.executeSync!(request);
      if (status === VIRTIO_BLK_S_OK && this.#mustFlush(request)) {
        request.operation = BlockOperation.FLUSH;
        status = this.driver.executeSync!(request);
        request.operation = flushedOperation(request);
      }
      const endNs = nowNs();
      this.#settle(request, status);
      // Shown first, booked afterwards: the guest goes on meanwhile.
      if (i === count - 1 || endNs - publishedNs > PUBLISH_INTERVAL_NS) {
        this.#publishAll();
        publishedNs = endNs;
      }
      this.#book(request, status, endNs);
      startNs = endNs;
    }
  }

  /** With the cache in write-through mode a write counts only once it is durable (virtio 1.3 section 5.2.6.2). */
  #mustFlush(request: BlockRequest): boolean {
    const { operation } = request;
    if (operation !== BlockOperation.WRITE && operation !== BlockOperation.WRITE_ZEROES) return false;
    return this.channel.writeThrough;
  }

  /** An asynchronous request is done, says the driver: from within `submit`, from `poll`, or from a callback. */
  requestDone(request: BlockRequest, status: BlockStatus): void {
    if (this.#abandoned) {
      this.completedTwice(request);
      return;
    }
    if (request.flushing) {
      request.operation = flushedOperation(request);
    } else if (status === VIRTIO_BLK_S_OK && this.#mustFlush(request)) {
      request.flushing = true;
      request.pending = true;
      // Another request to the driver: a second completion of the write is none of the flush.
      request.tag = nextTag(request.tag);
      request.operation = BlockOperation.FLUSH;
      this.#flush[0] = request;
      this.driver.submit(this.#flush, 1);
      return;
    }
    if (this.#submitting) {
      this.#doneInSubmit.push(request);
      this.#doneInSubmitStatus.push(status);
      return;
    }
    const polled = !Number.isNaN(this.#pollingNs);
    this.#finish(request, status, polled ? this.#pollingNs : this.#host.nowNs());
    if (!polled) this.#host.attend(this);
  }

  /** ... or completed after it had been given up. Nothing is done about it but to say so. */
  completedTwice(request: BlockRequest): void {
    this.#statistics.countDriverMistake();
    const message = `a request of device '${this.id}' was completed that its disk did not hold any more`;
    reportDriverError(this.#driverName, request.operation, new Error(message));
  }

  #finish(request: BlockRequest, status: BlockStatus, endNs: number): void {
    this.#settle(request, status);
    this.#trace?.mark(TraceMoment.COMPLETED);
    this.#book(request, status, endNs);
  }

  /** A request's outcome: status byte and used ring. */
  #settle(request: BlockRequest, status: BlockStatus): void {
    this.#queues[request.queueIndex]!.virtqueue.push(request.head, writeStatus(request, status));
    this.#unpublished = true;
    this.#inFlight--;
    if (this.#inFlight === 0 && this.#onDrained !== undefined) {
      this.#publishAll();
      this.#onDrained();
      this.#onDrained = undefined;
    }
  }

  /** What is learnt and counted of a request that the driver has done. The request is free for another one after it. */
  #book(request: BlockRequest, status: BlockStatus, endNs: number): void {
    const kind = request.operation;
    if (status !== VIRTIO_BLK_S_OK) this.#statistics.countError(kind);
    this.#statistics.countDone(kind, request.byteLength, endNs - request.poppedNs, request.sync);
    this.dispatcher.learn(request, status, endNs);
    this.#pool.release(request);
  }

  /** Shows the driver's side what has completed. @returns whether anything had */
  #publishAll(): boolean {
    if (!this.#unpublished) return false;
    this.#unpublished = false;
    for (const queue of this.#queues) {
      if (queue.virtqueue.publish()) this.channel.interrupt(queue.index);
    }
    this.#trace?.mark(TraceMoment.PUBLISHED);
    return true;
  }
}

/** What a request was before its flush: only zeroes come with ranges. */
const flushedOperation = (request: BlockRequest): BlockOperation =>
  request.rangeCount > 0 ? BlockOperation.WRITE_ZEROES : BlockOperation.WRITE;
