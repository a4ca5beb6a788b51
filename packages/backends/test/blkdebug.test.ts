import { BlockOperation, type BlockRequest, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { type FaultRule, FaultRules, holdDrive, parseDrive, type DriveOptions } from '@iothreads/backends';
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { Counter, createFaultMemory, FaultMemory } from '../dist/blkdebug/fault-memory.js';
import { image } from './file-variants.js';
import { driverError, driverErrors, expectBytes, hold, type Mode, pattern, TestDisk } from './support.js';

const { READ, WRITE, DISCARD, WRITE_ZEROES } = BlockOperation;
const SECTORS = 128;
const modes = ['sync', 'async'] as const;

/** A disk of 64 KiB in memory below a filter. */
class DebuggedDisk {
  readonly faults: FaultRules;
  readonly bytes: Uint8Array;
  readonly disk: TestDisk;

  constructor(faults: FaultRules, bytes: Uint8Array, disk: TestDisk) {
    this.faults = faults;
    this.bytes = bytes;
    this.disk = disk;
  }

  static async open(rules: readonly FaultRule[], seed?: number): Promise<DebuggedDisk> {
    const faults = new FaultRules(rules, seed);
    const buffer = new SharedArrayBuffer(SECTORS * 512);
    const disk = await TestDisk.open({
      driver: 'blkdebug',
      image: { driver: 'memory', buffer },
      rules: faults,
    });
    return new DebuggedDisk(faults, new Uint8Array(buffer), disk);
  }

  write(sector: number, sectors = 1): BlockRequest {
    return this.disk.owner.transfer(WRITE, sector * 512, [[0, sectors * 512]]);
  }

  read(sector: number, sectors = 1): BlockRequest {
    return this.disk.owner.transfer(READ, sector * 512, [[65536, sectors * 512]]);
  }

  ranges(operation: BlockOperation, sector: number, sectors = 1): BlockRequest {
    return this.disk.owner.ranges(operation, [sector * 512, sectors * 512]);
  }

  /** One of each kind at sectors 8 and 9, in the order of their names. */
  each(): Record<string, BlockRequest> {
    return {
      discard: this.ranges(DISCARD, 8, 2),
      flush: this.disk.owner.flush(),
      read: this.read(8, 2),
      write: this.write(8, 2),
      'write-zeroes': this.ranges(WRITE_ZEROES, 8, 2),
    };
  }

  /** Which of one request of each kind fail. */
  async failing(mode: Mode): Promise<string[]> {
    const failed: string[] = [];
    for (const [name, request] of Object.entries(this.each())) {
      if ((await this.disk.run(mode, request)) !== VIRTIO_BLK_S_OK) failed.push(name);
    }
    return failed;
  }

  /** Statuses of so many writes, one after the other. */
  async writes(count: number, mode: Mode = 'async'): Promise<number[]> {
    const statuses: number[] = [];
    for (let i = 0; i < count; i++) statuses.push(await this.disk.run(mode, this.write(0)));
    return statuses;
  }

  get fired(): number[] {
    return this.faults.query().map(({ fired }) => fired);
  }
}

describe.each(modes)('which requests fail, %s', (mode) => {
  test.each<[FaultRule, string[]]>([
    [{}, ['discard', 'flush', 'read', 'write', 'write-zeroes']],
    [{ iotype: 'read' }, ['read']],
    [{ iotype: 'write' }, ['write']],
    [{ iotype: 'write-zeroes' }, ['write-zeroes']],
    [{ iotype: 'discard' }, ['discard']],
    [{ iotype: 'flush' }, ['flush']],
    [{ sector: 7 }, []],
    [{ sector: 8 }, ['discard', 'read', 'write', 'write-zeroes']],
    [{ sector: 9, iotype: 'write' }, ['write']],
    [{ sector: 10 }, []],
    [{ sector: 0, sectors: 8 }, []],
    [{ sector: 0, sectors: 9, iotype: 'read' }, ['read']],
    [{ sector: 9, sectors: 2 ** 40, iotype: 'read' }, ['read']],
    [{ probability: 0 }, []],
  ])('%j', async (rule, expected) => {
    expect(await (await DebuggedDisk.open([rule])).failing(mode)).toEqual(expected);
  });

  test('the first rule that applies counts', async () => {
    const debugged = await DebuggedDisk.open([
      { iotype: 'read', errno: 'EROFS' },
      { sector: 3, errno: 'ENOSPC' },
      { errno: constants.errno.EBUSY },
    ]);
    const { disk, faults } = debugged;
    for (const [sector, code] of [
      [3, 'ENOSPC'],
      [4, 'EBUSY'],
    ] as const) {
      const request = debugged.write(sector);
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
      expect(request.errorCode).toBe(code);
    }
    expect(faults.query().map(({ seen, fired }) => [seen, fired])).toEqual([
      [0, 0],
      [1, 1],
      [1, 1],
    ]);
  });

  test('a failed write changes nothing, a failed read brings nothing', async () => {
    const debugged = await DebuggedDisk.open([{}]);
    const { disk, bytes } = debugged;
    bytes.fill(0x11);
    disk.memory.write(0, new Uint8Array(512).fill(0xaa));
    disk.memory.write(65536, new Uint8Array(512).fill(0xbb));
    await disk.run(mode, debugged.write(0));
    await disk.run(mode, debugged.read(0));
    await disk.run(mode, debugged.ranges(WRITE_ZEROES, 0));
    expectBytes(bytes, new Uint8Array(bytes.length).fill(0x11));
    expectBytes(disk.memory.read(65536, 512), new Uint8Array(512).fill(0xbb));
  });

  test('a short one is done up to there, and fails then', async () => {
    const debugged = await DebuggedDisk.open([{ shortSectors: 3, errno: 'ENOSPC' }]);
    const { disk, bytes } = debugged;
    const data = pattern(8 * 512);
    disk.memory.write(0, data);
    // Two segments: the border lies within the second.
    const request = disk.owner.transfer(WRITE, 16 * 512, [
      [0, 1024],
      [1024, 3072],
    ]);
    expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_IOERR);
    expect(request.errorCode).toBe('ENOSPC');
    const expected = new Uint8Array(bytes.length);
    expected.set(data.subarray(0, 3 * 512), 16 * 512);
    expectBytes(bytes, expected);

    expect(await disk.run(mode, debugged.read(16, 8))).toBe(VIRTIO_BLK_S_IOERR);
    expectBytes(disk.memory.read(65536, 8 * 512), expected.subarray(16 * 512, 24 * 512));

    const zero = disk.owner.ranges(WRITE_ZEROES, [16 * 512, 512], [20 * 512, 512], [17 * 512, 1024]);
    expect(await disk.run(mode, zero)).toBe(VIRTIO_BLK_S_IOERR);
    // One of the first, one of the second, one of the two of the third.
    expectBytes(bytes, expected.fill(0, 16 * 512, 18 * 512));
    expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_IOERR);
    // As long as the request: all of it is done, and it fails all the same.
    expect(await disk.run(mode, debugged.write(0, 2))).toBe(VIRTIO_BLK_S_IOERR);
    expectBytes(bytes.subarray(0, 1024), data.subarray(0, 1024));
  });
});

describe('how often', () => {
  test('once, a few times, after a few', async () => {
    expect(await (await DebuggedDisk.open([{ once: true }])).writes(4)).toEqual([1, 0, 0, 0]);
    expect(await (await DebuggedDisk.open([{ count: 2 }])).writes(4)).toEqual([1, 1, 0, 0]);
    expect(await (await DebuggedDisk.open([{ count: 2, skip: 1 }])).writes(5)).toEqual([0, 1, 1, 0, 0]);
    const both = await DebuggedDisk.open([{ once: true }, { skip: 1, count: 1 }]);
    expect(await both.writes(5, 'sync')).toEqual([1, 0, 1, 0, 0]);
    expect(both.faults.query().map(({ seen, fired }) => [seen, fired])).toEqual([
      [5, 1],
      [4, 1],
    ]);
  });

  test('by chance: as often as it says, and the same with the same seed', async () => {
    const some = (seed: number) =>
      DebuggedDisk.open([{ probability: 0.25 }], seed).then((disk) => disk.writes(1000));
    const first = await some(7);
    const failed = first.reduce((sum, status) => sum + status, 0);
    expect(failed).toBeGreaterThan(180);
    expect(failed).toBeLessThan(320);
    expect(await some(7)).toEqual(first);
    expect(await some(8)).not.toEqual(first);
  });

  test('counted together by all who have the disk open', async () => {
    const faults = new FaultRules([{ count: 3 }]);
    const { prepared } = await hold({ driver: 'blkdebug', image: { driver: 'null' }, rules: faults });
    const disks = [await TestDisk.openPrepared(prepared), await TestDisk.openPrepared(prepared)];
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const disk = disks[i % 2]!;
      statuses.push(await disk.run('async', disk.owner.flush()));
    }
    expect(statuses).toEqual([1, 1, 1, 0, 0, 0]);
    expect(faults.query()).toEqual([{ rule: { count: 3 }, seen: 6, fired: 3 }]);
  });
});

describe('changed while the disk is in use', () => {
  test.each(modes)('holds for the next request, and counts from 0; %s', async (mode) => {
    const debugged = await DebuggedDisk.open([]);
    expect(await debugged.failing(mode)).toEqual([]);
    debugged.faults.set([{ iotype: 'write' }]);
    expect(await debugged.failing(mode)).toEqual(['write']);
    expect(debugged.fired).toEqual([1]);
    debugged.faults.set([
      { iotype: 'write', skip: 1 },
      { iotype: 'read', once: true },
    ]);
    expect(debugged.fired).toEqual([0, 0]);
    expect(await debugged.failing(mode)).toEqual(['read']);
    expect(await debugged.failing(mode)).toEqual(['write']);
    debugged.faults.set([]);
    expect(await debugged.failing(mode)).toEqual([]);
    expect(debugged.faults.query()).toEqual([]);
  });

  test('rules that are wrong change nothing', async () => {
    const debugged = await DebuggedDisk.open([{ iotype: 'write' }]);
    const error = await driverError(() => debugged.faults.set([{}, { count: 0 }]));
    expect(error.message).toBe('rules[1].count: must be a whole number from 1 to 4294967295, got 0');
    expect(await debugged.failing('sync')).toEqual(['write']);
    expect(debugged.faults.query()[0]!.rule).toEqual({ iotype: 'write' });
  });
});

test('who still works by rules of long ago counts nothing of those in force', () => {
  const memory = new FaultMemory(createFaultMemory());
  memory.write('[1]', 0);
  const { generation } = memory;
  expect(memory.read(generation)).toBe('[1]');
  expect(memory.next(generation, 0, Counter.FIRED, 2)).toBe(0);
  memory.write('[2]', 0);
  // One change later both sets have counters.
  expect(memory.next(generation, 0, Counter.FIRED, 2)).toBe(1);
  expect(memory.next(generation, 0, Counter.FIRED, 2)).toBe(2);
  expect(memory.next(generation, 0, Counter.FIRED, 2)).toBe(2);
  memory.write('[3]', 0);
  expect(memory.next(generation, 0, Counter.FIRED, 2)).toBeUndefined();
  expect(memory.read(generation)).toBeUndefined();
  expect(memory.count(0, Counter.FIRED)).toBe(0);
});

describe('waiting', () => {
  test('a delay alone comes before the request, one with an error before that', async () => {
    const debugged = await DebuggedDisk.open([
      { iotype: 'write', delayNs: 3_000_000, errno: 'ETIMEDOUT' },
      { iotype: 'read', delayNs: 1 },
    ]);
    const { disk } = debugged;
    const write = debugged.write(0);
    const read = debugged.read(0);
    const flush = disk.owner.flush();
    disk.driver.submit([write, read, flush], 3);
    // What no rule is about does not wait for the others.
    expect(disk.owner.done.map(({ request }) => request)).toEqual([flush]);
    await disk.owner.completions(3);
    expect(disk.owner.done.find(({ request }) => request === read)!.status).toBe(VIRTIO_BLK_S_OK);
    expect(disk.owner.done.find(({ request }) => request === write)!.status).toBe(VIRTIO_BLK_S_IOERR);
    expect(write.errorCode).toBe('ETIMEDOUT');
    expect(disk.attended).toBe(2);
  });

  test('is a reason not to do anything synchronously, as long as there are such rules', async () => {
    const { disk, faults } = await DebuggedDisk.open([]);
    expect(disk.driver.asyncOnly).toBe(false);
    for (const rules of [[{ hang: true }], [{}, { delayNs: 5 }]]) {
      faults.set(rules);
      expect(disk.driver.asyncOnly).toBe(true);
      faults.set([{ count: 1 }]);
      expect(disk.driver.asyncOnly).toBe(false);
    }
    // Decided before the rules were there: it may not wait, and does not.
    faults.set([{ hang: true }]);
    expect(await disk.run('sync', disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
  });

  test('what hangs goes on when the rules are changed, as the new ones say', async () => {
    const debugged = await DebuggedDisk.open([{ hang: true, iotype: 'write' }]);
    const { disk, faults } = debugged;
    const [first, second, third] = [debugged.write(1), debugged.write(2), debugged.write(3)] as const;
    disk.driver.submit([first, disk.owner.flush(), second, third], 4);
    expect(disk.owner.done).toHaveLength(1);
    expect(debugged.fired).toEqual([3]);
    faults.set([
      { hang: true, sector: 1 },
      { errno: 'EIO', sector: 2 },
    ]);
    await disk.owner.completions(3);
    expect(disk.owner.done.slice(1)).toEqual([
      { request: second, status: VIRTIO_BLK_S_IOERR },
      { request: third, status: VIRTIO_BLK_S_OK },
    ]);
    faults.set([]);
    await disk.owner.completions(4);
    expect(disk.owner.done[3]).toEqual({ request: first, status: VIRTIO_BLK_S_OK });
  });

  test('one that hangs by the new rules already is not judged twice', async () => {
    const debugged = await DebuggedDisk.open([{ hang: true }]);
    const { disk, faults } = debugged;
    const [old, young] = [debugged.write(1), debugged.write(2)];
    disk.driver.submit([old], 1);
    faults.set([{ hang: true, sector: 2, once: true }]);
    disk.driver.submit([young], 1);
    await disk.owner.completions(1);
    expect(disk.owner.done[0]!.request).toBe(old);
    expect(debugged.fired).toEqual([1]);
    faults.set([]);
    await disk.owner.completions(2);
  });

  test('what the device has given up meanwhile never reaches the disk', async () => {
    const debugged = await DebuggedDisk.open([
      { hang: true, iotype: 'write' },
      { delayNs: 1, iotype: 'discard' },
    ]);
    const { disk, faults, bytes } = debugged;
    disk.memory.write(0, new Uint8Array(512).fill(0xaa));
    const given = debugged.write(0);
    const used = debugged.write(1);
    const late = debugged.ranges(DISCARD, 2);
    disk.driver.submit([given, used, late], 3);
    bytes.fill(0x11);
    given.pending = false;
    late.pending = false;
    // The object is another request's by now.
    used.tag++;
    const last = debugged.write(3);
    disk.driver.submit([last], 1);
    faults.set([]);
    await disk.owner.completions(1);
    expect(disk.owner.done).toEqual([{ request: last, status: VIRTIO_BLK_S_OK }]);
    expectBytes(bytes.subarray(0, 1536), new Uint8Array(1536).fill(0x11));
    expect(disk.owner.twice).toEqual([]);
  });

  test('closing gives up what still waits', async () => {
    const debugged = await DebuggedDisk.open([{ hang: true, sector: 1 }, { delayNs: 20e6 }]);
    debugged.disk.driver.submit([debugged.write(1), debugged.write(2)], 2);
    await debugged.disk.driver.close();
    debugged.faults.set([]);
    await new Promise((resolve) => {
      setTimeout(resolve, 40);
    });
    expect(debugged.disk.owner.done).toEqual([]);
  });
});

describe('over and under other drives', () => {
  test('sectors are those of its own disk, whichever window a request comes through', async () => {
    const contents = pattern(SECTORS * 512);
    const buffer = new SharedArrayBuffer(contents.length);
    new Uint8Array(buffer).set(contents);
    const faults = new FaultRules([{ sector: 12, errno: 'EIO' }]);
    const disk = await TestDisk.open({
      driver: 'raw',
      offset: 8 * 512,
      size: 16 * 512,
      file: {
        driver: 'blkdebug',
        rules: faults,
        image: { driver: 'raw', offset: 2 * 512, file: { driver: 'memory', buffer } },
      },
    });
    expect(disk.driver.geometry.sizeBytes).toBe(16 * 512);
    for (const mode of modes) {
      const fails = async (sector: number): Promise<boolean> =>
        (await disk.run(mode, disk.owner.transfer(READ, sector * 512, [[0, 512]]))) === VIRTIO_BLK_S_IOERR;
      expect([await fails(3), await fails(4), await fails(5)]).toEqual([false, true, false]);
      expectBytes(disk.memory.read(0, 512), contents.subarray(15 * 512, 16 * 512));
    }
  });

  test('is as large as its disk, at any time, and says what that has to say', async () => {
    const filename = image(new Uint8Array(8192));
    const held = await hold({
      driver: 'raw',
      offset: 4096,
      file: { driver: 'blkdebug', image: { driver: 'file', filename, aio: 'native' } },
    });
    expect(held.notices.length).toBeLessThanOrEqual(1);
    expect((await held.resize(8192)).geometry.sizeBytes).toBe(8192);
    expect(held.prepared).toMatchObject({
      driver: 'blkdebug',
      offset: 4096,
      state: { child: { driver: 'file', geometry: { sizeBytes: 12288 } } },
    });
    const disk = await TestDisk.openPrepared(held.prepared);
    expect(await disk.run('async', disk.owner.transfer(READ, 4096, [[0, 4096]]))).toBe(VIRTIO_BLK_S_OK);
    await disk.driver.close();
  });

  test('one over the other: the upper one first', async () => {
    const [upper, lower] = [
      new FaultRules([{ once: true, errno: 'EROFS' }]),
      new FaultRules([{ errno: 'EIO' }]),
    ];
    const below = { driver: 'blkdebug', rules: lower, image: { driver: 'null' } } as const;
    const disk = await TestDisk.open({ driver: 'blkdebug', rules: upper, image: below });
    const codes: string[] = [];
    for (let i = 0; i < 2; i++) {
      const flush = disk.owner.flush();
      await disk.run('async', flush);
      codes.push(flush.errorCode);
    }
    expect(codes).toEqual(['EROFS', 'EIO']);
  });

  test('read-only is handed down', async () => {
    const { prepared } = await hold({ driver: 'blkdebug', image: { driver: 'null' } }, true);
    expect(prepared.geometry).toMatchObject({ readOnly: true, discard: false });
    expect(prepared.state).toMatchObject({ child: { geometry: { readOnly: true } } });
  });

  test('a short one whose beginning fails below fails as that does', async () => {
    const below: DriveOptions = {
      driver: 'blkdebug',
      rules: [{ errno: 'EROFS', once: true }],
      image: { driver: 'null' },
    };
    const disk = await TestDisk.open({ driver: 'blkdebug', rules: [{ shortSectors: 1 }], image: below });
    const codes: string[] = [];
    for (let i = 0; i < 2; i++) {
      const write = disk.owner.transfer(WRITE, 0, [[0, 1024]]);
      expect(await disk.run('async', write)).toBe(VIRTIO_BLK_S_IOERR);
      codes.push(write.errorCode);
    }
    expect(codes).toEqual(['EROFS', 'EIO']);
  });

  test('without rules all goes through, in batches and synchronously', async () => {
    const debugged = await DebuggedDisk.open([]);
    const { disk } = debugged;
    disk.memory.write(0, pattern(4096));
    await disk.runBatch([debugged.write(0, 4), debugged.write(4, 4), disk.owner.flush()]);
    expect(disk.owner.done.map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(await disk.run('sync', debugged.read(0, 4))).toBe(VIRTIO_BLK_S_OK);
    const user = `data:text/javascript,export default { size: 512, pread() {} }`;
    const asynchronous = await TestDisk.open({ driver: 'blkdebug', image: { driver: 'module', url: user } });
    expect(asynchronous.driver.executeSync).toBeUndefined();
    expect(asynchronous.driver.poll).toBeUndefined();
  });
});

test('each failure is told, with the rule that it comes from', async () => {
  const messages = driverErrors();
  const { disk } = await DebuggedDisk.open([{ iotype: 'read' }, { iotype: 'flush', errno: 'ENOSPC' }]);
  await disk.run('async', disk.owner.flush());
  expect(messages).toMatchObject([
    { driver: 'blkdebug', operation: 'FLUSH', error: { code: 'ENOSPC', message: 'injected by rule 1' } },
  ]);
});

describe('a mistake names the rule and the field', () => {
  test.each<[unknown, string]>([
    [{ rules: 5 }, 'drive.rules: must be a list of at most 64 rules, got 5'],
    [
      { rules: Array.from({ length: 65 }, () => ({})) },
      'drive.rules: must be a list of at most 64 rules, got an array',
    ],
    [{ rules: [5] }, 'drive.rules[0]: options of driver "blkdebug" must be an object, got 5'],
    [
      { rules: [{}, { iotype: 'writes' }] },
      'drive.rules[1].iotype: must be one of read, write, write-zeroes, discard, flush, got "writes"',
    ],
    [
      { rules: [{ errno: 'ENOPE' }] },
      'drive.rules[0].errno: must be a number or the name of an error, got "ENOPE"',
    ],
    [{ rules: [{ errno: 999 }] }, 'drive.rules[0].errno: this system has no error of the number 999'],
    [{ rules: [{ probability: 2 }] }, 'drive.rules[0].probability: must be 1 or less, got 2'],
    [{ rules: [{ probability: NaN }] }, 'drive.rules[0].probability: must be a number from 0 to 1, got NaN'],
    [
      { rules: [{ hang: true, errno: 5 }] },
      'drive.rules[0].hang: what hangs does nothing else: leave the delay, the error and the short transfer out',
    ],
    [{ seed: -1 }, 'drive.seed: must be a whole number from 0 to 4294967295, got -1'],
    [{ rules: new FaultRules(), seed: 1 }, 'drive.seed: FaultRules have a seed of their own'],
  ])('%j', async (options, message) => {
    const error = await driverError(() =>
      parseDrive({ driver: 'blkdebug', image: { driver: 'null' }, ...(options as object) }),
    );
    expect(error.code).toBe('ERR_DRIVE_OPTION');
    expect(error.message).toBe(message);
  });

  test('a drive inside itself is refused', async () => {
    const drive: { driver: string; image?: unknown } = { driver: 'blkdebug' };
    drive.image = { driver: 'raw', file: drive };
    expect((await driverError(() => parseDrive(drive))).message).toMatch(
      /more than 16 drives inside each other$/,
    );
  });

  test('what is refused leaves the disk below closed', async () => {
    const filename = image(new Uint8Array(4096));
    const file = { driver: 'file', filename } as const;
    await driverError(() => holdDrive({ driver: 'blkdebug', image: file, rules: [{ count: 0 }] }));
    await (await hold({ driver: 'blkdebug', image: file })).close();
    await hold({ driver: 'blkdebug', image: file });
  });
});
