import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { parseKeyval } from '../options/keyval.js';
import { parseJson } from '../options/json-text.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import type { GivenOption } from './command-line.js';
import { READY_FD } from './parent.js';

/** Descriptors beyond this are not handed on. */
const MAX_FD = 1023;
const STDERR = 2;

/**
 * Starts ourselves again, detached, and waits until that one is ready.
 * @returns the exit status; the child has said why it isn't 0
 */
export async function daemonize(args: readonly string[], options: readonly GivenOption[]): Promise<number> {
  const inherited = inheritedFds(options);
  const fd = Math.max(STDERR, ...inherited) + 1;
  const stdio = Array.from({ length: fd + 1 }, (_, index) => {
    if (index === fd) return 'pipe';
    return inherited.includes(index) || (index > 0 && index <= STDERR) ? index : 'ignore';
  });
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    detached: true,
    stdio,
    env: { ...process.env, [READY_FD]: String(fd) },
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => child.kill(signal));
  }
  // Before anything else: whatever the child does from here on is heard.
  const exited = once(child, 'exit');
  const ready = (await (child.stdio[fd] as Readable).toArray()).length > 0;
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

/** Descriptors that exports listen at. Options with mistakes are the child's to complain about. */
function inheritedFds(options: readonly GivenOption[]): number[] {
  return options.flatMap(({ name, value }) => {
    if (name !== 'export') return [];
    let addr: unknown;
    try {
      ({ addr } = (value.startsWith('{') ? parseJson(value) : parseKeyval(value, { impliedKey: 'type' })) as {
        addr?: unknown;
      });
    } catch (error) {
      if (error instanceof StorageDaemonError) return [];
      throw error;
    }
    const str = typeof addr === 'object' && addr !== null && 'str' in addr ? addr.str : undefined;
    const fd = typeof str === 'string' && /^\d{1,4}$/.test(str) ? Number(str) : -1;
    return fd > STDERR && fd <= MAX_FD && isOpen(fd) ? [fd] : [];
  });
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd, { bigint: true });
    return true;
  } catch {
    return false;
  }
}
