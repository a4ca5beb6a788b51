import { randomFillSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { whyNoGuest } from '../v86-guest/index.js';
import { ScratchDirectory } from '../load/scratch-directory.js';
import { painter, textTable } from '../report/text-table.js';
import { compileGuestProgram } from '../v86/guest-program.js';
import { DISKS, measureReads, PATTERNS, type ReadCell, WARM_UP_RUNS } from '../v86/measure-reads.js';
import { measureSlowDisks, SLOW_STEPS, type SlowResults } from '../v86/measure-slow-disks.js';
import { exitOnSignals } from './exit-on-signals.js';
import { ProgressLine } from './progress-line.js';

const USAGE = `npm run bench:v86 -- [options]

  --runs N       runs of each disk and pattern, in turn (default 7)
  --json FILE    writes everything measured to FILE
  --help         this text

Linux in v86 reads from disks over one image, one request at a time: microseconds a read. Then from disks of 1 ms: how quick the guest's
processor is meanwhile, and two disks at once. Needs scripts/install-v86-guest.sh and gcc.
`;
const IMAGE_BYTES = 64 << 20;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** @returns a table, one line a disk */
function renderReads(cells: readonly ReadCell[], color: boolean): string {
  const paint = painter(color);
  const columns = [
    { width: 33, align: 'left' as const },
    ...PATTERNS.map(({ name }) => ({ width: name.length + 2, align: 'right' as const })),
  ];
  const value = (disk: string, pattern: string): string =>
    median(cells.find((cell) => cell.disk === disk && cell.pattern === pattern)!.read_us).toFixed(0);
  const rows = DISKS.map(({ name }) => [name, ...PATTERNS.map((pattern) => value(name, pattern.name))]);
  const lines = textTable(columns, [['µs a read', ...PATTERNS.map(({ name }) => name)], ...rows], paint);
  return `${lines.join('\n')}\n`;
}

/** @returns two tables */
function renderSlow({ progress, together }: SlowResults, color: boolean): string {
  const paint = painter(color);
  const two = [
    { width: 40, align: 'left' as const },
    { width: 12, align: 'right' as const },
  ];
  const mips = progress.map(({ what, mips: values }) => [what, median(values).toFixed(1)]);
  const three = [...two, { width: 12, align: 'right' as const }, { width: 8, align: 'right' as const }];
  const reads = together.map(({ what, alone, both }) => {
    const [one, sum] = [median(alone), median(both)];
    return [what, one.toFixed(0), sum.toFixed(0), (sum / one).toFixed(2)];
  });
  return [
    ...textTable(two, [['million instructions of the guest a second', ''], ...mips], paint),
    '',
    ...textTable(
      three,
      [['reads a second, one at a time on each', 'one disk', 'two disks', 'times'], ...reads],
      paint,
    ),
    '',
  ].join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '7' }, json: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const runs = Number(values.runs);
  if (!Number.isSafeInteger(runs) || runs < 1)
    throw new TypeError(`--runs takes a positive number, got ${values.runs}`);
  const why = whyNoGuest();
  if (why !== undefined) {
    process.stderr.write(`${why}\n`);
    process.exitCode = 1;
    return;
  }
  await using scratch = await ScratchDirectory.create(tmpdir(), 'iothreads-v86-');
  const image = join(scratch.path, 'disk.img');
  await writeFile(image, randomFillSync(new Uint8Array(IMAGE_BYTES)));
  const line = new ProgressLine(process.stderr);
  const total = 2 + (WARM_UP_RUNS + runs) * DISKS.length * PATTERNS.length + runs * SLOW_STEPS;
  let done = 0;
  const plan = {
    image,
    imageBytes: IMAGE_BYTES,
    program: compileGuestProgram(scratch.path),
    runs,
    tick: (what: string) => {
      line.show(done++, total, what);
    },
  };
  const reads = await measureReads(plan);
  const slow = await measureSlowDisks(plan);
  line.end();
  const { stdout } = process;
  const color = stdout.isTTY && stdout.hasColors();
  stdout.write(`${renderReads(reads, color)}\n${renderSlow(slow, color)}`);
  if (values.json === undefined) return;
  await mkdir(dirname(resolve(values.json)), { recursive: true });
  await writeFile(values.json, `${JSON.stringify({ reads, ...slow })}\n`);
}

exitOnSignals();
await main();
