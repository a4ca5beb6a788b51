// The guest boots, and drives real disks on iothreads.
import { SECTOR_SIZE } from '@iothreads/core';
import { type DeviceOptions, IOThreadRuntime } from '@iothreads/iothread';
import { Machine, POWERED_OFF } from '@iothreads/example-riscv/emulator/machine';
import { RAM_BASE } from '@iothreads/example-riscv/emulator/memory-map';
import { assemble, label } from '@iothreads/example-riscv/guest/assembler';
import { GUEST_READS, GUEST_SECTOR, guestSector } from '@iothreads/example-riscv/guest/exercise';
import { j, wfi } from '@iothreads/example-riscv/guest/instructions';
import { guestProgram } from '@iothreads/example-riscv/guest/program';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

type Drive = DeviceOptions['drive'];

let directory: string;
let runtime: IOThreadRuntime;
let machine: Machine;
let printed: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-riscv-'));
  runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  await runtime.addIOThread({ id: 'iothread1' });
  printed = '';
  machine = new Machine((text) => (printed += text));
});

afterEach(async () => {
  machine.powerOff();
  await runtime.close();
  rmSync(directory, { recursive: true });
});

function image(name: string): Drive & { filename: string } {
  const filename = join(directory, name);
  writeFileSync(filename, new Uint8Array(1 << 20));
  return { driver: 'file', filename };
}

const failing = (how: string): Drive => ({
  driver: 'module',
  url: new URL('fixtures/failing-disk.mjs', import.meta.url).href,
  options: { how },
});

/** Boots the guest with these disks. @returns its exit code */
async function boot(
  disks: readonly { readonly drive: Drive; readonly iothread?: string; readonly readOnly?: boolean }[],
  interrupts = false,
): Promise<number> {
  for (const [index, { drive, iothread = 'iothread0', readOnly = false }] of disks.entries()) {
    const device = await runtime.addDevice({
      id: `disk${index}`,
      iothread,
      drive,
      readOnly,
      memory: machine.memory,
      serial: `serial-${index}`,
    });
    machine.addDisk(device);
  }
  machine.load(guestProgram({ interrupts }));
  return machine.run();
}

/** What it printed, but for the time. */
const lines = (): string[] =>
  printed
    .replaceAll(/\d+ us each/g, 'N us each')
    .trimEnd()
    .split('\n');

const wellDone = (index: number): string[] => [
  `0x1000${index + 1}000: virtio-blk, 2048 sectors`,
  `  serial: serial-${index}, ok`,
  `  write sector ${GUEST_SECTOR}: ok`,
  '  flush: ok',
  '  read it back: ok',
  `  ${GUEST_READS} reads: N us each, ok`,
];

function expectWritten(filename: string, index: number): void {
  const at = GUEST_SECTOR * SECTOR_SIZE;
  const bytes = new Uint8Array(readFileSync(filename));
  expect(bytes.subarray(at, at + SECTOR_SIZE)).toEqual(guestSector(index));
  bytes.fill(0, at, at + SECTOR_SIZE);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
}

describe.each([
  ['polls', false],
  ['waits for interrupts', true],
] as const)('a guest that %s', (manner, interrupts) => {
  const first = `A RISC-V guest looks for disks, and ${manner}`;

  test('without a disk', async () => {
    expect(await boot([], interrupts)).toBe(0);
    expect(lines()).toEqual([first, '0 errors']);
  });

  test('with one disk', async () => {
    const drive = image('a.img');
    expect(await boot([{ drive }], interrupts)).toBe(0);
    expect(lines()).toEqual([first, ...wellDone(0), '0 errors']);
    expectWritten(drive.filename, 0);
    const [disk] = await runtime.queryBlockStats();
    expect([disk!.read.operations, disk!.write.operations, disk!.flush.operations]).toEqual([
      GUEST_READS + 1,
      1,
      1,
    ]);
  });

  test.each([
    ['one iothread', 'iothread0'],
    ['two iothreads', 'iothread1'],
  ])('with two disks on %s', async (_, iothread) => {
    const drives = [image('a.img'), image('b.img')] as const;
    expect(await boot([{ drive: drives[0] }, { drive: drives[1], iothread }], interrupts)).toBe(0);
    expect(lines()).toEqual([first, ...wellDone(0), ...wellDone(1), '0 errors']);
    for (const [index, { filename }] of drives.entries()) expectWritten(filename, index);
  });

  test('with a disk whose iothread dies, goes on with the next', async () => {
    const code = await boot(
      [{ drive: failing('dies') }, { drive: { driver: 'memory', size: 1 << 20 }, iothread: 'iothread1' }],
      interrupts,
    );
    expect(code).toBe(1);
    expect(lines().slice(1)).toEqual([
      '0x10001000: virtio-blk, 2048 sectors',
      '  serial: serial-0, ok',
      ...['write sector 8', 'flush', 'read it back', '1000 reads'].map(
        (what) => `  ${what}: no answer, the device is broken`,
      ),
      ...wellDone(1),
      '4 errors',
    ]);
  });
});

describe('a disk that', () => {
  const outcomes = ['serial: serial-0, ok', 'write sector 8: ok', 'flush: ok', 'read it back: ok'];
  const reads = '1000 reads: N us each, ok';

  test.each([
    [
      'can’t be written',
      { drive: failing('pwrite') },
      [outcomes[0], 'write sector 8: I/O error', 'flush: ok', 'read it back: not what was written', reads],
      2,
    ],
    [
      'can’t be read',
      { drive: failing('pread') },
      [...outcomes.slice(0, 3), 'read it back: I/O error', '1000 reads: I/O error'],
      2,
    ],
    [
      'can’t be flushed',
      { drive: failing('flush') },
      [...outcomes.slice(0, 2), 'flush: I/O error', 'read it back: not what was written', reads],
      2,
    ],
    [
      'holds nothing',
      { drive: { driver: 'null', size: 1 << 20, readZeroes: true } as Drive },
      [...outcomes.slice(0, 3), 'read it back: not what was written', reads],
      1,
    ],
    [
      'is read-only',
      { drive: { driver: 'memory', size: 1 << 20 } as Drive, readOnly: true },
      [outcomes[0], 'write sector 8: I/O error', 'flush: ok', 'read it back: not what was written', reads],
      2,
    ],
  ])('%s does not keep the guest from the next', async (_, disk, expected, errors) => {
    const drive = image('b.img');
    expect(await boot([disk, { drive }])).toBe(1);
    expect(lines().slice(1)).toEqual([
      '0x10001000: virtio-blk, 2048 sectors',
      ...expected.map((line) => `  ${line}`),
      ...wellDone(1),
      `${errors} errors`,
    ]);
    expectWritten(drive.filename, 1);
  });
});

test('a disk may be moved to and fro while the guest reads from it', async () => {
  const drive = image('a.img');
  const ended = boot([{ drive }], true);
  let moves = 0;
  while (machine.isOn) {
    const [disk] = await runtime.queryBlockStats();
    if (disk !== undefined && disk.read.operations > 0 && moves < 10) {
      moves++;
      await runtime.moveDevice('disk0', `iothread${moves % 2}`);
    }
    await new Promise(setImmediate);
  }
  expect(await ended).toBe(0);
  expect(moves).toBe(10);
  expect(lines().slice(1)).toEqual([...wellDone(0), '0 errors']);
  expectWritten(drive.filename, 0);
});

test('there is room for eight disks', async () => {
  const drive: Drive = { driver: 'memory', size: 1 << 20 };
  expect(await boot(Array.from({ length: 8 }, () => ({ drive })))).toBe(0);
  expect(lines()).toEqual([
    lines()[0],
    ...Array.from({ length: 8 }, (_, i) => wellDone(i)).flat(),
    '0 errors',
  ]);
  const another = await runtime.addDevice({
    id: 'ninth',
    iothread: 'iothread0',
    drive,
    memory: machine.memory,
  });
  expect(() => {
    machine.addDisk(another);
  }).toThrow(RangeError);
});

test.each([
  ['runs for ever', [label('loop'), j('loop')]],
  ['sleeps for ever', [wfi()]],
])('a guest that %s can be switched off', async (_, code) => {
  machine.load(assemble(RAM_BASE, code));
  const ended = machine.run();
  await new Promise(setImmediate);
  expect(machine.isOn).toBe(true);
  machine.powerOff();
  expect(await ended).toBe(POWERED_OFF);
});

test('a guest that faults without a handler is an error', async () => {
  await expect(machine.run()).rejects.toThrow('the guest has no trap handler: mcause 0x2 at 0x80000000');
});
