import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { exitOnSignals } from './exit-on-signals.js';
import { type DaemonStressReport, runDaemonStress } from '../stress/daemon/daemon-stress.js';
import type { Held } from '../stress/daemon/daemon-stress-report.js';
import { runStress, type StressReport } from '../stress/stress.js';

const USAGE = `npm run stress -- [--minutes N] [--seed N] [--iothreads N] [--part runtime|daemon]

Half of the time is the runtime's, in this process, half the storage daemon's,
unless --part names one of them. Default: 1 minute.
`;
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
      part: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const { part } = values;
  if (part !== undefined && part !== 'runtime' && part !== 'daemon') {
    throw new RangeError(`--part is runtime or daemon, got '${part}'`);
  }
  const minutes = positive(values.minutes, '--minutes');
  const seed = values.seed === undefined ? randomInt(1, 2 ** 31) : positive(values.seed, '--seed');
  const iothreads = positive(values.iothreads, '--iothreads');
  process.stdout.write(`seed ${seed}\n`);
  const common = { seed, durationMs: (minutes * 60_000) / (part === undefined ? 2 : 1), directory: tmpdir() };
  if (part !== 'daemon') {
    const onProgress = progress(describe);
    const report = await runStress({ ...common, requests: Infinity, iothreads, onProgress });
    process.stdout.write(`runtime: nothing lost, nothing done twice, every byte right\n${describe(report)}`);
  }
  if (part !== 'runtime') {
    const onProgress = progress(describeDaemon);
    const report = await runDaemonStress({ ...common, rounds: Infinity, kills: Infinity, onProgress });
    process.stdout.write('daemon: nothing lost, nothing done twice, every byte right, nothing kept\n');
    process.stdout.write(describeDaemon(report));
  }
}

function progress<Report>(describeIt: (report: Report) => string): (report: Report) => void {
  let shownMs = performance.now();
  return (report) => {
    if (performance.now() - shownMs < PROGRESS_MS) return;
    shownMs = performance.now();
    process.stdout.write(describeIt(report));
  };
}

const count = (value: number): string => value.toLocaleString('en');

function describe({ requests, added, removed, moved, drained, reset }: StressReport): string {
  return (
    `  ${count(requests)} requests; devices: ${added} added, ${removed} removed,\n` +
    `  ${moved} moved, ${drained} drained, ${reset} reset\n`
  );
}

function describeDaemon(report: DaemonStressReport): string {
  const { requests, bytes, verified, failed, nodes, exported, removed, moved, queries, iothreads } = report;
  const { connected, vanished, rules, faults, pauses, kills, rests, daemon, guests } = report;
  const mebibytes = Math.round(bytes / 2 ** 20);
  return (
    `  ${count(requests)} requests, ${count(mebibytes)} MiB, ${count(verified)} sectors compared\n` +
    `  exports: ${count(exported)} added, ${count(removed)} removed, ${count(moved)} moved; ${count(nodes)} nodes added\n` +
    `  guests: ${count(connected)} connected, ${count(vanished)} vanished; ${count(kills)} kills of the daemon\n` +
    `  faults: ${count(rules)} rules, ${count(faults)} fired, ${count(failed)} failed requests, ${count(pauses)} pauses\n` +
    `  ${count(iothreads)} iothreads came and went; ${count(queries)} queries; ${count(rests)} times at rest:\n` +
    `    daemon ${describeHeld(daemon)}\n` +
    `    guests ${describeHeld(guests)}\n`
  );
}

function describeHeld({ first, last, memory }: Held): string {
  if (first === undefined || last === undefined) return 'still warming up';
  return (
    `${first.fds} → ${last.fds} fds, ${first.mappings} → ${last.mappings} mappings, ` +
    `${first.threads} → ${last.threads} threads` +
    (memory === undefined ? '' : `, ${memory.beforeMib.toFixed(0)} → ${memory.nowMib.toFixed(0)} MiB`)
  );
}

exitOnSignals();
try {
  await main();
} catch (error) {
  const mistake = error instanceof RangeError || (error instanceof TypeError && 'code' in error);
  process.stderr.write(mistake ? `${error.message}\n${USAGE}` : `${(error as Error).stack}\n`);
  process.exitCode = 1;
}
