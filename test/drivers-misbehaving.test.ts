// Disks of users' own that hang, throw or lie: the guest hears of it, the operator hears of it, nobody else suffers.
import type { DriveOptions } from '@iothreads/backends';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import {
  type DeviceOptions,
  type DriverErrorReport,
  type IOThreadError,
  IOThreadRuntime,
} from '@iothreads/iothread';
import { describe, expect, test } from 'vitest';
import { fixture } from './support/fixture.js';
import { Gate } from './support/gate.js';
import { createMemory, Guest } from './support/guest.js';
import { totals } from './support/statistics.js';
import { within } from './support/within.js';

async function addGuest(
  runtime: IOThreadRuntime,
  id: string,
  drive: DriveOptions,
  options: Partial<DeviceOptions> = {},
): Promise<Guest> {
  const memory = createMemory();
  const device = await runtime.addDevice({ id, iothread: 'io0', drive, memory, ...options });
  return Guest.start(device, memory);
}

/** Reports of a runtime: `id code`. */
function reports(runtime: IOThreadRuntime): string[] {
  const all: string[] = [];
  runtime.on('deviceError', (id, error) => all.push(`${id} ${(error as IOThreadError).code}`));
  return all;
}

describe('a disk that never settles', () => {
  test('can be removed: after the time to drain its requests are given up, and that is reported', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const errors = reports(runtime);
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive(), { drainTimeoutMs: 100 });
    const neighbour = await addGuest(runtime, 'vdb', { driver: 'memory', size: 1 << 20 });
    void guest.queue.add(VIRTIO_BLK_T_IN, 0, 512);
    void guest.queue.add(VIRTIO_BLK_T_OUT, 1, new Uint8Array(512));
    guest.queue.go();
    await gate.came(2);
    await within(runtime.removeDevice('vda'), 'the removal');
    expect(errors).toEqual(['vda ERR_DRAIN_TIMEOUT']);
    await neighbour.queue.readOneByOne(10);
    expect((await runtime.queryIOThreads())[0]).toMatchObject({ devices: ['vdb'], syncAllowed: true });

    // It answers after all: too late to change anything in the guest's memory.
    const memory = new Uint8Array(guest.memory);
    const before = memory.slice();
    gate.open();
    await gate.went(2);
    await runtime.queryIOThreads();
    await neighbour.queue.readOneByOne(10);
    expect(Buffer.compare(memory, before)).toBe(0);
    expect(guest.queue.completions).toBe(0);
  });

  test('can not be moved or drained; when it settles the device goes on as if nothing had been', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const errors = reports(runtime);
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive(), { drainTimeoutMs: 50 });
    const inFlight = guest.queue.add(VIRTIO_BLK_T_IN, 0, 512);
    guest.queue.go();
    await gate.came(1);
    const late = {
      name: 'IOThreadError',
      code: 'ERR_DRAIN_TIMEOUT',
      message: "device 'vda': 1 requests were still in flight after 50 ms; its disk does not answer",
    };
    await expect(runtime.moveDevice('vda', 'io1')).rejects.toMatchObject(late);
    await expect(runtime.drainDevice('vda')).rejects.toMatchObject(late);
    expect(guest.device.iothreads).toEqual(['io0']);
    expect((await runtime.queryIOThreads()).map(({ devices }) => devices)).toEqual([['vda'], []]);
    // It still takes requests.
    const another = guest.queue.add(VIRTIO_BLK_T_IN, 1, 512);
    guest.queue.go();
    await gate.came(2);
    gate.open();
    for (const { status, data } of await within(Promise.all([inFlight, another]), 'both reads')) {
      expect([status, data[0]]).toEqual([VIRTIO_BLK_S_OK, 0xdd]);
    }
    await runtime.moveDevice('vda', 'io1');
    await guest.queue.readOneByOne(10);
    expect(guest.device.iothreads).toEqual(['io1']);
    expect((await totals(runtime, 'vda')).operations).toBe(12);
    expect(errors).toEqual([]);
  });

  test('on one of two iothreads: the other goes on after a move that failed', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }] });
    const gate = new Gate();
    const memory = createMemory();
    const device = await runtime.addDevice({
      id: 'vda',
      iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }],
      numQueues: 2,
      drive: gate.drive(),
      memory,
      drainTimeoutMs: 50,
    });
    const guest = await Guest.start(device, memory);
    const [first, second] = guest.queues;
    for (const [stuck, idle] of [
      [first!, second!],
      [second!, first!],
    ] as const) {
      gate.close();
      const inFlight = stuck.add(VIRTIO_BLK_T_IN, 0, 512);
      stuck.go();
      await expect(
        (async () => {
          // The request has come to its disk before the move begins.
          await within(runtime.queryIOThreads(), 'an answer');
          await gate.came(stuck === first ? 1 : 13);
          await runtime.moveDevice('vda', 'io2');
        })(),
      ).rejects.toMatchObject({ code: 'ERR_DRAIN_TIMEOUT' });
      gate.open();
      await within(inFlight, 'the read that was stuck');
      await idle.readOneByOne(10);
      await stuck.readOneByOne(1);
    }
    expect(device.iothreads).toEqual(['io0', 'io1']);
    await runtime.moveDevice('vda', 'io2');
    await first!.readOneByOne(3);
    await second!.readOneByOne(3);
  });

  test('does not keep the runtime from closing', async () => {
    const runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const gate = new Gate();
    const guest = await addGuest(runtime, 'vda', gate.drive(), { drainTimeoutMs: 50 });
    void guest.queue.add(VIRTIO_BLK_T_IN, 0, 512);
    guest.queue.go();
    await gate.came(1);
    await within(runtime.close(), 'the end of the runtime');
  });
});

describe('a disk that throws', () => {
  test('the guest sees IOERR for each request that failed, and for no other', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const guest = await addGuest(runtime, 'vda', {
      driver: 'module',
      url: fixture('throwing-disk.mjs'),
      options: { size: 1 << 20 },
    });
    const { queue } = guest;
    for (let i = 0; i < 24; i++) {
      const sector = i % 12;
      const { status } = await queue.request(VIRTIO_BLK_T_IN, sector, 512);
      expect(status, `read of sector ${sector}`).toBe(
        sector % 2 === 1 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
      );
    }
    const data = new Uint8Array(512).fill(9);
    const outcomes = Array.from({ length: 16 }, (_, sector) => queue.add(VIRTIO_BLK_T_OUT, sector, data));
    queue.go();
    const statuses = (await within(Promise.all(outcomes), 'the writes')).map(({ status }) => status);
    expect(statuses).toEqual(Array.from({ length: 16 }, (_, sector) => sector % 2));
    expect((await queue.read(4))[511]).toBe(9);
    expect((await totals(runtime, 'vda')).errors).toBe(12 + 8);
  });

  test('why it failed is told to the owner of the runtime, without a flood when everything fails', async () => {
    await using runtime = new IOThreadRuntime();
    const told: [string, DriverErrorReport][] = [];
    runtime.on('driverError', (iothread, report) => told.push([iothread, report]));
    await runtime.addIOThread({ id: 'io0' });
    const guest = await addGuest(runtime, 'vda', {
      driver: 'module',
      url: fixture('throwing-disk.mjs'),
      options: { size: 1 << 20 },
    });
    const FAILING = 400;
    for (let i = 0; i < FAILING; i++) {
      expect((await guest.queue.request(VIRTIO_BLK_T_OUT, 1, new Uint8Array(512))).status).toBe(
        VIRTIO_BLK_S_IOERR,
      );
    }
    await within(
      (async () => {
        while (told.length === 0) await new Promise((resolve) => setImmediate(resolve));
      })(),
      'the first report',
    );
    expect(told[0]).toEqual([
      'io0',
      { driver: 'module', operation: 'WRITE', message: 'no writing here', suppressed: 0 },
    ]);
    expect(told.length).toBeLessThan(FAILING);
  });
});

describe('a disk that is odd on an iothread', () => {
  const odd = (how: string): DriveOptions => ({
    driver: 'module',
    url: fixture('odd-disk.mjs'),
    options: { how },
  });

  test.each([
    { how: 'factory throws', message: 'not here' },
    { how: 'other size', message: "the disk's size was 512 and is 1024 now" },
  ])('$how: it can not be attached, and leaves nothing behind', async ({ how, message }) => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }] });
    const neighbour = await addGuest(runtime, 'vdb', { driver: 'memory', size: 1 << 20 });
    await expect(addGuest(runtime, 'vda', odd(how))).rejects.toMatchObject({
      name: 'BlockDriverError',
      code: 'ERR_DRIVE_MODULE',
      message: expect.stringContaining(message) as unknown,
    });
    expect((await runtime.queryIOThreads())[0]).toMatchObject({ devices: ['vdb'], syncAllowed: true });
    await neighbour.queue.readOneByOne(5);
    await addGuest(runtime, 'vda', { driver: 'null' });
  });

  test.each([
    { how: 'close throws', message: 'will not close' },
    { how: 'close never ends', message: "device 'vda': its disk could not be closed within 50 ms" },
  ])('$how: a removal tells, and the device is gone', async ({ how, message }) => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const both = { iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }], numQueues: 2 };
    const memory = createMemory();
    await runtime.addDevice({ id: 'vda', ...both, drive: odd(how), memory, drainTimeoutMs: 50 });
    await expect(within(runtime.removeDevice('vda'), 'the removal')).rejects.toThrow(message);
    expect((await runtime.queryIOThreads()).map(({ devices }) => devices)).toEqual([[], []]);
    await addGuest(runtime, 'vda', { driver: 'null' });
  });

  test.each(['close throws', 'close never ends'])('%s: a move reports it and goes on', async (how) => {
    const runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const errors: string[] = [];
    runtime.on('deviceError', (_, error) => errors.push(error.message));
    const guest = await addGuest(runtime, 'vda', odd(how), { drainTimeoutMs: 50 });
    await within(runtime.moveDevice('vda', 'io1'), 'the move');
    expect(errors).toHaveLength(1);
    await guest.queue.read(0);
    expect((await runtime.queryIOThreads()).map(({ devices }) => devices)).toEqual([[], ['vda']]);
    // Closing tells of it too, when all workers have ended.
    await expect(within(runtime.close(), 'the end of the runtime')).rejects.toThrow(errors[0]!);
  });
});
