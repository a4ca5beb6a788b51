import { type BlockDriver, operationName, reportDriverError } from '@iothreads/backends';
import {
  BlockOperation,
  type BlockLimits,
  type BlockRequest,
  type BlockStatus,
  Popped,
  type RequestOwner,
  RequestParser,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  type VirtqueueState,
  writeStatus,
} from '@iothreads/core';
import type { BlockStatistics } from '../shared/block-statistics.js';
import type { DeviceChannel } from '../shared/device-channel.js';
import { actionOn, type ErrorPolicies, isNoSpace } from '../shared/error-policies.js';
import { Dispatcher } from './dispatcher.js';
import { type IOErrorReport, IOErrorReports } from './io-error-reports.js';
import { nextTag, RequestPool } from './request-pool.js';
import { type RequestTrace, TraceMoment } from './request-trace.js';
import { type KeptFate, type ServedQueue, ServedQueues } from './served-queues.js';

/** Requests taken from a device in one turn: the guest works on the first completions while the next are served. */
export const BATCH = 16;
/** ... and while neighbours are active as well: what a flood on one can delay the others by. */
const CROWDED_BATCH = 8;
/**
 * Requests that a device has in flight on one iothread; others wait in their rings. Rings may have room for millions, and each
 * request may name a thousand buffers.
 */
export const MAX_IN_FLIGHT = 4096;
/** Synchronous requests that are shown, and timed, together: the clock costs as much as a quick request. */
const GROUP = 8;
/** ... unless one takes longer than this: the driver's side works on meanwhile. */
const SLOW_NS = 1000;

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
  readonly #policies: ErrorPolicies;
  readonly #ioErrors: IOErrorReports;
  #parser: RequestParser;
  readonly #pool: RequestPool;
  readonly #batch: BlockRequest[] = [];
  /** The flush behind a write, where the cache is in write-through mode: a batch of one. */
  readonly #flush: BlockRequest[] = [];
  /** Requests that are in the used ring and not booked yet: the guest sees them first. The first `#doneCount`. */
  readonly #done: BlockRequest[] = [];
  #doneCount = 0;
  /** When requests were booked last. */
  #bookedNs = 0;
  #group = GROUP;
  /** Until when the loop was held up by a synchronous request last: what was in flight then took longer for it. */
  #heldUpNs = -Infinity;
  readonly #queues = new ServedQueues();
  #inFlight = 0;
  /** Requests popped so far, 32 bits. */
  #popped = 0;
  #inTurn = false;
  #onDrained: (() => void) | undefined;
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
    readonly policies: ErrorPolicies;
    readonly onIOError: (report: IOErrorReport) => void;
  }) {
    this.id = options.id;
    this.driver = options.driver;
    this.#driverName = options.driverName;
    this.channel = options.channel;
    this.#host = options.host;
    this.#statistics = options.statistics;
    this.#policies = options.policies;
    this.#ioErrors = new IOErrorReports(options.onIOError);
    this.#parser = new RequestParser(options.limits);
    this.#pool = new RequestPool(this);
  }

  /** What requests are held to from now on. */
  set limits(limits: BlockLimits) {
    this.#parser = new RequestParser(limits);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it takes requests: not before others complete when there are too many, and not while it is paused. */
  get #takes(): boolean {
    return this.#inFlight < MAX_IN_FLIGHT && !this.channel.paused;
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
    this.#queues.add(queues);
    // What was taken elsewhere and not completed is done again before anything new.
    for (const queue of queues) {
      for (const head of queue.virtqueue.takenOver) {
        this.#queues.keep(queue, { head, order: this.#nextOrder() });
      }
    }
  }

  /**
   * Takes no request from these queues any more.
   * @returns a promise that resolves when none of theirs is in flight and all are published but those that are kept
   */
  stop(indexes: readonly number[]): Promise<void> {
    this.#queues.drain(indexes);
    this.#publish();
    if (this.#drained) return Promise.resolve();
    // What is to be done again is done before, unless that has to wait.
    if (this.#queues.keeps) this.#host.attend(this);
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  /** Serves again what a `stop` that was given up has been draining. */
  resume(): void {
    this.#queues.resume();
    this.#onDrained = undefined;
  }

  /** Lets go of the queues that have been drained. @returns where each of them stands */
  release(fate: KeptFate): { index: number; state: VirtqueueState }[] {
    this.#onDrained = undefined;
    if (fate !== 'carry') {
      for (const queue of this.#queues.draining) {
        if (fate === 'fail') for (const { head } of queue.kept) this.#failKept(queue, head);
        queue.kept.length = 0;
      }
      this.#publish();
    }
    const states = this.#queues.release();
    // Nothing refers to guest memory any more that may be unmapped next.
    if (this.#queues.length === 0) this.#pool.forgetMemory();
    return states;
  }

  /** Its queues are served no more, and nobody is waited for: the iothread ends. */
  letGo(): void {
    this.#queues.letGo();
    this.#ioErrors.close();
  }

  /** Detached: its queues have been stopped before. */
  end(): void {
    this.#ioErrors.close();
  }

  /** Gives up on what is in flight, for good: late completions are dropped. @returns how many requests there are */
  abandon(): number {
    this.#abandoned = true;
    this.#pool.revoke();
    return this.#inFlight;
  }

  /** Whether a doorbell of its rang since the last call. */
  takeKicks(): boolean {
    return this.#queues.takeKicks();
  }

  /** The queue of that index, if it is served here. */
  queue(index: number): ServedQueue | undefined {
    return this.#queues.at(index);
  }

  /** The loop stops watching. @returns whether there is something to do already, of which it would hear nothing */
  arm(): boolean {
    // Kicks are of no use while nothing can be taken.
    const more = this.#takes && (this.#queues.arm() || this.#queues.keeps);
    return (this.#inFlight > 0 && this.driver.arm?.() === true) || more;
  }

  /** Whether a turn would find something to do: a quick look. */
  stirs(): boolean {
    return (this.#takes && this.#queues.stir()) || (this.#inFlight > 0 && this.driver.hasReady?.() === true);
  }

  /** Whether there is something to do for it: for the slow re-check against lost wake-ups. */
  hasWork(): boolean {
    return (
      this.stirs() ||
      this.#unpublished ||
      (this.#takes && (this.#queues.haveAvailable() || this.#queues.keeps))
    );
  }

  /** One turn: completions first, then a bounded batch of new requests. @returns how much there was to do */
  turn(nowNs: number): number {
    this.#inTurn = true;
    this.#queues.disarm();
    let work = 0;
    if (this.driver.poll !== undefined && this.#inFlight > 0) work += this.driver.poll(nowNs);
    if (this.#publish()) work++;
    work += this.#serve(nowNs);
    if (work > 0) this.lastWorkNs = nowNs;
    this.#queues.clearKicks();
    this.#inTurn = false;
    return work;
  }

  #serve(nowNs: number): number {
    const count = this.#popBatch(nowNs);
    if (count > 0) {
      if (this.#trace !== undefined) {
        this.#trace.markAt(TraceMoment.WOKEN, nowNs);
        this.#trace.mark(TraceMoment.POPPED);
      }
      this.#dispatch(count, nowNs);
    }
    return this.#publish() || count > 0 ? Math.max(1, count) : 0;
  }

  /** Fills `#batch` with requests that go to the driver; guests' mistakes are answered on the spot. */
  #popBatch(nowNs: number): number {
    if (this.channel.paused) {
      this.#endDrain();
      return 0;
    }
    const queues = this.#queues;
    let left = Math.min(this.#host.crowded ? CROWDED_BATCH : BATCH, MAX_IN_FLIGHT - this.#inFlight);
    let count = 0;
    for (; left > 0 && queues.keeps; left--) {
      const queue = queues.firstToDoAgain()!;
      const { head, order } = queues.takeKept(queue);
      const request = this.#pool.take();
      request.order = order;
      const popped = queue.virtqueue.popAgain(head, request);
      if (this.#accept(request, queue, popped, nowNs)) this.#batch[count++] = request;
    }
    for (let i = 0; i < queues.length && left > 0; i++) {
      const queue = queues.inTurn(i);
      while (left > 0) {
        const request = this.#pool.take();
        const popped = queue.virtqueue.pop(request);
        if (popped === Popped.NONE || popped === Popped.BROKEN) {
          this.#pool.release(request);
          if (popped === Popped.BROKEN) this.#ringBroken(queue);
          break;
        }
        left--;
        request.order = this.#nextOrder();
        if (this.#accept(request, queue, popped, nowNs)) this.#batch[count++] = request;
      }
    }
    queues.endRound();
    return count;
  }

  /** @returns whether a request that was taken goes to the driver */
  #accept(request: BlockRequest, queue: ServedQueue, popped: Popped, nowNs: number): boolean {
    request.queueIndex = queue.index;
    request.poppedNs = nowNs;
    this.#inFlight++;
    this.#parser.parse(request, popped === Popped.CHAIN);
    if (request.settled === -1) return true;
    this.#answer(request, request.settled);
    return false;
  }

  #nextOrder(): number {
    return (this.#popped = (this.#popped + 1) | 0);
  }

  /** Its requests in flight complete; nothing is taken from it before it is started anew. */
  #ringBroken(queue: ServedQueue): void {
    if (queue.reported) return;
    queue.reported = true;
    queue.notifier.ringBroken();
  }

  /** Answers a request that never reaches the driver. */
  #answer(request: BlockRequest, status: BlockStatus): void {
    if (status !== VIRTIO_BLK_S_OK) this.#statistics.countInvalid();
    this.#push(request, status);
    this.#pool.release(request);
  }

  #dispatch(count: number, nowNs: number): void {
    const { dispatcher, driver } = this;
    const canSync = driver.executeSync !== undefined && driver.asyncOnly !== true;
    dispatcher.split(this.#batch, count, this.#inFlight, canSync, this.#host.shared, nowNs);
    // Asynchronous ones first: they make progress while the loop is busy with the others.
    if (dispatcher.asyncCount > 0) this.#submit(dispatcher.async, dispatcher.asyncCount, nowNs);
    if (dispatcher.syncCount === 0) return;
    const startNs = dispatcher.asyncCount > 0 ? this.#host.nowNs() : nowNs;
    this.#execute(dispatcher.sync, dispatcher.syncCount, startNs);
  }

  #submit(requests: readonly BlockRequest[], count: number, nowNs: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      request.sync = false;
      request.pending = true;
      request.submittedNs = nowNs;
      request.company = this.#inFlight;
    }
    this.driver.submit(requests, count);
    this.#trace?.mark(TraceMoment.SUBMITTED);
  }

  #execute(requests: readonly BlockRequest[], count: number, nowNs: number): void {
    let startNs = nowNs;
    for (let i = 0; i < count;) {
      const company = Math.min(this.#group, count - i);
      for (const end = i + company; i < end; i++) {
        const request = requests[i]!;
        request.sync = true;
        request.submittedNs = startNs;
        request.company = company;
        this.#settle(request, this.#executeOne(request));
      }
      this.#publish();
      this.#group = this.#bookedNs - startNs > company * SLOW_NS ? 1 : GROUP;
      startNs = this.#bookedNs;
    }
    this.#heldUpNs = startNs;
  }

  #executeOne(request: BlockRequest): BlockStatus {
    const status = this.driver.executeSync!(request);
    if (status !== VIRTIO_BLK_S_OK || !this.#mustFlush(request)) return status;
    request.operation = BlockOperation.FLUSH;
    const flushed = this.driver.executeSync!(request);
    request.operation = flushedOperation(request);
    return flushed;
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
    this.#settle(request, status);
    this.#trace?.mark(TraceMoment.COMPLETED);
    if (!this.#inTurn) this.#host.attend(this);
  }

  /** ... or completed after it had been given up. Nothing is done about it but to say so. */
  completedTwice(request: BlockRequest): void {
    this.#statistics.countDriverMistake();
    const message = `a request of device '${this.id}' was completed that its disk did not hold any more`;
    reportDriverError(this.#driverName, request.operation, new Error(message));
  }

  /** A request that the driver has done: its outcome, and a place among those to be booked. */
  #settle(request: BlockRequest, status: BlockStatus): void {
    request.settled = status;
    if (status === VIRTIO_BLK_S_IOERR) {
      this.#failed(request);
      return;
    }
    this.#done[this.#doneCount++] = request;
    this.#push(request, status);
  }

  /** A request that the driver has failed: the guest is told, or not, or it is kept and the device paused. */
  #failed(request: BlockRequest): void {
    const { operation, errorCode } = request;
    const action = actionOn(this.#policies, operation, errorCode);
    const nospace = isNoSpace(errorCode);
    const paused = action === 'stop' && this.channel.pause(nospace ? 'nospace' : 'failed');
    this.#ioErrors.add({
      operation: operationName(operation),
      action,
      errorCode: errorCode === '' ? 'EIO' : errorCode,
      nospace,
      paused,
    });
    if (action === 'stop') {
      this.#keep(request);
      return;
    }
    this.#done[this.#doneCount++] = request;
    if (action === 'report') {
      this.#push(request, VIRTIO_BLK_S_IOERR);
      return;
    }
    // A guest takes what it is given for what it has read: not what its memory happened to hold.
    if (operation === BlockOperation.READ) request.data.zero();
    this.#push(request, VIRTIO_BLK_S_OK);
  }

  #keep(request: BlockRequest): void {
    const { head, order } = request;
    this.#queues.keep(this.#queues.at(request.queueIndex)!, { head, order });
    this.dispatcher.learn(request, VIRTIO_BLK_S_IOERR, request.submittedNs);
    this.#pool.release(request);
    this.#inFlight--;
    this.#endDrain();
  }

  /** The guest is told after all. */
  #failKept(queue: ServedQueue, head: number): void {
    const request = this.#pool.take();
    const nowNs = this.#host.nowNs();
    // What has become of it meanwhile may be a guest's mistake: that has its own answer.
    if (!this.#accept(request, queue, queue.virtqueue.popAgain(head, request), nowNs)) return;
    request.sync = false;
    request.submittedNs = nowNs;
    request.settled = VIRTIO_BLK_S_IOERR;
    this.#done[this.#doneCount++] = request;
    this.#push(request, VIRTIO_BLK_S_IOERR);
  }

  /** A request's outcome: status byte and used ring. */
  #push(request: BlockRequest, status: BlockStatus): void {
    this.#queues.at(request.queueIndex)!.virtqueue.push(request.head, writeStatus(request, status));
    this.#unpublished = true;
    this.#inFlight--;
    this.#endDrain();
  }

  /** Whether nothing is in flight of queues that are being drained, but for what is kept in a pause. */
  get #drained(): boolean {
    return this.#queues.areDrained(this.channel.paused);
  }

  #endDrain(): void {
    if (this.#onDrained === undefined || !this.#drained) return;
    this.#publish();
    this.#onDrained();
    this.#onDrained = undefined;
  }

  /** Shows the driver's side what has completed, and books it then. @returns whether anything had */
  #publish(): boolean {
    if (!this.#unpublished) return false;
    this.#unpublished = false;
    this.#queues.publish();
    this.#trace?.mark(TraceMoment.PUBLISHED);
    const count = this.#doneCount;
    this.#doneCount = 0;
    // Before the interrupts: they may be system calls, and no part of what a request takes.
    if (count > 0) this.#bookedNs = this.#host.nowNs();
    this.#queues.interrupt();
    for (let i = 0; i < count; i++) this.#book(this.#done[i]!, this.#bookedNs);
    return true;
  }

  /** What is learnt and counted of a request that the driver has done. The request is free for another one after it. */
  #book(request: BlockRequest, endNs: number): void {
    const kind = request.operation;
    const status = request.settled as BlockStatus;
    if (status !== VIRTIO_BLK_S_OK) this.#statistics.countError(kind);
    this.#statistics.countDone(kind, request.byteLength, endNs - request.poppedNs, request.sync);
    if (request.sync || request.submittedNs >= this.#heldUpNs) this.dispatcher.learn(request, status, endNs);
    this.#pool.release(request);
  }
}

/** What a request was before its flush: only zeroes come with ranges. */
const flushedOperation = (request: BlockRequest): BlockOperation =>
  request.rangeCount > 0 ? BlockOperation.WRITE_ZEROES : BlockOperation.WRITE;
