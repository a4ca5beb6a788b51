import koffi from 'koffi';
import { lastErrno, libc } from './libc.js';
import { LinuxError } from './linux-error.js';

/** A user by its numbers. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** struct passwd on 64-bit Linux: name @0, password @8, uid u32 @16, gid u32 @20, … */
const PASSWD_BYTES = 24;
const PASSWD_UID = 16;
const PASSWD_GID = 20;

const getpwnam = libc.func('void *getpwnam(const char *name)') as (name: string) => bigint | null;

/** The user with this name, from wherever the system has its users; undefined where there is none. @throws LinuxError */
export function findUser(name: string): User | undefined {
  // The structure is the C library's own, and valid until the next call: what is needed is copied at once.
  const address = getpwnam(name);
  if (address === null || address === 0n) {
    const errno = lastErrno();
    // These all mean that there is no such user, or no database of users.
    if ([0, 1, 2, 3, 9].includes(errno)) return undefined;
    throw new LinuxError('getpwnam', errno);
  }
  const passwd = new DataView(koffi.view(address, PASSWD_BYTES));
  return { uid: passwd.getUint32(PASSWD_UID, true), gid: passwd.getUint32(PASSWD_GID, true) };
}
