import { chmodSync, closeSync, constants, fchmodSync, lstatSync, openSync } from 'node:fs';

const O_PATH = 0o10000000;

/** Permission bits of a file. */
const MODE_MASK = 0o7777n;

/**
 * Says who may connect to a socket that is about to be bound to a path: bind(2) gives the path the mode of the socket, less what
 * umask takes away. The umask itself is the whole process's, and other threads make files meanwhile.
 */
export function setModeBeforeBind(fd: number, mode: number): void {
  fchmodSync(fd, mode);
}

/** Gives a socket the part of its mode that umask has taken away. Until then fewer may connect than are meant to, never more. */
export function widenMode(path: string, mode: number): void {
  // As a bigint: see `AS_BIGINT` beside the export's listening socket.
  if ((lstatSync(path, { bigint: true }).mode & MODE_MASK) === BigInt(mode)) return;
  // Follows no link, so that nobody can have the mode of something else changed.
  const fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}
