import { lastErrno, libc } from './libc.js';
import { LinuxError } from './linux-error.js';

type Positioned = (fd: number, address: number, byteLength: number, position: number) => number;
type PositionedVector = (fd: number, vector: number, count: number, position: number) => number;

const pread = libc.func(
  'long pread(int fd, uintptr_t buffer, size_t byteLength, int64_t position)',
) as Positioned;
const pwrite = libc.func(
  'long pwrite(int fd, uintptr_t buffer, size_t byteLength, int64_t position)',
) as Positioned;
const preadv = libc.func(
  'long preadv(int fd, uintptr_t vector, int count, int64_t position)',
) as PositionedVector;
const pwritev = libc.func(
  'long pwritev(int fd, uintptr_t vector, int count, int64_t position)',
) as PositionedVector;
const fdatasync = libc.func('int fdatasync(int fd)') as (fd: number) => number;

/*
 * The four calls below return how many bytes they moved, which may be fewer than asked for.
 *
 * Safe as long as the caller keeps the memory mapped for the length of the call, which does not outlast it: addresses come from
 * a checked place inside a memory region of a guest that is attached, or from a NativeBuffer. The kernel checks the range
 * itself and answers EFAULT where something is not mapped.
 */

/** pread(2) into memory at `address`. @returns bytes read, 0 at the end of the file. @throws LinuxError */
export function readAt(fd: number, address: number, byteLength: number, position: number): number {
  const result = pread(fd, address, byteLength, position);
  return result === -1 ? failed('pread') : result;
}

/** pwrite(2) from memory at `address`. @returns bytes written. @throws LinuxError */
export function writeAt(fd: number, address: number, byteLength: number, position: number): number {
  const result = pwrite(fd, address, byteLength, position);
  return result === -1 ? failed('pwrite') : result;
}

/**
 * preadv(2).
 * @param vector address of `count` entries as `IoVector` makes them
 * @returns bytes read, 0 at the end of the file
 * @throws LinuxError
 */
export function readVectorAt(fd: number, vector: number, count: number, position: number): number {
  const result = preadv(fd, vector, count, position);
  return result === -1 ? failed('preadv') : result;
}

/**
 * pwritev(2); `vector` as for `readVectorAt`.
 * @returns bytes written
 * @throws LinuxError
 */
export function writeVectorAt(fd: number, vector: number, count: number, position: number): number {
  const result = pwritev(fd, vector, count, position);
  return result === -1 ? failed('pwritev') : result;
}

/** fdatasync(2): what has been written is durable. Takes no pointer. */
export function syncData(fd: number): void {
  if (fdatasync(fd) === -1) failed('fdatasync');
}

function failed(syscall: string): never {
  throw new LinuxError(syscall, lastErrno());
}
