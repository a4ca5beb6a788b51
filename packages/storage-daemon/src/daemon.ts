import { applyOption } from './cli/apply-option.js';
import type { GivenOption } from './cli/command-line.js';
import { tellParent } from './cli/parent.js';
import { removePidfile, writePidfile } from './cli/pidfile.js';
import { describeError, isExpected } from './describe-error.js';
import type { Log } from './log.js';
import { StorageDaemon } from './storage-daemon.js';

/** What the first look at the command line has found. */
export interface DaemonOptions {
  /** Options that take effect in this order. */
  readonly options: readonly GivenOption[];
  readonly pidfile: string | undefined;
  /** Whether there is a terminal, or whoever started us, at standard input and output. */
  readonly stdioAllowed: boolean;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * A daemon's life, from its options to its end.
 * @returns the exit status; the log has said why it isn't 0
 */
export async function runDaemon(
  { options, pidfile, stdioAllowed }: DaemonOptions,
  log: Log,
): Promise<number> {
  const daemon = new StorageDaemon(log, { stdioAllowed });
  // Nothing else may: a daemon without exports lives on, too.
  const keepAlive = setInterval(() => undefined, LONGEST_TIMER_MS);
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      daemon.stop();
    });
  }
  try {
    // QMP clients that are there already get their answers when all of this has been done.
    await daemon.exclusive(() => start(daemon, options));
    if (pidfile !== undefined) await writePidfile(pidfile);
    if (!daemon.stopping.aborted) tellParent();
  } catch (error) {
    await daemon.close();
    clearInterval(keepAlive);
    if (!isExpected(error)) throw error;
    log.fatal(describeError(error));
    return 1;
  }
  if (!daemon.stopping.aborted) {
    log.write('info', `ready: ${count(daemon.exports.list().length, 'export')}`);
    await aborted(daemon.stopping);
  }
  const well = await daemon.close();
  clearInterval(keepAlive);
  if (pidfile !== undefined) await removePidfile(pidfile);
  return well ? 0 : 1;
}

/** Options take effect one after the other; iothreads meanwhile start side by side. */
async function start(daemon: StorageDaemon, options: readonly GivenOption[]): Promise<void> {
  prepareIOThreads(daemon, options);
  const started: Promise<void>[] = [];
  for (const option of options) {
    if (daemon.stopping.aborted) break;
    for (const going of await applyOption(daemon, option)) {
      // An earlier option's mistake is told, this one's then is not.
      going.catch(() => undefined);
      started.push(going);
    }
  }
  await Promise.all(started);
}

/** Iothreads take longest to start: what can be foreseen begins before its turn comes. */
function prepareIOThreads({ iothreads }: StorageDaemon, options: readonly GivenOption[]): void {
  const exports = options.filter(({ name }) => name === 'export');
  if (exports.some(({ value }) => !value.includes('iothread'))) iothreads.prepareOwn();
  else if (exports.length > 0 || options.some(({ name }) => name === 'object')) iothreads.prepare();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
