import { BlockOperation, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { holdDrive, parseDrive, type DriveOptions } from '@iothreads/backends';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { asPortable, fileVariants, image } from './file-variants.js';
import {
  TestDisk,
  driverError,
  expectBytes,
  hold,
  pattern,
  temporaryDirectory,
  type Mode,
} from './support.js';

/** A disk of 64 KiB, and how to see its bytes from outside. */
interface Child {
  readonly name: string;
  readonly modes: readonly Mode[];
  make(contents: Uint8Array): { readonly drive: DriveOptions; readonly bytes: () => Uint8Array };
  readonly portable?: boolean | undefined;
}

const memory: Child = {
  name: 'memory',
  modes: ['sync', 'async'],
  make(contents) {
    const buffer = new SharedArrayBuffer(contents.length);
    const bytes = new Uint8Array(buffer);
    bytes.set(contents);
    return { drive: { driver: 'memory', buffer }, bytes: () => bytes };
  },
};

const userDisk: Child = {
  name: 'module',
  modes: ['async'],
  make(contents) {
    const filename = join(temporaryDirectory(), 'disk.mjs');
    writeFileSync(
      filename,
      `export default ({ buffer }) => {
        const bytes = new Uint8Array(buffer);
        return {
          size: bytes.length,
          pread(target, offset) { target.set(bytes.subarray(offset, offset + target.length)); },
          pwrite(source, offset) { bytes.set(source, offset); },
          trim(offset, length) { bytes.fill(0, offset, offset + length); },
        };
      };`,
    );
    const buffer = new SharedArrayBuffer(contents.length);
    const bytes = new Uint8Array(buffer);
    bytes.set(contents);
    return { drive: { driver: 'module', url: filename, options: { buffer } }, bytes: () => bytes };
  },
};

const files = fileVariants.map(({ name, options, portable }): Child => ({
  name: `file: ${name}`,
  modes: ['sync', 'async'],
  portable,
  make(contents) {
    const filename = image(contents);
    const drive = { driver: 'file', filename, ...options, discard: 'unmap' } as const;
    return { drive, bytes: () => readFileSync(filename) };
  },
}));

const cases = [memory, userDisk, ...files].flatMap((child) =>
  child.modes.map((mode) => ({ title: `${child.name}, ${mode}`, child, mode })),
);

test.each(cases)('a window onto $title: its bytes, and none beside them', async ({ child, mode }) => {
  const contents = pattern(65536);
  const { drive, bytes } = child.make(contents);
  const { prepared } = await hold({
    driver: 'raw',
    offset: 4096,
    // A window onto a window: both beginnings count.
    file: { driver: 'raw', file: drive, offset: 512 },
    size: 32768,
  });
  expect(prepared.geometry.sizeBytes).toBe(32768);
  const disk = await TestDisk.openPrepared(child.portable === true ? asPortable(prepared) : prepared);
  const { owner } = disk;
  const base = 4608;

  const read = owner.transfer(BlockOperation.READ, 32768 - 1024, [[0, 1024]]);
  expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
  expectBytes(disk.memory.read(0, 1024), contents.subarray(base + 31744, base + 32768));

  disk.memory.write(8192, new Uint8Array(8192).fill(0xaa));
  const write = owner.transfer(BlockOperation.WRITE, 0, [
    [8192, 1024],
    [12288, 1024],
  ]);
  expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
  const zero = owner.ranges(BlockOperation.WRITE_ZEROES, [4096, 1024], [8192, 512, true]);
  expect(await disk.run(mode, zero)).toBe(VIRTIO_BLK_S_OK);
  const expected = contents.slice();
  expected.fill(0xaa, base, base + 2048);
  expected.fill(0, base + 4096, base + 5120).fill(0, base + 8192, base + 8704);
  expectBytes(bytes(), expected);

  const discard = owner.ranges(BlockOperation.DISCARD, [16384, 8192]);
  expect(await disk.run(mode, discard)).toBe(VIRTIO_BLK_S_OK);
  // What was discarded may be anything now; what was not is as it was.
  const after = bytes().slice();
  expectBytes(after.fill(0, base + 16384, base + 24576), expected.fill(0, base + 16384, base + 24576));
  await disk.driver.close();
});

describe('a window', () => {
  test('reaches to the end of the disk by default, and is all of it without options', async () => {
    const file = { driver: 'null', size: 8192 } as const;
    expect((await hold({ driver: 'raw', file })).prepared).toEqual((await hold(file)).prepared);
    const { prepared } = await hold({ driver: 'raw', file, offset: 512 }, true);
    expect(prepared).toMatchObject({ driver: 'null', offset: 512 });
    expect(prepared.geometry).toMatchObject({ sizeBytes: 7680, readOnly: true });
  });

  test('must be inside the disk', async () => {
    const file = { driver: 'null', size: 8192 } as const;
    for (const [offset, size, message] of [
      [8192, undefined, 'drive.offset: must be inside the disk of 8192 bytes, got 8192'],
      [2 ** 40, 512, `drive.offset: must be inside the disk of 8192 bytes, got ${2 ** 40}`],
      [512, 8192, 'drive.size: the disk has 7680 bytes behind the offset, got 8192'],
    ] as const) {
      const error = await driverError(() => holdDrive({ driver: 'raw', file, offset, size }));
      expect(error.code).toBe('ERR_DRIVE_SIZE');
      expect(error.message).toBe(message);
    }
  });

  test('that is refused leaves its file unlocked', async () => {
    const filename = image(new Uint8Array(4096));
    const file = { driver: 'file', filename } as const;
    await driverError(() => holdDrive({ driver: 'raw', file, size: 8192 }));
    await hold({ driver: 'raw', file, size: 4096 });
  });

  test('hands on what its file has to say', async () => {
    const filename = image(new Uint8Array(4096));
    const { notices } = await hold({ driver: 'raw', file: { driver: 'file', filename, aio: 'native' } });
    expect(notices).toHaveLength(1);
  });

  test('onto itself is refused', async () => {
    const drive: { driver: string; file?: unknown } = { driver: 'raw' };
    drive.file = drive;
    const error = await driverError(() => parseDrive(drive));
    expect(error.code).toBe('ERR_DRIVE_OPTION');
    expect(error.message).toMatch(/^drive\.file(\.file)+: more than 16 drives inside each other$/);
    // What was counted on the way is forgotten.
    parseDrive({ driver: 'raw', file: { driver: 'null' } });
  });

  test('grows and shrinks with its file, unless its size is fixed', async () => {
    const filename = image(new Uint8Array(8192));
    const file = { driver: 'file', filename, locking: 'off' } as const;
    const held = await hold({ driver: 'raw', file, offset: 4096 });
    expect((await held.resize(8192)).geometry.sizeBytes).toBe(8192);
    expect(held.prepared).toMatchObject({ offset: 4096, geometry: { sizeBytes: 8192 } });
    expect(statSync(filename).size).toBe(12288);
    expect((await driverError(() => held.resize(100))).code).toBe('ERR_DRIVE_SIZE');
    const fixed = await hold({ driver: 'raw', file, size: 512 });
    const error = await driverError(() => fixed.resize(1024));
    expect(error.code).toBe('ENOTSUP');
    expect(error.message).toBe('drive: its size is fixed by the option "size"');
    expect(statSync(filename).size).toBe(12288);
  });
});
