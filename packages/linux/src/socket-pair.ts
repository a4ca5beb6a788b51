import { NativeBuffer } from './address-of.js';
import { checked, libc } from './libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;

const socketpair = libc.func('int socketpair(int domain, int type, int protocol, uintptr_t fds)') as (
  domain: number,
  type: number,
  protocol: number,
  fds: number,
) => number;

/** Two Unix sockets that are connected to each other, non-blocking and closed on exec; the caller closes both. */
export function createSocketPair(): [number, number] {
  const fds = new NativeBuffer(8);
  // Writes two ints at `fds`, which lives through the call.
  checked('socketpair', socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.address));
  return [fds.view.getInt32(0, true), fds.view.getInt32(4, true)];
}
