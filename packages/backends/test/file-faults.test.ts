import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { asPortable, fileVariants, image, openVariant } from './file-variants.js';
import { failingCall, shortCall, withFs, type FsCall } from './fs-faults.js';
import type { BlockDriverError } from '@iothreads/backends';
import {
  REGION_BORDER,
  TestDisk,
  driverErrors,
  expectBytes,
  hold,
  pattern,
  scattered,
  type Segment,
} from './support.js';

const MIB = 1024 ** 2;
const variant = fileVariants[0]!;

const transfers: FsCall[] = [
  'read',
  'readv',
  'write',
  'writev',
  'readSync',
  'readvSync',
  'writeSync',
  'writevSync',
];

describe.each(['sync', 'async'] as const)('%s', (mode) => {
  test('no call is given more than 1024 buffers', async () => {
    const disk = await openVariant(variant, image(new Uint8Array(1500 * 512)));
    const counts: number[] = [];
    const counting = (_: FsCall, original: (...args: unknown[]) => unknown) => {
      return (...args: unknown[]) => {
        counts.push((args[1] as unknown[]).length);
        return original(...args);
      };
    };
    await withFs(['readv', 'writev', 'readvSync', 'writevSync'], counting, async () => {
      for (const operation of [BlockOperation.READ, BlockOperation.WRITE]) {
        const request = disk.owner.transfer(operation, 0, scattered);
        expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
      }
    });
    expect(counts).toEqual([1024, 476, 1024, 476]);
    await disk.driver.close();
  });

  test('calls that move less than they were asked to are continued', async () => {
    const contents = pattern(8192);
    const filename = image(contents);
    const disk = await openVariant(variant, filename);
    const segments: Segment[] = [
      [0, 1000],
      [2000, 24],
      [REGION_BORDER - 2048, 3072],
    ];
    await withFs(transfers, shortCall(700), async () => {
      const read = disk.owner.transfer(BlockOperation.READ, 1024, segments);
      expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
      expectBytes(disk.memory.read(0, 1000), contents.subarray(1024, 2024));
      expectBytes(disk.memory.read(2000, 24), contents.subarray(2024, 2048));
      expectBytes(disk.memory.read(REGION_BORDER - 2048, 3072), contents.subarray(2048, 5120));

      writeFileSync(filename, new Uint8Array(8192));
      const write = disk.owner.transfer(BlockOperation.WRITE, 512, segments);
      expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
      const expected = new Uint8Array(8192);
      expected.set(contents.subarray(1024, 5120), 512);
      expectBytes(readFileSync(filename), expected);
    });
    await disk.driver.close();
  });

  test('system errors become an I/O error, never an exception', async () => {
    const disk = await openVariant(variant, image(pattern(4096)));
    const { owner } = disk;
    const errors = driverErrors();
    const requests = [
      owner.transfer(BlockOperation.READ, 0, [[0, 512]]),
      owner.transfer(BlockOperation.READ, 0, [
        [0, 512],
        [1024, 512],
      ]),
      owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
      owner.transfer(BlockOperation.WRITE, 0, [
        [0, 512],
        [1024, 512],
      ]),
      owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
      owner.flush(),
    ];
    await withFs([...transfers, 'fdatasync', 'fdatasyncSync'], failingCall('ENOSPC'), async () => {
      for (const request of requests) expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    });
    expect(errors.map(({ operation }) => operation)).toEqual([
      'READ',
      'READ',
      'WRITE',
      'WRITE',
      'WRITE_ZEROES',
      'FLUSH',
    ]);
    expect(errors.every(({ error }) => (error as NodeJS.ErrnoException).code === 'ENOSPC')).toBe(true);
    await disk.driver.close();
  });

  test('a write that moves nothing ends instead of being tried for ever', async () => {
    const disk = await openVariant(variant, image(pattern(4096)));
    await withFs(transfers, shortCall(0), async () => {
      const { owner } = disk;
      const requests = [
        owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
        owner.transfer(BlockOperation.WRITE, 0, [
          [0, 512],
          [1024, 512],
        ]),
        owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
      ];
      for (const request of requests) expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    });
    await disk.driver.close();
  });

  test('flush is one fdatasync', async () => {
    const disk = await openVariant(variant, image(pattern(4096)));
    const calls: FsCall[] = [];
    const counting = (name: FsCall, original: (...args: unknown[]) => unknown) => {
      return (...args: unknown[]) => {
        calls.push(name);
        return original(...args);
      };
    };
    await withFs(['fdatasync', 'fdatasyncSync'], counting, async () => {
      expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
    });
    expect(calls).toEqual([mode === 'sync' ? 'fdatasyncSync' : 'fdatasync']);
    await disk.driver.close();
  });

  test('once a flush has failed none succeeds any more: the system has forgotten what it could not write', async () => {
    const prepared = asPortable((await hold({ driver: 'file', filename: image(pattern(4096)) })).prepared);
    const disk = await TestDisk.openPrepared(prepared);
    const errors = driverErrors();
    await withFs(['fdatasync', 'fdatasyncSync'], failingCall('ENOSPC'), async () => {
      expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_IOERR);
    });
    const flush = disk.owner.flush();
    expect(await disk.run(mode, flush)).toBe(VIRTIO_BLK_S_IOERR);
    expect(flush.errorCode).toBe('EIO');
    // Nor on another iothread.
    const other = await TestDisk.openPrepared(prepared);
    expect(await other.run(mode, other.owner.flush())).toBe(VIRTIO_BLK_S_IOERR);
    expect(errors.map(({ error }) => (error as BlockDriverError).code)).toEqual(['ENOSPC', 'EIO', 'EIO']);
    for (const each of [disk, other]) await each.driver.close();
  });

  test('short writes of zeroes are continued', async () => {
    const contents = new Uint8Array(4 * MIB).fill(7);
    const filename = image(contents);
    const disk = await openVariant(variant, filename);
    const request = disk.owner.ranges(BlockOperation.WRITE_ZEROES, [512, 2 * MIB + 512], [3 * MIB, 0]);
    await withFs(transfers, shortCall(300_001), async () => {
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
    });
    expectBytes(readFileSync(filename), contents.fill(0, 512, 2 * MIB + 1024));
    await disk.driver.close();
  });

  test('with cacheNoFlush, or read-only, flush is no call at all', async () => {
    for (const options of [{ cacheNoFlush: true }, { readOnly: true }]) {
      const disk = await openVariant(variant, image(pattern(4096)), options);
      // Files of some read-only file systems can't be synchronised.
      await withFs(['fdatasync', 'fdatasyncSync'], failingCall('EINVAL'), async () => {
        expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
      });
      await disk.driver.close();
    }
  });

  test('what is interrupted is done again, but not for ever', async () => {
    const disk = await openVariant(variant, image(pattern(4096)));
    for (const [failures, status] of [
      [3, VIRTIO_BLK_S_OK],
      [Infinity, VIRTIO_BLK_S_IOERR],
    ]) {
      let left = failures!;
      const interrupted = (name: FsCall, original: (...args: unknown[]) => unknown) => {
        const failing = failingCall('EINTR')(name);
        return (...args: unknown[]) => (left-- > 0 ? failing(...args) : original(...args));
      };
      await withFs(transfers, interrupted, async () => {
        const read = disk.owner.transfer(BlockOperation.READ, 512, [[0, 512]]);
        expect(await disk.run(mode, read)).toBe(status);
      });
    }
    expectBytes(disk.memory.read(0, 512), pattern(4096).subarray(512, 1024));
    await disk.driver.close();
  });
});

test('a request that the device gave up is reported, and its next step is not taken', async () => {
  const disk = await openVariant(variant, image(pattern(4096)));
  await withFs(['read'], shortCall(512), async () => {
    const request = disk.owner.transfer(BlockOperation.READ, 0, [[0, 1024]]);
    const reported = new Promise<void>((resolve) => {
      disk.owner.completedTwice = (twice) => {
        expect(twice).toBe(request);
        resolve();
      };
    });
    disk.driver.submit([request], 1);
    request.tag++;
    await reported;
    expectBytes(disk.memory.read(512, 512), new Uint8Array(512));
    expect(disk.owner.done).toEqual([]);
  });
  await disk.driver.close();
});
