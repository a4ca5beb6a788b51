import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { StorageDaemonError } from '../storage-daemon-error.js';
import type { GivenOption } from './command-line.js';
import { handOn } from './inherited-fds.js';
import { READY_FD } from './parent.js';
import { TERMINATION_SIGNALS } from './termination-signals.js';

/**
 * Starts ourselves again, detached, and waits until that one is ready.
 * @returns the exit status; the child has said why it isn't 0
 */
export async function daemonize(args: readonly string[], options: readonly GivenOption[]): Promise<number> {
  const { stdio, channelFd } = handOn(options, false, 'pipe');
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    detached: true,
    stdio,
    env: { ...process.env, [READY_FD]: String(channelFd) },
  });
  for (const signal of TERMINATION_SIGNALS) {
    process.on(signal, () => child.kill(signal));
  }
  // Before anything else: whatever the child does from here on is heard.
  const exited = once(child, 'exit');
  const ready = (await (child.stdio[channelFd] as Readable).toArray()).length > 0;
  if (ready) return 0;
  const [code, signal] = (await exited) as [number | null, string | null];
  if (code === null) {
    throw new StorageDaemonError(
      'ERR_DAEMONIZE',
      `--daemonize: the daemon was ended by ${signal!} as it started`,
    );
  }
  // A child that has been told to stop before it was ready is no daemon either.
  return code === 0 ? 1 : code;
}
