import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, type BlockRequest } from '@iothreads/core';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fileCases, fileVariants, image, openFiles, openVariant, type FileVariant } from './file-variants.js';
import { until } from '../../../test/support/within.js';
import { TestDisk, driverErrors, expectBytes, hold, onTestEnd, pattern, type Segment } from './support.js';

const MIB = 1024 ** 2;
const isLinux = process.platform === 'linux';
const linuxCases = fileCases.filter(({ variant }) => variant.portable !== true);
const variantNamed = (name: string): FileVariant => fileVariants.find((variant) => variant.name === name)!;

const blocks = (filename: string): number => statSync(filename).blocks;

describe.runIf(isLinux).each(linuxCases)('$title', ({ variant, mode }) => {
  test('with discard=unmap what is discarded is given back, and reads as zeroes', async () => {
    const filename = image(pattern(4 * MIB));
    const before = blocks(filename);
    const disk = await openVariant(variant, filename, { discard: 'unmap' });
    const request = disk.owner.ranges(BlockOperation.DISCARD, [MIB, MIB], [3 * MIB, 8192]);
    expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
    expect(before - blocks(filename)).toBe((MIB + 8192) / 512);
    const expected = pattern(4 * MIB)
      .fill(0, MIB, 2 * MIB)
      .fill(0, 3 * MIB, 3 * MIB + 8192);
    expectBytes(readFileSync(filename), expected);
    await disk.driver.close();
  });

  test('zeroes keep their space, unless the request and the drive allow to give it back', async () => {
    for (const [discard, unmap, freed] of [
      ['unmap', true, MIB / 512],
      ['unmap', false, 0],
      ['ignore', true, 0],
    ] as const) {
      const filename = image(pattern(4 * MIB));
      const before = blocks(filename);
      const disk = await openVariant(variant, filename, { discard });
      const request = disk.owner.ranges(BlockOperation.WRITE_ZEROES, [MIB, MIB, unmap]);
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
      expect(before - blocks(filename)).toBe(freed);
      expectBytes(readFileSync(filename), pattern(4 * MIB).fill(0, MIB, 2 * MIB));
      await disk.driver.close();
    }
  });

  test('where the file system can not zero a range, zeroes are written, and the next time at once', async () => {
    // tmpfs makes holes and nothing else.
    const directory = mkdtempSync('/dev/shm/iothreads-backends-');
    onTestEnd(() => {
      rmSync(directory, { recursive: true });
    });
    const filename = join(directory, 'disk.img');
    writeFileSync(filename, pattern(2 * MIB));
    const disk = await openVariant(variant, filename, { discard: 'unmap' });
    const { owner } = disk;
    const errors = driverErrors();
    for (const at of [512, MIB]) {
      const zero = owner.ranges(BlockOperation.WRITE_ZEROES, [at, 1536], [at + 8192, 4096, true]);
      expect(await disk.run(mode, zero)).toBe(VIRTIO_BLK_S_OK);
    }
    const expected = pattern(2 * MIB);
    for (const at of [512, MIB]) expected.fill(0, at, at + 1536).fill(0, at + 8192, at + 12288);
    expectBytes(readFileSync(filename), expected);
    expect(errors).toEqual([]);
    await disk.driver.close();
  });

  test('what the kernel refuses becomes an I/O error, with its name on the error channel', async () => {
    const filename = image(pattern(4096));
    const { prepared } = await hold({ driver: 'file', filename, ...variant.options, discard: 'unmap' });
    const open = async (flags: number): Promise<TestDisk> => {
      const direct = variant.options.cacheDirect === true ? constants.O_DIRECT : 0;
      const fd = openSync(filename, flags | direct);
      onTestEnd(() => {
        closeSync(fd);
      });
      return TestDisk.openPrepared({ ...prepared, state: { ...(prepared.state as object), fd } });
    };
    const errors = driverErrors();
    const two: Segment[] = [
      [0, 512],
      [1024, 512],
    ];
    const disk = await open(constants.O_RDONLY);
    for (const request of [
      disk.owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
      disk.owner.transfer(BlockOperation.WRITE, 0, two),
      disk.owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
      disk.owner.ranges(BlockOperation.DISCARD, [0, 512]),
    ]) {
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    }
    await disk.driver.close();
    const unreadable = await open(constants.O_WRONLY);
    for (const segments of [[[0, 512]] as Segment[], two]) {
      const request = unreadable.owner.transfer(BlockOperation.READ, 0, segments);
      expect(await unreadable.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    }
    await unreadable.driver.close();
    expect(errors.map(({ operation }) => operation)).toEqual([
      'WRITE',
      'WRITE',
      'WRITE_ZEROES',
      'DISCARD',
      'READ',
      'READ',
    ]);
    expect(errors.every(({ error }) => (error as NodeJS.ErrnoException).code === 'EBADF')).toBe(true);
    expectBytes(readFileSync(filename), pattern(4096));
  });
});

const directVariants = fileVariants.filter(({ options }) => options.cacheDirect === true);

test.runIf(isLinux).each(directVariants)(
  '$name: more that can not be used directly than there is memory to go through instead',
  async (variant) => {
    const contents = pattern(4 * MIB);
    const disk = await openVariant(variant, image(contents));
    // 100 times a megabyte, at addresses that are no multiple of anything.
    const requests = Array.from({ length: 100 }, (_, i) =>
      disk.owner.transfer(BlockOperation.READ, (i % 4) * MIB, [[(i % 4) * MIB + 1, MIB]]),
    );
    await disk.runBatch(requests);
    expect(disk.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
    expectBytes(disk.memory.read(1, 4 * MIB), contents);
    await disk.driver.close();
  },
);

const allRings = (): number => openFiles().filter((name) => name.includes('io_uring')).length;
/** Those that Node.js may have for itself. */
const notOurs = isLinux ? allRings() : 0;
const openRings = (): number => allRings() - notOurs;

describe.runIf(isLinux)('the ring of a thread', () => {
  const direct = variantNamed('io_uring, direct');

  const reads = (disk: TestDisk, count: number): BlockRequest[] =>
    Array.from({ length: count }, (_, i) =>
      disk.owner.transfer(BlockOperation.READ, i * 4096, [[i * 4096, 4096]]),
    );

  test('is one for all files: whoever asks collects for all', async () => {
    const first = await openVariant(direct, image(pattern(MIB, 1)));
    const second = await openVariant(direct, image(pattern(MIB, 2)));
    expect(openRings()).toBe(1);
    first.driver.submit(reads(first, 16), 16);
    second.driver.submit(reads(second, 16), 16);
    let polled = 0;
    // Only one of the two is ever asked, and says how many of its own there were.
    while (first.owner.done.length + second.owner.done.length < 32) polled += first.driver.poll!(0);
    expect(first.owner.done).toHaveLength(16);
    expect(second.owner.done).toHaveLength(16);
    expect(polled).toBeLessThanOrEqual(16);
    expect(first.driver.hasReady!()).toBe(false);
    expect(first.driver.poll!(0)).toBe(0);
    expectBytes(first.memory.read(0, 65536), pattern(MIB, 1).subarray(0, 65536));
    expectBytes(second.memory.read(0, 65536), pattern(MIB, 2).subarray(0, 65536));
    await first.driver.close();
    await second.driver.close();
    expect(openRings()).toBe(0);
  });

  test('takes more requests of several disks than it has room for: the others wait, and all are done', async () => {
    const disks = await Promise.all(
      [1, 2, 3].map(async () => {
        const filename = image(new Uint8Array(1500 * 4096).fill(7));
        return { filename, disk: await openVariant(variantNamed('io_uring'), filename) };
      }),
    );
    // Given all at once: 4500 are under way or wait. The kernel takes its time for these.
    const batches = disks.map(({ disk }) =>
      disk.runBatch(
        Array.from({ length: 1500 }, (_, i) =>
          disk.owner.ranges(BlockOperation.WRITE_ZEROES, [i * 4096, 2048]),
        ),
      ),
    );
    await Promise.all(batches);
    for (const { disk, filename } of disks) {
      expect(disk.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
      const bytes = readFileSync(filename);
      for (let at = 0; at < bytes.length; at += 2048) expect(bytes[at]).toBe(at % 4096 === 0 ? 0 : 7);
      await disk.driver.close();
    }
  });

  test('a loop that is armed is told of completions; one that is not, is not', async () => {
    const disk = await openVariant(direct, image(pattern(MIB)));
    await disk.runBatch(reads(disk, 8));
    disk.driver.poll!(0);
    disk.attended = 0;
    disk.driver.submit(reads(disk, 8), 8);
    while (disk.owner.done.length < 16) disk.driver.poll!(0);
    expect(disk.attended).toBe(0);
    // An fdatasync never completes on the spot.
    const flush = disk.owner.flush();
    disk.driver.submit([flush], 1);
    if (disk.driver.arm!()) disk.driver.poll!(0);
    await disk.owner.completions(17);
    await disk.driver.close();
  });

  test('completions may submit, while others wait to be collected', async () => {
    const disk = await openVariant(variantNamed('io_uring'), image(pattern(MIB)));
    const { owner, driver } = disk;
    const first = reads(disk, 64);
    const flushes = first.map(() => owner.flush());
    const done: BlockRequest[] = [];
    const allDone = new Promise<void>((resolve) => {
      owner.requestDone = (request) => {
        done.push(request);
        const index = first.indexOf(request);
        if (index !== -1) driver.submit([flushes[index]!], 1);
        if (done.length === 128) resolve();
      };
    });
    // In the page cache: most of them complete together.
    driver.submit(first, 64);
    disk.listen();
    await allDone;
    expect(new Set(done)).toEqual(new Set([...first, ...flushes]));
    expect(owner.twice).toEqual([]);
    await driver.close();
  });

  test('requests that their device gave up are reported once, and hold nobody up', async () => {
    const disk = await openVariant(direct, image(pattern(16 * MIB)));
    const other = await openVariant(direct, image(pattern(MIB)));
    const { owner } = disk;
    // Misaligned and large: most of them wait for memory, and are never begun.
    const requests = Array.from({ length: 40 }, (_, i) =>
      disk.owner.transfer(BlockOperation.READ, (i % 16) * MIB, [[1 + (i % 4) * MIB, MIB]]),
    );
    disk.driver.submit(requests, 40);
    const doneBefore = owner.done.length;
    for (const request of requests) request.tag++;
    await disk.driver.close();
    await other.runBatch(reads(other, 16));
    // Those that a quick disk has completed by then are not given up.
    await until('the last report', () => owner.twice.length === 40 - doneBefore);
    expect(owner.done).toHaveLength(doneBefore);
    expect(other.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
    await other.driver.close();
    expect(openRings()).toBe(0);
  });

  test('keeps no lock for requests that nobody waits for any more', async () => {
    const filename = image(pattern(16 * MIB));
    const drive = { driver: 'file', filename, cacheDirect: true, locking: 'on' } as const;
    for (let i = 0; i < 10; i++) {
      const held = await hold(drive);
      const disk = await TestDisk.openPrepared(held.prepared);
      const requests = reads(disk, 64);
      disk.driver.submit(requests, 64);
      for (const request of requests) request.tag++;
      await disk.driver.close();
      await held.close();
    }
  });

  test('is closed once the last request is over, where its drivers are closed before', async () => {
    const disk = await openVariant(direct, image(pattern(MIB)));
    const requests = reads(disk, 64);
    disk.driver.submit(requests, 64);
    for (const request of requests) request.tag++;
    // Most likely all are complete by then: more than the kernel posts at a time.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    await disk.driver.close();
    while (openRings() > 0) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    expect(disk.owner.twice.length + disk.owner.done.length).toBe(64);
  });
});
