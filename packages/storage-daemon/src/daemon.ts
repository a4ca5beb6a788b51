import { applyOption } from './cli/apply-option.js';
import type { GivenOption } from './cli/command-line.js';
import { tellParent } from './cli/daemonize.js';
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
    if (!isExpected(error)) throw error;
    log.fatal(describeError(error));
    return 1;
  }
  if (!daemon.stopping.aborted) {
    log.write('info', `ready: ${count(daemon.exports.list().length, 'export')}`);
    await aborted(daemon.stopping);
  }
  const well = await daemon.close();
  if (pidfile !== undefined) await removePidfile(pidfile);
  return well ? 0 : 1;
}

/** Options take effect one after the other; iothreads meanwhile start side by side. */
async function start(daemon: StorageDaemon, options: readonly GivenOption[]): Promise<void> {
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
