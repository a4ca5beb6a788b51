import { LatencyHistogram, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from '@iothreads/core';
import { BlkDriver } from '@iothreads/core/testing';
import { DeviceChannel, nowNs } from '@iothreads/iothread';
import { TraceMoment } from '@iothreads/iothread/testing';
import { layOut } from './guest-layout.js';
import { RandomBlocks } from './random-blocks.js';
import {
  type DeviceLoad,
  type QueueEventfds,
  type LoadResult,
  type LoadTask,
  TRACE_STEPS,
  type TraceResult,
  type TraceTask,
} from './load.js';

/** A vCPU gives up on a device that has not completed anything for so long. */
const HANG_NS = 20e9;
const BLOCK_BYTES = 4096;
const LOOKS_PER_CLOCK = 128;
/** So many looks, and what they find, take less than this: a longer gap was not the vCPU's own time. */
const GAP_NS = 100_000;
const SECTORS_PER_BLOCK = BLOCK_BYTES / 512;

/** A guest's side of one device: a virtio-blk driver that polls its used ring, and the jobs on it. */
class LoadedDevice {
  readonly driver: BlkDriver;
  readonly channel: DeviceChannel;
  readonly histogram = new LatencyHistogram();
  requests = 0;
  readonly #startedNs: Float64Array;
  readonly #blocks: RandomBlocks;

  constructor(load: DeviceLoad) {
    const { allocator, queues } = layOut(load.memory, 1);
    this.driver = new BlkDriver(allocator, {
      addresses: queues[0]!,
      depth: load.jobs,
      dataBytes: BLOCK_BYTES,
      eventIdx: true,
    });
    this.channel = new DeviceChannel(load.port);
    this.#startedNs = new Float64Array(load.jobs);
    this.#blocks = new RandomBlocks(Math.floor(load.sizeBytes / BLOCK_BYTES));
  }

  /** Puts every idle job to work. @returns whether there was one */
  start(now: number): boolean {
    let slot = this.driver.takeSlot();
    if (slot === -1) return false;
    for (; slot !== -1; slot = this.driver.takeSlot()) {
      this.driver.start(slot, VIRTIO_BLK_T_IN, this.#blocks.next() * SECTORS_PER_BLOCK, BLOCK_BYTES);
      this.#startedNs[slot] = now;
    }
    if (this.driver.publish()) this.channel.kick(0);
    return true;
  }

  /** Takes what has completed. */
  reap(now: number): void {
    for (let slot = this.driver.takeDone(); slot !== -1; slot = this.driver.takeDone()) {
      if (this.driver.status(slot) !== VIRTIO_BLK_S_OK)
        throw new Error(`a read failed: status ${this.driver.status(slot)}`);
      this.histogram.record(now - this.#startedNs[slot]!);
      this.requests++;
    }
  }
}

/** Keeps the jobs of all devices going for a while; the devices' completions are polled in turn. */
export function run(task: LoadTask): LoadResult {
  const devices = task.devices.map((load) => new LoadedDevice(load));
  for (const { driver } of devices) driver.queue.disableInterrupts();
  const beganNs = nowNs();
  const endNs = beganNs + task.runtimeMs * 1e6;
  let now = beganNs;
  let lostNs = 0;
  for (const device of devices) device.start(now);
  while (now < endNs) {
    const before = now;
    // The clock is dearer than a look at a ring: while nothing completes it is read once in many looks.
    for (let look = 0; look < LOOKS_PER_CLOCK; look++) {
      for (const device of devices) {
        if (!device.driver.queue.hasUsed()) continue;
        now = nowNs();
        device.reap(now);
        device.start(now);
      }
    }
    now = nowNs();
    if (now - before > GAP_NS) lostNs += now - before;
  }
  const seconds = (now - beganNs) / 1e9;
  for (const device of devices) {
    while (device.driver.inFlight > 0) {
      now = nowNs();
      device.reap(now);
      if (now - endNs > HANG_NS) throw new Error(`${device.driver.inFlight} requests never completed`);
    }
  }
  return {
    devices: devices.map(({ requests, histogram }) => ({
      requests,
      histogram: histogram.buffer as ArrayBuffer,
    })),
    seconds,
    lostSeconds: lostNs / 1e9,
  };
}

/** How a guest rings and waits. */
interface Doorbell {
  kick(): void;
  /** Before a request is made available. */
  prepare(): void;
  /** Blocks until there was an interrupt since `prepare`, or for a while. */
  wait(): void;
}

function channelDoorbell(channel: DeviceChannel): Doorbell {
  let seen = 0;
  return {
    kick: () => {
      channel.kick(0);
    },
    prepare: () => {
      seen = channel.interrupts(0);
    },
    wait: () => void channel.waitForInterrupt(0, seen, 1000),
  };
}

async function eventfdDoorbell({ kickFd, callFd }: QueueEventfds): Promise<Doorbell> {
  const { clearEventfd, signalEventfd, waitReadable } = await import('@iothreads/linux');
  return {
    kick: () => {
      signalEventfd(kickFd);
    },
    prepare: () => undefined,
    wait: () => {
      if (waitReadable(callFd, 1000)) clearEventfd(callFd);
    },
  };
}

/** One request at a time, each step of its way timed on both sides. */
export async function trace(task: TraceTask): Promise<TraceResult> {
  const { device: load, requests, asleep, moments, eventfds } = task;
  const device = new LoadedDevice({ ...load, jobs: 1 });
  const { driver } = device;
  const doorbell = eventfds === undefined ? channelDoorbell(device.channel) : await eventfdDoorbell(eventfds);
  const sums = new Float64Array(TRACE_STEPS.length);
  const steps = new Float64Array(TRACE_STEPS.length);
  if (!asleep) driver.queue.disableInterrupts();
  // The first tenth warms up.
  const warmUp = Math.ceil(requests / 10);
  for (let i = -warmUp; i < requests; i++) {
    if (asleep) {
      driver.queue.enableInterrupts();
      // Long enough for the iothread to go to sleep.
      const untilNs = nowNs() + 300_000;
      while (nowNs() < untilNs);
    }
    doorbell.prepare();
    const slot = driver.takeSlot();
    driver.start(slot, VIRTIO_BLK_T_IN, 0, BLOCK_BYTES);
    const startNs = nowNs();
    if (driver.publish()) doorbell.kick();
    const kickedNs = nowNs();
    const deadlineNs = kickedNs + HANG_NS;
    if (asleep) while (!driver.queue.hasUsed()) doorbell.wait();
    let seenNs = nowNs();
    while (!driver.queue.hasUsed()) {
      seenNs = nowNs();
      if (seenNs > deadlineNs) throw new Error('a traced request never completed');
    }
    driver.takeDone();
    // The device's side marks PUBLISHED just after the index that we have just seen.
    const publishedBy = nowNs() + 1e6;
    while (moments[TraceMoment.PUBLISHED]! < moments[TraceMoment.COMPLETED]! && nowNs() < publishedBy);
    steps[0] = kickedNs - startNs;
    steps[1] = moments[TraceMoment.WOKEN]! - kickedNs;
    steps[2] = moments[TraceMoment.POPPED]! - moments[TraceMoment.WOKEN]!;
    steps[3] = moments[TraceMoment.SUBMITTED]! - moments[TraceMoment.POPPED]!;
    steps[4] = moments[TraceMoment.PUBLISHED]! - moments[TraceMoment.SUBMITTED]!;
    steps[5] = seenNs - moments[TraceMoment.PUBLISHED]!;
    // A poller sees the doorbell or the used index before the other side has read its clock: such a step took nothing.
    if (i >= 0) for (let step = 0; step < steps.length; step++) sums[step]! += Math.max(0, steps[step]!);
  }
  return {
    requests,
    steps: Object.fromEntries(TRACE_STEPS.map((step, index) => [step, sums[index]!])) as TraceResult['steps'],
  };
}
