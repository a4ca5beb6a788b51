import { IOThreadRuntime } from '@iothreads/iothread';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Machine } from './emulator/machine.js';
import { GUEST_SECTOR } from './guest/exercise.js';
import { guestProgram } from './guest/program.js';

const USAGE = `npm run example -- [options]

  --interrupts   the guest sleeps until its disks' interrupts, instead of polling
  --disk FILE    an image of yours, once for each disk, instead of two scratch ones; its sector ${GUEST_SECTOR} is overwritten
  --help         this text

Boots a RISC-V guest whose disks are served by iothreads. The exit code is the guest's: 0 when all went well.
`;

const SCRATCH_BYTES = 1 << 20;
/** Requests after which the first disk goes to the other iothread: the guest is in the middle of its reads then. */
const BUSY = 300;

async function runMachine(files: readonly string[], interrupts: boolean): Promise<number> {
  await using runtime = new IOThreadRuntime();
  // Why a disk failed a request: the guest is told that it did, no more.
  runtime.on('driverError', (iothread, report) => {
    process.stderr.write(`${iothread}: ${report.message}\n`);
  });
  await runtime.addIOThread({ id: 'iothread0' });
  await runtime.addIOThread({ id: 'iothread1' });

  const machine = new Machine((text) => process.stdout.write(text));
  machine.load(guestProgram({ interrupts }));
  for (const [index, filename] of files.entries()) {
    const device = await runtime.addDevice({
      id: `disk${index}`,
      iothread: 'iothread0',
      drive: { driver: 'file', filename },
      memory: machine.memory,
    });
    machine.addDisk(device);
  }

  try {
    const [exitCode] = await Promise.all([machine.run(), moveWhenBusy(runtime, machine)]);
    await printStatistics(runtime);
    return exitCode;
  } finally {
    machine.powerOff();
  }
}

/** Takes the first disk to the other iothread while the guest reads from it, and notices nothing. */
async function moveWhenBusy(runtime: IOThreadRuntime, machine: Machine): Promise<void> {
  while (machine.isOn) {
    const [disk] = await runtime.queryBlockStats();
    if (disk !== undefined && disk.read.operations >= BUSY) {
      await runtime.moveDevice(disk.id, 'iothread1');
      return;
    }
    await setImmediate();
  }
}

async function printStatistics(runtime: IOThreadRuntime): Promise<void> {
  for (const { id, iothreads, read, write, flush } of await runtime.queryBlockStats()) {
    const median = (read.latency.p50Ns / 1000).toFixed(1);
    process.stdout.write(
      `${id}, on ${iothreads.join(', ')}: ${read.operations} reads (${read.sync} sync, ${read.async} async, median ${median} us), ` +
        `${write.operations} writes, ${flush.operations} flushes\n`,
    );
  }
}

/** Empty disks that are gone afterwards. */
async function withScratchDisks<Result>(use: (files: readonly string[]) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'iothreads-example-'));
  try {
    const files = ['a.img', 'b.img'].map((name) => join(directory, name));
    for (const file of files) {
      await writeFile(file, '');
      await truncate(file, SCRATCH_BYTES);
    }
    return await use(files);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      interrupts: { type: 'boolean', default: false },
      disk: { type: 'string', multiple: true },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const run = (files: readonly string[]): Promise<number> => runMachine(files, values.interrupts);
  return values.disk === undefined ? withScratchDisks(run) : run(values.disk);
}

try {
  process.exitCode = await main();
} catch (error) {
  // A mistake on the command line, or a file that can't be used: a line, not a stack.
  if (!(error instanceof Error && 'code' in error)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
