import { fstatSync } from 'node:fs';
import type { StdioOptions } from 'node:child_process';
import { parseJson } from '../options/json-text.js';
import { parseKeyval } from '../options/keyval.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import type { GivenOption } from './command-line.js';

/** Descriptors beyond this are not handed on. */
const MAX_FD = 1023;
const STDERR = 2;

/** What a process started again is to have from us, and on which descriptor the two talk. */
export interface HandedOn {
  readonly stdio: StdioOptions;
  /** The first that nobody uses. */
  readonly channelFd: number;
}

/**
 * Hands on standard output and error, and what exports listen at, under the numbers that they have.
 * @param stdin whether standard input is handed on as well
 * @param channel how to talk on `channelFd`
 */
export function handOn(options: readonly GivenOption[], stdin: boolean, channel: 'pipe' | 'ipc'): HandedOn {
  const inherited = inheritedFds(options);
  const channelFd = Math.max(STDERR, ...inherited) + 1;
  const stdio = Array.from({ length: channelFd + 1 }, (_, fd) => {
    if (fd === channelFd) return channel;
    if (fd <= STDERR) return fd > 0 || stdin ? fd : 'ignore';
    return inherited.includes(fd) ? fd : 'ignore';
  });
  return { stdio, channelFd };
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
