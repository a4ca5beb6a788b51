import { holdDrive, openDrive } from '@iothreads/backends';
import { BlockOperation } from '@iothreads/core';
import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { openFiles } from './file-variants.js';
import { TestDisk, driverError, expectBytes, hold, pattern, temporaryDirectory } from './support.js';

const isRoot = process.getuid?.() === 0;

async function refusal(filename: string, readOnly = false): Promise<[string, string]> {
  const { code, message } = await driverError(() => holdDrive({ driver: 'file', filename }, readOnly));
  expect(message.startsWith(`${filename}: `)).toBe(true);
  return [code, message.slice(filename.length + 2)];
}

test('a file that is not there is an error that says how to make one', async () => {
  const filename = join(temporaryDirectory(), 'absent.img');
  expect(await refusal(filename)).toEqual([
    'ENOENT',
    'does not exist; create it, with truncate -s 1G for instance',
  ]);
});

test('a path through a file is an error', async () => {
  const filename = join(temporaryDirectory(), 'file');
  writeFileSync(filename, '');
  expect((await refusal(join(filename, 'disk.img')))[0]).toBe('ENOTDIR');
});

test('a directory, a character device, a FIFO and a socket are no disks, and opening none of them hangs', async () => {
  const directory = temporaryDirectory();
  expect(await refusal(directory)).toEqual(['EISDIR', 'is a directory; name the image file in it']);
  const others = 'a disk must be a regular file or a block device';
  expect(await refusal('/dev/null')).toEqual(['ENOTBLK', `is a character device; ${others}`]);
  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  expect(await refusal(fifo)).toEqual(['ENOTBLK', `is a FIFO; ${others}`]);
  const socket = join(directory, 'socket');
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(socket, resolve);
  });
  expect(await refusal(socket)).toEqual(['ENOTBLK', `is a socket; ${others}`]);
  server.close();
});

test('an empty file and one that ends within a sector are errors that say how to mend them', async () => {
  const filename = join(temporaryDirectory(), 'disk.img');
  writeFileSync(filename, '');
  expect(await refusal(filename)).toEqual([
    'ERR_DRIVE_SIZE',
    "is empty; give it the disk's size first, with truncate -s 1G for instance",
  ]);
  writeFileSync(filename, new Uint8Array(1000));
  expect(await refusal(filename)).toEqual([
    'ERR_DRIVE_SIZE',
    'its size of 1000 bytes is not a multiple of 512; extend it with truncate -s 1024',
  ]);
});

// Root may do everything, so it has to be somebody else for the moment; only a main thread can.
test.skipIf(isRoot && !isMainThread)('a file without permission is an error that says which', async () => {
  const directory = temporaryDirectory();
  chmodSync(directory, 0o755);
  const filename = join(directory, 'disk.img');
  writeFileSync(filename, new Uint8Array(512));
  chmodSync(filename, isRoot ? 0o644 : 0o444);
  if (isRoot) process.seteuid!(65534);
  try {
    expect(await refusal(filename)).toEqual([
      'EACCES',
      'no permission to read and write it; allow that to this user, or attach it read-only',
    ]);
    expect((await hold({ driver: 'file', filename }, true)).prepared.geometry.readOnly).toBe(true);
  } finally {
    if (isRoot) process.seteuid!(0);
  }
  chmodSync(filename, 0);
  if (isRoot) process.seteuid!(65534);
  try {
    expect(await refusal(filename, true)).toEqual([
      'EACCES',
      'no permission to read it; allow that to this user',
    ]);
  } finally {
    if (isRoot) process.seteuid!(0);
  }
});

test('a relative name becomes absolute while the working directory is still the same', async () => {
  const filename = join(temporaryDirectory(), 'disk.img');
  writeFileSync(filename, new Uint8Array(1536));
  const { prepared } = await hold({ driver: 'file', filename: relative(process.cwd(), filename) });
  expect(prepared.state).toMatchObject({ filename });
  expect(prepared.geometry).toEqual({ sizeBytes: 1536, readOnly: false, discard: true, writeZeroes: true });
});

test('a file that is held is opened once: who renames or removes it meanwhile changes nothing', async () => {
  const filename = join(temporaryDirectory(), 'disk.img');
  writeFileSync(filename, pattern(1024));
  const { prepared } = await hold({ driver: 'file', filename });
  rmSync(filename);
  writeFileSync(filename, new Uint8Array(512));
  const disk = await TestDisk.openPrepared(prepared);
  await disk.run('async', disk.owner.transfer(BlockOperation.READ, 0, [[0, 1024]]));
  expectBytes(disk.memory.read(0, 1024), pattern(1024));
  await disk.driver.close();
});

test.runIf(process.platform === 'linux')('holding, failing and closing leave no file open', async () => {
  const directory = temporaryDirectory();
  const good = join(directory, 'good.img');
  writeFileSync(good, new Uint8Array(512));
  const bad = join(directory, 'bad.img');
  writeFileSync(bad, new Uint8Array(100));
  let before: readonly string[] = [];
  for (let i = 0; i < 20; i++) {
    for (const aio of ['io_uring', 'threads'] as const) {
      const held = await holdDrive({ driver: 'file', filename: good, aio, cacheDirect: i % 2 === 0 });
      const driver = await openDrive(held.prepared, { nowNs: () => 0, attend: () => {} });
      await driver.close();
      await held.close();
      await held.close();
    }
    await driverError(() => holdDrive({ driver: 'file', filename: bad }));
    // What libraries keep is there after the first round.
    if (i === 0) before = openFiles().toSorted();
  }
  expect(openFiles().toSorted()).toEqual(before);
});
