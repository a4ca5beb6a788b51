import { randomFillSync } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { DaemonBenchResult } from '../daemon/daemon-results.js';
import { renderDaemonTables } from '../daemon/daemon-tables.js';
import { benchDisks } from '../daemon/disks.js';
import { countCells, type DaemonPlan, measureCells } from '../daemon/measure-cells.js';
import { measureFootprint } from '../daemon/measure-footprint.js';
import { measureNeighbours, neighbours } from '../daemon/measure-neighbours.js';
import { qemuVersion } from '../daemon/storage-daemon-process.js';
import { ScratchDirectory } from '../load/scratch-directory.js';
import { painter } from '../report/text-table.js';
import { exitOnSignals } from './exit-on-signals.js';
import { ProgressLine } from './progress-line.js';

const USAGE = `npm run bench:daemon -- [options]

  --quick              depths 1 and 32, reads only, a minute in all
  --disk TEXT          only disks whose name contains TEXT (null-co, cached ...)
  --neighbours         only the neighbours; --cells only the others
  --rounds N           rounds of both daemons in turn (default 5)
  --runtime SECONDS    of each round (default 0.25)
  --json FILE          writes everything measured to FILE
  --help               this text

Needs qemu-storage-daemon (Debian: qemu-utils or qemu-system-common) to compare with.
`;
const IMAGE_BYTES = 64 << 20;
const CHUNK_BYTES = 1 << 20;

/** An image for each daemon: one writer's lock would keep the other out. %SIDE% stands for whose. */
async function makeImages(directory: string): Promise<string> {
  for (const side of ['qemu', 'ours']) {
    const file = await open(join(directory, `${side}.img`), 'w');
    const chunk = randomFillSync(new Uint8Array(CHUNK_BYTES));
    for (let at = 0; at < IMAGE_BYTES; at += CHUNK_BYTES) await file.write(chunk, 0, CHUNK_BYTES, at);
    await file.sync();
    await file.close();
  }
  return join(directory, '%SIDE%.img');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      disk: { type: 'string' },
      neighbours: { type: 'boolean' },
      cells: { type: 'boolean' },
      rounds: { type: 'string', default: '5' },
      runtime: { type: 'string', default: '0.25' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const qemu_version = qemuVersion();
  if (qemu_version === undefined) {
    process.stderr.write('qemu-storage-daemon is not installed: there is nothing to compare with\n');
    process.exitCode = 1;
    return;
  }
  await using scratch = await ScratchDirectory.create(tmpdir(), 'iothreads-daemon-');
  const image = await makeImages(scratch.path);
  const plan: DaemonPlan = {
    clients: ['event', 'poll'],
    depths: values.quick === true ? [1, 32] : [1, 2, 4, 8, 32, 128],
    operations: values.quick === true ? ['read'] : ['read', 'write'],
    rounds: Number(values.rounds),
    runtimeMs: Number(values.runtime) * 1000,
    warmUpMs: 60,
    directory: scratch.path,
  };
  const disks = benchDisks(image).filter(
    ({ name }) => values.disk === undefined || name.includes(values.disk),
  );
  const beside = neighbours(image);
  const line = new ProgressLine(process.stderr);
  const total = countCells(plan, disks) + beside.length + 2;
  let done = 0;
  const tick = (what: string): void => {
    line.show(done++, total, what);
  };
  const cells = values.neighbours === true ? [] : await measureCells(plan, disks, tick);
  const neighbourCells = values.cells === true ? [] : await measureNeighbours(plan, beside, tick);
  tick('footprint');
  const footprint = {
    qemu: await measureFootprint(plan, 'qemu'),
    ours: await measureFootprint(plan, 'ours'),
  };
  line.end();
  const result: DaemonBenchResult = { cells, neighbours: neighbourCells, footprint, qemu_version };
  const { stdout } = process;
  stdout.write(renderDaemonTables(result, painter(stdout.isTTY && stdout.hasColors())));
  if (values.json === undefined) return;
  await mkdir(dirname(resolve(values.json)), { recursive: true });
  await writeFile(values.json, `${JSON.stringify(result)}\n`);
}

exitOnSignals();
await main();
