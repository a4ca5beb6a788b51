import type { StorageDaemon } from '../storage-daemon.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import { type Commands, NONE, urgent } from './command.js';
import { blockCommands } from './commands/block-commands.js';
import { chardevCommands } from './commands/chardev-commands.js';
import { exportCommands } from './commands/export-commands.js';
import { iothreadCommands } from './commands/iothread-commands.js';
import { objectCommands } from './commands/object-commands.js';
import { statisticsCommands } from './commands/statistics-commands.js';
import { supervisionCommands } from './commands/supervision-commands.js';
import { VERSION_INFO } from './qmp-session.js';

const commands: Commands = {
  ...blockCommands,
  ...chardevCommands,
  ...exportCommands,
  ...iothreadCommands,
  ...objectCommands,
  ...statisticsCommands,
  ...supervisionCommands,
  'query-version': urgent(NONE, () => VERSION_INFO),
  'query-commands': urgent(NONE, () =>
    // Negotiated by every session for itself.
    [...Object.keys(commands), 'qmp_capabilities'].toSorted().map((name) => ({ name })),
  ),
  quit: urgent(NONE, (daemon) => {
    daemon.stop();
  }),
};

/**
 * Does a QMP command, in its turn or at once.
 * @throws StorageDaemonError `ERR_COMMAND_NOT_FOUND`, and what the command throws
 */
export async function executeCommand(daemon: StorageDaemon, name: string, args: unknown): Promise<unknown> {
  if (!Object.hasOwn(commands, name)) {
    throw new StorageDaemonError('ERR_COMMAND_NOT_FOUND', `The command ${name} has not been found`);
  }
  const { execute, inTurn } = commands[name]!;
  const executeIt = (): Promise<unknown> => execute(daemon, args);
  return inTurn ? daemon.exclusive(executeIt) : daemon.atOnce(executeIt);
}
