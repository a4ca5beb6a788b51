// A front end drives an export: every byte is checked.
import { BLK_CONFIG_BYTES, VIRTIO_BLK_F_FLUSH } from '@iothreads/core';
import { ProtocolFeature } from '@iothreads/vhost-user/front-end';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { expectBytes, pattern } from './support/pattern.js';
import { until } from '../../../test/support/within.js';

afterEach(closeRigs);

const WRITEBACK = 32;
const CHUNK = 32768;

const variants = [
  ['as it comes', {}],
  ['memory added region by region', { memorySlots: true }],
  ['no call descriptor', { call: false }],
  ['no protocol features', { protocolFeatures: 0n }],
  ['no event indexes', { features: ~(1n << 29n) }],
  ['without VHOST_USER_F_PROTOCOL_FEATURES', { features: ~(1n << 30n) }],
  ['a small ring', { queueSize: 4 }],
] as const;

test.each(variants)('what is written is read: %s', async (_, options) => {
  const rig = await ExportRig.start();
  const { queues } = await rig.connect(options);
  const queue = queues[0]!;
  const chunks = 40;
  await Promise.all(
    Array.from({ length: chunks }, (__, i) => queue.write((i * CHUNK) / 512, pattern(CHUNK, i))),
  );
  await queue.flush();
  const read = await Promise.all(
    Array.from({ length: chunks }, (__, i) => queue.read((i * CHUNK) / 512, CHUNK)),
  );
  for (const [i, bytes] of read.entries()) expectBytes(bytes, pattern(CHUNK, i));
  expect(await queue.getId()).toBe('disk');
  expect(rig.messages('warning')).toEqual([]);
  expect(rig.messages('error')).toEqual([]);
});

test('a file holds what was written', async () => {
  const filename = join(tmpdir(), `vhost-user-${process.pid}.img`);
  writeFileSync(filename, new Uint8Array(1 << 20));
  try {
    const rig = await ExportRig.start({ driver: 'file', filename });
    const { queues } = await rig.connect();
    await queues[0]!.write(8, pattern(65536, 1));
    await queues[0]!.writeZeroes(16, 4096);
    await queues[0]!.flush();
    const expected = new Uint8Array(1 << 20);
    expected.set(pattern(65536, 1), 4096);
    expected.fill(0, 8192, 12288);
    expectBytes(readFileSync(filename), expected);
    expectBytes(await queues[0]!.read(0, 65536), expected.slice(0, 65536));
  } finally {
    rmSync(filename);
  }
});

test('the queues of one export are spread over two iothreads', async () => {
  const rig = await ExportRig.start(undefined, { iothreads: ['iothread0', 'iothread1'], numQueues: 4 });
  const { queues } = await rig.connect({ numQueues: 4 });
  await Promise.all(
    queues.flatMap((queue, i) =>
      Array.from({ length: 20 }, (_, k) => queue.write((i * 20 + k) * 8, pattern(4096, i * 20 + k))),
    ),
  );
  // Each queue reads what another has written.
  for (const [i, queue] of queues.entries()) {
    const other = (i + 1) % queues.length;
    for (let k = 0; k < 20; k++) {
      expectBytes(await queue.read((other * 20 + k) * 8, 4096), pattern(4096, other * 20 + k));
    }
  }
  const iothreads = await rig.runtime.queryIOThreads();
  expect(iothreads.map(({ devices }) => devices)).toEqual([['disk'], ['disk']]);
  for (const { loop } of iothreads) expect(loop.wakeups).toBeGreaterThan(0);
});

test('an export that is not writable refuses writes, and serves reads', async () => {
  const rig = await ExportRig.start(undefined, { writable: false });
  const { queues } = await rig.connect();
  await expect(queues[0]!.write(0, pattern(512, 1))).rejects.toMatchObject({ code: 'ERR_REQUEST_FAILED' });
  expect(await queues[0]!.read(0, 512)).toEqual(new Uint8Array(512));
  await queues[0]!.flush();
});

test('an export without num-queues has as many as a front end asks for', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ numQueues: 16, queueSize: 16, dataBytes: 4096 });
  expect(frontEnd.maxQueues).toBe(64);
  await Promise.all(frontEnd.queues.map((queue, i) => queue.write(i * 8, pattern(4096, i))));
  for (const [i, queue] of frontEnd.queues.entries()) {
    expectBytes(await queue.read(i * 8, 4096), pattern(4096, i));
  }
});

test('a front end that wants more queues leaves, and the log says what to change', async () => {
  const rig = await ExportRig.start(undefined, { numQueues: 2 });
  await expect(rig.connect({ numQueues: 3 })).rejects.toThrow('the back end has 2 queues');
  await until('a line about queues', () =>
    rig.messages('info').some((line) => line.includes('add num-queues=N to the export')),
  );
});

describe('configuration', () => {
  test('capacity, and zeroes beyond the space', async () => {
    const rig = await ExportRig.start(undefined, { logicalBlockSize: 4096 });
    const frontEnd = await rig.connect();
    expect(await frontEnd.capacitySectors()).toBe(8192);
    const config = await frontEnd.getConfig(0, 256);
    expect(new DataView(config.buffer, config.byteOffset).getUint32(20, true)).toBe(4096);
    expect(config.subarray(BLK_CONFIG_BYTES)).toEqual(new Uint8Array(256 - BLK_CONFIG_BYTES));
    expect(await frontEnd.getConfig(20, 4)).toEqual(Uint8Array.of(0, 16, 0, 0));
  });

  test('a driver switches the write cache, and finds it so when it comes back', async () => {
    const rig = await ExportRig.start();
    const first = await rig.connect();
    expect(await first.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(1));
    await first.setConfig(WRITEBACK, Uint8Array.of(0));
    expect(await first.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(0));
    await first.close();
    const second = await rig.connect();
    expect(await second.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(0));
    await second.setConfig(WRITEBACK, Uint8Array.of(1));
    expect(await second.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(1));
  });

  test('writethrough=on starts without a write cache', async () => {
    const rig = await ExportRig.start(undefined, { writeThrough: true });
    const frontEnd = await rig.connect();
    expect(await frontEnd.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(0));
  });

  test('a driver that does not flush gets no write cache', async () => {
    const rig = await ExportRig.start();
    const frontEnd = await rig.connect({ features: ~(1n << BigInt(VIRTIO_BLK_F_FLUSH)) });
    expect(await frontEnd.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(0));
    await frontEnd.close();
    const flushing = await rig.connect();
    expect(await flushing.getConfig(WRITEBACK, 1)).toEqual(Uint8Array.of(1));
  });

  test.each([
    [0, 8],
    [WRITEBACK, 2],
    [WRITEBACK - 1, 1],
    [200, 1],
  ])('nothing but writeback can be written: %i, %i bytes', async (offset, size) => {
    const rig = await ExportRig.start();
    const frontEnd = await rig.connect();
    const before = await frontEnd.getConfig();
    await expect(frontEnd.setConfig(offset, new Uint8Array(size))).rejects.toMatchObject({
      code: 'ERR_REFUSED',
    });
    expect(await frontEnd.getConfig()).toEqual(before);
    expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
  });

  test('a resize is told, and more can be read', async () => {
    const filename = join(tmpdir(), `vhost-user-resize-${process.pid}.img`);
    writeFileSync(filename, new Uint8Array(1 << 20));
    try {
      const rig = await ExportRig.start({ driver: 'file', filename });
      const frontEnd = await rig.connect();
      const queue = frontEnd.queues[0]!;
      await expect(queue.write(2048, pattern(512, 1))).rejects.toMatchObject({ code: 'ERR_REQUEST_FAILED' });
      await rig.server.resize(await rig.drive.resize(2 << 20));
      await frontEnd.configChanges!.moreThan(0);
      expect(frontEnd.configChanges!.count).toBe(1);
      expect(await frontEnd.capacitySectors()).toBe(4096);
      await queue.write(2048, pattern(512, 1));
      expect(await queue.read(2048, 512)).toEqual(pattern(512, 1));
    } finally {
      rmSync(filename);
    }
  });

  test('a resize is not told to whom did not ask to hear of it', async () => {
    const filename = join(tmpdir(), `vhost-user-quiet-${process.pid}.img`);
    writeFileSync(filename, new Uint8Array(1 << 20));
    try {
      const rig = await ExportRig.start({ driver: 'file', filename });
      const frontEnd = await rig.connect({ protocolFeatures: 1n << BigInt(ProtocolFeature.CONFIG) });
      expect(frontEnd.configChanges).toBeUndefined();
      await rig.server.resize(await rig.drive.resize(2 << 20));
      expect(await frontEnd.capacitySectors()).toBe(4096);
    } finally {
      rmSync(filename);
    }
  });
});
