import { LatencyHistogram, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import type { FrontEndQueue } from '@iothreads/vhost-user/front-end';
import type { ClientFigures, ClientLoad } from './client.js';

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;

/** Against hangs: no interrupt is so late. */
const INTERRUPT_MS = 20_000;

const nowNs = (): number => performance.now() * 1e6;

/** Keeps `depth` random requests of 4 KiB in flight. Synchronous: the process does nothing else meanwhile. */
export class QueueLoad {
  readonly #queue: FrontEndQueue;
  readonly #load: ClientLoad;
  readonly #blocks: number;
  readonly #startedNs: Float64Array;
  #histogram = new LatencyHistogram();
  #random = 0x2545f491;
  #requests = 0;
  #worstNs = 0;

  constructor(queue: FrontEndQueue, sizeBytes: number, load: ClientLoad) {
    this.#queue = queue;
    this.#load = load;
    this.#blocks = Math.floor(sizeBytes / BLOCK_BYTES);
    this.#startedNs = new Float64Array(queue.driver.depth);
  }

  run(): ClientFigures {
    this.#runFor(this.#load.warmUpMs);
    this.#histogram = new LatencyHistogram();
    const seconds = this.#runFor(this.#load.runtimeMs);
    const { meanNs, p99Ns } = this.#histogram.summary();
    return {
      requests: this.#requests,
      seconds,
      meanUs: meanNs / 1000,
      p99Us: p99Ns / 1000,
      maxUs: this.#worstNs / 1000,
    };
  }

  /** @returns seconds that it took */
  #runFor(ms: number): number {
    this.#requests = 0;
    this.#worstNs = 0;
    const { driver } = this.#queue;
    if (this.#load.client === 'poll') driver.queue.disableInterrupts();
    const beganNs = nowNs();
    const endNs = beganNs + ms * 1e6;
    let now = beganNs;
    this.#fill(now);
    do {
      this.#wait();
      now = nowNs();
      this.#reap(now);
      this.#fill(now);
    } while (now < endNs);
    while (driver.inFlight > 0) {
      this.#wait();
      this.#reap(nowNs());
    }
    return (now - beganNs) / 1e9;
  }

  /** Until something has completed: watching the ring, or asleep until the interrupt. */
  #wait(): void {
    const { queue } = this.#queue.driver;
    if (this.#load.client === 'poll') {
      while (!queue.hasUsed());
      return;
    }
    while (!queue.hasUsed() && !queue.enableInterrupts()) {
      if (!this.#queue.waitForCall(INTERRUPT_MS)) throw new Error('an interrupt never came');
    }
    queue.disableInterrupts();
  }

  #fill(now: number): void {
    const { driver } = this.#queue;
    const type = this.#load.operation === 'read' ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
    let started = false;
    while (driver.inFlight < this.#load.depth) {
      const slot = driver.takeSlot();
      driver.start(slot, type, this.#nextBlock() * SECTORS_PER_BLOCK, BLOCK_BYTES);
      this.#startedNs[slot] = now;
      started = true;
    }
    if (started && driver.publish()) this.#queue.kick();
  }

  #reap(now: number): void {
    const { driver } = this.#queue;
    for (let slot = driver.takeDone(); slot !== -1; slot = driver.takeDone()) {
      if (driver.status(slot) !== VIRTIO_BLK_S_OK)
        throw new Error(`a request failed: ${driver.status(slot)}`);
      const tookNs = now - this.#startedNs[slot]!;
      this.#histogram.record(tookNs);
      if (tookNs > this.#worstNs) this.#worstNs = tookNs;
      this.#requests++;
    }
  }

  #nextBlock(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) % this.#blocks;
  }
}
