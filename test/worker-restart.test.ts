// An iothread dies, and another worker takes its place: its devices work again once their drivers have reset them.
import { VIRTIO_BLK_T_IN, VIRTIO_STATUS_DRIVER_OK, VIRTIO_STATUS_NEEDS_RESET } from '@iothreads/core';
import { type DeviceOptions, type IOThreadError, IOThreadRuntime } from '@iothreads/iothread';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fixture } from './support/fixture.js';
import { createMemory, Guest, statusBits } from './support/guest.js';
import { blockStats } from './support/statistics.js';
import { until, within } from './support/within.js';

const DISK_BYTES = 1 << 20;
const DEATHS = 4;
/** Whoever reads there kills. */
const DEADLY_SECTOR = 1000;

let runtime: IOThreadRuntime;
let directory: string;
let deviceErrors: string[];

const start = (options?: ConstructorParameters<typeof IOThreadRuntime>[0]): void => {
  runtime = new IOThreadRuntime(options);
  runtime.on('deviceError', (id, error) => deviceErrors.push(`${id}: ${error.message}`));
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'worker-restart-'));
  deviceErrors = [];
  start();
});
afterEach(async () => {
  await runtime.close();
  rmSync(directory, { recursive: true });
});

async function addGuest(id: string, options: Partial<DeviceOptions> = {}): Promise<Guest> {
  const memory = createMemory();
  const drive = { driver: 'memory', size: DISK_BYTES } as const;
  const place = options.iothreadVqMapping === undefined ? { iothread: 'io0' } : {};
  return Guest.start(await runtime.addDevice({ id, drive, memory, ...place, ...options }), memory);
}

const addMortal = (how: 'exit' | 'throw' = 'exit', options: object = {}): Promise<Guest> =>
  addGuest('mortal', {
    drive: {
      driver: 'module',
      url: fixture('dying-disk.mjs'),
      options: { size: DISK_BYTES, how, deadly: DEADLY_SECTOR * 512, ...options },
    },
  });

/** Begins a read that the iothread dies of. */
function shoot(mortal: Guest): void {
  void mortal.queue.add(VIRTIO_BLK_T_IN, DEADLY_SECTOR, 512);
  mortal.queue.go();
}

/** @returns whether it is started again, and its error */
async function kill(mortal: Guest): Promise<[restarting: boolean, error: IOThreadError]> {
  const died = once(runtime, 'iothreadDied') as Promise<[string, IOThreadError, boolean]>;
  shoot(mortal);
  const [, error, restarting] = await within(died, 'the death of the iothread');
  return [restarting, error];
}

const restarted = async (): Promise<void> => {
  await within(once(runtime, 'iothreadRestarted'), 'the restart of the iothread');
};

const report = async () => (await runtime.queryIOThreads())[0]!;
const needsReset = ({ device }: Guest): boolean => (device.virtio.status & VIRTIO_STATUS_NEEDS_RESET) !== 0;

async function writeAndRead({ queues }: Guest, value: number): Promise<void> {
  for (const [index, queue] of queues.entries()) {
    await queue.write(8 + index, new Uint8Array(512).fill(value));
    expect((await queue.read(8 + index))[511]).toBe(value);
  }
}

/** What a driver does that has seen DEVICE_NEEDS_RESET. */
async function resetAndStart(guest: Guest): Promise<void> {
  await guest.reset();
  await guest.start({ depth: 40 });
}

describe.each(['exit', 'throw'] as const)('by %s', (how) => {
  test('reset and started again its devices are served by another worker: nobody moves them', async () => {
    await runtime.addIOThread({ id: 'io0', pollMaxNs: 7000 });
    const mortal = await addMortal(how);
    const image = join(directory, 'image');
    writeFileSync(image, new Uint8Array(DISK_BYTES));
    const guests = [
      await addGuest('memory'),
      await addGuest('file', { drive: { driver: 'file', filename: image } }),
    ];
    for (const guest of guests) await writeAndRead(guest, 1);
    const before = await report();
    const again = restarted();

    expect((await kill(mortal))[0]).toBe(true);
    for (const { device } of guests) {
      await statusBits(device, VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK, 0);
    }
    await again;
    const after = await report();
    expect(after).toMatchObject({
      alive: true,
      restarting: false,
      restarts: 1,
      pollMaxNs: 7000,
      syncAllowed: false,
    });
    expect(after.devices.toSorted()).toEqual(['file', 'memory', 'mortal']);
    expect(after.threadId).not.toBe(before.threadId);
    for (const guest of [mortal, ...guests]) {
      expect(needsReset(guest)).toBe(true);
      await resetAndStart(guest);
      expect(needsReset(guest)).toBe(false);
    }
    for (const guest of guests) {
      // What was written before is still there: it is the same drive.
      expect((await guest.queue.read(8))[0]).toBe(1);
      await writeAndRead(guest, 2);
    }
    await mortal.queue.readOneByOne(5);
    expect(deviceErrors).toEqual([]);
  });
});

test('a driver that does not wait for the restart is served after it', async () => {
  await runtime.addIOThread({ id: 'io0' });
  const mortal = await addMortal();
  const neighbour = await addGuest('vda');
  await kill(mortal);
  expect((await report()).restarting).toBe(true);
  await resetAndStart(neighbour);
  await writeAndRead(neighbour, 3);
  expect((await report()).restarts).toBe(1);
  expect(deviceErrors).toEqual([]);
});

test('what is asked of a device before its driver resets it serves nothing from where its rings once were', async () => {
  await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
  const mortal = await addMortal();
  const neighbour = await addGuest('vda');
  await neighbour.queue.readOneByOne(10);
  const again = restarted();
  await kill(mortal);
  await again;
  const { completions } = neighbour.queue;
  void neighbour.queue.add(VIRTIO_BLK_T_IN, 0, 512);
  neighbour.queue.go();
  await runtime.drainDevice('vda');
  await runtime.moveDevice('vda', 'io1');
  await runtime.moveDevice('vda', 'io0');
  await neighbour.device.quiesce();
  await neighbour.device.resume();
  // The iothread has had its turns.
  await resetAndStart(mortal);
  await mortal.queue.readOneByOne(20);
  expect(neighbour.queue.driver.queue.hasUsed()).toBe(false);
  expect(neighbour.queue.completions).toBe(completions);
  await resetAndStart(neighbour);
  await writeAndRead(neighbour, 4);
});

test('a device with queues on a live iothread as well is whole again', async () => {
  await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
  const mortal = await addMortal();
  const spread = await addGuest('vda', {
    iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }],
    numQueues: 2,
  });
  await writeAndRead(spread, 1);
  const again = restarted();
  await kill(mortal);
  await resetAndStart(spread);
  await again;
  await writeAndRead(spread, 2);
  const reports = await runtime.queryIOThreads();
  expect(reports.map(({ devices }) => devices.toSorted())).toEqual([['mortal', 'vda'], ['vda']]);
  const [stats] = (await runtime.queryBlockStats()).filter(({ id }) => id === 'vda');
  expect(stats!.write.operations).toBe(4);
});

test('never synchronously beside others: not before the death, nor after it', async () => {
  await runtime.addIOThread({ id: 'io0' });
  const mortal = await addMortal();
  const guests = [await addGuest('vda'), await addGuest('vdb')];
  const again = restarted();
  await kill(mortal);
  // One begins while the other's drive may not be open yet.
  await Promise.all(
    guests.map(async (guest) => {
      await resetAndStart(guest);
      await guest.queue.readOneByOne(200);
    }),
  );
  await again;
  for (const id of ['vda', 'vdb']) {
    const { read } = await blockStats(runtime, id);
    expect([id, read.sync, read.async]).toEqual([id, 0, 200]);
  }
});

test('deaths in a row, each after a while of service, leave nothing behind', async () => {
  await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
  const image = join(directory, 'image');
  writeFileSync(image, new Uint8Array(DISK_BYTES));
  const mortal = await addMortal();
  const neighbour = await addGuest('vda', { drive: { driver: 'file', filename: image } });
  const openFds = (): number => readdirSync('/proc/self/fd').length;
  let fds = 0;
  for (let death = 1; death <= DEATHS; death++) {
    await writeAndRead(neighbour, death);
    // Some are in the ring of the kernel when the thread ends.
    for (let i = 0; i < 32; i++) void neighbour.queue.add(VIRTIO_BLK_T_IN, i * 8, 4096);
    neighbour.queue.go();
    const again = restarted();
    await kill(mortal);
    await again;
    for (const guest of [mortal, neighbour]) await resetAndStart(guest);
    await writeAndRead(neighbour, death);
    if (death === 1) fds = openFds();
  }
  await until(
    'nothing more than after the first',
    () => openFds() <= fds,
    () => `${openFds()} instead of ${fds}`,
  );
  expect(await report()).toMatchObject({ alive: true, restarts: DEATHS });
  // It has its slot for doorbells still: there is room for as many iothreads as before.
  await runtime.configure({ iothreads: Array.from({ length: 3 }, (_, i) => ({ id: `more${i}` })) });
  await runtime.moveDevice('vda', 'more2');
  await writeAndRead(neighbour, 11);
});

describe('a disk that always dies', () => {
  test('at its first request: in the end its iothread stays dead, and says so', async () => {
    await runtime.close();
    start({ restart: { times: 2, withinMs: 1e9 } });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addMortal();
    const neighbour = await addGuest('vda');
    for (let death = 0; death < 2; death++) {
      expect((await kill(mortal))[0]).toBe(true);
      await resetAndStart(mortal);
    }
    const [restarting, error] = await kill(mortal);
    expect(restarting).toBe(false);
    expect(error.message).toMatch(
      /^iothread 'io0' died: .*code: 3; it has died 3 times within 1000000 s, and is not started again$/,
    );
    expect(await report()).toMatchObject({ alive: false, restarting: false, restarts: 2 });
    await resetAndStart(neighbour);
    await until('NEEDS_RESET', () => needsReset(neighbour));
    expect(deviceErrors).toEqual([`vda: ${error.message}`]);
    await runtime.moveDevice('vda', 'io1');
    await resetAndStart(neighbour);
    await writeAndRead(neighbour, 5);
  });

  test('when it is opened: the same, and whoever waited for it hears of it', async () => {
    await runtime.close();
    start({ restart: { times: 3, withinMs: 1e9 } });
    await runtime.addIOThread({ id: 'io0' });
    const opens = new SharedArrayBuffer(4);
    const mortal = await addMortal('exit', { opens });
    new Int32Array(opens)[0] = 1000;
    const deaths: boolean[] = [];
    runtime.on('iothreadDied', (_id, _error, restarting) => deaths.push(restarting));
    shoot(mortal);
    await until('the last death', () => deaths.includes(false));
    expect(deaths).toEqual([true, true, true, false]);
    await resetAndStart(mortal);
    await until('NEEDS_RESET', () => needsReset(mortal));
    await expect(addGuest('vdb')).rejects.toMatchObject({ code: 'ERR_IOTHREAD_DIED' });
  });

  test('... and after a few times it works', async () => {
    await runtime.addIOThread({ id: 'io0' });
    const opens = new SharedArrayBuffer(4);
    const mortal = await addMortal('exit', { opens });
    new Int32Array(opens)[0] = 2;
    await kill(mortal);
    await until('three restarts', async () => (await report()).restarts === 3 && (await report()).alive);
    await resetAndStart(mortal);
    await mortal.queue.readOneByOne(5);
  });
});

describe('whatever is asked of its devices when it dies ends, and they work after a reset', () => {
  const operations: Record<string, (guest: Guest) => Promise<unknown>> = {
    move: () => runtime.moveDevice('vda', 'io1'),
    'move to it': async () => {
      await runtime.moveDevice('vda', 'io1');
      await runtime.moveDevice('vda', 'io0');
    },
    spread: () => runtime.moveDevice('vda', [{ iothread: 'io0' }, { iothread: 'io1' }]),
    drain: () => runtime.drainDevice('vda'),
    quiesce: async ({ device }) => {
      await device.quiesce();
      await device.resume();
    },
    reset: (guest) => resetAndStart(guest),
    resize: ({ device }) => device.resize(DISK_BYTES),
    attach: () => addGuest('another'),
    query: () => runtime.queryIOThreads(),
  };

  test.each(Object.keys(operations))('%s', async (name) => {
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addMortal();
    const guest = await addGuest('vda', { numQueues: 2 });
    for (let round = 0; round < 2; round++) {
      const died = once(runtime, 'iothreadDied');
      const again = restarted();
      shoot(mortal);
      // A little later each time.
      for (let i = 0; i < round * 60; i++) await new Promise(setImmediate);
      const operation = operations[name]!(guest).catch((error: unknown) => error);
      await within(died, 'the death of the iothread');
      await within(operation, `the end of ${name}`);
      await within(again, 'the restart');
      await resetAndStart(mortal);
      await resetAndStart(guest);
      await writeAndRead(guest, round + 1);
      expect(needsReset(guest)).toBe(false);
      await runtime.moveDevice('vda', 'io0');
      const another = runtime.queryBlockStats().then((all) => all.some(({ id }) => id === 'another'));
      if (await another) await runtime.removeDevice('another');
    }
  });

  test('remove, of the device, of the iothread, of everything', async () => {
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addMortal();
    await addGuest('vda');
    await kill(mortal);
    await runtime.removeDevice('vda');
    await runtime.removeDevice('mortal');
    await runtime.removeIOThread('io0');
    expect((await runtime.queryIOThreads()).map(({ id }) => id)).toEqual(['io1']);
    await runtime.addIOThread({ id: 'io0' });
    const next = await addMortal();
    await next.queue.readOneByOne(5);
    shoot(next);
    await within(runtime.close(), 'the end of the runtime');
  });
});

test('as long as a system call of the dead worker is under way nobody takes its place, and no reset is complete', async () => {
  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  await runtime.addIOThread({ id: 'io0' });
  const mortal = await addMortal('throw', { fifo });
  const neighbour = await addGuest('vda', { drainTimeoutMs: 20 });
  const again = restarted();
  await kill(mortal);
  neighbour.device.virtio.writeStatus(0);
  await until('told of', () => deviceErrors.length >= 3);
  expect(deviceErrors[0]).toBe(
    "vda: device 'vda': iothread 'io0' has died, and what its worker had under way may not have ended after 20 ms",
  );
  expect(neighbour.device.virtio.status).not.toBe(0);
  // Others can be started meanwhile.
  for (const id of ['io1', 'io2', 'io3']) await runtime.addIOThread({ id });
  expect(await report()).toMatchObject({ alive: false, restarting: true, restarts: 0 });
  writeFileSync(fifo, 'x');
  await again;
  await resetAndStart(neighbour);
  await writeAndRead(neighbour, 6);
});
