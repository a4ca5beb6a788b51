// A machine, written as one object in QEMU's names, becomes what it says; and editors learn from its schema what the check
// refuses.
import { VIRTIO_BLK_S_IOERR } from '@iothreads/core';
import { type IOThreadError, IOThreadRuntime, type Machine, machineConfiguration } from '@iothreads/iothread';
import { Ajv } from 'ajv';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { fixture } from './support/fixture.js';
import { allocatorOf, Guest } from './support/guest.js';
import { type ExpectedDevice, goodMachines, IMAGE_BYTES, removeImages } from './support/machines.js';

const schemaFile = createRequire(import.meta.url).resolve('@iothreads/iothread/machine.schema.json');
const schemaText = readFileSync(schemaFile, 'utf8');
// Some of its keywords stand where the type is known from around them.
const matchesSchema = new Ajv({ strictTypes: false }).compile(JSON.parse(schemaText) as object);

const memory = new SharedArrayBuffer(64 << 20);
const VIRTIO_BLK_T_OUT = 1;
const VIRTIO_BLK_T_GET_ID = 8;
const SECTOR = 8;
const REQUEST_BYTES = 4096;

afterAll(removeImages);

describe('a good machine', () => {
  test.each(goodMachines)('$what', async ({ machine, iothreads, devices }) => {
    expect(matchesSchema(machine), JSON.stringify(matchesSchema.errors)).toBe(true);
    await using runtime = new IOThreadRuntime();
    const made = await runtime.configure(machineConfiguration(machine, { memory }));
    const reports = await runtime.queryIOThreads();
    const reported = reports.map(({ id, devices: attached, syncAllowed, pollMaxNs }) => [
      id,
      { devices: attached, syncAllowed, pollMaxNs },
    ]);
    const wanted = Object.entries(iothreads).map(([id, iothread]) => [id, { pollMaxNs: 32768, ...iothread }]);
    expect(reported).toEqual(wanted);
    expect(made.map(({ id }) => id)).toEqual(Object.keys(devices));
    const allocator = allocatorOf(memory);
    for (const device of made) {
      const expected = devices[device.id]!;
      expect(device.iothreads).toEqual(expected.iothreads);
      const guest = new Guest(device, memory, allocator);
      await guest.start({ depth: 1 });
      expect(configOf(guest)).toEqual({
        sectors: (expected.size ?? IMAGE_BYTES) / 512,
        blockSize: expected.blockSize ?? 512,
        numQueues: expected.numQueues ?? 1,
        queueSize: expected.queueSize ?? 256,
        readOnly: expected.readOnly ?? false,
      });
      const { data } = await guest.queue.request(VIRTIO_BLK_T_GET_ID, 0, 20);
      expect(Buffer.from(data).toString()).toBe((expected.serial ?? device.id).padEnd(20, '\0'));
      await serves(guest, expected);
    }
    const stats = await runtime.queryBlockStats();
    expect(stats.map(({ id, iothreads: places }) => [id, places])).toEqual(
      Object.entries(devices).map(([id, expected]) => [id, expected.iothreads]),
    );
  });

  test('becomes a configuration, word for word', () => {
    const machine: Machine = {
      iothreads: [{ id: 'io0', 'poll-max-ns': 1, 'poll-grow': 2, 'poll-shrink': 3 }, { id: 'io1' }],
      drives: [
        {
          id: 'd0',
          driver: 'raw',
          cache: { direct: true },
          discard: 'unmap',
          file: {
            driver: 'file',
            filename: 'a.img',
            aio: 'native',
            locking: 'off',
            cache: { 'no-flush': true },
          },
          size: 512,
        },
        { id: 'd1', driver: 'null-aio', size: 1024, 'latency-ns': 5, 'read-zeroes': true, 'read-only': true },
        { id: 'd2', driver: 'module', url: './disk.mjs', options: { a: [1] } },
      ],
      devices: [
        { id: 'vda', drive: 'd0', iothread: 'io0', 'num-queues': 2, 'queue-size': 8, serial: 's' },
        { id: 'vdb', drive: 'd1', 'iothread-vq-mapping': [{ iothread: 'io1', vqs: [0] }] },
        { id: 'vdc', drive: 'd2', iothread: 'io1', 'logical-block-size': 1024 },
      ],
    };
    const defaults = {
      memory,
      completion: 'wake',
      numQueues: 1,
      queueSize: 256,
      logicalBlockSize: 512,
      readOnly: false,
    };
    expect(machineConfiguration(machine, { memory })).toEqual({
      iothreads: [
        { id: 'io0', pollMaxNs: 1, pollGrow: 2, pollShrink: 3 },
        { id: 'io1', pollMaxNs: 32768, pollGrow: 0, pollShrink: 2 },
      ],
      devices: [
        {
          ...defaults,
          id: 'vda',
          iothread: 'io0',
          drive: {
            driver: 'raw',
            file: {
              driver: 'file',
              filename: 'a.img',
              aio: 'native',
              locking: 'off',
              cacheDirect: true,
              cacheNoFlush: true,
              discard: 'unmap',
            },
            size: 512,
          },
          numQueues: 2,
          queueSize: 8,
          serial: 's',
        },
        {
          ...defaults,
          id: 'vdb',
          iothreadVqMapping: [{ iothread: 'io1', vqs: [0] }],
          drive: { driver: 'null', size: 1024, latencyNs: 5, readZeroes: true },
          readOnly: true,
        },
        {
          ...defaults,
          id: 'vdc',
          iothread: 'io1',
          drive: { driver: 'module', url: './disk.mjs', options: { a: [1] } },
          logicalBlockSize: 1024,
        },
      ],
    });
  });
});

/** What the driver reads of the device before it uses it. */
function configOf({ device: { virtio } }: Guest): object {
  const bytes = new Uint8Array(60);
  virtio.config.read(0, bytes);
  const view = new DataView(bytes.buffer);
  return {
    sectors: Number(view.getBigUint64(0, true)),
    blockSize: view.getUint32(20, true),
    numQueues: view.getUint16(34, true),
    queueSize: virtio.maxQueueSize,
    // VIRTIO_BLK_F_RO
    readOnly: ((virtio.offeredFeatures >> 5n) & 1n) === 1n,
  };
}

/** Each of its queues serves a request, and the disk is what it is said to be. */
async function serves(guest: Guest, { readOnly = false, holds = true }: ExpectedDevice): Promise<void> {
  for (const [index, queue] of guest.queues.entries()) {
    const bytes = new Uint8Array(REQUEST_BYTES).fill(index + 1);
    const sector = SECTOR * (index + 1);
    if (readOnly) {
      expect((await queue.request(VIRTIO_BLK_T_OUT, sector, bytes)).status).toBe(VIRTIO_BLK_S_IOERR);
    } else await queue.write(sector, bytes);
    const read = await queue.read(sector, REQUEST_BYTES);
    if (readOnly) expect(read.every((byte) => byte === 0)).toBe(true);
    else if (holds) expect(Buffer.compare(read, bytes)).toBe(0);
  }
}

const CONFIG = 'ERR_CONFIG';
const DUPLICATE = 'ERR_DUPLICATE_ID';
const UNKNOWN_IOTHREAD = 'ERR_UNKNOWN_IOTHREAD';
const UNKNOWN_DRIVE = 'ERR_UNKNOWN_DRIVE';

const d0 = { id: 'd0', driver: 'null-co' };
const vda = { id: 'vda', drive: 'd0', iothread: 'io0' };
const good = { iothreads: [{ id: 'io0' }, { id: 'io1' }], drives: [d0], devices: [vda] };

/** A machine whose one device, or drive, differs from a good one. */
const withDevice = (fields: object): object => ({ ...good, devices: [{ ...vda, ...fields }] });
const withDrive = (fields: object): object => ({ ...good, drives: [{ ...d0, ...fields }] });
const withIOThread = (fields: object): object => ({ ...good, iothreads: [...good.iothreads, fields] });
const withFile = (fields: object): object => ({
  ...good,
  drives: [{ id: 'd0', driver: 'file', filename: 'a.img', ...fields }],
});
const withMapping = (mapping: unknown, queues = 2): object => ({
  ...good,
  devices: [{ id: 'vda', drive: 'd0', 'iothread-vq-mapping': mapping, 'num-queues': queues }],
});
const nested = (depth: number): object =>
  depth === 0 ? { driver: 'null-co' } : { driver: 'raw', file: nested(depth - 1) };
const endless: { driver: string; id: string; file?: unknown } = { driver: 'raw', id: 'd0' };
endless.file = endless;
const chain = (length: number): object => ({
  ...good,
  drives: [
    ...Array.from({ length }, (_, index) => ({ id: `d${index}`, driver: 'raw', file: `d${index + 1}` })),
    { id: `d${length}`, driver: 'null-co' },
  ],
});

type Mistake = readonly [what: string, machine: unknown, code: string, message: string];

const COMMON = 'read-only, discard, cache, force-share, detect-zeroes';
const DRIVERS = 'file, raw, null-co, null-aio, memory';

const ERRORS =
  'EIO, ENOSPC, EROFS, EDQUOT, EFBIG, EPERM, EACCES, EAGAIN, EBADF, EBUSY, EINTR, EINVAL, ENODEV, ENOMEM, ENOTSUP, ENXIO, ESTALE, ETIMEDOUT';

const withRule = (rule: object): object => ({
  ...good,
  drives: [{ id: 'd0', driver: 'blkdebug', image: { driver: 'null-co' }, 'inject-error': [rule] }],
});

/** What a schema can express: editors show it. */
const mistakesOfForm: readonly Mistake[] = [
  // The whole
  ['null', null, CONFIG, 'machine: must be an object, got null'],
  ['text', '{}', CONFIG, 'machine: must be an object, got "{}"'],
  [
    'an unknown part',
    { disks: [] },
    CONFIG,
    'disks: unknown option (known: $schema, iothreads, drives, devices)',
  ],
  ['a misspelt part', { iothread: [] }, CONFIG, 'iothread: unknown option, did you mean iothreads?'],
  ['no list', { ...good, devices: vda }, CONFIG, 'devices: must be a list, got an object'],
  // Faults
  [
    'a misspelt option of a rule',
    withRule({ iotyp: 'read' }),
    CONFIG,
    'drives[0].inject-error[0].iotyp: unknown option, did you mean iotype?',
  ],
  [
    'an error that is none',
    withRule({ errno: 'ENOPE' }),
    CONFIG,
    `drives[0].inject-error[0].errno: must be the number of an error, or one of ${ERRORS}, got "ENOPE"`,
  ],
  [
    'a chance above 1',
    withRule({ probability: 1.5 }),
    CONFIG,
    'drives[0].inject-error[0].probability: must be a number from 0 to 1, got 1.5',
  ],
  [
    "an event of QEMU's",
    withRule({ event: 'read_aio' }),
    CONFIG,
    'drives[0].inject-error[0].event: must be none, got "read_aio"',
  ],
  // Iothreads
  [
    'an iothread that is its name',
    { iothreads: ['io0'] },
    CONFIG,
    'iothreads[0]: must be an object, got "io0"',
  ],
  ['an iothread without id', withIOThread({}), CONFIG, 'iothreads[2].id: is missing'],
  [
    'an id that is none',
    withIOThread({ id: '1st' }),
    CONFIG,
    'iothreads[2].id: must be a letter and then letters, digits, - . or _, got "1st"',
  ],
  [
    'the camel-case name',
    withIOThread({ id: 'io2', pollMaxNs: 1 }),
    CONFIG,
    'iothreads[2].pollMaxNs: unknown option, did you mean poll-max-ns?',
  ],
  [
    'seconds for nanoseconds',
    withIOThread({ id: 'io2', 'poll-max-ns': 0.5 }),
    CONFIG,
    'iothreads[2].poll-max-ns: must be an integer, from 0 to 1000000000, got 0.5',
  ],
  [
    'polling for ever',
    withIOThread({ id: 'io2', 'poll-max-ns': 1e10 }),
    CONFIG,
    'iothreads[2].poll-max-ns: must be an integer, from 0 to 1000000000, got 10000000000',
  ],
  // Drives
  ['a drive without id', { ...good, drives: [{ driver: 'null-co' }] }, CONFIG, 'drives[0].id: is missing'],
  [
    'a drive without driver',
    { ...good, drives: [{ id: 'd0' }] },
    CONFIG,
    `drives[0].driver: is missing (known: ${DRIVERS}, module, blkdebug, blklogwrites)`,
  ],
  [
    'an unknown driver',
    withDrive({ driver: 'qcow2' }),
    CONFIG,
    `drives[0].driver: must be ${DRIVERS}, module, blkdebug or blklogwrites, got "qcow2"`,
  ],
  ['a drive that is its name', { ...good, drives: ['d0'] }, CONFIG, 'drives[0]: must be an object, got "d0"'],
  [
    'an option of another driver',
    withDrive({ filename: 'a.img' }),
    CONFIG,
    `drives[0].filename: unknown option (known: driver, id, ${COMMON}, size, latency-ns, read-zeroes)`,
  ],
  [
    'a name of everybody’s',
    withDrive({ toString: 1 }),
    CONFIG,
    `drives[0].toString: unknown option (known: driver, id, ${COMMON}, size, latency-ns, read-zeroes)`,
  ],
  [
    'a misspelt option',
    withDrive({ latency: 1 }),
    CONFIG,
    'drives[0].latency: unknown option, did you mean latency-ns?',
  ],
  [
    'a file without name',
    { ...good, drives: [{ id: 'd0', driver: 'file' }] },
    CONFIG,
    'drives[0].filename: is missing',
  ],
  ['a file of no name', withFile({ filename: '' }), CONFIG, 'drives[0].filename: must be a path, got ""'],
  [
    'the command line’s on',
    withFile({ cache: { direct: 'on' } }),
    CONFIG,
    'drives[0].cache.direct: must be true or false, got "on"',
  ],
  [
    'the command line’s dots',
    withFile({ 'cache.direct': true }),
    CONFIG,
    `drives[0].cache.direct: unknown option (known: driver, id, ${COMMON}, filename, aio, locking)`,
  ],
  [
    'a misspelt part of cache',
    withFile({ cache: { dircet: true } }),
    CONFIG,
    'drives[0].cache.dircet: unknown option, did you mean direct?',
  ],
  [
    'an unknown word',
    withFile({ aio: 'posix' }),
    CONFIG,
    'drives[0].aio: must be threads, native or io_uring, got "posix"',
  ],
  [
    'what is not there',
    withFile({ 'detect-zeroes': 'on' }),
    CONFIG,
    "drives[0].detect-zeroes: can't be switched on: nothing looks for zeroes here; leave it out",
  ],
  [
    'a size that is no multiple of 512',
    withDrive({ size: 1000 }),
    CONFIG,
    'drives[0].size: must be a positive multiple of 512 (bytes), got 1000',
  ],
  [
    'a size of nothing',
    withDrive({ size: 0 }),
    CONFIG,
    'drives[0].size: must be a positive multiple of 512 (bytes), got 0',
  ],
  [
    'a size with a unit',
    withDrive({ size: '1G' }),
    CONFIG,
    'drives[0].size: must be an integer, 0 or more, got "1G"',
  ],
  [
    'memory without size',
    { ...good, drives: [{ id: 'd0', driver: 'memory' }] },
    CONFIG,
    'drives[0].size: is missing',
  ],
  [
    'a window onto nothing',
    { ...good, drives: [{ id: 'd0', driver: 'raw' }] },
    CONFIG,
    'drives[0].file: is missing',
  ],
  [
    'a mistake in a drive in place',
    {
      ...good,
      drives: [{ id: 'd0', driver: 'raw', file: { driver: 'raw', file: { driver: 'memory', size: 1 } } }],
    },
    CONFIG,
    'drives[0].file.file.size: must be a positive multiple of 512 (bytes), got 1',
  ],
  [
    'a drive in place with a name',
    { ...good, drives: [{ id: 'd0', driver: 'raw', file: d0 }] },
    CONFIG,
    `drives[0].file.id: unknown option (known: driver, ${COMMON}, size, latency-ns, read-zeroes)`,
  ],
  [
    'an odd offset',
    { ...good, drives: [{ id: 'd0', driver: 'raw', file: { driver: 'null-co' }, offset: 100 }] },
    CONFIG,
    'drives[0].offset: must be a multiple of 512 (bytes), got 100',
  ],
  [
    'a module without a name',
    { ...good, drives: [{ id: 'd0', driver: 'module', url: '' }] },
    CONFIG,
    'drives[0].url: must be a file URL, a path or the name of a package, got ""',
  ],
  // Devices
  [
    'a device without drive',
    { ...good, devices: [{ id: 'vda', iothread: 'io0' }] },
    CONFIG,
    'devices[0].drive: is missing',
  ],
  [
    'a drive in place of its id',
    withDevice({ drive: { driver: 'null-co' } }),
    CONFIG,
    'devices[0].drive: must be text, got an object',
  ],
  [
    'no iothread',
    { ...good, devices: [{ id: 'vda', drive: 'd0' }] },
    CONFIG,
    'devices[0]: give either iothread or iothread-vq-mapping',
  ],
  [
    'an iothread and a mapping',
    withDevice({ 'iothread-vq-mapping': [{ iothread: 'io1' }] }),
    CONFIG,
    'devices[0]: give either iothread or iothread-vq-mapping',
  ],
  [
    'no queues, in the second device',
    { ...good, devices: [vda, { ...vda, id: 'vdb', 'num-queues': 0 }] },
    CONFIG,
    'devices[1].num-queues: must be an integer, from 1 to 256, got 0',
  ],
  [
    'queues of an odd size',
    withDevice({ 'queue-size': 100 }),
    CONFIG,
    'devices[0].queue-size: must be a power of two from 4 to 32768, got 100',
  ],
  [
    'a block size that is none',
    withDevice({ 'logical-block-size': 520 }),
    CONFIG,
    'devices[0].logical-block-size: must be 512, 1024, 2048 or 4096 (bytes), got 520',
  ],
  [
    'a serial that is too long',
    withDevice({ serial: 'a serial of more than twenty' }),
    CONFIG,
    'devices[0].serial: at most 20 bytes, got 28',
  ],
  [
    'what a device does not decide',
    withDevice({ 'read-only': true }),
    CONFIG,
    'devices[0].read-only: unknown option (known: id, drive, iothread, iothread-vq-mapping, num-queues, queue-size, serial, logical-block-size, werror, rerror)',
  ],
  // Mappings
  [
    'an empty mapping',
    withMapping([]),
    CONFIG,
    'devices[0].iothread-vq-mapping: must name at least one iothread',
  ],
  [
    'a mapping of names',
    withMapping(['io0']),
    CONFIG,
    'devices[0].iothread-vq-mapping[0]: must be an object, got "io0"',
  ],
  [
    'a misspelt mapping',
    withMapping([{ iothread: 'io0', vq: [0] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping[0].vq: unknown option, did you mean vqs?',
  ],
  [
    'a negative queue',
    withMapping([{ iothread: 'io0', vqs: [-1] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping[0].vqs[0]: must be an integer, from 0 to 255, got -1',
  ],
  [
    'an iothread without queues',
    withMapping([{ iothread: 'io0', vqs: [] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping[0].vqs: names no queue',
  ],
  [
    'a queue twice in an entry',
    withMapping([{ iothread: 'io0', vqs: [0, 1, 0] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping[0].vqs: queue 0 is mapped twice',
  ],
  [
    'queues named in one entry alone',
    withMapping([{ iothread: 'io0', vqs: [0] }, { iothread: 'io1' }]),
    CONFIG,
    'devices[0].iothread-vq-mapping: give vqs in every entry or in none',
  ],
];

/** What parts have to do with each other: no schema tells. */
const mistakesBetweenParts: readonly Mistake[] = [
  [
    'two iothreads of one name',
    withIOThread({ id: 'io0' }),
    DUPLICATE,
    "iothreads[2].id: there is already an iothread 'io0'",
  ],
  [
    'two drives of one name',
    { ...good, drives: [d0, d0] },
    DUPLICATE,
    "drives[1].id: there is already a drive 'd0'",
  ],
  [
    'two devices of one name',
    { ...good, devices: [vda, vda] },
    DUPLICATE,
    "devices[1].id: there is already a device 'vda'",
  ],
  [
    'an unknown iothread',
    withDevice({ iothread: 'io9' }),
    UNKNOWN_IOTHREAD,
    "devices[0].iothread: there is no iothread 'io9'",
  ],
  [
    'an unknown iothread in a mapping',
    withMapping([{ iothread: 'io0' }, { iothread: 'io9' }]),
    UNKNOWN_IOTHREAD,
    "devices[0].iothread-vq-mapping[1].iothread: there is no iothread 'io9'",
  ],
  [
    'an unknown drive',
    withDevice({ drive: 'd1' }),
    UNKNOWN_DRIVE,
    "devices[0].drive: there is no drive 'd1' (known: d0)",
  ],
  [
    'an unknown drive, where there is none',
    { ...good, drives: undefined },
    UNKNOWN_DRIVE,
    "devices[0].drive: there is no drive 'd0' (there are none at all)",
  ],
  [
    'a window onto an unknown drive',
    { ...good, drives: [{ id: 'd0', driver: 'raw', file: 'd1' }] },
    UNKNOWN_DRIVE,
    "drives[0].file: there is no drive 'd1' (known: d0)",
  ],
  [
    'a drive that two devices use',
    { ...good, devices: [vda, { ...vda, id: 'vdb' }] },
    CONFIG,
    "devices[1].drive: drive 'd0' is used by devices[0].drive already; two users would overwrite each other's data",
  ],
  [
    'a drive that a device and a window use',
    {
      ...good,
      drives: [d0, { id: 'd1', driver: 'raw', file: { driver: 'raw', file: 'd0' } }],
      devices: [vda, { ...vda, id: 'vdb', drive: 'd1' }],
    },
    CONFIG,
    "drives[1].file.file: drive 'd0' is used by devices[0].drive already; two users would overwrite each other's data",
  ],
  [
    'a drive that nobody uses',
    { ...good, drives: [d0, { ...d0, id: 'd1' }] },
    CONFIG,
    "drives[1]: no device uses drive 'd1': name it in a device's drive, or leave it out",
  ],
  [
    'a window that is on itself',
    { ...good, drives: [{ id: 'd0', driver: 'raw', file: 'd0' }] },
    CONFIG,
    "drives[0].file: drive 'd0' is used by devices[0].drive already; two users would overwrite each other's data",
  ],
  ['17 windows by name', chain(17), CONFIG, 'drives[16]: more than 16 drives inside each other'],
  [
    '17 windows in place',
    { ...good, drives: [{ id: 'd0', ...nested(17) }] },
    CONFIG,
    'drives[0]: more than 16 drives inside each other',
  ],
  [
    'a queue that is not there',
    withMapping([{ iothread: 'io0', vqs: [0, 1, 2] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping[0].vqs: there is no queue 2, num-queues is 2',
  ],
  [
    'a queue that is nobody’s',
    withMapping([{ iothread: 'io0', vqs: [0] }]),
    CONFIG,
    'devices[0].iothread-vq-mapping: queue 1 is not mapped',
  ],
  [
    'a serial whose bytes are too many',
    withDevice({ serial: 'ééééééééééé' }),
    CONFIG,
    'devices[0].serial: at most 20 bytes, got 22',
  ],
];

/** Only literals can have them. */
const mistakesOfLiterals: readonly Mistake[] = [
  [
    'a fault that contradicts itself',
    withRule({ hang: true, errno: 5 }),
    CONFIG,
    'drives[0].rules[0].hang: what hangs does nothing else: leave the delay, the error and the short transfer out',
  ],
  [
    'a drive inside itself',
    { ...good, drives: [endless] },
    CONFIG,
    'drives[0]: more than 16 drives inside each other',
  ],
  [
    'options that can’t go to a worker',
    { ...good, drives: [{ id: 'd0', driver: 'module', url: './d.mjs', options: { make: () => 1 } }] },
    CONFIG,
    'drives[0].options: must survive structured cloning: () => 1 could not be cloned.',
  ],
];

describe('a mistake is one error that names its place', () => {
  test.each([...mistakesOfForm, ...mistakesBetweenParts, ...mistakesOfLiterals])(
    '%s',
    (_, machine, code, message) => {
      let error: IOThreadError | undefined;
      try {
        machineConfiguration(machine, { memory });
      } catch (thrown) {
        error = thrown as IOThreadError;
      }
      expect({ name: error?.name, code: error?.code, message: error?.message }).toEqual({
        name: 'IOThreadError',
        code,
        message,
      });
    },
  );

  test('16 windows are none', () => {
    expect(() => machineConfiguration(chain(16), { memory })).not.toThrow();
    const inPlace = { ...good, drives: [{ id: 'd0', ...nested(16) }] };
    expect(() => machineConfiguration(inPlace, { memory })).not.toThrow();
  });
});

describe('the schema for editors', () => {
  test('is what the check is made of: npm run schema writes it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'iothreads-schema-'));
    try {
      const fresh = join(directory, 'machine.schema.json');
      const script = join(dirname(schemaFile), 'scripts', 'write-machine-schema.mjs');
      execFileSync(process.execPath, [script, fresh]);
      expect(schemaText).toBe(readFileSync(fresh, 'utf8'));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test.each(mistakesOfForm)('refuses %s', (_, machine) => {
    expect(matchesSchema(machine)).toBe(false);
  });

  test.each(mistakesBetweenParts)('can’t tell %s', (_, machine) => {
    expect(matchesSchema(machine), JSON.stringify(matchesSchema.errors)).toBe(true);
  });

  test('explains every option', () => {
    const silent: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties } = node as { readonly properties?: Record<string, object> };
      for (const [name, property] of Object.entries(properties ?? {})) {
        // What a drive is: its driver's description says.
        if (!('description' in property) && name !== 'driver') silent.push(`${path}.${name}`);
      }
      for (const [key, inner] of Object.entries(node)) visit(inner, `${path}/${key}`);
    };
    visit(JSON.parse(schemaText), '');
    expect(silent).toEqual([]);
  });
});

test('what a module drive is handed goes through', async () => {
  const url = fixture('odd-disk.mjs');
  const machine = {
    iothreads: [{ id: 'io0' }],
    drives: [{ id: 'd0', driver: 'module', url, options: { how: 'factory throws' } }],
    devices: [{ id: 'vda', drive: 'd0', iothread: 'io0' }],
  };
  await using runtime = new IOThreadRuntime();
  await expect(runtime.configure(machineConfiguration(machine, { memory }))).rejects.toThrow('not here');
});
