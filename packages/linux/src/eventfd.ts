import { NativeBuffer } from './address-of.js';
import { checked, libc } from './libc.js';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const eventfd = libc.func('int eventfd(unsigned int initial, int flags)') as (
  initial: number,
  flags: number,
) => number;
const read = libc.func('long read(int fd, uintptr_t buffer, size_t byteLength)') as (
  fd: number,
  buffer: number,
  byteLength: number,
) => number;
const write = libc.func('long write(int fd, uintptr_t buffer, size_t byteLength)') as (
  fd: number,
  buffer: number,
  byteLength: number,
) => number;

/** A one, and room for a count; this thread's own, alive as long as the module is. */
const one = new NativeBuffer(8);
one.bytes[0] = 1;
const count = new NativeBuffer(8);

/** eventfd(2), closed on exec. */
export const createEventfd = (blocking = false): number =>
  checked('eventfd', eventfd(0, EFD_CLOEXEC | (blocking ? 0 : EFD_NONBLOCK)));

/** Adds one. A count that is full already stays so: whoever waits for it is woken all the same. */
export function signalEventfd(fd: number): void {
  // The kernel reads 8 bytes at `one`, which the module keeps.
  write(fd, one.address, 8);
}

/** Takes the count back to 0; waits for one where the eventfd is a blocking one. */
export function clearEventfd(fd: number): void {
  // The kernel writes 8 bytes at `count`, which the module keeps. EAGAIN means that it was 0: just as well.
  read(fd, count.address, 8);
}
