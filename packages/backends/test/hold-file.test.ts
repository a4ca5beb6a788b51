import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { image } from './file-variants.js';
import { driverError, hold } from './support.js';
import { writeAndRead } from './write-and-read.js';

const isLinux = process.platform === 'linux';

describe('where no native module can be loaded', () => {
  const reason = isLinux
    ? "the package @iothreads/linux can't be loaded: "
    : `this is ${process.platform}, not Linux`;

  test('files work all the same; what is missing is said', () => {
    const filename = image(new Uint8Array(16384));
    const file = { driver: 'file', filename } as const;
    const worked = { access: 'node', sizeBytes: 16384, worked: true };
    const told = writeAndRead(
      'no-system-calls.mjs',
      file,
      file,
      { ...file, aio: 'threads', locking: 'auto', cacheNoFlush: true },
      { ...file, aio: 'io_uring', discard: 'unmap' },
    ) as { notices: string[] }[];
    for (const each of told) expect(each).toMatchObject(worked);
    const notices = told.map((each) => each.notices);
    // On Linux, where more could be had; once.
    expect(notices[0]).toEqual(isLinux ? [expect.stringContaining(reason)] : []);
    expect(notices.slice(1, 3)).toEqual([[], []]);
    expect(notices[3]).toHaveLength(1);
    expect(notices[3]![0]).toContain(
      `${filename}: is served without aio=io_uring and discard=unmap: ${reason}`,
    );
  });

  test('what can not be had is refused, by name', () => {
    const filename = image(new Uint8Array(16384));
    const refused = writeAndRead(
      'no-system-calls.mjs',
      { driver: 'file', filename, cacheDirect: true },
      { driver: 'file', filename, locking: 'on' },
    );
    expect(refused).toMatchObject([{ code: 'ENOTSUP' }, { code: 'ENOTSUP' }]);
    const [direct, locking] = refused as { message: string }[];
    expect(direct!.message).toContain(`${filename}: cache.direct (cacheDirect) can't be had: ${reason}`);
    expect(locking!.message).toContain(`${filename}: locking=on can't be had: ${reason}`);
  });
});

describe.runIf(isLinux)('on Linux', () => {
  test('io_uring is what is used, unless threads are asked for', async () => {
    for (const [aio, access] of [
      [undefined, 'io_uring'],
      ['io_uring', 'io_uring'],
      ['native', 'io_uring'],
      ['threads', 'threads'],
    ] as const) {
      const filename = image(new Uint8Array(4096));
      const { prepared, notices } = await hold({ driver: 'file', filename, aio });
      expect(prepared.state).toMatchObject({ access });
      expect(notices).toEqual(aio === 'native' ? [`${filename}: aio=native is served by io_uring`] : []);
    }
  });

  test('where io_uring is refused threads take its place, and one notice says so', () => {
    const filename = image(new Uint8Array(16384));
    const file = { driver: 'file', filename } as const;
    const told = writeAndRead(
      'no-io-uring.mjs',
      file,
      file,
      { ...file, aio: 'native' },
      { ...file, aio: 'threads' },
    );
    const notice =
      "io_uring can't be had on this system (io_uring_setup: EPERM): files are served by threads instead";
    expect(told).toEqual(
      [[notice], [], [], []].map((notices) => ({
        access: 'threads',
        sizeBytes: 16384,
        worked: true,
        notices,
      })),
    );
  });

  test('a file system without direct I/O is an error that says what to leave out', async () => {
    // Whatever it holds: no direct I/O, and never a disk's size.
    const error = await driverError(() =>
      hold({ driver: 'file', filename: '/proc/version', cacheDirect: true }, true),
    );
    expect(error.code).toBe('EINVAL');
    expect(error.message).toBe(
      '/proc/version: its file system has no direct I/O; leave cache.direct (cacheDirect) out',
    );
  });
});

describe('resize', () => {
  test('a file grows and shrinks, and what it is prepared as with it', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await hold({ driver: 'file', filename });
    for (const sizeBytes of [1024 ** 2, 1024, 8192]) {
      const prepared = await held.resize(sizeBytes);
      expect(prepared.geometry.sizeBytes).toBe(sizeBytes);
      expect(held.prepared).toBe(prepared);
      expect(statSync(filename).size).toBe(sizeBytes);
    }
  });

  test('to what is no size of a disk is refused', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await hold({ driver: 'file', filename });
    const before = held.prepared;
    for (const sizeBytes of [0, -512, 1000, NaN, 2 ** 60]) {
      const error = await driverError(() => held.resize(sizeBytes));
      expect(error.code).toBe('ERR_DRIVE_SIZE');
      expect(error.message).toBe(
        `${filename}: its size must be a positive multiple of 512 (bytes), got ${sizeBytes}`,
      );
    }
    expect(held.prepared).toBe(before);
    expect(statSync(filename).size).toBe(4096);
  });

  test('a read-only file keeps its size', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await hold({ driver: 'file', filename, readOnly: true });
    expect(held.prepared.geometry.readOnly).toBe(true);
    const error = await driverError(() => held.resize(8192));
    expect(error.code).toBe('ENOTSUP');
    expect(error.message).toBe(`${filename}: is open read-only; its size can't be changed`);
    expect(statSync(filename).size).toBe(4096);
  });

  test('what the system refuses is told with its reason', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await hold({ driver: 'file', filename });
    // Larger than any file can be.
    const error = await driverError(() => held.resize(Number.MAX_SAFE_INTEGER - 511));
    expect(['EFBIG', 'EINVAL', 'ENOSPC']).toContain(error.code);
    expect(error.message).toContain(`${filename}: can't be given `);
    expect(held.prepared.geometry.sizeBytes).toBe(4096);
  });

  test('a null disk takes any size, memory and disks of a user keep theirs', async () => {
    const disk = await hold({ driver: 'null', size: 512 });
    expect((await disk.resize(1024)).geometry.sizeBytes).toBe(1024);
    expect((await driverError(() => disk.resize(1000))).code).toBe('ERR_DRIVE_SIZE');
    expect(disk.prepared.geometry.sizeBytes).toBe(1024);
    const url = 'data:text/javascript,export default { size: 512, pread() {} }';
    for (const drive of [
      { driver: 'memory', size: 512 },
      { driver: 'module', url },
    ] as const) {
      const held = await hold(drive);
      const error = await driverError(() => held.resize(1024));
      expect(error.code).toBe('ENOTSUP');
      expect(error.message).toMatch(/: its size can't be changed$/);
    }
  });
});
