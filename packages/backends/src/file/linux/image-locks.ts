import { LinuxError, lockedByOthers, lockShared, unlock } from '@iothreads/linux';
import { BlockDriverError } from '../../block-driver.js';

// QEMU's locks on images (block/file-posix.c), so that it and we keep each other out: what somebody does with an image is
// a shared lock on byte 100 + n, what they don't share with others one on byte 200 + n.
const PERMISSIONS_AT = 100;
const NOT_SHARED_AT = 200;
const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

const WRITER = { does: [CONSISTENT_READ, WRITE, RESIZE], refuses: [WRITE, RESIZE] };
/** Beside a writer it is the operator's business what it sees. */
const READER = { does: [CONSISTENT_READ], refuses: [] };

/** What the file system says that has no locks. */
const UNSUPPORTED = new Set(['EINVAL', 'ENOLCK', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/**
 * Locks an open image for as long as it is open.
 *
 * @returns false where its file system has no locks
 * @throws BlockDriverError `ERR_DRIVE_LOCKED` when somebody uses it in a way that excludes ours
 */
export function lockImage(filename: string, fd: number, readOnly: boolean): boolean {
  const { does, refuses } = readOnly ? READER : WRITER;
  try {
    // Locked first, looked at afterwards: of two that come at the same time both may be refused, but never none.
    for (const n of does) if (!lockShared(fd, PERMISSIONS_AT + n, 1)) throw lockedError(filename, readOnly);
    for (const n of refuses) if (!lockShared(fd, NOT_SHARED_AT + n, 1)) throw lockedError(filename, readOnly);
    for (const n of refuses) if (lockedByOthers(fd, PERMISSIONS_AT + n, 1)) throw writtenError(filename);
    for (const n of does) if (lockedByOthers(fd, NOT_SHARED_AT + n, 1)) throw lockedError(filename, readOnly);
    return true;
  } catch (error) {
    if (error instanceof LinuxError && UNSUPPORTED.has(error.code)) return false;
    throw error;
  }
}

/** Gives an image's locks back: its descriptor alone may not be the last to go, the kernel's rings keep files a while. */
export function unlockImage(fd: number): void {
  unlock(fd, PERMISSIONS_AT, NOT_SHARED_AT - PERMISSIONS_AT + RESIZE + 1);
}

const writtenError = (filename: string): BlockDriverError =>
  new BlockDriverError(
    'ERR_DRIVE_LOCKED',
    `${filename}: is in use for writing, by another process or another drive; ` +
      'stop that one first, or open it read-only, or say locking=off',
  );

const lockedError = (filename: string, readOnly: boolean): BlockDriverError =>
  new BlockDriverError(
    'ERR_DRIVE_LOCKED',
    `${filename}: is in use by somebody who lets nobody else ${readOnly ? 'read' : 'write to'} it; ` +
      `stop that one first, ${readOnly ? '' : 'or open it read-only, '}or say locking=off`,
  );
