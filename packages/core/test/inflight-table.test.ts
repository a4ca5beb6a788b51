// A back end may be killed between any two stores: the next one finds out what was in flight.
import { BlockRequest, InflightTable, Popped, RING_ENTRIES, RING_IDX, Virtqueue } from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from './support/seed.js';

const SIZE = 16;
const BYTES = InflightTable.bytesFor(SIZE);
const USED_IDX = 7;
const LAST_BATCH_HEAD = 6;
const flagOf = (head: number): number => 16 + head * 16;

/** A queue with `SIZE` chains of one descriptor each, and the memory that outlives whoever serves it. */
class Ring {
  readonly table = new Uint8Array(BYTES);
  readonly halves = new Uint16Array(this.table.buffer);
  readonly #allocator = new GuestAllocator([{ guestAddress: 0, buffer: new SharedArrayBuffer(1 << 16) }]);
  readonly #addresses = this.#allocator.allocateQueue(SIZE);
  readonly driver = new DriverQueue(this.#allocator.memory, this.#addresses, { eventIdx: false });
  readonly #buffer = this.#allocator.allocate(512, 16);

  /** A back end that begins where the one before was killed. */
  serve(): Virtqueue {
    return new Virtqueue(this.#allocator.memory, this.#addresses, {
      indirect: false,
      eventIdx: false,
      state: { lastAvail: this.usedIdx, usedIdx: this.usedIdx },
      inflight: new InflightTable(this.table.buffer, 0, SIZE),
    });
  }

  get usedIdx(): number {
    return this.driver.ring.used16[RING_IDX]!;
  }

  /** Makes requests available. @returns their heads */
  submit(count: number): number[] {
    const buffers = [{ address: this.#buffer, byteLength: 512, writable: true }];
    const heads = Array.from({ length: count }, () => this.driver.add(buffers)).filter((head) => head !== -1);
    this.driver.publish();
    return heads;
  }

  takeUsed(): number[] {
    const heads: number[] = [];
    for (let head = this.driver.takeUsed(); head !== -1; head = this.driver.takeUsed()) heads.push(head);
    return heads;
  }
}

/** Takes everything: what was in flight first. @returns heads, in the order in which they were taken */
function takeAll(queue: Virtqueue): number[] {
  const heads: number[] = [];
  const chain = new BlockRequest();
  for (const head of queue.takenOver) {
    expect(queue.popAgain(head, chain)).toBe(Popped.CHAIN);
    heads.push(chain.head);
  }
  while (queue.pop(chain) === Popped.CHAIN) heads.push(chain.head);
  return heads;
}

test('a queue that was not used before begins where it is told', () => {
  const ring = new Ring();
  expect(new InflightTable(ring.table.buffer, 0, SIZE).used).toBe(false);
  const queue = ring.serve();
  expect(queue.takenOver).toEqual([]);
  expect(queue.state).toEqual({ lastAvail: 0, usedIdx: 0 });
  expect([...new Uint8Array(ring.table.buffer, 8, 8)]).toEqual([1, 0, SIZE, 0, 0, 0, 0, 0]);
});

test('what was taken and not completed is done again, in its order, before anything new', () => {
  const ring = new Ring();
  const first = ring.submit(6);
  const before = ring.serve();
  const chain = new BlockRequest();
  for (let i = 0; i < 4; i++) before.pop(chain);
  before.push(first[1]!, 1);
  before.publish();
  ring.takeUsed();
  const after = ring.serve();
  expect(after.takenOver).toHaveLength(3);
  expect(takeAll(after)).toEqual([first[0], first[2], first[3], first[4], first[5]]);
});

test('the order survives heads that are used again, and back ends that are killed one after the other', () => {
  const ring = new Ring();
  let queue = ring.serve();
  ring.submit(SIZE);
  const heads = takeAll(queue);
  // The first ones are completed and used again: they are the youngest now.
  for (const head of heads.slice(0, 5)) queue.push(head, 1);
  queue.publish();
  ring.takeUsed();
  const again = ring.submit(5);
  expect(takeAll(queue)).toEqual(again);
  for (let killed = 0; killed < 3; killed++) {
    queue = ring.serve();
    expect(takeAll(queue)).toEqual([...heads.slice(5), ...again]);
  }
});

test('nothing of a batch that was not published counts as completed', () => {
  const ring = new Ring();
  ring.submit(4);
  const queue = ring.serve();
  const heads = takeAll(queue);
  queue.push(heads[2]!, 1);
  queue.push(heads[0]!, 1);
  expect(takeAll(ring.serve())).toEqual(heads);
});

describe('killed while a batch is published', () => {
  const published = (): { ring: Ring; heads: number[]; batch: number[]; before: Uint8Array } => {
    const ring = new Ring();
    ring.submit(8);
    const queue = ring.serve();
    const heads = takeAll(queue);
    queue.push(heads[7]!, 1);
    queue.publish();
    const batch = [heads[3]!, heads[0]!, heads[5]!];
    for (const head of batch) queue.push(head, 1);
    const before = ring.table.slice();
    queue.publish();
    return { ring, heads, batch, before };
  };

  test.each([0, 1, 2, 3])('with %i requests unmarked', (unmarked) => {
    const { ring, heads, batch, before } = published();
    ring.table.set(before);
    for (const head of batch.slice(0, unmarked)) ring.table[flagOf(head)] = 0;
    const rest = heads.filter((head) => !batch.includes(head) && head !== heads[7]);
    expect(takeAll(ring.serve())).toEqual(rest);
    expect(ring.halves[USED_IDX]).toBe(ring.usedIdx);
  });
});

test('random back ends, killed at random: every request is completed once', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.record({ do: fc.constant('submit' as const), count: fc.integer({ min: 1, max: SIZE }) }),
          fc.record({ do: fc.constant('pop' as const), count: fc.integer({ min: 1, max: SIZE }) }),
          fc.record({ do: fc.constant('push' as const), which: fc.nat(1000) }),
          fc.record({ do: fc.constant('publish' as const) }),
          fc.record({ do: fc.constant('kill' as const) }),
        ),
        { maxLength: 200 },
      ),
      (steps) => {
        const ring = new Ring();
        let queue = ring.serve();
        const chain = new BlockRequest();
        /** Taken, in order, and not in the used ring yet, as the back end that is alive knows it. */
        let taken: number[] = [];
        const waiting = new Set<number>();
        const settle = (): void => {
          // `takeUsed` gives the heads back that have been completed: each must have been waited for.
          for (const head of ring.takeUsed()) expect(waiting.delete(head)).toBe(true);
        };
        const resubmit = (): void => {
          for (const head of queue.takenOver) {
            queue.popAgain(head, chain);
            taken.push(chain.head);
          }
        };
        for (const step of steps) {
          if (step.do === 'submit') for (const head of ring.submit(step.count)) waiting.add(head);
          else if (step.do === 'pop') {
            for (let i = 0; i < step.count && queue.pop(chain) === Popped.CHAIN; i++) taken.push(chain.head);
          } else if (step.do === 'push') {
            const [head] = taken.splice(step.which % Math.max(1, taken.length), 1);
            if (head !== undefined) queue.push(head, 1);
          } else if (step.do === 'publish') {
            queue.publish();
            settle();
          } else {
            queue = ring.serve();
            taken = [];
            resubmit();
          }
        }
        queue = ring.serve();
        for (const head of takeAll(queue)) queue.push(head, 1);
        queue.publish();
        settle();
        expect([...waiting]).toEqual([]);
        expect(queue.state.lastAvail).toBe(queue.state.usedIdx);
        for (let head = 0; head < SIZE; head++) expect(ring.table[flagOf(head)]).toBe(0);
      },
    ),
    { seed, numRuns: 500 },
  );
});

test('indexes wrap', () => {
  const ring = new Ring();
  const queue = ring.serve();
  for (let round = 0; round < 0x1_0000 / SIZE + 2; round++) {
    ring.submit(SIZE);
    for (const head of takeAll(queue)) queue.push(head, 1);
    queue.publish();
    ring.takeUsed();
  }
  const heads = ring.submit(3);
  takeAll(queue);
  expect(takeAll(ring.serve())).toEqual(heads);
});

test('a counter of 64 bits that no number holds keeps its place', () => {
  const ring = new Ring();
  ring.submit(3);
  const heads = takeAll(ring.serve());
  const words = new Uint32Array(ring.table.buffer);
  words.fill(0xffff_ffff, (flagOf(heads[0]!) + 8) / 4, flagOf(heads[0]!) / 4 + 4);
  expect(takeAll(ring.serve())).toEqual([heads[1], heads[2], heads[0]]);
});

describe('a front end that falsifies the table', () => {
  const used = (): Ring => {
    const ring = new Ring();
    ring.submit(4);
    const queue = ring.serve();
    for (const head of takeAll(queue).slice(0, 2)) queue.push(head, 1);
    queue.publish();
    return ring;
  };

  test.each([
    ['a version of the future', 4, 2],
    ['features', 0, 1],
    ['more entries than the queue has', 5, SIZE * 2],
    ['no entries', 5, 0],
  ] as const)('%s: refused', (_, half, value) => {
    const ring = used();
    ring.halves[half] = value;
    expect(() => ring.serve()).toThrow(expect.objectContaining({ code: 'ERR_INFLIGHT' }));
  });

  test('a batch that leads out of the table: refused', () => {
    const ring = used();
    ring.halves[USED_IDX] = 0;
    ring.halves[LAST_BATCH_HEAD] = SIZE;
    expect(() => ring.serve()).toThrow(expect.objectContaining({ code: 'ERR_INFLIGHT' }));
    ring.halves[LAST_BATCH_HEAD] = 0;
    ring.halves[(flagOf(0) + 6) / 2] = 0xffff;
    expect(() => ring.serve()).toThrow(expect.objectContaining({ code: 'ERR_INFLIGHT' }));
  });

  test('a batch that goes round in circles ends', () => {
    const ring = used();
    ring.halves[USED_IDX] = ring.usedIdx - SIZE;
    ring.halves[LAST_BATCH_HEAD] = 3;
    ring.halves[(flagOf(3) + 6) / 2] = 3;
    expect(takeAll(ring.serve()).length).toBeLessThanOrEqual(SIZE);
  });

  test('a used index of another life: nothing is finished', () => {
    const ring = used();
    ring.halves[USED_IDX] = ring.usedIdx + 1;
    expect(takeAll(ring.serve())).toHaveLength(2);
  });

  test('requests that were never made: they are done, and no head is taken twice', () => {
    const ring = used();
    for (let head = 0; head < SIZE; head++) ring.table[flagOf(head)] = 0xff;
    const queue = ring.serve();
    const chain = new BlockRequest();
    expect(queue.takenOver).toHaveLength(SIZE);
    ring.driver.ring.avail[RING_ENTRIES + (queue.state.lastAvail % SIZE)] = 5;
    ring.driver.ring.avail[RING_IDX] = queue.state.lastAvail + 1;
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
  });

  test('marks and links that change while requests are served stay in the table', () => {
    const ring = new Ring();
    ring.submit(4);
    const queue = ring.serve();
    const heads = takeAll(queue);
    ring.table.fill(0xff);
    for (const head of heads) queue.push(head, 1);
    queue.publish();
    expect(ring.takeUsed()).toEqual(heads);
  });
});
