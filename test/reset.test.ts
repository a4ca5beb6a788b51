// A driver resets its device: what is in flight ends first, nothing is written afterwards, and the device starts anew.
import {
  CONFIG_INTERRUPT,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from '@iothreads/core';
import { startDevice } from '@iothreads/core/testing';
import { type DeviceOptions, type IOThreadError, IOThreadRuntime } from '@iothreads/iothread';
import { describe, expect, test } from 'vitest';
import { Gate } from './support/gate.js';
import { createMemory, Guest, statusBits } from './support/guest.js';
import { totals } from './support/statistics.js';
import { until, within } from './support/within.js';

const SLOW = { driver: 'null', latencyNs: 5_000_000, readZeroes: true } as const;
const MEMORY_DISK = { driver: 'memory', size: 1 << 20 } as const;

async function addGuest(
  runtime: IOThreadRuntime,
  id: string,
  drive: DeviceOptions['drive'],
  options: Partial<DeviceOptions> = {},
): Promise<Guest> {
  const memory = createMemory();
  const device = await runtime.addDevice({ id, iothread: 'io0', drive, memory, ...options });
  return new Guest(device, memory);
}

async function withIOThread(): Promise<IOThreadRuntime> {
  const runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'io0' });
  return runtime;
}

describe('with requests in flight', () => {
  test('the status is not 0 until the last has completed', async () => {
    await using runtime = await withIOThread();
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive());
    await guest.start();
    const { queue, device } = guest;
    const outcomes = Array.from({ length: 8 }, (_, i) => queue.add(VIRTIO_BLK_T_IN, i, 512));
    queue.go();
    await gate.came(8);
    device.virtio.writeStatus(0);
    // The control plane answers meanwhile, and nothing that it does makes the reset complete.
    for (let i = 0; i < 20; i++) {
      await runtime.queryIOThreads();
      expect(device.virtio.status).not.toBe(0);
    }
    // A driver in a hurry changes nothing.
    device.virtio.writeStatus(0);
    device.virtio.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE);
    expect(device.virtio.status).not.toBe(0);
    gate.open();
    await until('the end of the reset', () => device.virtio.status === 0);
    await within(Promise.all(outcomes), 'the completions');
    expect(queue.completions).toBe(8);
  });

  test('nothing is written to memory once the status has read 0', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', SLOW);
    await guest.start();
    for (let round = 0; round < 5; round++) {
      const { queue } = guest;
      for (let i = 0; i < 32; i++) void queue.add(VIRTIO_BLK_T_IN, i, 512);
      queue.go();
      await guest.reset();
      // The memory is the driver's own again: it uses it for something else.
      const bytes = new Uint8Array(guest.memory);
      const bound = guest.allocator.allocate(8);
      bytes.fill(0xa5, 0, bound);
      // Longer than any of the requests would have taken, by the disk's own clock: a request of another start.
      await guest.start();
      await guest.queue.read(0);
      await guest.queue.read(1);
      expect(bytes.subarray(0, bound).findIndex((byte) => byte !== 0xa5)).toBe(-1);
    }
  });

  test('a disk that does not answer in time keeps the device resetting; when it does, the reset is complete', async () => {
    await using runtime = await withIOThread();
    const gate = new Gate();
    const errors: string[] = [];
    runtime.on('deviceError', (_, error) => errors.push((error as IOThreadError).code));
    const guest = await addGuest(runtime, 'vda', gate.drive(), { drainTimeoutMs: 20 });
    await guest.start();
    const { queue, device } = guest;
    const inFlight = queue.add(VIRTIO_BLK_T_IN, 0, 512);
    queue.go();
    await gate.came(1);
    device.virtio.writeStatus(0);
    await until('two reports', () => errors.length >= 2);
    expect(new Set(errors)).toEqual(new Set(['ERR_DRAIN_TIMEOUT']));
    expect(device.virtio.status).not.toBe(0);
    // What the driver makes available now is not for the device any more.
    void queue.add(VIRTIO_BLK_T_IN, 1, 512);
    device.kick(0);
    queue.driver.publish();
    device.kick(0);
    await runtime.queryIOThreads();
    gate.open();
    await until('the end of the reset', () => device.virtio.status === 0);
    await within(inFlight, 'the completion');
    expect(queue.completions).toBe(1);
    await guest.start();
    expect((await guest.queue.read(3))[0]).toBe(0xdd);
    expect((await totals(runtime, 'vda')).operations).toBe(2);
  });

  test('a device whose reset waits for its disk can be removed', async () => {
    await using runtime = await withIOThread();
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive(), { drainTimeoutMs: 20 });
    await guest.start();
    void guest.queue.add(VIRTIO_BLK_T_IN, 0, 512);
    guest.queue.go();
    await gate.came(1);
    guest.device.virtio.writeStatus(0);
    await within(runtime.removeDevice('vda'), 'the removal');
    expect((await runtime.queryIOThreads())[0]!.devices).toEqual([]);
  });
});

describe('a start after a reset', () => {
  test('uses the new rings, from their beginning', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
    await guest.start();
    for (let round = 1; round <= 10; round++) {
      // Never a multiple of the ring's size: a position that was carried over would show.
      for (let i = 0; i < 7 * round; i++) await guest.queue.read(i);
      await guest.queue.write(9, new Uint8Array(512).fill(round));
      const { addresses } = guest.queue;
      await guest.reset();
      await guest.start();
      expect(guest.queue.addresses).not.toEqual(addresses);
      expect((await guest.queue.read(9))[511]).toBe(round);
    }
  });

  test('with other features and fewer queues serves those alone', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK, { numQueues: 3 });
    await guest.start();
    for (const queue of guest.queues) await queue.read(0);
    await guest.reset();
    const old = guest.queues;
    await guest.start({ queues: 1 });
    await guest.queue.read(0);
    for (const queue of old) {
      void queue.add(VIRTIO_BLK_T_IN, 0, 512);
      queue.driver.publish();
      guest.device.kick(queue.index);
    }
    await guest.queue.readOneByOne(10);
    await runtime.drainDevice('vda');
    for (const queue of old.slice(1)) expect(queue.driver.queue.hasUsed()).toBe(false);
    expect((await totals(runtime, 'vda')).operations).toBe(3 + 1 + 10);
  });

  test('resets without a start, and twice in a row, are complete at once', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
    const { virtio } = guest.device;
    virtio.writeStatus(0);
    expect(virtio.status).toBe(0);
    virtio.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE);
    virtio.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    virtio.writeStatus(0);
    virtio.writeStatus(0);
    expect(virtio.status).toBe(0);
    await guest.start();
    // Start and reset without a pause between them.
    virtio.writeStatus(0);
    await until('the end of the reset', () => virtio.status === 0);
    await guest.start();
    await guest.queue.readOneByOne(5);
  });
});

describe('kicks', () => {
  test('before DRIVER_OK consume nothing; what was made available is served after it', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
    guest.layOut();
    const { queue, device } = guest;
    const early = queue.add(VIRTIO_BLK_T_IN, 0, 512);
    queue.go();
    for (let i = 0; i < 10; i++) {
      device.kick(0);
      await runtime.queryIOThreads();
    }
    expect(queue.driver.queue.hasUsed()).toBe(false);
    expect((await totals(runtime, 'vda')).operations).toBe(0);
    startDevice(device.virtio, [queue.addresses]);
    await within(early, 'the early request');
    expect((await totals(runtime, 'vda')).operations).toBe(1);
  });

  test('for nothing consume nothing', async () => {
    await using runtime = await withIOThread();
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
    await guest.start();
    for (let i = 0; i < 100; i++) {
      guest.device.kick(0);
      if (i % 10 === 0) await runtime.queryIOThreads();
    }
    await runtime.drainDevice('vda');
    expect((await totals(runtime, 'vda')).operations).toBe(0);
    await guest.queue.readOneByOne(10);
    expect((await totals(runtime, 'vda')).operations).toBe(10);
  });

  test.each([1, 2, 3, 65535, 2 ** 31, 2 ** 32, -1, -2, 0.5, Number.NaN])(
    'of queue %d, which is not set up or not there, are tolerated',
    async (index) => {
      await using runtime = await withIOThread();
      const guest = await addGuest(runtime, 'vda', MEMORY_DISK, { numQueues: 2 });
      await guest.start({ queues: 1 });
      const words = new Int32Array(guest.device.port.channelBuffer);
      const before = words.slice(0, 16);
      guest.device.kick(index);
      expect(words.slice(0, 16)).toEqual(before);
      await guest.queue.readOneByOne(3);
      expect((await totals(runtime, 'vda')).operations).toBe(3);
    },
  );
});

describe('a broken queue', () => {
  const breaks: readonly { readonly what: string; readonly breakIt: (guest: Guest) => void }[] = [
    {
      what: 'a head out of range',
      breakIt: ({ queue }) => {
        queue.driver.queue.makeAvailable(0x7fff);
        queue.driver.publish();
      },
    },
    {
      what: 'an index ahead by more than the ring',
      breakIt: ({ queue }) => {
        const { avail } = queue.driver.queue.ring;
        Atomics.store(avail, 1, (avail[1]! + 0x4000) & 0xffff);
      },
    },
  ];

  test.each(breaks)(
    '$what: NEEDS_RESET, a configuration interrupt; a reset heals it',
    async ({ breakIt }) => {
      await using runtime = await withIOThread();
      const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
      const neighbour = await addGuest(runtime, 'vdb', MEMORY_DISK);
      await guest.start();
      await neighbour.start();
      const { device } = guest;
      for (let round = 1; round <= 3; round++) {
        await guest.queue.write(5, new Uint8Array(512).fill(round));
        const seen = device.channel.interrupts(CONFIG_INTERRUPT);
        const others = neighbour.device.channel.interrupts(CONFIG_INTERRUPT);
        const heard: number[] = [];
        const silence = device.onInterrupt((source) => heard.push(source));
        breakIt(guest);
        device.kick(0);
        await statusBits(device, VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK, seen);
        expect(device.channel.broken).toBe(true);
        await until('the call of the listener', () => heard.includes(CONFIG_INTERRUPT));
        silence();
        // One interrupt, however often the driver kicks a queue that nobody looks at any more; and nothing consumed.
        const { operations } = await totals(runtime, 'vda');
        const interrupts = device.channel.interrupts(CONFIG_INTERRUPT);
        for (let i = 0; i < 20; i++) {
          void guest.queue.add(VIRTIO_BLK_T_OUT, 5, new Uint8Array(512));
          guest.queue.driver.publish();
          device.kick(0);
        }
        await neighbour.queue.readOneByOne(20);
        expect((await totals(runtime, 'vda')).operations).toBe(operations);
        expect(device.channel.interrupts(CONFIG_INTERRUPT)).toBe(interrupts);
        expect(neighbour.device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).toBe(0);
        expect(neighbour.device.channel.interrupts(CONFIG_INTERRUPT)).toBe(others);

        await guest.reset();
        expect(device.channel.broken).toBe(false);
        await guest.start();
        expect(device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).toBe(0);
        expect((await guest.queue.read(5))[0]).toBe(round);
      }
    },
  );

  test('stays broken when the device is moved', async () => {
    await using runtime = await withIOThread();
    await runtime.addIOThread({ id: 'io1' });
    const guest = await addGuest(runtime, 'vda', MEMORY_DISK);
    await guest.start();
    const seen = guest.device.channel.interrupts(CONFIG_INTERRUPT);
    breaks[0]!.breakIt(guest);
    guest.device.kick(0);
    await statusBits(guest.device, VIRTIO_STATUS_NEEDS_RESET, seen);
    await runtime.moveDevice('vda', 'io1');
    await runtime.drainDevice('vda');
    expect(guest.device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).not.toBe(0);
    expect(guest.queue.driver.queue.hasUsed()).toBe(false);
    await guest.reset();
    await guest.start();
    await guest.queue.readOneByOne(5);
  });

  test('the other queue of its device completes what is in flight, and the reset waits for it', async () => {
    await using runtime = await withIOThread();
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive(), { numQueues: 2 });
    await guest.start();
    const [first, second] = guest.queues;
    const inFlight = second!.add(VIRTIO_BLK_T_IN, 0, 512);
    second!.go();
    await gate.came(1);
    const seen = guest.device.channel.interrupts(CONFIG_INTERRUPT);
    first!.driver.queue.makeAvailable(9999);
    first!.driver.publish();
    guest.device.kick(0);
    await statusBits(guest.device, VIRTIO_STATUS_NEEDS_RESET, seen);
    guest.device.virtio.writeStatus(0);
    await runtime.queryIOThreads();
    expect(guest.device.virtio.status).not.toBe(0);
    gate.open();
    expect((await within(inFlight, 'the completion')).data[0]).toBe(0xdd);
    await until('the end of the reset', () => guest.device.virtio.status === 0);
  });
});
