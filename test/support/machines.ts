// Machines as emulator users write them, and what a runtime that was configured so has to report.
import type { Machine } from '@iothreads/iothread';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture } from './fixture.js';

export const IMAGE_BYTES = 1 << 20;

const directory = mkdtempSync(join(tmpdir(), 'iothreads-machine-'));

export function removeImages(): void {
  rmSync(directory, { recursive: true });
}

/** The path of an image of zeroes. */
function image(name: string): string {
  const path = join(directory, name);
  writeFileSync(path, new Uint8Array(IMAGE_BYTES));
  return path;
}

/** What is expected of an iothread. */
interface ExpectedIOThread {
  readonly devices: readonly string[];
  readonly syncAllowed: boolean;
  /** Default: 32768. */
  readonly pollMaxNs?: number;
}

/** What is expected of a device, where it is not the default. */
export interface ExpectedDevice {
  readonly iothreads: readonly string[];
  /** Bytes; default: an image's. */
  readonly size?: number;
  /** Default: its id. */
  readonly serial?: string;
  readonly blockSize?: 512 | 1024 | 2048 | 4096;
  readonly numQueues?: number;
  readonly queueSize?: number;
  readonly readOnly?: boolean;
  /** Whether what is written is read again; default: true. */
  readonly holds?: boolean;
}

interface GoodMachine {
  readonly what: string;
  readonly machine: Machine;
  readonly iothreads: Readonly<Record<string, ExpectedIOThread>>;
  readonly devices: Readonly<Record<string, ExpectedDevice>>;
}

const io0 = { id: 'io0' };
const io1 = { id: 'io1' };
const memory = (id: string) => ({ id, driver: 'memory', size: IMAGE_BYTES }) as const;
const alone = (device: string): ExpectedIOThread => ({ devices: [device], syncAllowed: true });
const shared = (...devices: readonly string[]): ExpectedIOThread => ({ devices, syncAllowed: false });
const idle: ExpectedIOThread = { devices: [], syncAllowed: true };
const on = (...iothreads: readonly string[]): ExpectedDevice => ({ iothreads });

/** One device on one iothread, whose drive is `drives[0]`. */
const withDrives = (
  what: string,
  drives: NonNullable<Machine['drives']>,
  expected: Partial<ExpectedDevice> = {},
): GoodMachine => ({
  what,
  machine: { iothreads: [io0], drives, devices: [{ id: 'vda', drive: drives[0]!.id, iothread: 'io0' }] },
  iothreads: { io0: alone('vda') },
  devices: { vda: { ...on('io0'), ...expected } },
});

export const goodMachines: readonly GoodMachine[] = [
  { what: 'nothing at all', machine: {}, iothreads: {}, devices: {} },
  {
    what: 'iothreads that wait for devices',
    machine: { $schema: './machine.schema.json', iothreads: [io0, { id: 'io1', 'poll-max-ns': 0 }] },
    iothreads: { io0: idle, io1: { ...idle, pollMaxNs: 0 } },
    devices: {},
  },
  // Drives
  withDrives('null-co', [{ id: 'd0', driver: 'null-co', size: 4096 * 8 }], { size: 4096 * 8, holds: false }),
  withDrives('null-aio, and its default size', [{ id: 'd0', driver: 'null-aio', 'read-zeroes': true }], {
    size: 2 ** 30,
    holds: false,
  }),
  withDrives('memory', [memory('d0')]),
  withDrives('file', [
    {
      id: 'd0',
      driver: 'file',
      filename: image('file.img'),
      aio: 'threads',
      cache: { direct: false, 'no-flush': true },
      discard: 'unmap',
      locking: 'auto',
    },
  ]),
  withDrives('file, with what QEMU takes to state a default', [
    {
      id: 'd0',
      driver: 'file',
      filename: image('defaults.img'),
      'force-share': false,
      'detect-zeroes': 'off',
    },
  ]),
  withDrives('blkdebug, with rules that nothing comes to', [
    {
      id: 'd0',
      driver: 'blkdebug',
      image: 'd1',
      seed: 7,
      'inject-error': [
        { event: 'none', iotype: 'write', sector: 0, errno: 28, skip: 1000, once: true },
        { sector: 2, sectors: 3, errno: 'EROFS', probability: 0, count: 5, 'short-sectors': 1 },
        { probability: 0, 'delay-ns': 1000, hang: false },
      ],
    },
    { id: 'd1', driver: 'raw', file: { driver: 'blkdebug', image: { driver: 'memory', size: IMAGE_BYTES } } },
  ]),
  withDrives('blklogwrites', [
    {
      id: 'd0',
      driver: 'blklogwrites',
      file: { driver: 'memory', size: IMAGE_BYTES },
      log: { driver: 'file', filename: join(directory, 'log') },
    },
  ]),
  withDrives(
    'file, read-only',
    [{ id: 'd0', driver: 'file', filename: image('ro.img'), 'read-only': true }],
    {
      readOnly: true,
    },
  ),
  withDrives(
    'raw over a file in place',
    [
      {
        id: 'd0',
        driver: 'raw',
        file: { driver: 'file', filename: image('window.img') },
        offset: 65536,
        size: 131072,
      },
    ],
    { size: 131072 },
  ),
  withDrives(
    'raw over a file by its name',
    [
      { id: 'd0', driver: 'raw', file: 'file0', offset: 65536 },
      { id: 'file0', driver: 'file', filename: image('named.img') },
    ],
    { size: IMAGE_BYTES - 65536 },
  ),
  withDrives(
    'raw over raw over what is read-only',
    [
      { id: 'd0', driver: 'raw', file: { driver: 'raw', file: 'file0', offset: 512 } },
      { id: 'file0', driver: 'file', filename: image('raw-ro.img'), 'read-only': true },
    ],
    { size: IMAGE_BYTES - 512, readOnly: true },
  ),
  withDrives(
    'module',
    [
      {
        id: 'd0',
        driver: 'module',
        url: fixture('logging-disk.mjs'),
        options: { size: IMAGE_BYTES, log: new SharedArrayBuffer(4096) },
      },
    ],
    { holds: false },
  ),
  // Devices
  {
    what: 'a device with all options',
    machine: {
      iothreads: [{ id: 'iothread0', 'poll-max-ns': 65536, 'poll-grow': 3, 'poll-shrink': 4 }],
      drives: [memory('disk0')],
      devices: [
        {
          id: 'vda',
          drive: 'disk0',
          iothread: 'iothread0',
          'num-queues': 2,
          'queue-size': 64,
          serial: 'twenty bytes of text',
          'logical-block-size': 4096,
        },
      ],
    },
    iothreads: { iothread0: { ...alone('vda'), pollMaxNs: 65536 } },
    devices: {
      vda: {
        ...on('iothread0'),
        numQueues: 2,
        queueSize: 64,
        serial: 'twenty bytes of text',
        blockSize: 4096,
      },
    },
  },
  {
    what: 'two devices on one iothread',
    machine: {
      iothreads: [io0],
      drives: [memory('d0'), memory('d1')],
      devices: [
        { id: 'vda', drive: 'd0', iothread: 'io0' },
        { id: 'vdb', drive: 'd1', iothread: 'io0' },
      ],
    },
    iothreads: { io0: shared('vda', 'vdb') },
    devices: { vda: on('io0'), vdb: on('io0') },
  },
  {
    what: 'three devices on three iothreads, each of another block size',
    machine: {
      iothreads: [io0, io1, { id: 'io2' }],
      drives: [memory('d0'), memory('d1'), memory('d2')],
      devices: [
        { id: 'vda', drive: 'd2', iothread: 'io0', 'logical-block-size': 1024, serial: 'A' },
        { id: 'vdb', drive: 'd1', iothread: 'io1', 'logical-block-size': 2048, serial: 'B-2' },
        { id: 'vdc', drive: 'd0', iothread: 'io2', 'logical-block-size': 512 },
      ],
    },
    iothreads: { io0: alone('vda'), io1: alone('vdb'), io2: alone('vdc') },
    devices: {
      vda: { ...on('io0'), blockSize: 1024, serial: 'A' },
      vdb: { ...on('io1'), blockSize: 2048, serial: 'B-2' },
      vdc: on('io2'),
    },
  },
  {
    what: 'four devices on two iothreads, with disks of four kinds',
    machine: {
      iothreads: [io0, io1],
      drives: [
        { id: 'd0', driver: 'file', filename: image('four.img'), discard: 'unmap' },
        memory('d1'),
        { id: 'd2', driver: 'null-co', size: IMAGE_BYTES, 'latency-ns': 1000 },
        { id: 'd3', driver: 'raw', file: { driver: 'file', filename: image('four-raw.img') }, offset: 4096 },
      ],
      devices: [
        { id: 'vda', drive: 'd0', iothread: 'io0', 'num-queues': 2 },
        { id: 'vdb', drive: 'd1', iothread: 'io1', serial: 'second' },
        { id: 'vdc', drive: 'd2', iothread: 'io0', 'queue-size': 16 },
        { id: 'vdd', drive: 'd3', iothread: 'io1', 'logical-block-size': 4096 },
      ],
    },
    iothreads: { io0: shared('vda', 'vdc'), io1: shared('vdb', 'vdd') },
    devices: {
      vda: { ...on('io0'), numQueues: 2 },
      vdb: { ...on('io1'), serial: 'second' },
      vdc: { ...on('io0'), queueSize: 16, holds: false },
      vdd: { ...on('io1'), blockSize: 4096, size: IMAGE_BYTES - 4096 },
    },
  },
  // Mappings
  {
    what: 'queues dealt out over two iothreads',
    machine: {
      iothreads: [io0, io1],
      drives: [memory('d0')],
      devices: [
        {
          id: 'vda',
          drive: 'd0',
          'iothread-vq-mapping': [{ iothread: 'io1' }, { iothread: 'io0' }],
          'num-queues': 3,
        },
      ],
    },
    iothreads: { io0: alone('vda'), io1: alone('vda') },
    devices: { vda: { ...on('io1', 'io0'), numQueues: 3 } },
  },
  {
    what: 'queues named one by one, beside a neighbour on one of the iothreads',
    machine: {
      iothreads: [io0, io1, { id: 'io2' }],
      drives: [memory('d0'), memory('d1')],
      devices: [
        {
          id: 'vda',
          drive: 'd0',
          'iothread-vq-mapping': [
            { iothread: 'io0', vqs: [3, 0] },
            { iothread: 'io1', vqs: [1, 2] },
          ],
          'num-queues': 4,
        },
        { id: 'vdb', drive: 'd1', iothread: 'io1' },
      ],
    },
    iothreads: { io0: alone('vda'), io1: shared('vda', 'vdb'), io2: idle },
    devices: { vda: { ...on('io0', 'io1'), numQueues: 4 }, vdb: on('io1') },
  },
];
