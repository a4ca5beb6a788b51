import koffi from 'koffi';
import { LinuxError } from './linux-error.js';

/**
 * The C library of this process: what every other file of this package calls through. Addresses are numbers: user space
 * ends at 2^47, where a number is still exact.
 */
export const libc = koffi.load(null);

/** errno of the call that this thread made last. */
export const lastErrno = (): number => koffi.errno();

/** @returns `result`, unless it is -1: @throws LinuxError named after the call */
export function checked(syscall: string, result: number): number {
  if (result === -1) throw new LinuxError(syscall, lastErrno());
  return result;
}

/** syscall(2), for what the C library has no function for. Results as the library's: -1 and errno. */
export const syscall6 = libc.func(
  'long syscall(long number, long a, long b, long c, long d, long e, long f)',
) as (number: number, a: number, b: number, c: number, d: number, e: number, f: number) => number;
