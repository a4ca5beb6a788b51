import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP } from '@iothreads/core';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  REGION_BORDER,
  TestDisk,
  driverErrors,
  expectBytes,
  pattern,
  temporaryDirectory,
} from './support.js';

const MIB = 1024 ** 2;

/** Opens a disk made by `source`, the body of a function of `options`; `options.store` is memory that both share. */
async function userDisk(source: string, store = new SharedArrayBuffer(8192), readOnly = false) {
  const url = join(temporaryDirectory(), 'disk.mjs');
  writeFileSync(url, `export default (options) => {\n${source}\n};\n`);
  return TestDisk.open({ driver: 'module', url, options: { store } }, readOnly);
}

/** A disk over the store; fields of `more` come on top. */
function storeDisk(more = ''): string {
  return `const bytes = new Uint8Array(options.store);
  return {
    size: bytes.length,
    async pread(buffer, offset) { buffer.set(bytes.subarray(offset, offset + buffer.length)); },
    async pwrite(buffer, offset) { bytes.set(buffer, offset); },
    ${more}
  };`;
}

test('bytes land where they belong, across regions and segments', async () => {
  const store = new SharedArrayBuffer(8192);
  const disk = await userDisk(storeDisk(), store);
  expect(disk.driver.executeSync).toBeUndefined();
  disk.memory.write(REGION_BORDER - 700, pattern(1400));
  disk.memory.write(4096, pattern(1400 + 648).subarray(1400));
  const write = disk.owner.transfer(BlockOperation.WRITE, 1024, [
    [REGION_BORDER - 700, 1400],
    [4096, 648],
  ]);
  expect(await disk.run('async', write)).toBe(VIRTIO_BLK_S_OK);
  const expected = new Uint8Array(8192);
  expected.set(pattern(2048), 1024);
  expectBytes(new Uint8Array(store), expected);
  const read = disk.owner.transfer(BlockOperation.READ, 512, [
    [100, 200],
    [REGION_BORDER - 1000, 2360],
  ]);
  expect(await disk.run('async', read)).toBe(VIRTIO_BLK_S_OK);
  expectBytes(disk.memory.read(100, 200), expected.subarray(512, 712));
  expectBytes(disk.memory.read(REGION_BORDER - 1000, 2360), expected.subarray(712, 3072));
  expect(disk.memory.read(300, 1)[0]).toBe(0);
});

test('methods that return no promise work', async () => {
  const disk = await userDisk('return { size: 512, pread(buffer) { buffer.fill(3); } };');
  const read = disk.owner.transfer(BlockOperation.READ, 0, [[0, 512]]);
  expect(await disk.run('async', read)).toBe(VIRTIO_BLK_S_OK);
  expectBytes(disk.memory.read(0, 512), new Uint8Array(512).fill(3));
});

test('a disk that goes on writing into a read buffer cannot change what the guest has read', async () => {
  const disk = await userDisk(`
    const kept = [];
    return {
      size: 1024,
      async pread(buffer) { buffer.fill(1); kept.push(buffer); },
      flush() { for (const buffer of kept) buffer.fill(0xbb); },
    };`);
  await disk.run('async', disk.owner.transfer(BlockOperation.READ, 0, [[512, 1024]]));
  await disk.run('async', disk.owner.flush());
  expectBytes(disk.memory.read(512, 1024), new Uint8Array(1024).fill(1));
  // Nor what another request reads: no buffer is used twice.
  await disk.run('async', disk.owner.transfer(BlockOperation.READ, 0, [[4096, 1024]]));
  expectBytes(disk.memory.read(4096, 1024), new Uint8Array(1024).fill(1));
});

test('a disk that changes a write buffer changes neither the guest nor later zeroes', async () => {
  const store = new SharedArrayBuffer(8192);
  const disk = await userDisk(
    `const bytes = new Uint8Array(options.store);
    return {
      size: bytes.length,
      pread() {},
      async pwrite(buffer, offset) { bytes.set(buffer, offset); buffer.fill(0xbb); },
    };`,
    store,
  );
  disk.memory.write(0, pattern(512));
  await disk.run('async', disk.owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]));
  expectBytes(disk.memory.read(0, 512), pattern(512));
  new Uint8Array(store).fill(7);
  for (let i = 0; i < 2; i++) {
    await disk.run('async', disk.owner.ranges(BlockOperation.WRITE_ZEROES, [0, 1024], [2048, 512]));
  }
  const expected = new Uint8Array(8192).fill(7).fill(0, 0, 1024).fill(0, 2048, 2560);
  expectBytes(new Uint8Array(store), expected);
});

test('a write is what the guest had there when it submitted it', async () => {
  const store = new SharedArrayBuffer(8192);
  const disk = await userDisk(
    `const bytes = new Uint8Array(options.store);
    return {
      size: bytes.length,
      pread() {},
      async pwrite(buffer, offset) { await new Promise(setImmediate); bytes.set(buffer, offset); },
    };`,
    store,
  );
  disk.memory.write(0, pattern(512));
  disk.driver.submit([disk.owner.transfer(BlockOperation.WRITE, 0, [[0, 512]])], 1);
  disk.memory.write(0, new Uint8Array(512).fill(0xee));
  await disk.owner.completions(1);
  expectBytes(new Uint8Array(store).slice(0, 512), pattern(512));
});

test.each([
  ['throws', 'pread() { throw new Error("no luck"); }'],
  ['rejects', 'async pread() { throw new Error("no luck"); }'],
  ['rejects later', 'async pread() { await new Promise(setImmediate); throw new Error("no luck"); }'],
])('a disk that %s fails that request alone, and the reason is published', async (_, pread) => {
  const disk = await userDisk(`return { size: 512, ${pread} };`);
  const errors = driverErrors();
  const read = disk.owner.transfer(BlockOperation.READ, 0, [[0, 512]]);
  expect(await disk.run('async', read)).toBe(VIRTIO_BLK_S_IOERR);
  expect(errors).toMatchObject([{ driver: 'module', operation: 'READ', error: { message: 'no luck' } }]);
  expect(await disk.run('async', disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
});

test('whatever is thrown, wherever: an I/O error, once', async () => {
  const disk = await userDisk(`return {
    size: 1024,
    async pread(buffer, offset) { throw undefined; },
    pwrite() { throw 'a string'; },
    flush() { throw null; },
    trim() { return Promise.reject(1); },
    zero() { this.pread = undefined; throw {}; },
  };`);
  const errors = driverErrors();
  const { owner } = disk;
  const requests = [
    owner.transfer(BlockOperation.READ, 0, [[0, 512]]),
    owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
    owner.flush(),
    owner.ranges(BlockOperation.DISCARD, [0, 512]),
    owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
    owner.transfer(BlockOperation.READ, 0, [[0, 512]]),
  ];
  disk.driver.submit(requests, requests.length);
  await owner.completions(requests.length);
  expect(owner.done.map(({ status }) => status)).toEqual(requests.map(() => VIRTIO_BLK_S_IOERR));
  expect(owner.twice).toEqual([]);
  expect(errors.map(({ operation }) => operation).toSorted()).toEqual(
    ['READ', 'WRITE', 'FLUSH', 'DISCARD', 'WRITE_ZEROES', 'READ'].toSorted(),
  );
});

test('a read buffer that was transferred away is an I/O error, not silence', async () => {
  const disk = await userDisk(`return {
    size: 512,
    pread(buffer) { structuredClone(buffer, { transfer: [buffer.buffer] }); },
  };`);
  const errors = driverErrors();
  const read = disk.owner.transfer(BlockOperation.READ, 0, [[0, 512]]);
  expect(await disk.run('async', read)).toBe(VIRTIO_BLK_S_IOERR);
  expect(errors).toMatchObject([{ error: { code: 'EIO' } }]);
});

test('a disk that settles after the device gave the request up changes no memory', async () => {
  const disk = await userDisk(`return {
    size: 512,
    async pread(buffer) { await new Promise(setImmediate); buffer.fill(1); },
  };`);
  const reported = new Promise<void>((resolve) => {
    disk.owner.completedTwice = () => {
      resolve();
    };
  });
  const request = disk.owner.transfer(BlockOperation.READ, 0, [[0, 512]]);
  disk.driver.submit([request], 1);
  request.tag++;
  await reported;
  expectBytes(disk.memory.read(0, 512), new Uint8Array(512));
  expect(disk.owner.done).toEqual([]);
});

test('large requests come in buffers of 1 MiB at most, and arrive whole', async () => {
  const store = new SharedArrayBuffer(4 * MIB);
  const disk = await userDisk(
    storeDisk(`async zero() { throw new Error('not by this'); },`).replace(
      'async pwrite(buffer, offset) {',
      'async pwrite(buffer, offset) { if (buffer.length > 1048576) throw new RangeError("large");',
    ),
    store,
  );
  disk.memory.write(REGION_BORDER - MIB, pattern(2 * MIB + 512));
  const segments = [[REGION_BORDER - MIB, 2 * MIB + 512]] as const;
  const write = disk.owner.transfer(BlockOperation.WRITE, 512, segments);
  expect(await disk.run('async', write)).toBe(VIRTIO_BLK_S_OK);
  expectBytes(new Uint8Array(store).slice(512, 2 * MIB + 1024), pattern(2 * MIB + 512));
  disk.memory.write(REGION_BORDER - MIB, new Uint8Array(2 * MIB + 512));
  const read = disk.owner.transfer(BlockOperation.READ, 512, segments);
  expect(await disk.run('async', read)).toBe(VIRTIO_BLK_S_OK);
  expectBytes(disk.memory.read(REGION_BORDER - MIB, 2 * MIB + 512), pattern(2 * MIB + 512));
}, 20_000);

test('zeroes are written by pwrite, beyond one buffer, where there is no zero', async () => {
  const store = new SharedArrayBuffer(4 * MIB);
  const contents = new Uint8Array(store).fill(7);
  const disk = await userDisk(storeDisk(), store);
  const request = disk.owner.ranges(BlockOperation.WRITE_ZEROES, [512, 2 * MIB + 512], [3 * MIB, 512]);
  expect(await disk.run('async', request)).toBe(VIRTIO_BLK_S_OK);
  const expected = new Uint8Array(4 * MIB).fill(7);
  expected.fill(0, 512, 2 * MIB + 1024).fill(0, 3 * MIB, 3 * MIB + 512);
  expectBytes(contents, expected);
});

test('trim and zero get the ranges, one after the other', async () => {
  const store = new SharedArrayBuffer(8192);
  const disk = await userDisk(
    storeDisk(`
    async trim(offset, length) { bytes.fill(1, offset, offset + length); },
    async zero(offset, length) { bytes.fill(2, offset, offset + length); },`),
    store,
  );
  const { owner } = disk;
  const trim = owner.ranges(BlockOperation.DISCARD, [0, 512], [1024, 512]);
  expect(await disk.run('async', trim)).toBe(VIRTIO_BLK_S_OK);
  const zero = owner.ranges(BlockOperation.WRITE_ZEROES, [2048, 512], [4096, 512]);
  expect(await disk.run('async', zero)).toBe(VIRTIO_BLK_S_OK);
  const sectors = Array.from({ length: 10 }, (_, i) => new Uint8Array(store)[i * 512]);
  expect(sectors).toEqual([1, 0, 1, 0, 2, 0, 0, 0, 2, 0]);
});

test('a disk offers what it has', async () => {
  const all = { readOnly: false, discard: true, writeZeroes: true };
  const readOnly = { readOnly: true, discard: false, writeZeroes: false };
  const trim = 'trim() {}, zero() {},';
  expect((await userDisk(storeDisk(trim))).driver.geometry).toEqual({ sizeBytes: 8192, ...all });
  expect((await userDisk(storeDisk())).driver.geometry).toMatchObject({ discard: false, writeZeroes: true });
  expect((await userDisk(storeDisk(`readOnly: true, ${trim}`))).driver.geometry).toMatchObject(readOnly);
  expect((await userDisk(`return { size: 512, pread() {}, ${trim} }`)).driver.geometry).toMatchObject(
    readOnly,
  );
  expect((await userDisk(storeDisk(trim), undefined, true)).driver.geometry).toMatchObject(readOnly);
});

test('a read-only device never writes the disk', async () => {
  const store = new SharedArrayBuffer(8192);
  const all = 'trim() { bytes.fill(1); }, zero() { bytes.fill(1); },';
  const disk = await userDisk(storeDisk(all), store, true);
  disk.memory.write(0, pattern(512));
  const { owner } = disk;
  const refused = [
    owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
    owner.ranges(BlockOperation.DISCARD, [0, 512]),
    owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
  ];
  for (const request of refused) expect(await disk.run('async', request)).toBe(VIRTIO_BLK_S_IOERR);
  expectBytes(new Uint8Array(store), new Uint8Array(8192));
});

test('a discard that was never offered is unsupported', async () => {
  const disk = await userDisk(storeDisk());
  const request = disk.owner.ranges(BlockOperation.DISCARD, [0, 512]);
  expect(await disk.run('async', request)).toBe(VIRTIO_BLK_S_UNSUPP);
});
