import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { exitOnSignals } from './exit-on-signals.js';
import { runStress, type StressReport } from '../stress/stress.js';

const USAGE = 'npm run stress -- [--minutes N] [--seed N] [--iothreads N]\n';
const PROGRESS_MS = 10_000;

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new RangeError(`${option} takes a number above 0, got '${text}'`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      iothreads: { type: 'string', default: '3' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const minutes = positive(values.minutes, '--minutes');
  const seed = values.seed === undefined ? randomInt(1, 2 ** 31) : positive(values.seed, '--seed');
  process.stdout.write(`seed ${seed}\n`);
  let shownMs = performance.now();
  const report = await runStress({
    seed,
    requests: Infinity,
    durationMs: minutes * 60_000,
    iothreads: positive(values.iothreads, '--iothreads'),
    directory: tmpdir(),
    onProgress: (now) => {
      if (performance.now() - shownMs < PROGRESS_MS) return;
      shownMs = performance.now();
      process.stdout.write(`${describe(now)}\n`);
    },
  });
  process.stdout.write(`nothing lost, nothing done twice, every byte right: ${describe(report)}\n`);
}

function describe({ requests, added, removed, moved, drained, reset }: StressReport): string {
  const count = requests.toLocaleString('en');
  return `${count} requests, ${added} devices added, ${removed} removed, ${moved} moves, ${drained} drains, ${reset} resets`;
}

exitOnSignals();
try {
  await main();
} catch (error) {
  const mistake = error instanceof RangeError || (error instanceof TypeError && 'code' in error);
  process.stderr.write(mistake ? `${error.message}\n${USAGE}` : `${(error as Error).stack}\n`);
  process.exitCode = 1;
}
