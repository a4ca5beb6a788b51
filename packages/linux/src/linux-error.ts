import { constants } from 'node:os';

const names = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]));
// Node has no name for the second spelling, and Linux has but one number.
names.set(constants.errno.EAGAIN, 'EAGAIN');

/** The name of an errno value, `errno 1234` where it has none. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`;

/** A system call that failed. */
export class LinuxError extends Error {
  override readonly name = 'LinuxError';
  /** Name of the errno value: `ENOENT`, `EINVAL`, … */
  readonly code: string;
  readonly errno: number;
  /** The call: `mmap`, `io_uring_setup`, … */
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    super(`${syscall}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
    this.errno = errno;
    this.syscall = syscall;
  }
}
