// What rules may say. Nothing is imported here: a command line is read before any driver is loaded.

/** Rules that a disk can have. */
export const MAX_FAULT_RULES = 64;
/** The largest count of requests that a rule can be given. */
export const MAX_FAULT_COUNT = 0xffff_ffff;
/** The largest seed. */
export const MAX_SEED = 0xffff_ffff;
/** The longest delay: an hour. */
export const MAX_DELAY_NS = 3600e9;
/** The last sector that there can be. */
export const MAX_SECTOR = Math.floor(Number.MAX_SAFE_INTEGER / 512) - 1;

/** What a rule can be about, in QEMU's words. */
export type IoType = 'read' | 'write' | 'write-zeroes' | 'discard' | 'flush';
export const IO_TYPES: readonly IoType[] = ['read', 'write', 'write-zeroes', 'discard', 'flush'];

/** An error that a rule can give by its name; others have to be given as the host's numbers. */
export type FaultError =
  | 'EIO'
  | 'ENOSPC'
  | 'EROFS'
  | 'EDQUOT'
  | 'EFBIG'
  | 'EPERM'
  | 'EACCES'
  | 'EAGAIN'
  | 'EBADF'
  | 'EBUSY'
  | 'EINTR'
  | 'EINVAL'
  | 'ENODEV'
  | 'ENOMEM'
  | 'ENOTSUP'
  | 'ENXIO'
  | 'ESTALE'
  | 'ETIMEDOUT';
export const FAULT_ERRORS: readonly FaultError[] = [
  'EIO',
  'ENOSPC',
  'EROFS',
  'EDQUOT',
  'EFBIG',
  'EPERM',
  'EACCES',
  'EAGAIN',
  'EBADF',
  'EBUSY',
  'EINTR',
  'EINVAL',
  'ENODEV',
  'ENOMEM',
  'ENOTSUP',
  'ENXIO',
  'ESTALE',
  'ETIMEDOUT',
];
