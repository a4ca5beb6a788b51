// What is special about requests that are copied; that they are served as any other is said in the robustness tests.
import {
  BounceArea,
  BlockRequest,
  GuestMemory,
  Popped,
  VIRTIO_F_VERSION_1,
  featureSet,
  Virtqueue,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { expect, test } from 'vitest';
import { GrowingMemory } from './support/growing-memory.js';

const PAGE = 65536;
const FEATURES = featureSet(VIRTIO_F_VERSION_1);

/** A guest in memory like WebAssembly's, whose buffer is another one each time it grows. */
function growingGuest(options: { slots?: number; slotBytes?: number } = {}) {
  const memory = new GrowingMemory(2 * PAGE);
  const area = new BounceArea(
    { buffer: () => memory.buffer, regions: [{ guestAddress: 0, byteOffset: 1024, size: PAGE }], ...options },
    { numQueues: 1, queueSize: 16, onBroken: () => undefined },
  );
  const ram = (): { guestAddress: number; buffer: ArrayBuffer; byteOffset: number; size: number }[] => [
    { guestAddress: 0, buffer: memory.buffer, byteOffset: 1024, size: PAGE },
  ];
  const allocator = new GuestAllocator(ram());
  const addresses = allocator.allocateQueue(16);
  const device = new Virtqueue(new GuestMemory(area.shared), area.open(0, addresses, FEATURES), {
    indirect: false,
    eventIdx: true,
  });
  /** The driver's side, over the memory as it is now. */
  const driver = (lastAvail: number): DriverQueue =>
    new DriverQueue(new GuestMemory(ram()), addresses, {
      eventIdx: false,
      state: { lastAvail, usedIdx: lastAvail },
    });
  return {
    memory,
    area,
    allocator,
    addresses,
    device,
    driver,
    bytes: () => new Uint8Array(memory.buffer, 1024, PAGE),
  };
}

test('guest memory moves between two requests, and while one is on its way', () => {
  const { memory, area, allocator, device, driver, bytes } = growingGuest();
  const out = allocator.allocate(32, 16);
  const back = allocator.allocate(600, 16);
  const request = new BlockRequest();
  for (let round = 0; round < 4; round++) {
    const queue = driver(round);
    bytes().fill(round + 1, out, out + 32);
    queue.add([
      { address: out, byteLength: 32, writable: false },
      { address: back, byteLength: 600, writable: true },
    ]);
    queue.publish();
    area.queue(0)!.take();
    expect(device.pop(request)).toBe(Popped.CHAIN);
    // The header and what is behind it, as the driver wrote them.
    expect(request.readable.views().flatMap((view) => [...view])).toEqual(Array(32).fill(round + 1));
    memory.grow(PAGE);
    request.writable.copyFrom(new Uint8Array(600).fill(0x40 + round));
    device.push(request.head, 600);
    device.publish();
    area.queue(0)!.give();
    expect(new Set(bytes().subarray(back, back + 600))).toEqual(new Set([0x40 + round]));
    expect(area.queue(0)!.state).toEqual({ lastAvail: round + 1, usedIdx: round + 1 });
  }
});

test('memory that shrinks is an error with a code, not a view over nothing', () => {
  let buffer = new ArrayBuffer(PAGE);
  const area = new BounceArea(
    { buffer: () => buffer },
    { numQueues: 1, queueSize: 8, onBroken: () => undefined },
  );
  const allocator = new GuestAllocator([{ guestAddress: 0, buffer }]);
  area.open(0, allocator.allocateQueue(8), FEATURES);
  buffer = new ArrayBuffer(512);
  expect(() => area.queue(0)!.take()).toThrow(expect.objectContaining({ code: 'ERR_MEMORY_REGION' }));
});

test.each([
  [4096, 4096],
  [1 << 19, 1 << 19],
])(
  'with slots of %i bytes a request of %i bytes passes whole, a longer one without its header',
  (slotBytes, most) => {
    const ram = new ArrayBuffer(1 << 20);
    const area = new BounceArea(
      { buffer: () => ram, slotBytes },
      { numQueues: 1, queueSize: 256, onBroken: () => undefined },
    );
    const { sizeMax, segMax } = area.limits;
    expect(sizeMax * segMax).toBeLessThanOrEqual(slotBytes);
    expect(sizeMax).toBeGreaterThanOrEqual(4096);
    const allocator = new GuestAllocator([{ guestAddress: 0, buffer: ram }]);
    const addresses = allocator.allocateQueue(256);
    const header = allocator.allocate(16, 16);
    const data = allocator.allocate(most + 512, 16);
    const driver = new DriverQueue(allocator.memory, addresses, { eventIdx: false });
    const device = new Virtqueue(new GuestMemory(area.shared), area.open(0, addresses, FEATURES), {
      indirect: false,
      eventIdx: true,
    });
    const request = new BlockRequest();
    const lengths = [most, most + 512].map((byteLength) => {
      driver.add([
        { address: header, byteLength: 16, writable: false },
        { address: data, byteLength: byteLength + 1, writable: true },
      ]);
      driver.publish();
      area.queue(0)!.take();
      expect(device.pop(request)).toBe(Popped.CHAIN);
      return [request.readable.byteLength, request.writable.byteLength];
    });
    expect(lengths).toEqual([
      [16, most + 1],
      [0, 1],
    ]);
  },
);

test.each([
  [{ slots: 3 }, /slots must be a power of two from 1 to 256, got 3/],
  [{ slots: 512 }, /slots/],
  [{ slotBytes: 1000 }, /slotBytes must be a power of two from 4096 to 16777216, got 1000/],
  [{ slotBytes: 2 ** 25 }, /slotBytes/],
])('%o is refused', (options, message) => {
  expect(() => growingGuest(options)).toThrow(message);
});

test('with one slot, chains go one after the other, in their order', () => {
  const { area, allocator, device, driver } = growingGuest({ slots: 1 });
  const queue = driver(0);
  const buffer = allocator.allocate(16, 16);
  const heads = [0, 1, 2].map(() => queue.add([{ address: buffer, byteLength: 16, writable: false }]));
  queue.publish();
  const bounce = area.queue(0)!;
  bounce.take();
  const request = new BlockRequest();
  const done: number[] = [];
  for (let i = 0; i < 3; i++) {
    expect(device.pop(request)).toBe(Popped.CHAIN);
    expect(device.pop(new BlockRequest())).toBe(Popped.NONE);
    device.push(request.head, 0);
    device.publish();
    bounce.give();
    done.push(queue.takeUsed());
    expect(bounce.inFlight).toBe(0);
    bounce.take();
  }
  expect(done).toEqual(heads);
});
