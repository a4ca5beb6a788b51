import { ftruncateSync } from 'node:fs';
import { checked, libc } from './libc.js';
import { closeFd } from './file-descriptor.js';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;

const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)') as (
  name: string,
  flags: number,
) => number;
const fcntl = libc.func('int fcntl(int fd, int command, int argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;

/** How memory behind a descriptor is made. */
export interface MemfdOptions {
  /** Nobody it is handed to can change its size: what is mapped stays there. Default false. */
  readonly sealed?: boolean;
}

/**
 * memfd_create(2): `byteLength` bytes of zeroed memory behind a descriptor, which the caller closes.
 */
export function createMemfd(name: string, byteLength: number, { sealed = false }: MemfdOptions = {}): number {
  const flags = MFD_CLOEXEC | (sealed ? MFD_ALLOW_SEALING : 0);
  // koffi passes a copy of the string that lives through the call; the kernel keeps its own.
  const fd = checked('memfd_create', memfdCreate(name, flags));
  try {
    ftruncateSync(fd, byteLength);
    // Plain integers: no memory is involved.
    if (sealed) checked('fcntl', fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}
