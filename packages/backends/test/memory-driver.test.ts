import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { holdDrive } from '@iothreads/backends';
import { describe, expect, test } from 'vitest';
import { REGION_BORDER, TestDisk, driverError, expectBytes, pattern } from './support.js';

describe.each(['sync', 'async'] as const)('%s', (mode) => {
  test('bytes land where they belong and nowhere else, across regions and segments', async () => {
    const buffer = new SharedArrayBuffer(16 * 512);
    const disk = await TestDisk.open({ driver: 'memory', buffer });
    const bytes = pattern(2048);
    disk.memory.write(REGION_BORDER - 700, bytes.subarray(0, 1400));
    disk.memory.write(4096, bytes.subarray(1400));
    const write = disk.owner.transfer(BlockOperation.WRITE, 1024, [
      [REGION_BORDER - 700, 1400],
      [4096, 648],
    ]);
    expect(write.data.length).toBe(3);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    const expected = new Uint8Array(16 * 512);
    expected.set(bytes, 1024);
    expectBytes(new Uint8Array(buffer), expected);

    disk.memory.write(REGION_BORDER - 1024, new Uint8Array(4096).fill(0xee));
    const read = disk.owner.transfer(BlockOperation.READ, 1024, [[REGION_BORDER - 1000, 2048]]);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    const around = new Uint8Array(4096).fill(0xee);
    around.set(bytes, 24);
    expectBytes(disk.memory.read(REGION_BORDER - 1024, 4096), around);
  });

  test('discard and write-zeroes zero their ranges alone', async () => {
    for (const operation of [BlockOperation.DISCARD, BlockOperation.WRITE_ZEROES]) {
      const buffer = new SharedArrayBuffer(16 * 512);
      new Uint8Array(buffer).fill(7);
      const disk = await TestDisk.open({ driver: 'memory', buffer });
      const request = disk.owner.ranges(operation, [512, 1024], [15 * 512, 512]);
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
      const expected = new Uint8Array(16 * 512).fill(7);
      expected.fill(0, 512, 1536).fill(0, 15 * 512);
      expectBytes(new Uint8Array(buffer), expected);
    }
  });

  test('a read-only disk keeps its bytes and still flushes', async () => {
    const buffer = new SharedArrayBuffer(1024);
    new Uint8Array(buffer).fill(7);
    const disk = await TestDisk.open({ driver: 'memory', buffer }, true);
    expect(disk.driver.geometry).toMatchObject({ readOnly: true, discard: false, writeZeroes: false });
    const { owner } = disk;
    const refused = [
      owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
      owner.ranges(BlockOperation.DISCARD, [0, 512]),
      owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
    ];
    for (const request of refused) expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    expectBytes(new Uint8Array(buffer), new Uint8Array(1024).fill(7));
    expect(await disk.run(mode, owner.flush())).toBe(VIRTIO_BLK_S_OK);
  });
});

test('what one iothread wrote is there when the disk has moved to another', async () => {
  const { prepared } = await holdDrive({ driver: 'memory', size: 4096 });
  const first = await TestDisk.openPrepared(prepared);
  first.memory.write(0, pattern(512));
  await first.run('async', first.owner.transfer(BlockOperation.WRITE, 3584, [[0, 512]]));
  await first.driver.close();
  const second = await TestDisk.openPrepared(prepared);
  await second.run('async', second.owner.transfer(BlockOperation.READ, 3584, [[512, 512]]));
  expectBytes(second.memory.read(512, 512), pattern(512));
});

test('a batch completes within submit, in order, and only the first count of it', async () => {
  const disk = await TestDisk.open({ driver: 'memory', size: 4096 });
  const requests = [0, 1, 2].map((i) => disk.owner.transfer(BlockOperation.READ, i * 512, [[0, 512]]));
  disk.driver.submit(requests, 2);
  expect(disk.owner.done.map(({ request }) => request)).toEqual(requests.slice(0, 2));
});

test('a disk larger than what can be allocated is an error that says so', async () => {
  const error = await driverError(() => holdDrive({ driver: 'memory', size: 2 ** 52 }));
  expect(error.code).toBe('ERR_DRIVE_SIZE');
  expect(error.message).toContain(`${2 ** 52} bytes`);
});
