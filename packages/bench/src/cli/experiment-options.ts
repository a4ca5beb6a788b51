import { parseArgs } from 'node:util';
import type { Plan } from '../experiment/plan.js';
import { countCells } from '../experiment/run-experiment.js';
import type { Disk } from '../results.js';

export const USAGE = `npm start -- [options]

  --jobs 1,2,4         requests that the guest keeps in flight (default 1,2,4)
  --latency-us 30,2    null disks to measure beside the file, by latency (default 30,2)
  --runtime SECONDS    time for each cell of a table (default 0.8)
  --quick              a first look in under 20 seconds, whatever --runtime says
  --json FILE          writes everything measured to FILE
  --help               this text

Prints tables and writes out/report.html.
`;

/** A mistake on the command line, told in one line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What all cells together may take with --quick, seconds; starting and stopping comes on top. */
const QUICK_TOTAL_S = 6;
const DISK_OF_LATENCY: ReadonlyMap<string, Disk> = new Map([
  ['30', 'null-30us'],
  ['2', 'null-2us'],
]);
const MAX_JOBS = 64;
/** Long enough for hundreds of requests, short enough that most rounds are spared by a host that takes processors away. */
const ROUND_S = 0.025;
const MIN_ROUNDS = 3;
const MAX_ROUNDS = 100;

export interface ExperimentOptions {
  readonly plan: Plan;
  readonly json: string | undefined;
  readonly help: boolean;
}

/** @throws UsageError naming the option and what it takes */
export function parsePlan(args: string[], directory: string): ExperimentOptions {
  const { values } = parse(args);
  const cells = {
    jobs: list(
      values.jobs ?? '1,2,4',
      '--jobs',
      (text) => {
        const jobs = Number(text);
        return Number.isInteger(jobs) && jobs >= 1 && jobs <= MAX_JOBS ? jobs : undefined;
      },
      `numbers from 1 to ${MAX_JOBS}`,
    ),
    disks: [
      ...list(
        values['latency-us'] ?? '30,2',
        '--latency-us',
        (text) => DISK_OF_LATENCY.get(text),
        '30 or 2, or both',
      ),
      'file' as const,
    ],
    modes: ['aio', 'sio', 'auto'] as const,
  };
  const wantedS = runtime(values.runtime ?? '0.8');
  const runtimeS = values.quick === true ? Math.min(wantedS, QUICK_TOTAL_S / countCells(cells)) : wantedS;
  const rounds = Math.min(Math.max(MIN_ROUNDS, Math.round(runtimeS / ROUND_S)), MAX_ROUNDS);
  return { plan: { ...cells, runtimeS, rounds, directory }, json: values.json, help: values.help === true };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        jobs: { type: 'string' },
        'latency-us': { type: 'string' },
        runtime: { type: 'string' },
        quick: { type: 'boolean' },
        json: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}; npm start -- --help lists the options`);
  }
}

function list<Item>(
  text: string,
  option: string,
  read: (text: string) => Item | undefined,
  takes: string,
): Item[] {
  const items = text.split(',').map((part) => {
    const item = read(part.trim());
    if (item === undefined) throw new UsageError(`${option} takes ${takes}, got '${text}'`);
    return item;
  });
  return [...new Set(items)];
}

function runtime(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0.05 && seconds <= 3600)) {
    throw new UsageError(`--runtime takes seconds from 0.05 to 3600, got '${text}'`);
  }
  return seconds;
}
