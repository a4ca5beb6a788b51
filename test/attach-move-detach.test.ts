// Devices change iothreads while their drivers go on: nothing is lost, nothing is done twice, and the data is right.
import type { DriveOptions } from '@iothreads/backends';
import { VIRTIO_STATUS_NEEDS_RESET } from '@iothreads/core';
import { IOThreadRuntime, type VqMappingOptions } from '@iothreads/iothread';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GenerationLoad } from './support/generations.js';
import { createMemory, Guest } from './support/guest.js';
import { randomIntegers, seeded } from './support/random.js';
import { blockStats, totals } from './support/statistics.js';
import { until } from './support/within.js';

const DISK_BYTES = 1 << 20;
const MOVES = 50;
const TASKS = 8;

let directory: string;
let images = 0;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-move-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

const disks: readonly { readonly disk: string; readonly drive: () => DriveOptions }[] = [
  { disk: 'memory', drive: () => ({ driver: 'memory', size: DISK_BYTES }) },
  {
    disk: 'file',
    drive: () => {
      const filename = join(directory, `disk${images++}.img`);
      writeFileSync(filename, '');
      truncateSync(filename, DISK_BYTES);
      return { driver: 'file', filename };
    },
  },
];

async function addDisk(
  runtime: IOThreadRuntime,
  id: string,
  drive: DriveOptions,
  on: { readonly iothread: string } | { readonly iothreadVqMapping: readonly VqMappingOptions[] },
  numQueues = 1,
): Promise<Guest> {
  const memory = createMemory();
  const device = await runtime.addDevice({ id, ...on, drive, memory, numQueues });
  return Guest.start(device, memory, { depth: TASKS });
}

/** What the runtime has counted is what the driver has seen, kind by kind; and no completion came twice. */
async function expectAllCounted(
  runtime: IOThreadRuntime,
  id: string,
  guest: Guest,
  load: GenerationLoad,
): Promise<void> {
  const report = await blockStats(runtime, id);
  expect({
    reads: report.read.operations,
    writes: report.write.operations,
    flushes: report.flush.operations,
  }).toEqual(load.done);
  expect(guest.queues.reduce((sum, queue) => sum + queue.completions, 0)).toBe(load.requests);
  expect((await totals(runtime, id)).errors).toBe(0);
  expect(report.invalid).toBe(0);
}

/** The load goes on: at least so many requests more. */
async function goesOn(load: GenerationLoad, requests = 5): Promise<void> {
  const target = load.requests + requests;
  await until('progress of the load', () => load.requests >= target);
}

describe.each(disks)('$disk disk', ({ drive }) => {
  test(seeded(`moved ${MOVES} times under load`), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }] });
    const guest = await addDisk(runtime, 'vda', drive(), { iothread: 'io0' });
    const load = new GenerationLoad(guest.queues, TASKS, 64).start();
    const integer = randomIntegers();
    for (let move = 0; move < MOVES; move++) {
      const to = `io${integer(3)}`;
      await runtime.moveDevice('vda', to);
      expect(guest.device.iothreads).toEqual([to]);
      // Sometimes at once again, before the new iothread has done much.
      if (integer(2) === 0) await goesOn(load);
    }
    await load.stop();
    await expectAllCounted(runtime, 'vda', guest, load);
  });

  test(seeded('drained under load, again and again'), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const guest = await addDisk(runtime, 'vda', drive(), { iothread: 'io0' });
    const load = new GenerationLoad(guest.queues, TASKS, 64).start();
    for (let drains = 0; drains < 30; drains++) {
      await runtime.drainDevice('vda');
      await goesOn(load);
    }
    await load.stop();
    await expectAllCounted(runtime, 'vda', guest, load);
  });

  test(seeded('calls that are not waited for take their turns'), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const guest = await addDisk(runtime, 'vda', drive(), { iothread: 'io0' });
    const load = new GenerationLoad(guest.queues, TASKS, 64).start();
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        i % 3 === 0 ? runtime.drainDevice('vda') : runtime.moveDevice('vda', `io${i % 2}`),
      ),
    );
    expect(guest.device.iothreads).toEqual(['io1']);
    await goesOn(load);
    await load.stop();
    await expectAllCounted(runtime, 'vda', guest, load);
  });

  test(seeded('two devices moved across each other'), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const guests = [
      await addDisk(runtime, 'vda', drive(), { iothread: 'io0' }),
      await addDisk(runtime, 'vdb', drive(), { iothread: 'io1' }),
    ];
    const loads = guests.map((guest) => new GenerationLoad(guest.queues, TASKS, 64).start());
    for (let move = 1; move <= 20; move++) {
      await Promise.all([
        runtime.moveDevice('vda', `io${move % 2}`),
        runtime.moveDevice('vdb', `io${(move + 1) % 2}`),
      ]);
      for (const load of loads) await goesOn(load);
    }
    for (const load of loads) await load.stop();
    for (const [index, id] of ['vda', 'vdb'].entries()) {
      await expectAllCounted(runtime, id, guests[index]!, loads[index]!);
    }
  });

  test(seeded('four queues spread over iothreads, together again, and spread otherwise'), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }] });
    const guest = await addDisk(runtime, 'vda', drive(), { iothread: 'io0' }, 4);
    const load = new GenerationLoad(guest.queues, TASKS, 64).start();
    const places: readonly (string | readonly VqMappingOptions[])[] = [
      [{ iothread: 'io0' }, { iothread: 'io1' }],
      [
        { iothread: 'io2', vqs: [3, 0] },
        { iothread: 'io0', vqs: [2] },
        { iothread: 'io1', vqs: [1] },
      ],
      'io1',
      [
        { iothread: 'io1', vqs: [1, 2, 3] },
        { iothread: 'io2', vqs: [0] },
      ],
      [{ iothread: 'io2' }, { iothread: 'io1' }, { iothread: 'io0' }],
      'io0',
    ];
    for (let round = 0; round < 3; round++) {
      for (const place of places) {
        await runtime.moveDevice('vda', place);
        await goesOn(load);
      }
    }
    await load.stop();
    await expectAllCounted(runtime, 'vda', guest, load);
  });
});

describe('removed and added again', () => {
  test(seeded('the disk is what the requests before left'), async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const buffer = new SharedArrayBuffer(DISK_BYTES);
    for (let round = 0; round < 10; round++) {
      const guest = await addDisk(
        runtime,
        'vda',
        { driver: 'memory', buffer },
        { iothread: `io${round % 2}` },
      );
      if (round > 0) expect((await guest.queue.read(2000))[0]).toBe(round - 1);
      await guest.queue.write(2000, new Uint8Array(512).fill(round));
      expect((await totals(runtime, 'vda')).operations, 'counted anew').toBe(round === 0 ? 1 : 2);
      await runtime.removeDevice('vda');
    }
  });

  test('an id is taken until its device is gone for good', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const drive = { driver: 'memory', size: DISK_BYTES } as const;
    await addDisk(runtime, 'vda', drive, { iothread: 'io0' });
    const removed = runtime.removeDevice('vda');
    await expect(addDisk(runtime, 'vda', drive, { iothread: 'io0' })).rejects.toMatchObject({
      code: 'ERR_DUPLICATE_ID',
    });
    await removed;
    const guest = await addDisk(runtime, 'vda', drive, { iothread: 'io0' });
    await guest.queue.read(0);
    expect((await runtime.queryIOThreads())[0]!.devices).toEqual(['vda']);
  });

  test('nothing in flight is lost: what the ring holds is done, what comes later is not', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const drive = { driver: 'null', latencyNs: 5_000_000 } as const;
    const guest = await addDisk(runtime, 'vda', drive, { iothread: 'io0' });
    for (let i = 0; i < TASKS; i++) void guest.queue.add(0, i, 512);
    guest.queue.go();
    // The request counts as taken when its latency begins: the drain has to wait for all of them.
    await until('requests in flight', async () => {
      await runtime.drainDevice('vda');
      return (await totals(runtime, 'vda')).operations === TASKS;
    });
    await runtime.removeDevice('vda');
    expect(guest.queue.driver.queue.hasUsed() || guest.queue.completions === TASKS).toBe(true);
    await until('completions', () => guest.queue.completions === TASKS);
    const late = guest.queue.add(0, 0, 512);
    guest.queue.go();
    await new Promise(setImmediate);
    expect(guest.queue.inFlight).toBe(1);
    void late;
  });

  test('a removed device can neither be moved nor drained nor asked for', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    await addDisk(runtime, 'vda', { driver: 'null' }, { iothread: 'io0' });
    const removed = runtime.removeDevice('vda');
    const moved = runtime.moveDevice('vda', 'io1');
    await expect(moved).rejects.toMatchObject({ code: 'ERR_UNKNOWN_DEVICE' });
    await removed;
    await expect(runtime.drainDevice('vda')).rejects.toMatchObject({ code: 'ERR_UNKNOWN_DEVICE' });
    expect(() => runtime.device('vda')).toThrow("there is no device 'vda'");
    for (const { devices } of await runtime.queryIOThreads()) expect(devices).toEqual([]);
  });
});

describe('a move that fails', () => {
  test('to an iothread that is not there: the device goes on where it was', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const guest = await addDisk(runtime, 'vda', { driver: 'memory', size: DISK_BYTES }, { iothread: 'io0' });
    await expect(runtime.moveDevice('vda', 'io7')).rejects.toMatchObject({
      code: 'ERR_UNKNOWN_IOTHREAD',
      message: "moveDevice('vda').iothread: there is no iothread 'io7'",
    });
    await guest.queue.write(3, new Uint8Array(512).fill(3));
    expect((await guest.queue.read(3))[511]).toBe(3);
  });

  test('with a disk that can be opened neither there nor where it was: the device waits for a home and a reset', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    // It can be opened as long as there is no file of this name.
    const broken = join(directory, 'broken');
    const url = join(directory, 'breaking-disk.mjs');
    writeFileSync(
      url,
      `import { existsSync } from 'node:fs';
       export default () => {
         if (existsSync(${JSON.stringify(broken)})) throw new Error('broken');
         return { size: ${DISK_BYTES}, pread: (buffer) => void buffer.fill(7) };
       };`,
    );
    const guest = await addDisk(runtime, 'vda', { driver: 'module', url }, { iothread: 'io0' });
    expect((await guest.queue.read(5))[0]).toBe(7);
    writeFileSync(broken, '');
    // Nor can it be opened again where it was: the caller hears the reason, and the driver that it has to be reset.
    await expect(runtime.moveDevice('vda', 'io1')).rejects.toMatchObject({ code: 'ERR_DRIVE_MODULE' });
    expect(guest.device.iothreads).toEqual([]);
    expect(guest.device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).not.toBe(0);
    // It can't be started while it is nowhere, and once it is somewhere it can.
    await guest.reset();
    await guest.start();
    expect(guest.device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).not.toBe(0);
    rmSync(broken);
    await runtime.moveDevice('vda', 'io1');
    await guest.reset();
    await guest.start();
    expect((await guest.queue.read(5))[0]).toBe(7);
  });
});
