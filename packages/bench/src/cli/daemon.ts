import { randomFillSync } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { DaemonBenchResult } from '../daemon/daemon-results.js';
import { renderDaemonTables } from '../daemon/daemon-tables.js';
import { benchDisks } from '../daemon/disks.js';
import { countCells, type DaemonPlan, measureCells } from '../daemon/measure-cells.js';
import { measureFootprint } from '../daemon/measure-footprint.js';
import { measureNeighbours, neighbours } from '../daemon/measure-neighbours.js';
import { qemuVersion } from '../daemon/storage-daemon-process.js';
import { ScratchDirectory } from '../load/scratch-directory.js';
import { painter } from '../report/text-table.js';
import { DAEMON_USAGE, parseDaemonOptions } from './daemon-options.js';
import { exitOnSignals } from './exit-on-signals.js';
import { UsageError } from './experiment-options.js';
import { ProgressLine } from './progress-line.js';

const IMAGE_BYTES = 64 << 20;
const CHUNK_BYTES = 1 << 20;

/** @returns an image in the page cache */
async function makeImage(directory: string): Promise<string> {
  const filename = join(directory, 'disk.img');
  const file = await open(filename, 'w');
  const chunk = randomFillSync(new Uint8Array(CHUNK_BYTES));
  for (let at = 0; at < IMAGE_BYTES; at += CHUNK_BYTES) await file.write(chunk, 0, CHUNK_BYTES, at);
  await file.sync();
  await file.close();
  return filename;
}

async function main(): Promise<void> {
  const options = parseDaemonOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(DAEMON_USAGE);
    return;
  }
  const qemu_version = qemuVersion();
  if (qemu_version === undefined) {
    process.stderr.write('qemu-storage-daemon is not installed: there is nothing to compare with\n');
    process.exitCode = 1;
    return;
  }
  await using scratch = await ScratchDirectory.create(tmpdir(), 'iothreads-daemon-');
  const image = await makeImage(scratch.path);
  const plan: DaemonPlan = { ...options.plan, directory: scratch.path };
  const disks = options.cells ? benchDisks(image).filter(({ name }) => name.includes(options.disk)) : [];
  if (options.cells && disks.length === 0)
    throw new UsageError(`--disk: no disk's name contains '${options.disk}'`);
  const beside = options.neighbours ? neighbours(image) : [];
  const line = new ProgressLine(process.stderr);
  const total = countCells(plan, disks) + beside.length + 2;
  let done = 0;
  const tick = (what: string): void => {
    line.show(done++, total, what);
  };
  const cells = await measureCells(plan, disks, tick);
  const neighbourCells = await measureNeighbours(plan, beside, tick);
  tick('footprint');
  const footprint = {
    qemu: await measureFootprint(plan, 'qemu'),
    ours: await measureFootprint(plan, 'ours'),
  };
  line.end();
  const result: DaemonBenchResult = { cells, neighbours: neighbourCells, footprint, qemu_version };
  const { stdout } = process;
  stdout.write(renderDaemonTables(result, painter(stdout.isTTY && stdout.hasColors())));
  if (options.json === undefined) return;
  await mkdir(dirname(resolve(options.json)), { recursive: true });
  await writeFile(options.json, `${JSON.stringify(result)}\n`);
}

exitOnSignals();
try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
