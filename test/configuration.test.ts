// Every mistake of a configuration is one clear error that names the field, and nothing starts.
import { DEFAULT_POLLING } from '@iothreads/core';
import { type Configuration, IOThreadRuntime } from '@iothreads/iothread';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';
import { createMemory, Guest } from './support/guest.js';

const memory = createMemory();
const half = new SharedArrayBuffer(0x1_0000);
const drive = { driver: 'null' } as const;
const missing = join(tmpdir(), 'iothreads-no-such-directory', 'disk.img');

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-configuration-'));
  writeFileSync(join(directory, 'odd.img'), 'not a multiple of 512');
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** A configuration whose one device differs from a good one in `fields`; whatever those are. */
const withDevice = (fields: Readonly<Record<string, unknown>>): Configuration => ({
  iothreads: [{ id: 'io0' }, { id: 'io1' }],
  devices: [{ id: 'vda', iothread: 'io0', drive, memory, ...fields }],
});

/** The same with its queues spread by `mapping`. */
const withMapping = (mapping: unknown, numQueues = 2): Configuration =>
  withDevice({ iothread: undefined, iothreadVqMapping: mapping, numQueues });

const anything = (value: unknown): Configuration => value as Configuration;

interface Mistake {
  readonly what: string;
  readonly configuration: Configuration;
  readonly code: string;
  readonly message: string;
}

const CONFIG = 'ERR_CONFIG';
const UNKNOWN = 'ERR_UNKNOWN_IOTHREAD';
const DUPLICATE = 'ERR_DUPLICATE_ID';
const DRIVE = 'ERR_DRIVE_OPTION';

const mistakes: readonly (readonly [string, Configuration, string, string])[] = [
  // The whole
  ['null', anything(null), CONFIG, 'configuration: must be Object, got null'],
  ['a list', anything('io0'), CONFIG, 'configuration: must be Object, got "io0"'],
  ['an unknown part', anything({ disks: [] }), CONFIG, 'disks: unknown option'],
  ['iothreads no list', anything({ iothreads: 'io0' }), CONFIG, 'iothreads: must be Array, got "io0"'],
  ['devices no list', anything({ devices: {} }), CONFIG, 'devices: must be Array, got Object'],
  // Iothreads
  [
    'an iothread as a string',
    anything({ iothreads: ['io0'] }),
    CONFIG,
    'iothreads[0]: must be Object, got "io0"',
  ],
  ['an iothread without id', anything({ iothreads: [{}] }), CONFIG, 'iothreads[0].id: is missing'],
  [
    'an id that is no id',
    { iothreads: [{ id: 'io0' }, { id: '1st' }] },
    CONFIG,
    'iothreads[1].id: must be a letter and then letters, digits, - . or _',
  ],
  [
    'an unknown option of an iothread',
    anything({ iothreads: [{ id: 'io0', pollMax: 1 }] }),
    CONFIG,
    'iothreads[0].pollMax: unknown option',
  ],
  [
    'a negative polling time',
    { iothreads: [{ id: 'io0', pollMaxNs: -1 }] },
    CONFIG,
    'iothreads[0].pollMaxNs: must be an integer from 0 to 1000000000',
  ],
  [
    'a polling time that is text',
    anything({ iothreads: [{ id: 'io0', pollMaxNs: '32768' }] }),
    CONFIG,
    'iothreads[0].pollMaxNs: must be number, got "32768"',
  ],
  [
    'half a factor',
    { iothreads: [{ id: 'io0', pollGrow: 1.5 }] },
    CONFIG,
    'iothreads[0].pollGrow: must be an integer from 0 to 1000',
  ],
  [
    'two iothreads of one name',
    { iothreads: [{ id: 'io0' }, { id: 'io0' }] },
    DUPLICATE,
    "iothreads[1].id: there is already an iothread 'io0'",
  ],
  [
    'an iothread that exists',
    { iothreads: [{ id: 'existing' }] },
    DUPLICATE,
    "iothreads[0].id: there is already an iothread 'existing'",
  ],
  // Which iothread
  [
    'an unknown iothread',
    withDevice({ iothread: 'io9' }),
    UNKNOWN,
    "devices[0].iothread: there is no iothread 'io9'",
  ],
  [
    'no iothread',
    withDevice({ iothread: undefined }),
    CONFIG,
    'devices[0]: give either iothread or iothreadVqMapping',
  ],
  [
    'an iothread and a mapping',
    withDevice({ iothreadVqMapping: [{ iothread: 'io1' }] }),
    CONFIG,
    'devices[0]: give either iothread or iothreadVqMapping',
  ],
  [
    'an iothread by number',
    withDevice({ iothread: 0 }),
    CONFIG,
    'devices[0].iothread: must be string, got 0',
  ],
  [
    'an empty mapping',
    withMapping([]),
    CONFIG,
    'devices[0].iothreadVqMapping: must name at least one iothread',
  ],
  [
    'an unknown iothread in a mapping',
    withMapping([{ iothread: 'io0' }, { iothread: 'io9' }]),
    UNKNOWN,
    "devices[0].iothreadVqMapping[1].iothread: there is no iothread 'io9'",
  ],
  [
    'an iothread twice in a mapping',
    withMapping([{ iothread: 'io0' }, { iothread: 'io0' }]),
    CONFIG,
    "devices[0].iothreadVqMapping[1].iothread: 'io0' is named twice",
  ],
  [
    'a queue mapped twice',
    withMapping([
      { iothread: 'io0', vqs: [0, 1] },
      { iothread: 'io1', vqs: [1] },
    ]),
    CONFIG,
    'devices[0].iothreadVqMapping[1].vqs: queue 1 is mapped twice',
  ],
  [
    'a queue mapped twice to the same iothread',
    withMapping([{ iothread: 'io0', vqs: [0, 1, 0] }]),
    CONFIG,
    'devices[0].iothreadVqMapping[0].vqs: queue 0 is mapped twice',
  ],
  [
    'a queue not mapped',
    withMapping(
      [
        { iothread: 'io0', vqs: [0] },
        { iothread: 'io1', vqs: [2] },
      ],
      3,
    ),
    CONFIG,
    'devices[0].iothreadVqMapping: queue 1 is not mapped',
  ],
  [
    'a queue out of range',
    withMapping([{ iothread: 'io0', vqs: [0, 1, 2] }]),
    CONFIG,
    'devices[0].iothreadVqMapping[0].vqs: there is no queue 2, numQueues is 2',
  ],
  [
    'a negative queue',
    withMapping([{ iothread: 'io0', vqs: [-1] }]),
    CONFIG,
    'devices[0].iothreadVqMapping[0].vqs[0]: must be an integer from 0 to 65535',
  ],
  [
    'an iothread without a queue',
    withMapping([
      { iothread: 'io0', vqs: [0, 1] },
      { iothread: 'io1', vqs: [] },
    ]),
    CONFIG,
    'devices[0].iothreadVqMapping[1].vqs: names no queue',
  ],
  [
    'queues named in one entry alone',
    withMapping([{ iothread: 'io0', vqs: [0] }, { iothread: 'io1' }]),
    CONFIG,
    'devices[0].iothreadVqMapping: give vqs in every entry or in none',
  ],
  [
    'more iothreads than queues',
    withMapping([{ iothread: 'io0' }, { iothread: 'io1' }], 1),
    CONFIG,
    'devices[0].iothreadVqMapping: 2 iothreads for only 1 queues',
  ],
  [
    'an unknown option of a mapping',
    withMapping([{ iothread: 'io0', queues: [0] }]),
    CONFIG,
    'devices[0].iothreadVqMapping[0].queues: unknown option',
  ],
  // Devices
  ['a device without id', withDevice({ id: undefined }), CONFIG, 'devices[0].id: is missing'],
  [
    'two devices of one name',
    {
      iothreads: [{ id: 'io0' }],
      devices: [
        { id: 'vda', iothread: 'io0', drive, memory },
        { id: 'vda', iothread: 'io0', drive, memory },
      ],
    },
    DUPLICATE,
    "devices[1].id: there is already a device 'vda'",
  ],
  [
    'a device that exists',
    withDevice({ id: 'present' }),
    DUPLICATE,
    "devices[0].id: there is already a device 'present'",
  ],
  ['an unknown option', withDevice({ sync: true }), CONFIG, 'devices[0].sync: unknown option'],
  [
    'no queue',
    withDevice({ numQueues: 0 }),
    CONFIG,
    'devices[0].numQueues: must be an integer from 1 to 256',
  ],
  [
    'too many queues',
    withDevice({ numQueues: 257 }),
    CONFIG,
    'devices[0].numQueues: must be an integer from 1 to 256',
  ],
  [
    'a queue size that is no power of two',
    withDevice({ queueSize: 100 }),
    CONFIG,
    'devices[0].queueSize: must be a power of two',
  ],
  [
    'a queue size of 2',
    withDevice({ queueSize: 2 }),
    CONFIG,
    'devices[0].queueSize: must be an integer from 4 to 32768',
  ],
  [
    'a queue size of 65536',
    withDevice({ queueSize: 65536 }),
    CONFIG,
    'devices[0].queueSize: must be an integer from 4 to 32768',
  ],
  [
    'a serial that is too long',
    withDevice({ serial: 'a serial number of 26 chars' }),
    CONFIG,
    'devices[0].serial: at most 20 bytes, got 27',
  ],
  [
    'a serial whose bytes are too many',
    withDevice({ serial: 'ééééééééééé' }),
    CONFIG,
    'devices[0].serial: at most 20 bytes, got 22',
  ],
  [
    'readOnly as text',
    withDevice({ readOnly: 'yes' }),
    CONFIG,
    'devices[0].readOnly: must be boolean, got "yes"',
  ],
  [
    'a block size that is none',
    withDevice({ logicalBlockSize: 513 }),
    CONFIG,
    'devices[0].logicalBlockSize: must be (512 | 1024 | 2048 | 4096), got 513',
  ],
  [
    'no time to drain',
    withDevice({ drainTimeoutMs: 0 }),
    CONFIG,
    'devices[0].drainTimeoutMs: must be an integer from 1 to 3600000',
  ],
  // Memory
  [
    'no memory',
    withDevice({ memory: undefined }),
    CONFIG,
    'devices[0].memory: must be a SharedArrayBuffer, an array of memory regions, or an object with a function buffer',
  ],
  [
    'memory that is not shared',
    withDevice({ memory: new ArrayBuffer(65536) }),
    CONFIG,
    'devices[0].memory: must be a SharedArrayBuffer, an array of memory regions, or an object with a function buffer',
  ],
  [
    'bounced memory with a number of slots that is no power of two',
    withDevice({ memory: { buffer: () => new ArrayBuffer(65536), slots: 3 } }),
    CONFIG,
    'devices[0].memory: slots must be a power of two from 1 to 256, got 3',
  ],
  [
    'bounced memory with a region beyond its buffer',
    withDevice({
      memory: {
        buffer: () => new ArrayBuffer(65536),
        regions: [{ guestAddress: 0, byteOffset: 4096, size: 65536 }],
      },
    }),
    CONFIG,
    'devices[0].memory: size must be 1 to 61440 bytes for this buffer and byteOffset, got 65536',
  ],
  [
    'a way of completion that there is none of',
    withDevice({ completion: 'poll' }),
    CONFIG,
    'devices[0].completion: must be ("wake" | "pull"), got "poll"',
  ],
  [
    'a region that is not shared',
    withDevice({
      memory: [
        { guestAddress: 0, buffer: half },
        { guestAddress: 0x1_0000, buffer: new ArrayBuffer(8) },
      ],
    }),
    CONFIG,
    'devices[0].memory[1].buffer: must be a SharedArrayBuffer: iothreads work in guest memory themselves',
  ],
  [
    'a region that is nothing',
    withDevice({ memory: [null] }),
    CONFIG,
    'devices[0].memory[0].buffer: must be a SharedArrayBuffer: iothreads work in guest memory themselves',
  ],
  [
    'regions that overlap',
    withDevice({
      memory: [
        { guestAddress: 0, buffer: half },
        { guestAddress: 0x8000, buffer: half },
      ],
    }),
    CONFIG,
    'devices[0].memory: regions at 0 and 32768 overlap',
  ],
  [
    'no region',
    withDevice({ memory: [] }),
    CONFIG,
    'devices[0].memory: guest memory needs 1 to 512 regions, got 0',
  ],
  [
    'a region at an odd address',
    withDevice({ memory: [{ guestAddress: 3, buffer: half }] }),
    CONFIG,
    'devices[0].memory: guestAddress must be a multiple of 8, got 3',
  ],
  // Drives
  [
    'no drive',
    withDevice({ drive: undefined }),
    DRIVE,
    'devices[0].drive: must be an object with the field "driver", got undefined',
  ],
  [
    'an unknown driver',
    withDevice({ drive: { driver: 'floppy' } }),
    DRIVE,
    'devices[0].drive.driver: unknown driver "floppy" (known: file, memory, module, null, raw, blkdebug, blklogwrites)',
  ],
  [
    'an unknown option of a driver',
    withDevice({ drive: { driver: 'null', latency: 30 } }),
    DRIVE,
    'devices[0].drive.latency: unknown option of driver "null" (known: size, latencyNs, readZeroes)',
  ],
  [
    'a size that is no multiple of 512',
    withDevice({ drive: { driver: 'memory', size: 1000 } }),
    DRIVE,
    'devices[0].drive.size: must be a positive multiple of 512 (bytes), got 1000',
  ],
  [
    'a file without a name',
    withDevice({ drive: { driver: 'file' } }),
    DRIVE,
    'devices[0].drive.filename: required by driver "file"',
  ],
];

const table: Mistake[] = mistakes.map(([what, configuration, code, message]) => ({
  what,
  configuration,
  code,
  message,
}));

let runtime: IOThreadRuntime;

beforeEach(() => {
  runtime = new IOThreadRuntime();
});

afterEach(async () => {
  await runtime.close();
});

test.runIf(process.platform === 'linux')(
  'what is done in another way than was asked for is told',
  async () => {
    const filename = join(directory, 'disk.img');
    writeFileSync(filename, new Uint8Array(1 << 20));
    await using own = new IOThreadRuntime();
    const notices: [string, string][] = [];
    own.on('notice', (id, message) => notices.push([id, message]));
    await own.addIOThread({ id: 'io0' });
    const native = { driver: 'file', filename, aio: 'native' } as const;
    await own.addDevice({ id: 'vda', iothread: 'io0', drive: native, memory: half });
    expect(notices).toEqual([['vda', `${filename}: aio=native is served by io_uring`]]);
  },
);

describe('a mistake in one field', () => {
  // An iothread and a device that are there already cost a worker: once for the whole table.
  test('is one error that names it; nothing starts and no id is taken', async () => {
    await runtime.configure({
      iothreads: [{ id: 'existing' }],
      devices: [{ id: 'present', iothread: 'existing', drive, memory }],
    });
    for (const { what, configuration, code, message } of table) {
      const error = await runtime.configure(configuration).then(
        () => undefined,
        (thrown: unknown) => thrown as Error & { code: string },
      );
      expect({ what, code: error?.code, message: error?.message }).toEqual({ what, code, message });
      const reports = await runtime.queryIOThreads();
      expect(
        reports.map(({ id, devices }) => ({ id, devices })),
        what,
      ).toEqual([{ id: 'existing', devices: ['present'] }]);
      expect((await runtime.queryBlockStats()).map(({ id }) => id)).toEqual(['present']);
    }
    await runtime.configure(withDevice({}));
    expect((await runtime.queryIOThreads()).map(({ id }) => id)).toEqual(['existing', 'io0', 'io1']);
  });

  test('starts no worker, not even for a moment', async () => {
    const workers: unknown[] = [];
    const count = (worker: unknown): unknown => workers.push(worker);
    process.on('worker', count);
    try {
      for (const { configuration, code } of table) {
        if (code === DUPLICATE) continue;
        await expect(runtime.configure(configuration)).rejects.toMatchObject({ code });
      }
      await expect(
        runtime.configure(withDevice({ drive: { driver: 'file', filename: missing } })),
      ).rejects.toMatchObject({ code: 'ENOENT' });
      expect(workers).toHaveLength(0);
      // The counter counts.
      await runtime.addIOThread({ id: 'io0' });
      expect(workers).toHaveLength(1);
    } finally {
      process.off('worker', count);
    }
  });

  test('is found in addIOThread and addDevice as well', async () => {
    await expect(runtime.addIOThread({ id: '' })).rejects.toMatchObject({
      code: CONFIG,
      message: 'iothreads[0].id: must be a letter and then letters, digits, - . or _',
    });
    await expect(runtime.addDevice({ id: 'vda', iothread: 'io0', drive, memory })).rejects.toMatchObject({
      code: UNKNOWN,
      message: "devices[0].iothread: there is no iothread 'io0'",
    });
  });
});

describe('a disk that can not be used', () => {
  test('a missing file', async () => {
    const configuration = withDevice({ drive: { driver: 'file', filename: missing } });
    await expect(runtime.configure(configuration)).rejects.toMatchObject({
      name: 'BlockDriverError',
      code: 'ENOENT',
      message: expect.stringContaining(missing) as unknown,
    });
    expect(await runtime.queryIOThreads()).toEqual([]);
  });

  test('a file of an odd size, the second of three: none is added', async () => {
    const filename = join(directory, 'odd.img');
    const device = { iothread: 'io0', memory } as const;
    await expect(
      runtime.configure({
        iothreads: [{ id: 'io0' }],
        devices: [
          { ...device, id: 'vda', drive },
          { ...device, id: 'vdb', drive: { driver: 'file', filename } },
          { ...device, id: 'vdc', drive },
        ],
      }),
    ).rejects.toMatchObject({
      code: 'ERR_DRIVE_SIZE',
      message: expect.stringContaining(filename) as unknown,
    });
    expect(await runtime.queryIOThreads()).toEqual([]);
    await runtime.configure({ iothreads: [{ id: 'io0' }], devices: [{ ...device, id: 'vda', drive }] });
  });
});

describe('what comes at the same time', () => {
  test('two calls that want the same ids: one gets them', async () => {
    const outcomes = await Promise.allSettled([
      runtime.configure(withDevice({})),
      runtime.configure(withDevice({})),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(outcomes[1]).toMatchObject({ reason: { code: DUPLICATE } });
    expect((await runtime.queryIOThreads()).map(({ id }) => id)).toEqual(['io0', 'io1']);
  });

  test('more iothreads than there can be, one call each: refused before one is started', async () => {
    const some = Array.from({ length: 200 }, (_, i) => ({ id: `a${i}` }));
    const more = Array.from({ length: 57 }, (_, i) => ({ id: `b${i}` }));
    // The first is refused after a moment: until then its ids are taken.
    const first = runtime.configure({
      iothreads: some,
      devices: [{ id: 'vda', iothread: 'a0', memory, drive: { driver: 'file', filename: missing } }],
    });
    const refused = expect(first).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(runtime.configure({ iothreads: more })).rejects.toMatchObject({
      code: CONFIG,
      message: 'iothreads: at most 256 can exist at a time',
    });
    await refused;
    expect(await runtime.queryIOThreads()).toEqual([]);
  });
});

describe('a good configuration', () => {
  test('fills in the defaults, and gives the devices in their order', async () => {
    const [vdb, vda] = await runtime.configure({
      iothreads: [{ id: 'io0' }, { id: 'io1', pollMaxNs: 0, pollGrow: 3, pollShrink: 2 }],
      devices: [
        {
          id: 'vdb',
          iothreadVqMapping: [{ iothread: 'io1' }, { iothread: 'io0' }],
          numQueues: 3,
          drive,
          memory,
        },
        { id: 'vda', iothread: 'io0', drive, memory: createMemory(), queueSize: 64 },
      ],
    });
    expect([vdb!.id, vda!.id]).toEqual(['vdb', 'vda']);
    expect([vdb!.virtio.numQueues, vdb!.virtio.maxQueueSize]).toEqual([3, 256]);
    expect([vda!.virtio.numQueues, vda!.virtio.maxQueueSize]).toEqual([1, 64]);
    expect(vdb!.iothreads).toEqual(['io1', 'io0']);
    const reports = await runtime.queryIOThreads();
    expect(reports).toMatchObject([
      { id: 'io0', alive: true, ...DEFAULT_POLLING, devices: ['vdb', 'vda'] },
      { id: 'io1', alive: true, pollMaxNs: 0, pollGrow: 3, pollShrink: 2, devices: ['vdb'] },
    ]);
    for (const { threadId } of reports) expect(threadId).toBeGreaterThan(0);
  });

  test('the serial is what GET_ID answers: the id by default', async () => {
    const ids = { vda: undefined, vdb: 'A serial of 20 bytes' };
    await runtime.addIOThread({ id: 'io0' });
    for (const [id, serial] of Object.entries(ids)) {
      const ram = createMemory();
      const device = await runtime.addDevice({
        id,
        iothread: 'io0',
        drive,
        memory: ram,
        ...(serial === undefined ? {} : { serial }),
      });
      const guest = await Guest.start(device, ram);
      const { data } = await guest.queue.request(8, 0, 20);
      expect(Buffer.from(data).toString()).toBe((serial ?? id).padEnd(20, '\0'));
    }
  });
});
