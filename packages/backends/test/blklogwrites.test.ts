import { BlockOperation, type BlockRequest, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { type FaultRule, FaultRules, readWriteLog, WriteLog, type WriteLogEntry } from '@iothreads/backends';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  driverError,
  expectBytes,
  hold,
  onTestEnd,
  pattern,
  scattered,
  temporaryDirectory,
  TestDisk,
} from './support.js';

const { READ, WRITE, DISCARD, WRITE_ZEROES } = BlockOperation;
const SIZE = 1 << 20;

/** A disk in memory that is recorded, with faults between the record and the memory. */
class RecordedDisk {
  readonly filename: string;
  readonly log: WriteLog;
  readonly faults = new FaultRules();
  readonly bytes: Uint8Array;
  readonly disk: TestDisk;

  private constructor(log: WriteLog, faults: FaultRules, bytes: Uint8Array, disk: TestDisk) {
    this.log = log;
    this.filename = log.filename;
    this.faults = faults;
    this.bytes = bytes;
    this.disk = disk;
  }

  static async open(rules: readonly FaultRule[] = [], offset = 0): Promise<RecordedDisk> {
    const log = new WriteLog(join(temporaryDirectory(), 'log'));
    onTestEnd(() => log.close());
    const buffer = new SharedArrayBuffer(SIZE);
    const faults = new FaultRules(rules);
    const image = { driver: 'memory', buffer } as const;
    const file = { driver: 'blkdebug', image, rules: faults } as const;
    const disk = await TestDisk.open({ driver: 'raw', offset, file: { driver: 'blklogwrites', file, log } });
    return new RecordedDisk(log, faults, new Uint8Array(buffer), disk);
  }

  write(sector: number, bytes: Uint8Array): BlockRequest {
    // Somewhere of its own, so that several can be in flight.
    const address = sector * 512;
    this.disk.memory.write(address, bytes);
    return this.disk.owner.transfer(WRITE, sector * 512, [[address, bytes.length]]);
  }

  get entries(): WriteLogEntry[] {
    return [...readWriteLog(this.filename)];
  }
}

const what = ({ kind, sector, sectors }: WriteLogEntry): string => `${kind} ${sector}+${sectors}`;

describe.each(['sync', 'async'] as const)('%s', (mode) => {
  test('all that changes the disk is recorded, in the sectors of its own disk', async () => {
    const recorded = await RecordedDisk.open([], 4096);
    const { disk } = recorded;
    const data = pattern(8192);
    const run = async (request: BlockRequest): Promise<void> => {
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
    };
    await run(recorded.write(2, data));
    await run(disk.owner.flush());
    await run(disk.owner.transfer(READ, 0, [[0, 4096]]));
    await run(disk.owner.ranges(WRITE_ZEROES, [0, 512], [1024, 1024, true]));
    await run(disk.owner.ranges(DISCARD, [512, 512]));
    const { entries } = recorded;
    expect(entries.map(what)).toEqual(['write 10+16', 'flush 0+0', 'write 8+1', 'write 10+2', 'discard 9+1']);
    expectBytes(entries[0]!.data!, data);
    expectBytes(entries[3]!.data!, new Uint8Array(1024));
    // Each reached the disk when the log was as long as all that is before it.
    expect(entries.map(({ at, reached }) => [at, reached])).toEqual([
      [1, 1],
      [18, 18],
      [19, 19],
      [21, 19],
      [24, 24],
    ]);
    expect(recorded.log.length).toBe(25);
  });

  test('what failed is not there', async () => {
    const recorded = await RecordedDisk.open([{ sector: 1, errno: 'ENOSPC' }]);
    const request = recorded.write(1, pattern(512));
    expect(await recorded.disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    expect(request.errorCode).toBe('ENOSPC');
    expect(recorded.entries).toEqual([]);
  });

  test('a write of many segments is one entry', async () => {
    const recorded = await RecordedDisk.open();
    const { disk } = recorded;
    const data = pattern(scattered.length * 512);
    scattered.forEach(([address], i) => disk.memory.write(address, data.subarray(i * 512, (i + 1) * 512)));
    expect(await disk.run(mode, disk.owner.transfer(WRITE, 512, scattered))).toBe(VIRTIO_BLK_S_OK);
    expect(recorded.entries.map(what)).toEqual([`write 1+${scattered.length}`]);
    expectBytes(recorded.entries[0]!.data!, data);
    expectBytes(recorded.bytes.subarray(512, 512 + data.length), data);
  });
});

test('the order is that of completion; how far the log was tells what a flush covers', async () => {
  const recorded = await RecordedDisk.open([
    { sector: 1, hang: true },
    { iotype: 'flush', hang: true },
  ]);
  const { disk, faults } = recorded;
  const first = recorded.write(0, pattern(512));
  const slow = recorded.write(1, pattern(512));
  await disk.runBatch([first]);
  const flush = disk.owner.flush();
  disk.driver.submit([slow, flush], 2);
  const late = recorded.write(2, pattern(512));
  await disk.runBatch([late]);
  faults.set([{ sector: 1, hang: true }]);
  await disk.owner.completions(3);
  faults.set([]);
  await disk.owner.completions(4);
  expect(disk.owner.done.map(({ request }) => request)).toEqual([first, late, flush, slow]);
  const [one, two, flushed, last] = recorded.entries;
  expect([one, two, flushed, last].map((entry) => what(entry!))).toEqual([
    'write 0+1',
    'write 2+1',
    'flush 0+0',
    'write 1+1',
  ]);
  // The first was complete when the flush came, the second came to be while it was under way.
  expect(flushed!.reached).toBeGreaterThan(one!.at);
  expect(flushed!.reached).toBeLessThanOrEqual(two!.at);
  // Was in flight all the time.
  expect(last!.reached).toBe(flushed!.reached);
});

test('what is complete for the device is in the log already', async () => {
  const recorded = await RecordedDisk.open();
  const lengths: number[] = [];
  recorded.disk.owner.requestDone = () => {
    lengths.push(recorded.entries.length);
  };
  recorded.disk.driver.submit([recorded.write(0, pattern(512)), recorded.write(1, pattern(512))], 2);
  expect(lengths).toEqual([1, 2]);
});

test('two that have the disk open write to one log, each entry whole', async () => {
  const log = new WriteLog(join(temporaryDirectory(), 'log'));
  onTestEnd(() => log.close());
  const { prepared } = await hold({ driver: 'blklogwrites', file: { driver: 'null' }, log });
  const disks = [await TestDisk.openPrepared(prepared), await TestDisk.openPrepared(prepared)];
  for (let i = 0; i < 20; i++) {
    const disk = disks[i % 2]!;
    disk.memory.write(0, new Uint8Array(1024).fill(i));
    await disk.run('async', disk.owner.transfer(WRITE, i * 1024, [[0, 1024]]));
  }
  const entries = [...readWriteLog(log.filename)];
  expect(entries.map(({ sector }) => sector)).toEqual(Array.from({ length: 20 }, (_, i) => i * 2));
  entries.forEach(({ data }, i) => expectBytes(data!, new Uint8Array(1024).fill(i)));
});

describe('the file', () => {
  test('is what dm-log-writes makes', async () => {
    const filename = join(temporaryDirectory(), 'log');
    const held = await hold({ driver: 'blklogwrites', file: { driver: 'null' }, log: filename });
    const disk = await TestDisk.openPrepared(held.prepared);
    disk.memory.write(0, pattern(1024));
    await disk.run('async', disk.owner.transfer(WRITE, 3 * 512, [[0, 1024]]));
    await disk.run('async', disk.owner.flush());
    await disk.run('async', disk.owner.ranges(DISCARD, [512, 2048]));
    await disk.driver.close();
    await held.close();
    const bytes = readFileSync(filename);
    const words = (sector: number): bigint[] =>
      [0, 8, 16, 24].map((offset) => bytes.readBigUInt64LE(sector * 512 + offset));
    // magic, version, entries, sector size
    expect(words(0)).toEqual([0x6a736677736872n, 1n, 3n, 512n]);
    // sector, sectors, flags, bytes of text
    expect(words(1)).toEqual([3n, 2n, 0n, 0n]);
    expectBytes(bytes.subarray(1024, 2048), pattern(1024));
    expect(words(4)).toEqual([0n, 0n, 1n, 0n]);
    expect(words(5)).toEqual([1n, 4n, 4n, 0n]);
    expect(bytes.length).toBe(6 * 512);
  });

  test('must be a log, or new', async () => {
    const filename = join(temporaryDirectory(), 'disk.img');
    writeFileSync(filename, pattern(4096));
    const error = await driverError(() => new WriteLog(filename));
    expect(error.code).toBe('ERR_DRIVE_OPTION');
    expect(error.message).toBe(`${filename}: is there already and no log: name another file, or remove it`);
    expectBytes(readFileSync(filename), pattern(4096));
    expect((await driverError(() => [...readWriteLog(filename)])).message).toBe(
      `${filename}: is no log of writes`,
    );
    expect((await driverError(() => new WriteLog(join(filename, 'x')))).code).toBe('ENOTDIR');
    writeFileSync(filename, '');
    const log = new WriteLog(filename);
    log.close();
    log.close();
    new WriteLog(filename).close();
    expect([...readWriteLog(filename)]).toEqual([]);
  });

  test('that can’t be opened leaves the disk below closed', async () => {
    const directory = temporaryDirectory();
    const filename = join(directory, 'disk.img');
    writeFileSync(filename, new Uint8Array(4096));
    const file = { driver: 'file', filename } as const;
    const log = join(directory, 'no', 'log');
    const error = await driverError(() => hold({ driver: 'blklogwrites', file, log }));
    expect(error.code).toBe('ENOENT');
    await hold({ driver: 'blklogwrites', file, log: join(directory, 'log') });
  });

  test('that can’t take an entry fails the request', async () => {
    const filename = join(temporaryDirectory(), 'log');
    const { prepared } = await hold({ driver: 'blklogwrites', file: { driver: 'null' }, log: filename });
    const readOnly = openSync(filename, 'r');
    onTestEnd(() => closeSync(readOnly));
    const { own, ...state } = prepared.state as { own: object };
    const disk = await TestDisk.openPrepared({
      ...prepared,
      state: { ...state, own: { ...own, fd: readOnly } },
    });
    const flush = disk.owner.flush();
    expect(await disk.run('async', flush)).toBe(VIRTIO_BLK_S_IOERR);
    expect(flush.errorCode).toBe('EBADF');
  });

  test('of a process that was killed while it wrote can be read', async () => {
    const recorded = await RecordedDisk.open();
    const { disk } = recorded;
    await disk.runBatch([
      recorded.write(0, pattern(512)),
      recorded.write(1, pattern(512)),
      disk.owner.flush(),
    ]);
    const bytes = readFileSync(recorded.filename);
    // The second entry's place was taken, and nothing written.
    bytes.fill(0, 3 * 512, 5 * 512);
    const torn = join(temporaryDirectory(), 'log');
    writeFileSync(torn, bytes);
    expect([...readWriteLog(torn)].map(what)).toEqual(['write 0+1', 'flush 0+0']);
    // The end is missing: data that the file does not have are zeroes.
    writeFileSync(torn, bytes.subarray(0, 1024));
    expect([...readWriteLog(torn)].map(what)).toEqual(['write 0+1']);
  });
});
