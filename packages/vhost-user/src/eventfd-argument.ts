import { setNonBlocking } from '@iothreads/linux';
import { readlinkSync } from 'node:fs';
import type { ReceivedFds } from './received-fds.js';
import { NO_FD } from './vring.js';
import { protocolError } from './vhost-user-error.js';
import type { VringFd } from './protocol/vring-payloads.js';

/**
 * Takes the descriptor of SET_VRING_KICK, _CALL or _ERR. Only eventfds, which never fill up by our doing: an iothread that waited
 * for the front end to empty a pipe would be lost to everybody else.
 * @returns -1 where the message says that there is none
 * @throws VhostUserError `ERR_PROTOCOL`
 */
export function takeEventfd({ hasFd }: VringFd, fds: ReceivedFds): number {
  if (!hasFd) return NO_FD;
  const fd = fds.first;
  if (readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:[eventfd]') {
    throw protocolError('the descriptor is no eventfd');
  }
  setNonBlocking(fd);
  return fds.take();
}
