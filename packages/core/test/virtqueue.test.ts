import {
  BlockRequest,
  passesEvent,
  Popped,
  RING_FLAGS,
  RING_IDX,
  VIRTQ_USED_F_NO_NOTIFY,
  Virtqueue,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { seed } from './support/seed.js';
import { MOST_BUFFERS, VirtqueueModel, type ChainKind } from './support/virtqueue-model.js';

afterEach(() => {
  vi.restoreAllMocks();
});

type Step = (model: VirtqueueModel) => void;

const kind = fc.constantFrom<ChainKind>('direct', 'indirect', 'mixed');
const add = fc
  .record({ kind, readable: fc.nat(MOST_BUFFERS), writable: fc.nat(MOST_BUFFERS) })
  .filter(({ readable, writable }) => readable + writable >= 1 && readable + writable <= MOST_BUFFERS);

/** Every step of either side, each with its name for the report of a failure. */
const step: fc.Arbitrary<[string, Step]> = fc.oneof(
  {
    weight: 6,
    arbitrary: add.map((chain): [string, Step] => [
      `add ${chain.kind} ${chain.readable}+${chain.writable}`,
      (model) => model.add(chain.kind, chain.readable, chain.writable),
    ]),
  },
  {
    weight: 4,
    arbitrary: fc.constant<[string, Step]>(['driver publishes', (model) => model.driverPublish()]),
  },
  {
    weight: 3,
    arbitrary: fc.constant<[string, Step]>([
      'driver takes',
      (model) => {
        if (!model.driverAsleep) model.driverTake();
      },
    ]),
  },
  {
    weight: 1,
    arbitrary: fc.constant<[string, Step]>(['driver suppresses', (model) => model.driverSuppress()]),
  },
  { weight: 2, arbitrary: fc.constant<[string, Step]>(['driver sleeps', (model) => model.driverSleep()]) },
  { weight: 6, arbitrary: fc.constant<[string, Step]>(['device pops', (model) => void model.devicePop()]) },
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.nat(100), fc.constantFrom(0, 0.5, 1))
      .map(([which, share]): [string, Step] => [
        `device completes ${which}, ${share}`,
        (model) => model.deviceComplete(which, share),
      ]),
  },
  {
    weight: 4,
    arbitrary: fc.constant<[string, Step]>(['device publishes', (model) => model.devicePublish()]),
  },
  {
    weight: 2,
    arbitrary: fc.constant<[string, Step]>(['device disables', (model) => model.deviceDisable()]),
  },
  { weight: 2, arbitrary: fc.constant<[string, Step]>(['device sleeps', (model) => model.deviceSleep()]) },
);

/** Indexes, mostly shortly before they wrap. */
const index = fc.oneof(fc.integer({ min: 65500, max: 65535 }), fc.nat(65535));

describe('any interleaving of driver and device', () => {
  test.each([false, true])(
    'every chain is completed once and nobody sleeps for ever, event idx %s',
    (eventIdx) => {
      fc.assert(
        fc.property(
          fc.constantFrom(1, 2, 4, 8, 16),
          index,
          index,
          fc.array(step, { maxLength: 150, size: 'max' }),
          (size, lastAvail, usedIdx, steps) => {
            const model = new VirtqueueModel({ size, eventIdx, state: { lastAvail, usedIdx } });
            for (const [, take] of steps) take(model);
            model.finish();
            expect(model.queue.broken).toBe(false);
          },
        ),
        { seed, numRuns: 500 },
      );
    },
  );

  test.each([false, true])(
    'more requests than the indexes can count, event idx %s',
    { timeout: 50_000 },
    (eventIdx) => {
      const model = new VirtqueueModel({ size: 8, eventIdx, state: { lastAvail: 65530, usedIdx: 65533 } });
      const kinds: readonly ChainKind[] = ['direct', 'indirect', 'mixed'];
      for (let i = 0; model.completed < 71_000; i++) {
        for (let k = 0; k < 4; k++) model.add(kinds[(i + k) % 3]!, 1, 1 + (k % 2));
        model.driverPublish();
        while (model.devicePop());
        for (let k = 0; model.inFlight > 0; k++) model.deviceComplete(i + k, 1);
        model.devicePublish();
        model.driverTake();
      }
      model.finish();
      expect(model.completed).toBeGreaterThan(70_000);
    },
  );

  test('a queue goes on where another left off', () => {
    fc.assert(
      fc.property(index, index, fc.integer({ min: 1, max: 8 }), (lastAvail, usedIdx, chains) => {
        const { allocator, addresses } = ring(8);
        const state = { lastAvail, usedIdx };
        const driver = new DriverQueue(allocator.memory, addresses, { eventIdx: false, state });
        const first = new Virtqueue(allocator.memory, addresses, { indirect: true, eventIdx: false, state });
        serve(driver, first, chains);
        expect(first.state).toEqual({
          lastAvail: (lastAvail + chains) & 0xffff,
          usedIdx: (usedIdx + chains) & 0xffff,
        });
        const second = new Virtqueue(allocator.memory, addresses, {
          indirect: true,
          eventIdx: false,
          state: first.state,
        });
        serve(driver, second, chains);
        expect(second.broken).toBe(false);
      }),
      { seed },
    );
  });
});

function ring(size: number) {
  const allocator = new GuestAllocator([{ guestAddress: 0x1000, buffer: new SharedArrayBuffer(0x4000) }]);
  return { allocator, addresses: allocator.allocateQueue(size), buffer: allocator.allocate(16) };
}

function queueOf(eventIdx: boolean, size: number = 8) {
  const { allocator, addresses, buffer } = ring(size);
  const queue = new Virtqueue(allocator.memory, addresses, { indirect: true, eventIdx });
  const driver = new DriverQueue(allocator.memory, addresses, { eventIdx });
  return { queue, driver, buffer };
}

/** Adds so many chains, serves and takes them. */
function serve(driver: DriverQueue, queue: Virtqueue, count: number): void {
  const chain = new BlockRequest();
  for (let i = 0; i < count; i++) driver.add([{ address: 0x1000, byteLength: 1, writable: false }]);
  driver.publish();
  while (queue.pop(chain) === Popped.CHAIN) queue.push(chain.head, 0);
  queue.publish();
  for (let i = 0; i < count; i++) expect(driver.takeUsed()).not.toBe(-1);
  expect(driver.takeUsed()).toBe(-1);
}

/** Pops and pushes so many chains without publishing them. */
function push(queue: Virtqueue, driver: DriverQueue, buffer: number, count: number): void {
  const chain = new BlockRequest();
  for (let i = 0; i < count; i++) driver.add([{ address: buffer, byteLength: 16, writable: true }]);
  driver.publish();
  for (let i = 0; i < count; i++) {
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    queue.push(chain.head, i);
  }
}

describe('publishing a batch', () => {
  test.each([false, true])('is one store of the index, event idx %s', (eventIdx) => {
    const { queue, driver, buffer } = queueOf(eventIdx);
    push(queue, driver, buffer, 5);
    expect(driver.hasUsed()).toBe(false);
    const store = vi.spyOn(Atomics, 'store');
    expect(queue.publish()).toBe(true);
    expect(store.mock.calls).toEqual([[driver.ring.used16, RING_IDX, 5]]);
    for (let i = 0; i < 5; i++) {
      expect(driver.takeUsed()).not.toBe(-1);
      expect(driver.usedLength).toBe(i);
    }
    expect(driver.takeUsed()).toBe(-1);
  });

  test.each([false, true])('of nothing stores nothing and wants no interrupt, event idx %s', (eventIdx) => {
    const { queue } = queueOf(eventIdx);
    const store = vi.spyOn(Atomics, 'store');
    expect(queue.publish()).toBe(false);
    expect(store).not.toHaveBeenCalled();
  });

  test.each([false, true])('wants no interrupt while they are suppressed, event idx %s', (eventIdx) => {
    const { queue, driver, buffer } = queueOf(eventIdx);
    driver.disableInterrupts();
    push(queue, driver, buffer, 3);
    expect(queue.publish()).toBe(false);
    push(queue, driver, buffer, 3);
    expect(queue.publish()).toBe(false);
    expect(driver.enableInterrupts()).toBe(true);
    while (driver.takeUsed() !== -1);
    expect(driver.enableInterrupts()).toBe(false);
    push(queue, driver, buffer, 2);
    expect(queue.publish()).toBe(true);
  });

  test('with event indexes, wants one interrupt until the driver asks for the next', () => {
    const { queue, driver, buffer } = queueOf(true);
    driver.enableInterrupts();
    push(queue, driver, buffer, 1);
    expect(queue.publish()).toBe(true);
    push(queue, driver, buffer, 1);
    expect(queue.publish()).toBe(false);
  });
});

describe('kicks', () => {
  test.each([false, true])('are not wanted while notifications are disabled, event idx %s', (eventIdx) => {
    const { queue, driver, buffer } = queueOf(eventIdx);
    expect(queue.enableNotifications()).toBe(false);
    const chain = [{ address: buffer, byteLength: 16, writable: true }];
    driver.add(chain);
    expect(driver.publish()).toBe(true);
    queue.disableNotifications();
    driver.add(chain);
    expect(driver.publish()).toBe(false);
    // What came meanwhile is found by looking again; no kick will come for it.
    expect(queue.enableNotifications()).toBe(true);
    expect(queue.available()).toBe(2);
    const popped = new BlockRequest();
    while (queue.pop(popped) === Popped.CHAIN);
    expect(queue.enableNotifications()).toBe(false);
    driver.add(chain);
    expect(driver.publish()).toBe(true);
  });

  test('the flag is used without event indexes only', () => {
    for (const eventIdx of [false, true]) {
      const { queue, driver } = queueOf(eventIdx);
      queue.disableNotifications();
      expect(driver.ring.used16[RING_FLAGS]).toBe(eventIdx ? 0 : VIRTQ_USED_F_NO_NOTIFY);
    }
  });

  test('passing an event is the same as meeting it on the way, for all of 16 bits', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(64), fc.integer({ min: -70, max: 70 }), (before, moved, offset) => {
        const event = (before + offset) & 0xffff;
        const met = Array.from({ length: moved }, (_, i) => (before + i) & 0xffff).includes(event);
        expect(passesEvent(event, (before + moved) & 0xffff, before)).toBe(met);
      }),
      { seed, numRuns: 1000 },
    );
  });
});
