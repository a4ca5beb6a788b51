import { NativeBuffer } from './address-of.js';
import { checked, lastErrno, libc } from './libc.js';
import { errnoName, LinuxError } from './linux-error.js';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** struct flock on 64-bit Linux: type i16 @0, whence i16 @2, start i64 @8, length i64 @16, pid i32 @24. */
const FLOCK_BYTES = 32;

const fcntl = libc.func('int fcntl(int fd, int command, uintptr_t lock)') as (
  fd: number,
  command: number,
  lock: number,
) => number;

function call(
  fd: number,
  command: number,
  type: number,
  start: number,
  byteLength: number,
): NativeBuffer | undefined {
  const lock = new NativeBuffer(FLOCK_BYTES);
  lock.view.setInt16(0, type, true);
  lock.view.setBigInt64(8, BigInt(start), true);
  lock.view.setBigInt64(16, BigInt(byteLength), true);
  // The kernel reads and writes the structure during the call; `lock` lives through it.
  if (fcntl(fd, command, lock.address) !== -1) return lock;
  if (['EAGAIN', 'EACCES'].includes(errnoName(lastErrno()))) return undefined;
  throw new LinuxError('fcntl', lastErrno());
}

/**
 * An open file description lock (fcntl(2)), shared with other readers of the range: belongs to the open file, and ends
 * with it.
 * @returns false when somebody holds the range exclusively
 */
export const lockShared = (fd: number, start: number, byteLength: number): boolean =>
  call(fd, F_OFD_SETLK, F_RDLCK, start, byteLength) !== undefined;

/** Gives a lock back, or a part of one. @throws LinuxError */
export function unlock(fd: number, start: number, byteLength: number): void {
  checked('fcntl', call(fd, F_OFD_SETLK, F_UNLCK, start, byteLength) === undefined ? -1 : 0);
}

/** Whether somebody else holds a lock, shared or not, in the range. */
export function lockedByOthers(fd: number, start: number, byteLength: number): boolean {
  const lock = call(fd, F_OFD_GETLK, F_WRLCK, start, byteLength);
  return lock === undefined || lock.view.getInt16(0, true) !== F_UNLCK;
}
