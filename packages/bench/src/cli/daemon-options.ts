import { parseArgs } from 'node:util';
import type { DaemonPlan } from '../daemon/measure-cells.js';
import { UsageError } from './experiment-options.js';

export const DAEMON_USAGE = `npm run bench:daemon -- [options]

  --quick              depths 1 and 32, reads only, a minute in all
  --disk TEXT          only disks whose name contains TEXT (null-co, cached ...)
  --neighbours         only the neighbours; --cells only the others
  --rounds N           rounds of both daemons in turn (default 5)
  --runtime SECONDS    of each round (default 0.25)
  --json FILE          writes everything measured to FILE
  --help               this text

Needs qemu-storage-daemon (Debian: qemu-utils or qemu-system-common) to compare with.
`;

export interface DaemonBenchOptions {
  readonly plan: Omit<DaemonPlan, 'directory'>;
  /** What the names of the disks that are measured contain. */
  readonly disk: string;
  readonly cells: boolean;
  readonly neighbours: boolean;
  readonly json: string | undefined;
  readonly help: boolean;
}

const WARM_UP_MS = 60;

/** @throws UsageError naming the option and what it takes */
export function parseDaemonOptions(args: string[]): DaemonBenchOptions {
  const values = parse(args);
  const quick = values.quick === true;
  return {
    plan: {
      clients: ['event', 'poll'],
      depths: quick ? [1, 32] : [1, 2, 4, 8, 32, 128],
      operations: quick ? ['read'] : ['read', 'write'],
      rounds: number(values.rounds, '--rounds', 1, 1000),
      runtimeMs: number(values.runtime, '--runtime', 0.01, 60) * 1000,
      warmUpMs: WARM_UP_MS,
    },
    disk: values.disk ?? '',
    cells: values.neighbours !== true,
    neighbours: values.cells !== true,
    json: values.json,
    help: values.help === true,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
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
    }).values;
  } catch (error) {
    throw new UsageError(
      `${(error as Error).message.split('. ')[0]}; npm run bench:daemon -- --help lists the options`,
    );
  }
}

function number(text: string, option: string, least: number, most: number): number {
  const value = Number(text);
  if (value >= least && value <= most) return value;
  throw new UsageError(`${option} takes a number from ${least} to ${most}, got '${text}'`);
}
