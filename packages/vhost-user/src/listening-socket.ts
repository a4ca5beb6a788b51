import {
  closeFd,
  connectUnix,
  isListeningUnixSocket,
  LinuxError,
  listenUnix,
  MAX_SOCKET_PATH_BYTES,
  setNonBlocking,
} from '@iothreads/linux';
import { type BigIntStats, lstatSync, unlinkSync } from 'node:fs';
import { VhostUserError } from './vhost-user-error.js';

/** Where an export listens: a path, or a listening socket that this process has inherited. */
export type SocketAddress =
  | {
      readonly type: 'unix';
      readonly path: string;
      /** Permission bits of the path: who may write to it may connect. Default 0600: its owner alone. */
      readonly mode?: number | undefined;
    }
  | { readonly type: 'fd'; readonly fd: number };

/** A socket that listens, and how to take away what it left in the file system. */
export interface ListeningSocket {
  readonly fd: number;
  /** Removes the path, unless it is another's by now, or this user may not. */
  remove(): void;
}

/**
 * Listens. A socket that nobody listens on any more is replaced; a live one never is.
 * @throws VhostUserError `ERR_SOCKET_PATH`, `ERR_SOCKET_IN_USE`, `ERR_NOT_A_SOCKET`, or an errno name
 */
export function openListeningSocket(address: SocketAddress): ListeningSocket {
  return address.type === 'unix' ? listenAt(address.path, address.mode) : inherited(address.fd);
}

function inherited(fd: number): ListeningSocket {
  if (!isListeningUnixSocket(fd)) {
    throw new VhostUserError(
      'ERR_NOT_A_SOCKET',
      `file descriptor ${fd} is not a listening Unix socket: pass one that listens already`,
    );
  }
  setNonBlocking(fd);
  return { fd, remove: () => undefined };
}

/**
 * Node.js 20 looks at the result of the last synchronous stat while it resolves the symbolic links in a module's path, and
 * stops there if that was a socket's: modules are loaded twice after that, or not found. Results as bigints lie elsewhere.
 */
const AS_BIGINT = { bigint: true } as const;

function listenAt(path: string, mode: number | undefined): ListeningSocket {
  const byteLength = Buffer.byteLength(path);
  if (byteLength === 0) throw new VhostUserError('ERR_SOCKET_PATH', 'socket path is empty: give it a name');
  if (byteLength > MAX_SOCKET_PATH_BYTES || path.includes('\0')) {
    throw new VhostUserError(
      'ERR_SOCKET_PATH',
      `socket path '${path}' has ${byteLength} bytes, more than ${MAX_SOCKET_PATH_BYTES}: use a shorter one`,
    );
  }
  removeStale(path);
  const fd = attempt(path, () => listenUnix(path, { mode }));
  let mine: BigIntStats;
  try {
    mine = attempt(path, () => lstatSync(path, AS_BIGINT));
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return {
    fd,
    remove: () => {
      try {
        const now = lstatSync(path, { ...AS_BIGINT, throwIfNoEntry: false });
        if (now?.ino === mine.ino && now.dev === mine.dev) unlinkSync(path);
      } catch {
        // This user may not, or not any more. Whoever listens there next replaces what nobody listens at.
      }
    },
  };
}

function removeStale(path: string): void {
  const stats = attempt(path, () => lstatSync(path, { ...AS_BIGINT, throwIfNoEntry: false }));
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new VhostUserError(
      'ERR_NOT_A_SOCKET',
      `'${path}' exists and is no socket: remove it, or use another path`,
    );
  }
  try {
    closeFd(connectUnix(path));
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    if (error.code === 'ECONNREFUSED') {
      attempt(path, () => {
        unlinkSync(path);
      });
      return;
    }
    // Its backlog is full, or it is a socket of another kind: somebody is there.
    if (error.code !== 'EAGAIN' && error.code !== 'EPROTOTYPE') throw described(path, error.code);
  }
  throw inUse(path);
}

const inUse = (path: string): VhostUserError =>
  new VhostUserError(
    'ERR_SOCKET_IN_USE',
    `'${path}' is in use by another process; stop it, or use another path`,
  );

function attempt<Result>(path: string, operation: () => Result): Result {
  try {
    return operation();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    if (code === undefined) throw error;
    if (code === 'EADDRINUSE') throw inUse(path);
    throw described(path, code);
  }
}

const advice: Readonly<Record<string, string>> = {
  ENOENT: 'create its directory first',
  ENOTDIR: 'a part of the path is no directory',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
};

const described = (path: string, code: string): VhostUserError =>
  new VhostUserError(code, `can't listen on '${path}' (${code}): ${advice[code] ?? 'use another path'}`);
