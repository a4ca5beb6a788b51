import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { type FuzzReport, runFuzz, SURFACE_NAMES, type SurfaceName } from '../fuzz/index.js';
import { exitOnSignals } from './exit-on-signals.js';

const USAGE =
  `npm run fuzz -- [--minutes N] [--seed N] [--surface ${SURFACE_NAMES.join('|')}]\n` +
  'npm run fuzz -- --surface NAME --seed N --case N\n';
const PROGRESS_MS = 10_000;

function number(text: string, option: string, least: number): number {
  const value = Number(text);
  if (text === '' || !(value >= least)) {
    throw new RangeError(`${option} takes a number, at least ${least}, got '${text}'`);
  }
  return value;
}

function surfacesOf(name: string | undefined): readonly SurfaceName[] {
  if (name === undefined) return SURFACE_NAMES;
  const known = SURFACE_NAMES.find((each) => each === name);
  if (known === undefined) {
    throw new RangeError(`--surface takes one of ${SURFACE_NAMES.join(', ')}, got '${name}'`);
  }
  return [known];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      surface: { type: 'string' },
      case: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const surfaces = surfacesOf(values.surface);
  const durationMs = (number(values.minutes, '--minutes', 0) * 60_000) / surfaces.length;
  const seed = values.seed === undefined ? randomInt(1, 2 ** 31) : number(values.seed, '--seed', 1);
  if (values.case !== undefined && (values.surface === undefined || values.seed === undefined)) {
    throw new RangeError('--case needs --surface and --seed');
  }
  const some =
    values.case === undefined ? { durationMs } : { from: number(values.case, '--case', 0), cases: 1 };
  process.stdout.write(`seed ${seed}\n`);
  for (const surface of surfaces) {
    let shownMs = performance.now();
    const report = await runFuzz({ surface, seed, ...some }, (now) => {
      if (performance.now() - shownMs < PROGRESS_MS) return;
      shownMs = performance.now();
      process.stdout.write(`${describe(now)} so far\n`);
    });
    process.stdout.write(`${describe(report)}: nothing found\n`);
  }
}

const describe = ({ surface, cases, inputs }: FuzzReport): string =>
  `${surface}: ${inputs.toLocaleString('en')} inputs in ${cases.toLocaleString('en')} cases`;

exitOnSignals();
try {
  await main();
} catch (error) {
  const mistake = error instanceof RangeError || (error instanceof TypeError && 'code' in error);
  process.stderr.write(mistake ? `${error.message}\n${USAGE}` : `${(error as Error).message}\n`);
  process.exitCode = 1;
}
