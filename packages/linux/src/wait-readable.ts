import { NativeBuffer } from './address-of.js';
import { checked, libc } from './libc.js';

const POLLIN = 1;

const poll = libc.func('int poll(uintptr_t fds, unsigned long count, int timeout)') as (
  fds: number,
  count: number,
  timeout: number,
) => number;

/** struct pollfd: fd i32 @0, events i16 @4, revents i16 @6. This thread's own, alive as long as the module is. */
const entry = new NativeBuffer(8);

/**
 * Blocks this thread until `fd` is readable or hung up. For threads that have nothing else to do; event loops use `ReadableWatch`.
 * @returns false when `timeoutMs` milliseconds were over first
 */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  entry.view.setInt32(0, fd, true);
  entry.view.setInt32(4, POLLIN, true);
  // The kernel reads and writes 8 bytes at `entry`, which the module keeps.
  return checked('poll', poll(entry.address, 1, timeoutMs)) === 1;
}
