import { ftruncateSync } from 'node:fs';
import { checked, libc } from './libc.js';
import { closeFd } from './file-descriptor.js';

const MFD_CLOEXEC = 1;

const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)') as (
  name: string,
  flags: number,
) => number;

/** memfd_create(2): `byteLength` bytes of zeroed memory behind a descriptor, which the caller closes. */
export function createMemfd(name: string, byteLength: number): number {
  // koffi passes a copy of the string that lives through the call; the kernel keeps its own.
  const fd = checked('memfd_create', memfdCreate(name, MFD_CLOEXEC));
  try {
    ftruncateSync(fd, byteLength);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}
