import { describeError, isExpected } from '../describe-error.js';
import { Log } from '../log.js';
import { Supervision } from '../supervise/supervision.js';
import { type GivenOption, parseCommandLine } from './command-line.js';
import { HELP, IOTHREAD_HELP, OBJECT_TYPES_HELP, VERSION_TEXT } from './help.js';
import { isDaemon } from './parent.js';

/**
 * Does what a command line says. Mistakes are told in one line on stderr.
 * @returns the exit status
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const log = new Log();
  try {
    const options = parseCommandLine(args);
    const text = information(options);
    if (text !== undefined) {
      process.stdout.write(text);
      return 0;
    }
    const given = new Set(options.map(({ name }) => name));
    const detached = given.has('daemonize');
    const supervision = new Supervision();
    const supervised = supervision.supervisorPid !== undefined;
    // What isn't needed isn't loaded: to be ready soon is worth a line.
    if (detached && !supervised && !isDaemon()) {
      const { daemonize } = await import('./daemonize.js');
      return await daemonize(args, options);
    }
    const pidfile = options.findLast(({ name }) => name === 'pidfile')?.value;
    if (given.has('supervise') && !supervised) {
      const { Supervisor } = await import('../supervise/supervisor.js');
      return await new Supervisor({ args, options, pidfile }, log).run();
    }
    const { runDaemon } = await import('../daemon.js');
    return await runDaemon({ options, pidfile, detached }, supervision, log);
  } catch (error) {
    if (!isExpected(error)) throw error;
    log.fatal(describeError(error));
    return 1;
  }
}

/** What is printed instead of starting, where something is. */
function information(options: readonly GivenOption[]): string | undefined {
  for (const { name, value } of options) {
    if (name === 'help') return HELP;
    if (name === 'version') return VERSION_TEXT;
    if (name !== 'object') continue;
    if (value === 'help') return OBJECT_TYPES_HELP;
    if (value === 'iothread,help') return IOTHREAD_HELP;
  }
  return undefined;
}
