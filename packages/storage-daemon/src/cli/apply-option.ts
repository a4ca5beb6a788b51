import { describeError, isExpected } from '../describe-error.js';
import { blockdevSchemas } from '../options/blockdev-options.js';
import { chardevSchemas } from '../options/chardev-options.js';
import { exportSchemas } from '../options/export-options.js';
import { monitorSchemas } from '../options/monitor-options.js';
import { objectSchemas } from '../options/object-options.js';
import { readOption } from '../options/read-option.js';
import type { StorageDaemon } from '../storage-daemon.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import type { GivenOption } from './command-line.js';

/** Of an option in a message: enough to recognise it. */
const MAX_TEXT = 300;

/**
 * Lets an option take effect.
 * @returns what may go on while the next option takes effect
 * @throws StorageDaemonError whose message begins with the option as it was written
 */
export async function applyOption(daemon: StorageDaemon, option: GivenOption): Promise<Promise<void>[]> {
  try {
    const effect = await apply(daemon, option);
    return effect === undefined
      ? []
      : [effect.going.catch((error: unknown) => Promise.reject(named(option, error)))];
  } catch (error) {
    throw named(option, error);
  }
}

/** An effect that is still going on: in an object, since a promise of a promise would wait for both. */
interface Effect {
  readonly going: Promise<void>;
}

async function apply(daemon: StorageDaemon, { name, value }: GivenOption): Promise<Effect | undefined> {
  switch (name) {
    case 'blockdev':
      await daemon.graph.add(readOption(blockdevSchemas, value, { impliedKey: 'driver' }));
      return undefined;
    case 'export':
      await daemon.exports.add(readOption(exportSchemas, value, { impliedKey: 'type' }));
      return undefined;
    case 'object': {
      const going = daemon.iothreads.add(readOption(objectSchemas, value, { impliedKey: 'qom-type' }));
      return { going };
    }
    case 'chardev':
      await daemon.chardevs.add(readOption(chardevSchemas, value, { impliedKey: 'backend', switches: true }));
      return undefined;
    case 'monitor': {
      const options = readOption(monitorSchemas, value, { impliedKey: 'chardev', switches: true });
      daemon.monitors.add(daemon.chardevs.claim(options.chardev), options);
      return undefined;
    }
    case 'nbd-server':
      throw new StorageDaemonError('ERR_NOT_SUPPORTED', 'this version has no NBD server; leave it out');
    case 'trace':
      throw new StorageDaemonError('ERR_NOT_SUPPORTED', 'this daemon has no trace events; leave it out');
    case 'daemonize':
    case 'help':
    case 'pidfile':
    case 'run-with':
    case 'supervise':
    case 'version':
      // Seen to before.
      return undefined;
  }
}

/** The error with the option that it comes from; bugs stay what they are. */
function named({ text }: GivenOption, error: unknown): unknown {
  if (!isExpected(error)) return error;
  const shown = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
  return new StorageDaemonError('ERR_PARAMETER', `${shown}: ${describeError(error)}`, { cause: error });
}
