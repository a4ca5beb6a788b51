import { lastErrno, libc } from './libc.js';
import { LinuxError } from './linux-error.js';

/** Modes of fallocate(2). */
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;

const fallocate = libc.func('int fallocate(int fd, int mode, int64_t position, int64_t byteLength)') as (
  fd: number,
  mode: number,
  position: number,
  byteLength: number,
) => number;

/** Gives the space of a range back; it reads as zeroes. @throws LinuxError `EOPNOTSUPP` where the file system can't */
export function punchHole(fd: number, position: number, byteLength: number): void {
  allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, byteLength);
}

/** Makes a range read as zeroes and keeps its space. @throws LinuxError `EOPNOTSUPP` where the file system can't */
export function zeroRange(fd: number, position: number, byteLength: number): void {
  allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, position, byteLength);
}

function allocate(fd: number, mode: number, position: number, byteLength: number): void {
  // Takes no pointer; what it does to the file is what the caller asks for.
  if (fallocate(fd, mode, position, byteLength) === -1) throw new LinuxError('fallocate', lastErrno());
}
