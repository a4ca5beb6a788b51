import { NativeBuffer } from './address-of.js';
import { checked, libc } from './libc.js';

const POLLIN = 1;
/** struct pollfd: fd i32 @0, events i16 @4, revents i16 @6. */
const POLLFD_BYTES = 8;
/** Descriptors that can be waited for at a time. */
const MAX_FDS = 64;

const poll = libc.func('int poll(uintptr_t fds, unsigned long count, int timeout)') as (
  fds: number,
  count: number,
  timeout: number,
) => number;

/** This thread's own, alive as long as the module is. */
const entries = new NativeBuffer(MAX_FDS * POLLFD_BYTES);

/**
 * Blocks this thread until one of the descriptors, 64 at most, is readable or hung up. For threads that have nothing else to
 * do; event loops use `ReadableWatch`.
 * @returns false when `timeoutMs` milliseconds were over first
 */
export function waitReadable(fds: number | readonly number[], timeoutMs: number): boolean {
  const count = typeof fds === 'number' ? 1 : Math.min(fds.length, MAX_FDS);
  for (let i = 0; i < count; i++) {
    entries.view.setInt32(i * POLLFD_BYTES, typeof fds === 'number' ? fds : fds[i]!, true);
    entries.view.setInt32(i * POLLFD_BYTES + 4, POLLIN, true);
  }
  // The kernel reads and writes `count` entries, which the module keeps.
  return checked('poll', poll(entries.address, count, timeoutMs)) > 0;
}
