// io_uring over its mapped rings.
import {
  clearEventfd,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  IoUring,
  IoVector,
  NativeBuffer,
  type RingFile,
  waitReadable,
} from '@iothreads/linux';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const BLOCK = 512;
const BLOCKS = 1024;
let directory: string;
let path: string;
let fd: number;
let ring: IoUring;
let file: RingFile;
const memory = new NativeBuffer(BLOCK * BLOCKS);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-uring-'));
  path = join(directory, 'image');
  const image = new Uint8Array(BLOCK * BLOCKS);
  for (let i = 0; i < BLOCKS; i++) image.fill(i % 251, i * BLOCK, (i + 1) * BLOCK);
  writeFileSync(path, image);
  fd = openSync(path, 'r+');
  ring = new IoUring(64);
  file = ring.registerFile(fd);
  memory.bytes.fill(255);
});
afterEach(() => {
  ring.close();
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

/** Reaps until so many completions have come. */
function collect(count: number): Map<number, number> {
  const results = new Map<number, number>();
  while (results.size < count) ring.reap((userData, result) => results.set(userData, result));
  return results;
}

test('more reads than the ring has entries, each completed once under its number', () => {
  expect(file.flags).toBe(1);
  for (let i = 0; i < BLOCKS; i++) ring.read(file, memory.address + i * BLOCK, BLOCK, i * BLOCK, i);
  ring.submit();
  const results = collect(BLOCKS);
  for (let i = 0; i < BLOCKS; i++) {
    expect(results.get(i)).toBe(BLOCK);
    expect(memory.bytes[i * BLOCK + 511]).toBe(i % 251);
  }
  expect(ring.hasCompletions()).toBe(false);
  expect(ring.reap(() => expect.unreachable())).toBe(0);
});

test('writes, vectors, a flush and a hole', () => {
  const vector = new IoVector(4);
  memory.bytes.fill(1, 0, BLOCK).fill(2, BLOCK, 2 * BLOCK);
  vector.push(memory.address + BLOCK, BLOCK);
  vector.push(memory.address, BLOCK);
  ring.writeVector(file, vector.addressAt(0), 2, 0, 1);
  ring.write(file, memory.address, BLOCK, 8 * BLOCK, 2);
  ring.syncData(file, 3);
  ring.allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 * BLOCK, 8 * BLOCK, 4);
  ring.submit();
  vector.clear();
  expect(collect(4)).toEqual(
    new Map([
      [1, 2 * BLOCK],
      [2, BLOCK],
      [3, 0],
      [4, 0],
    ]),
  );
  const image = readFileSync(path);
  expect([image[0], image[BLOCK], image[8 * BLOCK], image[16 * BLOCK], image[24 * BLOCK]]).toEqual([
    2, 1, 1, 0, 24,
  ]);
  vector.push(memory.address + 4 * BLOCK, BLOCK);
  vector.push(memory.address + 6 * BLOCK, BLOCK);
  ring.readVector(file, vector.addressAt(0), 2, 40 * BLOCK, 5);
  ring.submit();
  expect(collect(1).get(5)).toBe(2 * BLOCK);
  expect([memory.bytes[4 * BLOCK], memory.bytes[5 * BLOCK], memory.bytes[6 * BLOCK]]).toEqual([40, 255, 41]);
});

test('errors are negative results, a read beyond the end moves nothing', () => {
  ring.read(file, 4096, BLOCK, 0, 1);
  ring.read(file, memory.address, BLOCK, BLOCK * BLOCKS, 2);
  ring.read({ fd: 63_000, flags: 0 }, memory.address, BLOCK, 0, 3);
  ring.submit();
  expect(collect(3)).toEqual(
    new Map([
      [1, -os.errno.EFAULT],
      [2, 0],
      [3, -os.errno.EBADF],
    ]),
  );
});

test('what has been withdrawn is never done', () => {
  ring.read(file, memory.address, BLOCK, 0, 1);
  ring.withdraw();
  ring.read(file, memory.address, BLOCK, BLOCK, 2);
  ring.submit();
  expect([...collect(1).keys()]).toEqual([2]);
});

test('a file can be registered and unregistered for ever', () => {
  for (let i = 0; i < 3000; i++) {
    const again = ring.registerFile(fd);
    expect(again.flags).toBe(1);
    ring.unregisterFile(again);
  }
});

test('completions that are put off signal the eventfd while the ring is armed, and only then', async () => {
  const direct = openSync(path, constants.O_RDWR | constants.O_DIRECT);
  const aligned = new NativeBuffer(8192);
  const address = Math.ceil(aligned.address / 4096) * 4096;
  for (let round = 0; round < 20; round++) {
    ring.read({ fd: direct, flags: 0 }, address, 4096, 4096 * round, round);
    ring.submit();
    if (!ring.arm()) expect(waitReadable(ring.eventFd, 20_000)).toBe(true);
    ring.disarm();
    expect(collect(1).get(round)).toBe(4096);
    clearEventfd(ring.eventFd);
  }
  ring.syncData(file, 99);
  ring.submit();
  collect(1);
  expect(waitReadable(ring.eventFd, 0)).toBe(false);
  closeSync(direct);
});

test('completions that nobody has reaped overflow, and none is lost', () => {
  const count = 64 * 4 + 200;
  for (let i = 0; i < count; i++) {
    ring.syncData(file, i);
    if (i % 32 === 31) ring.submit();
  }
  ring.submit();
  expect(collect(count).size).toBe(count);
});
