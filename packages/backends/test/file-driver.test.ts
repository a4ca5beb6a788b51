import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { failingCall, shortCall, withFs, type FsCall } from './fs-faults.js';
import {
  REGION_BORDER,
  TestDisk,
  driverErrors,
  expectBytes,
  pattern,
  temporaryDirectory,
  type Segment,
} from './support.js';

const MIB = 1024 ** 2;

/** An image of `contents` in a file of its own. */
function image(contents: Uint8Array): string {
  const filename = join(temporaryDirectory(), 'disk.img');
  writeFileSync(filename, contents);
  return filename;
}

/** 1500 buffers of one sector with gaps between them, on both sides of the border between two regions. */
const scattered: readonly Segment[] = Array.from({ length: 1500 }, (_, i): Segment => [
  REGION_BORDER - 700 * 1024 + i * 1024 + 512,
  512,
]);

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
  test('one segment: bytes land where they belong and nowhere else', async () => {
    const filename = image(new Uint8Array(8192).fill(9));
    const disk = await TestDisk.open({ driver: 'file', filename });
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
    const disk = await TestDisk.open({ driver: 'file', filename });
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
    const disk = await TestDisk.open({ driver: 'file', filename });
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

  test('no call is given more than 1024 buffers', async () => {
    const disk = await TestDisk.open({ driver: 'file', filename: image(new Uint8Array(1500 * 512)) });
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
    const disk = await TestDisk.open({ driver: 'file', filename });
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

  test('write-zeroes zeroes its ranges alone, beyond one chunk', async () => {
    const contents = new Uint8Array(4 * MIB).fill(7);
    const filename = image(contents);
    const disk = await TestDisk.open({ driver: 'file', filename });
    const zero = () =>
      disk.owner.ranges(
        BlockOperation.WRITE_ZEROES,
        [512, 2 * MIB + 512],
        [3 * MIB, 0],
        [4 * MIB - 512, 512],
      );
    expect(await disk.run(mode, zero())).toBe(VIRTIO_BLK_S_OK);
    contents.fill(0, 512, 2 * MIB + 1024).fill(0, 4 * MIB - 512);
    expectBytes(readFileSync(filename), contents);

    writeFileSync(filename, new Uint8Array(4 * MIB).fill(7));
    await withFs(transfers, shortCall(300_001), async () => {
      expect(await disk.run(mode, zero())).toBe(VIRTIO_BLK_S_OK);
    });
    expectBytes(readFileSync(filename), contents);
    await disk.driver.close();
  });

  test('discard is a hint: it succeeds and the bytes stay', async () => {
    const filename = image(pattern(4096));
    const disk = await TestDisk.open({ driver: 'file', filename });
    expect(disk.driver.geometry).toMatchObject({ discard: true, writeZeroes: true });
    const request = disk.owner.ranges(BlockOperation.DISCARD, [0, 4096]);
    expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename), pattern(4096));
    await disk.driver.close();
  });

  test('a file that was shortened gives an I/O error, and the reason on the error channel', async () => {
    const filename = image(pattern(4096));
    const disk = await TestDisk.open({ driver: 'file', filename });
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

  test('system errors become an I/O error, never an exception', async () => {
    const disk = await TestDisk.open({ driver: 'file', filename: image(pattern(4096)) });
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
    const disk = await TestDisk.open({ driver: 'file', filename: image(pattern(4096)) });
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
    const disk = await TestDisk.open({ driver: 'file', filename: image(pattern(4096)) });
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

  test('a read-only disk keeps its bytes and still flushes', async () => {
    const filename = image(pattern(4096));
    const disk = await TestDisk.open({ driver: 'file', filename }, true);
    expect(disk.driver.geometry).toMatchObject({ readOnly: true, discard: false, writeZeroes: false });
    const { owner } = disk;
    const refused = [
      owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
      owner.ranges(BlockOperation.DISCARD, [0, 512]),
      owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
    ];
    for (const request of refused) expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    // Files of some read-only file systems can't be synchronised.
    await withFs(['fdatasync', 'fdatasyncSync'], failingCall('EINVAL'), async () => {
      expect(await disk.run(mode, owner.flush())).toBe(VIRTIO_BLK_S_OK);
    });
    expectBytes(readFileSync(filename), pattern(4096));
    await disk.driver.close();
  });
});

test('many requests at once, each its own bytes, again and again over the same transfers', async () => {
  const contents = pattern(256 * 512);
  const disk = await TestDisk.open({ driver: 'file', filename: image(contents) });
  for (let round = 0; round < 3; round++) {
    const requests = Array.from({ length: 256 }, (_, i) =>
      disk.owner.transfer(BlockOperation.READ, (255 - i) * 512, [[i * 512, 512]]),
    );
    disk.driver.submit(requests, 256);
    await disk.owner.completions(256 * (round + 1));
    for (let i = 0; i < 256; i++) {
      const at = (255 - i) * 512;
      expectBytes(disk.memory.read(i * 512, 512), contents.subarray(at, at + 512));
    }
    disk.memory.write(0, new Uint8Array(256 * 512));
  }
  expect(disk.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
  expect(disk.owner.twice).toEqual([]);
  await disk.driver.close();
});

test('a request that the device gave up is reported, and its next step is not taken', async () => {
  const disk = await TestDisk.open({ driver: 'file', filename: image(pattern(4096)) });
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
