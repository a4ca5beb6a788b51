import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fileCases, fileVariants, image, openVariant } from './file-variants.js';
import { REGION_BORDER, driverErrors, expectBytes, pattern, scattered, type Segment } from './support.js';

const MIB = 1024 ** 2;

describe.each(fileCases)('$title', ({ variant, mode }) => {
  test('one segment: bytes land where they belong and nowhere else', async () => {
    const filename = image(new Uint8Array(8192).fill(9));
    const disk = await openVariant(variant, filename);
    const bytes = pattern(1024);
    disk.memory.write(4096, bytes);
    const write = disk.owner.transfer(BlockOperation.WRITE, 2048, [[4096, 1024]]);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    const expected = new Uint8Array(8192).fill(9);
    expected.set(bytes, 2048);
    expectBytes(readFileSync(filename), expected);

    const read = disk.owner.transfer(BlockOperation.READ, 1536, [[512, 1024]]);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    const memory = new Uint8Array(2048);
    memory.set(expected.subarray(1536, 2560), 512);
    expectBytes(disk.memory.read(0, 2048), memory);
    await disk.driver.close();
  });

  test('a buffer that crosses two regions is written and read whole', async () => {
    const filename = image(new Uint8Array(8192));
    const disk = await openVariant(variant, filename);
    disk.memory.write(REGION_BORDER - 300, pattern(1024));
    const write = disk.owner.transfer(BlockOperation.WRITE, 512, [[REGION_BORDER - 300, 1024]]);
    expect(write.data.length).toBe(2);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename).subarray(512, 1536), pattern(1024));
    const read = disk.owner.transfer(BlockOperation.READ, 512, [[REGION_BORDER - 512, 1024]]);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(disk.memory.read(REGION_BORDER - 512, 1024), pattern(1024));
    await disk.driver.close();
  });

  test('more segments than one readv or writev takes', async () => {
    const contents = pattern(1500 * 512);
    const filename = image(contents);
    const disk = await openVariant(variant, filename);
    const read = disk.owner.transfer(BlockOperation.READ, 0, scattered);
    expect(read.data.length).toBe(1500);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    for (const [i, [address, length]] of scattered.entries()) {
      expectBytes(disk.memory.read(address, length), contents.subarray(i * 512, i * 512 + 512));
      expectBytes(disk.memory.read(address - 512, 512), new Uint8Array(512));
    }
    writeFileSync(filename, new Uint8Array(1500 * 512));
    const write = disk.owner.transfer(BlockOperation.WRITE, 0, scattered);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename), contents);
    await disk.driver.close();
  });

  test('a file that was shortened gives an I/O error, and the reason on the error channel', async () => {
    const filename = image(pattern(4096));
    const disk = await openVariant(variant, filename);
    const errors = driverErrors();
    truncateSync(filename, 1024);
    const segments: Segment[][] = [
      [[0, 1024]],
      [
        [0, 512],
        [1024, 512],
      ],
    ];
    for (const two of segments) {
      const request = disk.owner.transfer(BlockOperation.READ, 512, two);
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    }
    expect(errors).toHaveLength(2);
    expect(errors[0]).toMatchObject({
      driver: 'file',
      operation: 'READ',
      error: { code: 'ERR_DRIVE_SIZE', message: `${filename}: has been shortened: no byte at 1024 any more` },
    });
    const inside = disk.owner.transfer(BlockOperation.READ, 512, [[0, 512]]);
    expect(await disk.run(mode, inside)).toBe(VIRTIO_BLK_S_OK);
    await disk.driver.close();
  });

  test('a megabyte and more, from memory that is aligned to nothing', async () => {
    const contents = pattern(3 * MIB);
    const filename = image(contents);
    const disk = await openVariant(variant, filename);
    const segments: Segment[] = [
      [REGION_BORDER - 2 * MIB + 3, 2 * MIB + 5],
      [1001, MIB / 2 - 5],
    ];
    const read = disk.owner.transfer(BlockOperation.READ, MIB / 4, segments);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    const first = contents.subarray(MIB / 4, MIB / 4 + 2 * MIB + 5);
    expectBytes(disk.memory.read(REGION_BORDER - 2 * MIB + 3, 2 * MIB + 5), first);
    const second = contents.subarray(MIB / 4 + 2 * MIB + 5, MIB / 4 + 2.5 * MIB);
    expectBytes(disk.memory.read(1001, MIB / 2 - 5), second);

    const write = disk.owner.transfer(BlockOperation.WRITE, MIB / 2, segments);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    const expected = contents.slice();
    expected.set(contents.subarray(MIB / 4, 2.75 * MIB), MIB / 2);
    expectBytes(readFileSync(filename), expected);
    await disk.driver.close();
  });

  test('write-zeroes zeroes its ranges alone, beyond one chunk, whether it may unmap or not', async () => {
    for (const discard of ['ignore', 'unmap'] as const) {
      const contents = new Uint8Array(4 * MIB).fill(7);
      const filename = image(contents);
      const disk = await openVariant(variant, filename, { discard });
      const request = disk.owner.ranges(
        BlockOperation.WRITE_ZEROES,
        [512, 2 * MIB + 512],
        [3 * MIB, 0],
        [3 * MIB + 1024, 8192, true],
        [4 * MIB - 512, 512],
      );
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
      contents
        .fill(0, 512, 2 * MIB + 1024)
        .fill(0, 3 * MIB + 1024, 3 * MIB + 9216)
        .fill(0, 4 * MIB - 512);
      expectBytes(readFileSync(filename), contents);
      await disk.driver.close();
    }
  });

  test('discard is offered, and by default a hint: it succeeds and the bytes stay', async () => {
    const filename = image(pattern(4096));
    const disk = await openVariant(variant, filename);
    expect(disk.driver.geometry).toMatchObject({ discard: true, writeZeroes: true });
    const request = disk.owner.ranges(BlockOperation.DISCARD, [0, 4096]);
    expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename), pattern(4096));
    await disk.driver.close();
  });

  test('flush succeeds, with cacheNoFlush as well', async () => {
    for (const cacheNoFlush of [false, true]) {
      const disk = await openVariant(variant, image(pattern(4096)), { cacheNoFlush });
      expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
      await disk.driver.close();
    }
  });

  test('a read-only disk keeps its bytes and still flushes', async () => {
    const filename = image(pattern(4096));
    const disk = await openVariant(variant, filename, { readOnly: true });
    expect(disk.driver.geometry).toMatchObject({ readOnly: true, discard: false, writeZeroes: false });
    const { owner } = disk;
    const refused = [
      owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
      owner.ranges(BlockOperation.DISCARD, [0, 512]),
      owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
    ];
    for (const request of refused) expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    expect(await disk.run(mode, owner.flush())).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename), pattern(4096));
    await disk.driver.close();
  });
});

describe.each(fileVariants)('$name', (variant) => {
  test('many requests at once, each its own bytes, again and again over the same transfers', async () => {
    const contents = pattern(3000 * 512);
    const disk = await openVariant(variant, image(contents));
    for (let round = 0; round < 3; round++) {
      const requests = Array.from({ length: 3000 }, (_, i) =>
        disk.owner.transfer(BlockOperation.READ, (2999 - i) * 512, [[i * 512, 512]]),
      );
      await disk.runBatch(requests);
      const read = disk.memory.read(0, 3000 * 512);
      for (let i = 0; i < 3000; i++) {
        const at = (2999 - i) * 512;
        expectBytes(read.subarray(i * 512, i * 512 + 512), contents.subarray(at, at + 512));
      }
      disk.memory.write(0, new Uint8Array(3000 * 512));
    }
    expect(disk.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
    expect(disk.owner.twice).toEqual([]);
    await disk.driver.close();
  });
});
