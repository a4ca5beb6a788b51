// A cache in write-through mode: a write is complete only when a flush after it is (virtio 1.3 section 5.2.6.2).
import {
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import { IOThreadRuntime } from '@iothreads/iothread';
import { forceDispatch } from '@iothreads/iothread/testing';
import { describe, expect, test } from 'vitest';
import { CallLog } from './support/call-log.js';
import { FileCalls } from './support/file-calls.js';
import { createMemory, Guest } from './support/guest.js';
import { blockStats } from './support/statistics.js';
import { within } from './support/within.js';

/** Offset of `writeback` in the configuration space. */
const WRITEBACK = 32;
const SECTOR = new Uint8Array(512).fill(0x5a);

async function startGuest(
  runtime: IOThreadRuntime,
  drive: ReturnType<CallLog['drive']>,
  without: readonly number[] = [],
): Promise<Guest> {
  await runtime.addIOThread({ id: 'io0' });
  const memory = createMemory();
  const device = await runtime.addDevice({ id: 'vda', iothread: 'io0', drive, memory });
  const features = without.reduce((all, bit) => all & ~(1n << BigInt(bit)), device.virtio.offeredFeatures);
  return Guest.start(device, memory, { features });
}

const setWriteback = (guest: Guest, on: boolean): void => {
  guest.device.virtio.writeConfig(WRITEBACK, Uint8Array.of(on ? 1 : 0));
};

/** In this order, with nothing of another write between them that would belong there. */
const DURABLE_WRITE = ['pwrite', 'pwriteEnd', 'flush', 'flushEnd'] as const;

describe('asynchronous', () => {
  test('write-back: no flush but those asked for', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive());
    for (let i = 0; i < 5; i++) await guest.queue.write(i, SECTOR);
    expect(log.count('pwrite')).toBe(5);
    expect(log.count('flush')).toBe(0);
    await guest.queue.flush();
    expect(log.calls.slice(-2)).toEqual(['flush', 'flushEnd']);
  });

  test('switched by the driver, there and back', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive({ slow: true }));
    for (let round = 0; round < 3; round++) {
      setWriteback(guest, false);
      for (let i = 0; i < 3; i++) {
        const before = log.calls.length;
        await guest.queue.write(i, SECTOR);
        expect(log.calls.slice(before)).toEqual(DURABLE_WRITE);
      }
      setWriteback(guest, true);
      const before = log.calls.length;
      await guest.queue.write(0, SECTOR);
      expect(log.calls.slice(before)).toEqual(['pwrite', 'pwriteEnd']);
    }
    // Flushes that the runtime adds are nobody's requests.
    const { write, flush } = await blockStats(runtime, 'vda');
    expect([write.operations, flush.operations]).toEqual([12, 0]);
  });

  test.each([
    ['FLUSH', [VIRTIO_BLK_F_FLUSH]],
    ['FLUSH and CONFIG_WCE', [VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE]],
  ])('without %s every write is durable from the first on', async (_, without) => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive({ slow: true }), without);
    await guest.queue.write(0, SECTOR);
    expect(log.calls).toEqual(DURABLE_WRITE);
  });

  test('without CONFIG_WCE the driver can switch nothing', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive(), [VIRTIO_BLK_F_CONFIG_WCE]);
    setWriteback(guest, false);
    await guest.queue.write(0, SECTOR);
    expect(log.count('flush')).toBe(0);
  });

  test('many writes at once: each has a flush that begins after it ends, before it is complete', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive({ slow: true }));
    setWriteback(guest, false);
    const outcomes = Array.from({ length: 32 }, (_, i) => guest.queue.add(VIRTIO_BLK_T_OUT, i, SECTOR));
    guest.queue.go();
    for (const { status } of await within(Promise.all(outcomes), 'the writes')) expect(status).toBe(0);
    expect(log.count('pwrite')).toBe(32);
    expect(log.count('flushEnd')).toBe(32);
    // At no place have more flushes begun than writes ended.
    let ended = 0;
    for (const call of log.calls) {
      if (call === 'pwriteEnd') ended++;
      if (call === 'flush') expect(ended--).toBeGreaterThan(0);
    }
  });

  test('reads are not flushed; zeroes are, like any other write', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive());
    setWriteback(guest, false);
    await guest.queue.read(0);
    expect(log.calls).toEqual(['pread']);
    // sector 8, 8 sectors, no flags
    const range = new Uint8Array(new Uint32Array([8, 0, 8, 0]).buffer);
    const { status } = await guest.queue.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, range);
    expect(status).toBe(0);
    expect(log.calls.slice(1)).toEqual(['zero', 'flush', 'flushEnd']);
    const { writeZeroes, write, flush } = await blockStats(runtime, 'vda');
    expect([writeZeroes.operations, write.operations, flush.operations]).toEqual([1, 0, 0]);
  });

  test('a flush that fails fails the write', async () => {
    await using runtime = new IOThreadRuntime();
    const guest = await startGuest(runtime, new CallLog().drive({ failFlush: true }));
    expect((await guest.queue.request(VIRTIO_BLK_T_OUT, 0, SECTOR)).status).toBe(0);
    setWriteback(guest, false);
    expect((await guest.queue.request(VIRTIO_BLK_T_OUT, 0, SECTOR)).status).toBe(1);
    const { write, flush } = await blockStats(runtime, 'vda');
    expect([write.operations, write.errors, flush.errors]).toEqual([2, 1, 0]);
  });

  test('stays on through a move, and ends with a reset', async () => {
    await using runtime = new IOThreadRuntime();
    const log = new CallLog();
    const guest = await startGuest(runtime, log.drive());
    await runtime.addIOThread({ id: 'io1' });
    setWriteback(guest, false);
    await runtime.moveDevice('vda', 'io1');
    await guest.queue.write(0, SECTOR);
    expect(log.calls).toEqual(DURABLE_WRITE);
    await guest.reset();
    await guest.start();
    await guest.queue.write(0, SECTOR);
    expect(log.count('flush')).toBe(1);
  });
});

test('synchronous, a file: each write is flushed before it is complete', async () => {
  await using calls = new FileCalls();
  const { runtime, filename } = calls;
  const guest = await startGuest(runtime, { driver: 'file', filename });
  await forceDispatch(runtime, 'vda', 'sync');
  await guest.queue.write(0, SECTOR);
  const write = ['write', 'writeEnd'];
  const durable = [...write, 'flush disk.img', 'flushEnd'];
  expect(calls.lines).toEqual(write);
  setWriteback(guest, false);
  for (let i = 1; i <= 3; i++) {
    await guest.queue.write(i, SECTOR);
    expect(calls.lines.slice(2)).toEqual(Array.from({ length: i }, () => durable).flat());
  }
  const range = new Uint8Array(new Uint32Array([8, 0, 8, 0]).buffer);
  expect((await guest.queue.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, range)).status).toBe(0);
  expect(calls.lines.slice(-4)).toEqual(durable);
  const { write: writes, writeZeroes, flush } = await blockStats(runtime, 'vda');
  expect([writes.sync, writeZeroes.sync, flush.operations]).toEqual([4, 1, 0]);
});
