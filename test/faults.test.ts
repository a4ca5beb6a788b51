// Faults of a disk (`blkdebug`) as the guest of a real device sees them, and who scripts them.
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { type DriveOptions, FaultRules } from '@iothreads/backends';
import { type DeviceOptions, IOThreadRuntime, machineConfiguration } from '@iothreads/iothread';
import { forceDispatch } from '@iothreads/iothread/testing';
import { expect, test } from 'vitest';
import { createMemory, Guest, type Outcome } from './support/guest.js';
import { blockStats, totals } from './support/statistics.js';
import { until, within } from './support/within.js';

const SECTOR = new Uint8Array(512).fill(0x5a);

async function startGuest(
  runtime: IOThreadRuntime,
  faults: FaultRules,
  more: Partial<DeviceOptions> = {},
): Promise<Guest> {
  await runtime.addIOThread({ id: 'io0' });
  const memory = createMemory();
  const image: DriveOptions = { driver: 'memory', size: 1 << 20 };
  const drive: DriveOptions = { driver: 'blkdebug', image, rules: faults };
  const place = more.iothreadVqMapping === undefined ? { iothread: 'io0' } : {};
  const device = await runtime.addDevice({ id: 'vda', drive, memory, ...place, ...more });
  return Guest.start(device, memory);
}

const statusOfWrite = async (guest: Guest, sector: number, queue = 0): Promise<number> =>
  (await guest.queues[queue]!.request(VIRTIO_BLK_T_OUT, sector, SECTOR)).status;

test.each(['sync', 'async'] as const)(
  'rules that are changed hold for the next request: %s',
  async (mode) => {
    await using runtime = new IOThreadRuntime();
    const faults = new FaultRules();
    const guest = await startGuest(runtime, faults, { werror: 'report' });
    await forceDispatch(runtime, 'vda', mode);
    const errors: unknown[] = [];
    runtime.on('driverError', (_, report) => errors.push(report));
    for (let round = 0; round < 50; round++) {
      expect(await statusOfWrite(guest, 1)).toBe(VIRTIO_BLK_S_OK);
      faults.set([{ sector: 1, iotype: 'write', errno: 'EROFS' }]);
      expect(await statusOfWrite(guest, 1)).toBe(VIRTIO_BLK_S_IOERR);
      expect(await statusOfWrite(guest, 2)).toBe(VIRTIO_BLK_S_OK);
      faults.set([]);
    }
    const { write } = await blockStats(runtime, 'vda');
    expect([write.operations, write.errors]).toEqual([150, 50]);
    await until('a report', () => errors.length > 0);
    expect(errors[0]).toMatchObject({ driver: 'blkdebug', operation: 'WRITE' });
  },
);

test('a change leaves no moment without rules', async () => {
  await using runtime = new IOThreadRuntime();
  const faults = new FaultRules([{}]);
  const guest = await startGuest(runtime, faults);
  let written = 0;
  for (let round = 0; round < 100; round++) {
    const writes = Promise.all(
      Array.from({ length: 10 }, () => guest.queue.add(VIRTIO_BLK_T_OUT, 0, SECTOR)),
    );
    guest.queue.go();
    for (let i = 0; i < 50; i++) faults.set(i % 2 === 0 ? [{}, { iotype: 'read' }] : [{ iotype: 'write' }]);
    for (const { status } of await within(writes, 'the writes'))
      written += status === VIRTIO_BLK_S_OK ? 1 : 0;
  }
  expect(written).toBe(0);
});

test('iothreads that share a disk share the counts of its rules', async () => {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'io1' });
  const faults = new FaultRules([{ count: 40 }]);
  const guest = await startGuest(runtime, faults, {
    numQueues: 2,
    iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }],
  });
  const failed = [0, 0];
  await Promise.all(
    [0, 1].map(async (queue) => {
      for (let i = 0; i < 100; i++) failed[queue]! += await statusOfWrite(guest, i, queue);
    }),
  );
  expect(failed[0]! + failed[1]!).toBe(40);
  expect(faults.query()).toEqual([{ rule: { count: 40 }, seen: 200, fired: 40 }]);
  // A move opens the disk anew: the counts stay.
  faults.set([{ count: 2 }]);
  expect(await statusOfWrite(guest, 0)).toBe(VIRTIO_BLK_S_IOERR);
  await runtime.moveDevice('vda', 'io1');
  expect([await statusOfWrite(guest, 0), await statusOfWrite(guest, 0)]).toEqual([1, 0]);
});

test('a request that hangs keeps none of the others waiting, and goes on when the rule is gone', async () => {
  await using runtime = new IOThreadRuntime();
  const faults = new FaultRules();
  const guest = await startGuest(runtime, faults);
  // What a disk could do synchronously must not be, or the thread would hang as well.
  await forceDispatch(runtime, 'vda', 'sync');
  await guest.queue.write(0, SECTOR);
  faults.set([{ sector: 7, hang: true }]);
  let done: Outcome | undefined;
  void guest.queue.add(VIRTIO_BLK_T_OUT, 7, SECTOR).then((outcome) => (done = outcome));
  guest.queue.go();
  for (let i = 0; i < 20; i++) await guest.queue.write(i % 7, SECTOR);
  expect(faults.query()[0]!.fired).toBe(1);
  expect(done).toBeUndefined();
  faults.set([]);
  await until('the write that hung', () => done !== undefined);
  expect(done!.status).toBe(VIRTIO_BLK_S_OK);
  expect(await guest.queue.read(7)).toEqual(SECTOR);
  await guest.queue.write(0, SECTOR);
  const { sync, async } = await totals(runtime, 'vda');
  expect([sync, async]).toEqual([3, 21]);
});

test('a device whose disk hangs can be removed, and what hung changes nothing any more', async () => {
  await using runtime = new IOThreadRuntime();
  const buffer = new SharedArrayBuffer(1 << 20);
  const faults = new FaultRules([{ hang: true, iotype: 'write' }]);
  const drive: DriveOptions = { driver: 'blkdebug', image: { driver: 'memory', buffer }, rules: faults };
  const guest = await startGuest(runtime, faults, { drive, drainTimeoutMs: 100 });
  void guest.queue.add(VIRTIO_BLK_T_OUT, 0, SECTOR);
  guest.queue.go();
  await until('the hang', () => faults.query()[0]!.fired === 1);
  await expect(within(runtime.drainDevice('vda'), 'the drain')).rejects.toMatchObject({
    code: 'ERR_DRAIN_TIMEOUT',
  });
  await within(runtime.removeDevice('vda'), 'the removal');
  faults.set([]);
  await runtime.removeIOThread('io0');
  expect(new Uint8Array(buffer, 0, 512).every((byte) => byte === 0)).toBe(true);
});

test('a device that pauses for want of space goes on when the rule is gone', async () => {
  await using runtime = new IOThreadRuntime();
  runtime.on('ioError', () => undefined);
  const faults = new FaultRules([{ iotype: 'write', errno: 'ENOSPC', shortSectors: 1 }]);
  const guest = await startGuest(runtime, faults);
  const data = new Uint8Array(1024).fill(0x5a);
  const outcome = guest.queue.add(VIRTIO_BLK_T_OUT, 4, data);
  guest.queue.go();
  await until('the pause', () => guest.device.ioStatus === 'nospace');
  faults.set([]);
  expect(await runtime.continueDevice('vda')).toBe(true);
  expect((await within(outcome, 'the write')).status).toBe(VIRTIO_BLK_S_OK);
  expect(await guest.queue.read(4, 1024)).toEqual(data);
});

test('with write-through the flush behind a write can fail it', async () => {
  await using runtime = new IOThreadRuntime();
  const faults = new FaultRules([{ iotype: 'flush', once: true }]);
  const guest = await startGuest(runtime, faults);
  guest.device.virtio.writeConfig(32, Uint8Array.of(0));
  for (const mode of ['sync', 'async'] as const) {
    faults.set([{ iotype: 'flush', once: true }]);
    await forceDispatch(runtime, 'vda', mode);
    expect([await statusOfWrite(guest, 0), await statusOfWrite(guest, 0)]).toEqual([1, 0]);
    expect(faults.query()[0]).toMatchObject({ seen: 2, fired: 1 });
  }
});

test('machines have them in QEMU’s words', async () => {
  await using runtime = new IOThreadRuntime();
  const memory = createMemory();
  const [device] = await runtime.configure(
    machineConfiguration(
      {
        iothreads: [{ id: 'io0' }],
        drives: [
          {
            id: 'd0',
            driver: 'blkdebug',
            image: { driver: 'raw', file: 'd1', offset: 512 },
            'inject-error': [
              { event: 'none', iotype: 'flush', errno: 30, once: true },
              { sector: 3, 'delay-ns': 1000, errno: 'EROFS', probability: 1 },
            ],
          },
          { id: 'd1', driver: 'memory', size: 1 << 20 },
        ],
        devices: [{ id: 'vda', drive: 'd0', iothread: 'io0', werror: 'report' }],
      },
      { memory },
    ),
  );
  const guest = await Guest.start(device!, memory);
  const { status } = await guest.queue.request(VIRTIO_BLK_T_FLUSH, 0, 0);
  expect([status, await statusOfWrite(guest, 3), await statusOfWrite(guest, 2)]).toEqual([1, 1, 0]);
  await guest.queue.flush();
});
