import { applyOption } from './cli/apply-option.js';
import type { GivenOption } from './cli/command-line.js';
import { leaveTerminal, tellParent } from './cli/parent.js';
import { removePidfile, writePidfile } from './cli/pidfile.js';
import { becomeUser, readRunAs, type RunAs, renounceNewPrivileges } from './cli/run-with.js';
import { TERMINATION_SIGNALS } from './cli/termination-signals.js';
import { describeError, isExpected } from './describe-error.js';
import type { Log } from './log.js';
import { StorageDaemon } from './storage-daemon.js';
import type { Supervision } from './supervise/supervision.js';

/** What the first look at the command line has found. */
export interface DaemonOptions {
  /** Options that take effect in this order. */
  readonly options: readonly GivenOption[];
  readonly pidfile: string | undefined;
  /** There is no terminal, and nobody else at standard input and output. */
  readonly detached: boolean;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * A daemon's life, from its options to its end.
 * @returns the exit status; the log has said why it isn't 0
 */
export async function runDaemon(
  { options, pidfile, detached }: DaemonOptions,
  supervision: Supervision,
  log: Log,
): Promise<number> {
  const daemon = new StorageDaemon(log, supervision, { stdioAllowed: !detached });
  // Nothing else may: a daemon without exports lives on, too.
  const keepAlive = setInterval(() => undefined, LONGEST_TIMER_MS);
  for (const signal of TERMINATION_SIGNALS) {
    process.on(signal, () => {
      daemon.stop();
    });
  }
  try {
    const runAs = await readRunAs(options);
    await daemon.begin(() => start(daemon, supervision, runAs, options));
    // A supervisor has a pidfile, and a parent, of its own.
    const alone = supervision.supervisorPid === undefined;
    if (alone && pidfile !== undefined) await writePidfile(pidfile);
    if (runAs !== undefined && !daemon.stopping.aborted) {
      becomeUser(runAs);
      await supervision.bindToSupervisor();
      daemon.admit();
    }
    if (alone && !daemon.stopping.aborted) tellParent();
  } catch (error) {
    await daemon.close();
    clearInterval(keepAlive);
    if (!isExpected(error)) throw error;
    log.fatal(describeError(error));
    return 1;
  }
  if (!daemon.stopping.aborted) {
    if (supervision.supervisorPid !== undefined && detached) leaveTerminal();
    // First: whoever reads the log may kill us for it, and be surprised if that counts as a failed start.
    supervision.ready();
    log.write('info', `ready: ${count(daemon.exports.list().length, 'export')}`);
    await aborted(daemon.stopping);
  }
  supervision.stopping();
  const well = await daemon.close();
  clearInterval(keepAlive);
  if (pidfile !== undefined && supervision.supervisorPid === undefined) await removePidfile(pidfile);
  return well ? 0 : 1;
}

/** Options take effect one after the other; iothreads meanwhile start side by side. */
async function start(
  daemon: StorageDaemon,
  supervision: Supervision,
  runAs: RunAs | undefined,
  options: readonly GivenOption[],
): Promise<void> {
  const started: Promise<void>[] = [];
  const apply = async (option: GivenOption): Promise<void> => {
    for (const going of await applyOption(daemon, option)) {
      // An earlier option's mistake is told, this one's then is not.
      going.catch(() => undefined);
      started.push(going);
    }
  };
  if (runAs === undefined) daemon.admit();
  else await renounceNewPrivileges();
  prepareIOThreads(daemon, options);
  let next = 0;
  if (supervision.supervisorPid !== undefined) {
    // What stands by has its iothreads, and takes nothing that the one which serves has.
    while (options[next] !== undefined && !TAKES_FROM_OTHERS.has(options[next]!.name)) {
      await apply(options[next++]!);
    }
    await standBy(daemon, supervision, options);
  }
  for (; next < options.length && !daemon.stopping.aborted; next++) await apply(options[next]!);
  await Promise.all(started);
}

/** Options that lead to files and sockets, which one process at a time can have. */
const TAKES_FROM_OTHERS: ReadonlySet<string> = new Set(['blockdev', 'chardev', 'export', 'monitor']);

/** Loads what the options will need, and waits for its turn. */
async function standBy(
  daemon: StorageDaemon,
  supervision: Supervision,
  options: readonly GivenOption[],
): Promise<void> {
  const given = new Set(options.map(({ name }) => name));
  const modules = [
    ...(given.has('blockdev') ? [import('@iothreads/backends')] : []),
    ...(given.has('export') ? [import('@iothreads/vhost-user')] : []),
    ...(given.has('monitor')
      ? [import('./chardev/socket-chardev.js'), import('./qmp/execute-command.js')]
      : []),
  ];
  // Whoever needs one hears of its failure.
  for (const module of modules) module.catch(() => undefined);
  await Promise.race([supervision.turn(), aborted(daemon.stopping)]);
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
