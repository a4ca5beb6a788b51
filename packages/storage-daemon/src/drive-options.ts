import type { DriveOptions } from '@iothreads/backends';
import * as blockdev from '@iothreads/backends/blockdev';
import type { BlockdevOptions, LeafBlockdev, NestedBlockdev } from './options/blockdev-options.js';
import { StorageDaemonError } from './storage-daemon-error.js';

/** A node's options, but those of a raw node, in the runtime's words. @throws StorageDaemonError `ERR_PARAMETER` */
export function driveOptions(options: LeafBlockdev): DriveOptions {
  const drive = blockdev.leafOptions(options);
  switch (drive.driver) {
    case 'memory':
      return { driver: 'memory', buffer: memoryOf(drive.size!) };
    case 'module':
      return { ...drive, options: plain(drive.options) };
    default:
      return drive;
  }
}

/** The drive of a node, for those made of it: the node has the lock, and a second one of the same process would be refused. */
export function unlocked(drive: DriveOptions): DriveOptions {
  switch (drive.driver) {
    case 'file':
      return { ...drive, locking: 'off' };
    case 'blkdebug':
      return { ...drive, image: unlocked(drive.image) };
    case 'blklogwrites':
      return { ...drive, file: unlocked(drive.file) };
    default:
      return drive;
  }
}

/** The options of a child described in place, with what it has from its parent. */
export function inheritOptions(parent: NestedBlockdev, child: BlockdevOptions): BlockdevOptions {
  return {
    ...blockdev.inheritOptions(parent, child),
    'auto-read-only': child['auto-read-only'] ?? parent['auto-read-only'],
  };
}

/** Made here: a node and the windows onto it are the same memory. */
function memoryOf(size: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(size);
  } catch (error) {
    throw new StorageDaemonError(
      'ERR_PARAMETER',
      `Parameter 'size': can't allocate ${size} bytes of memory`,
      {
        cause: error,
      },
    );
  }
}

/** Objects of `key=value` options have no prototype; a user's module may expect one. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
