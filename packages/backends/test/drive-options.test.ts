import { driverType, holdDrive, openDrive, parseDrive } from '@iothreads/backends';
import { describe, expect, test } from 'vitest';
import { driverError } from './support.js';

const KNOWN = 'file, memory, module, null, raw, blkdebug, blklogwrites';

describe('a mistake in a drive names the field', () => {
  test.each([
    [undefined, 'drive: must be an object with the field "driver", got undefined'],
    [null, 'drive: must be an object with the field "driver", got null'],
    [[], 'drive: must be an object with the field "driver", got an array'],
    ['null', 'drive: must be an object with the field "driver", got "null"'],
    [{}, `drive.driver: unknown driver undefined (known: ${KNOWN})`],
    [{ driver: 'nul' }, `drive.driver: unknown driver "nul" (known: ${KNOWN})`],
    [{ driver: 'toString' }, `drive.driver: unknown driver "toString" (known: ${KNOWN})`],
    [
      { driver: 'null', latency: 3 },
      'drive.latency: unknown option of driver "null" (known: size, latencyNs, readZeroes)',
    ],
    [
      { driver: 'file', filename: 'disk.img', toString: 1 },
      'drive.toString: unknown option of driver "file" (known: filename, aio, cacheDirect, cacheNoFlush, discard, locking, readOnly)',
    ],
    [{ driver: 'null', size: 0 }, 'drive.size: must be a positive multiple of 512 (bytes), got 0'],
    [{ driver: 'null', size: 513 }, 'drive.size: must be a positive multiple of 512 (bytes), got 513'],
    [{ driver: 'null', size: NaN }, 'drive.size: must be a positive multiple of 512 (bytes), got NaN'],
    [{ driver: 'null', size: '1G' }, 'drive.size: must be a positive multiple of 512 (bytes), got "1G"'],
    [
      { driver: 'null', size: 2 ** 60 },
      `drive.size: must be a positive multiple of 512 (bytes), got ${2 ** 60}`,
    ],
    [
      { driver: 'null', latencyNs: -1 },
      'drive.latencyNs: must be a whole number of nanoseconds, 0 or more, got -1',
    ],
    [
      { driver: 'null', latencyNs: 0.5 },
      'drive.latencyNs: must be a whole number of nanoseconds, 0 or more, got 0.5',
    ],
    [{ driver: 'null', readZeroes: 1 }, 'drive.readZeroes: must be true or false, got 1'],
    [{ driver: 'file' }, 'drive.filename: required by driver "file"'],
    [{ driver: 'file', filename: '' }, 'drive.filename: must be a path, got ""'],
    [{ driver: 'file', filename: 'a\0b' }, 'drive.filename: must be a path, got "a\\u0000b"'],
    [
      { driver: 'file', path: '/disk' },
      'drive.path: unknown option of driver "file" (known: filename, aio, cacheDirect, cacheNoFlush, discard, locking, readOnly)',
    ],
    [
      { driver: 'file', filename: 'a', aio: 'posix' },
      'drive.aio: must be "io_uring", "threads" or "native", got "posix"',
    ],
    [
      { driver: 'file', filename: 'a', cacheDirect: 'on' },
      'drive.cacheDirect: must be true or false, got "on"',
    ],
    [{ driver: 'file', filename: 'a', cacheNoFlush: 0 }, 'drive.cacheNoFlush: must be true or false, got 0'],
    [
      { driver: 'file', filename: 'a', discard: true },
      'drive.discard: must be "unmap" or "ignore", got true',
    ],
    [
      { driver: 'file', filename: 'a', locking: 'no' },
      'drive.locking: must be "on", "off" or "auto", got "no"',
    ],
    [{ driver: 'file', filename: 'a', readOnly: null }, 'drive.readOnly: must be true or false, got null'],
    [{ driver: 'raw' }, 'drive.file: required by driver "raw"'],
    [{ driver: 'raw', file: 'node0' }, 'drive.file: must be an object with the field "driver", got "node0"'],
    [
      { driver: 'raw', file: { driver: 'null', size: 1 } },
      'drive.file.size: must be a positive multiple of 512 (bytes), got 1',
    ],
    [
      { driver: 'raw', file: { driver: 'null' }, offset: 100 },
      'drive.offset: must be a multiple of 512 (bytes), got 100',
    ],
    [
      { driver: 'raw', file: { driver: 'null' }, offset: -512 },
      'drive.offset: must be a multiple of 512 (bytes), got -512',
    ],
    [
      { driver: 'raw', file: { driver: 'null' }, size: 0 },
      'drive.size: must be a positive multiple of 512 (bytes), got 0',
    ],
    [{ driver: 'blkdebug' }, 'drive.image: required by driver "blkdebug"'],
    [
      { driver: 'blklogwrites', file: { driver: 'null' }, log: 5 },
      'drive.log: must be a path, or a WriteLog, got 5',
    ],
    [{ driver: 'memory' }, 'drive.size: needed where there is no buffer'],
    [
      { driver: 'memory', buffer: new ArrayBuffer(512) },
      'drive.buffer: must be a SharedArrayBuffer, got an object',
    ],
    [
      { driver: 'memory', buffer: new SharedArrayBuffer(100) },
      'drive.buffer: must have a positive multiple of 512 bytes, has 100',
    ],
    [
      { driver: 'memory', size: 512, buffer: new SharedArrayBuffer(1024) },
      'drive.size: is 512, but the buffer has 1024 bytes; leave one of the two out',
    ],
    [{ driver: 'module' }, 'drive.url: required by driver "module"'],
    [{ driver: 'module', url: 3 }, 'drive.url: must be a file URL, a path or the name of a package, got 3'],
  ])('%o', async (drive, message) => {
    const error = await driverError(() => parseDrive(drive));
    expect(error.code).toBe('ERR_DRIVE_OPTION');
    expect(error.message).toBe(message);
  });

  test('under the name that the caller gave the drive', async () => {
    const error = await driverError(() => parseDrive({ driver: 'null', size: 1 }, 'devices[2].drive'));
    expect(error.message).toBe('devices[2].drive.size: must be a positive multiple of 512 (bytes), got 1');
  });

  test('options that cannot go to an iothread are refused before they get there', async () => {
    const error = await driverError(() =>
      parseDrive({ driver: 'module', url: './disk.mjs', options: { callback: () => 0 } }),
    );
    expect(error.code).toBe('ERR_DRIVE_OPTION');
    expect(error.message).toMatch(/^drive\.options: must survive structured cloning: /);
  });
});

test('an unknown driver is refused with the list of those there are', async () => {
  const error = await driverError(() => driverType('qcow2'));
  expect(error.code).toBe('ERR_DRIVE_OPTION');
  expect(error.message).toBe(`unknown driver "qcow2" (known: ${KNOWN})`);
});

test('every driver is found under its own name', () => {
  for (const name of KNOWN.split(', ')) expect(driverType(name).name).toBe(name);
});

test('a prepared drive that was cloned to another thread opens as the same disk', async () => {
  const { prepared } = await holdDrive({ driver: 'null', size: 4096, latencyNs: 5, readZeroes: true }, true);
  const driver = await openDrive(structuredClone(prepared), { nowNs: () => 0, attend: () => {} });
  expect(driver.geometry).toEqual({ sizeBytes: 4096, readOnly: true, discard: false, writeZeroes: false });
  await driver.close();
});

test('holdDrive checks options: it is not for checked ones only', async () => {
  const error = await driverError(() => holdDrive({ driver: 'null', size: 1 }));
  expect(error.code).toBe('ERR_DRIVE_OPTION');
});
