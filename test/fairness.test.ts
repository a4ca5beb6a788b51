// A flood on one device does not starve its neighbours on the same iothread: a turn takes a bounded batch of each.
import { VIRTIO_BLK_T_IN } from '@iothreads/core';
import { IOThreadRuntime } from '@iothreads/iothread';
import { describe, expect, test } from 'vitest';
import { CallLog } from './support/call-log.js';
import { fixture } from './support/fixture.js';
import { createMemory, Guest } from './support/guest.js';
import { until, within } from './support/within.js';

/** Requests that a device on a shared iothread gets in one turn. */
const BATCH = 8;
const FLOOD = 64;

/** An iothread that can be held while requests gather, and disks on it that log the order of their requests. */
class Shared {
  readonly runtime = new IOThreadRuntime();
  readonly log = new CallLog();
  readonly guests: Guest[] = [];
  readonly #gate = new SharedArrayBuffer(8);
  readonly #words = new Int32Array(this.#gate);
  #holder: Guest | undefined;

  /** @param queues how many queues each device has */
  async start(queues: readonly number[]): Promise<void> {
    await this.runtime.addIOThread({ id: 'io0' });
    const memory = createMemory();
    const device = await this.runtime.addDevice({
      id: 'holder',
      iothread: 'io0',
      memory,
      drive: {
        driver: 'module',
        url: fixture('blocking-disk.mjs'),
        options: { size: 512, gate: this.#gate },
      },
    });
    this.#holder = await Guest.start(device, memory);
    for (const [name, numQueues] of queues.entries()) {
      const ram = createMemory();
      const added = await this.runtime.addDevice({
        id: `disk${name}`,
        iothread: 'io0',
        memory: ram,
        numQueues,
        drive: this.log.drive({ name }),
      });
      this.guests.push(await Guest.start(added, ram, { depth: FLOOD }));
    }
    await this.#sleep();
  }

  /** A device that has just started is looked at for a while: whose turn comes first would depend on that. */
  async #sleep(): Promise<void> {
    const sleeps = async (): Promise<number> => (await this.runtime.queryIOThreads())[0]!.loop.sleeps;
    const before = await sleeps();
    Atomics.store(this.#words, 0, 1);
    await this.#holder!.queue.request(VIRTIO_BLK_T_IN, 0, 512);
    await until('the iothread asleep', async () => (await sleeps()) > before);
  }

  /** Requests that become available while the iothread can't look; then it can. @returns whose came in which order */
  async serve(requests: readonly number[]): Promise<number[]> {
    const before = this.log.entries.length;
    Atomics.store(this.#words, 0, 0);
    Atomics.store(this.#words, 1, 0);
    const held = this.#holder!.queue.request(VIRTIO_BLK_T_IN, 0, 512);
    await until('the hold', () => Atomics.load(this.#words, 1) === 1);
    const outcomes = this.guests.flatMap((guest, name) =>
      guest.queues.flatMap((queue) => {
        const all = Array.from({ length: requests[name]! }, (_, i) => queue.add(VIRTIO_BLK_T_IN, i, 512));
        queue.go();
        return all;
      }),
    );
    Atomics.store(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
    await held;
    await within(Promise.all(outcomes), 'the requests');
    return this.log.entries.slice(before).map(({ name }) => name);
  }
}

/** The longest run of `flood` before the last request of `neighbour`, its beginning included. */
function longestRun(order: readonly number[], flood: number, neighbour: number): number {
  let longest = 0;
  let run = 0;
  for (const name of order.slice(0, order.lastIndexOf(neighbour) + 1)) {
    if (name === neighbour) run = 0;
    else if (name === flood) longest = Math.max(longest, ++run);
  }
  return longest;
}

describe('a flood on one device', () => {
  test.each([
    { what: 'of one queue', queues: [1, 1] },
    { what: 'of four queues', queues: [4, 1] },
  ])('$what takes no more than a batch between two requests of its neighbour', async ({ queues }) => {
    const shared = new Shared();
    await using _ = shared.runtime;
    await shared.start(queues);
    for (let round = 0; round < 5; round++) {
      const order = await shared.serve([FLOOD, FLOOD]);
      expect(order.filter((name) => name === 0)).toHaveLength(FLOOD * queues[0]!);
      expect(order.filter((name) => name === 1)).toHaveLength(FLOOD);
      expect(longestRun(order, 0, 1)).toBeLessThanOrEqual(BATCH);
      expect(longestRun(order, 1, 0)).toBeLessThanOrEqual(BATCH);
    }
  });

  test('a single request beside it waits for one batch at most', async () => {
    const shared = new Shared();
    await using _ = shared.runtime;
    await shared.start([4, 1]);
    for (let round = 0; round < 5; round++) {
      const order = await shared.serve([FLOOD, 1]);
      expect(order.indexOf(1)).toBeGreaterThanOrEqual(0);
      expect(order.indexOf(1)).toBeLessThanOrEqual(BATCH);
    }
  });

  test('four devices get their turns in turn', async () => {
    const shared = new Shared();
    await using _ = shared.runtime;
    await shared.start([1, 1, 1, 1]);
    const order = await shared.serve([FLOOD, FLOOD, FLOOD, FLOOD]);
    expect(order).toHaveLength(4 * FLOOD);
    // In each round of batches every device comes once.
    for (let at = 0; at < order.length; at += 4 * BATCH) {
      const counts = [0, 0, 0, 0];
      for (const name of order.slice(at, at + 4 * BATCH)) counts[name]!++;
      expect(counts).toEqual([BATCH, BATCH, BATCH, BATCH]);
    }
  });
});
