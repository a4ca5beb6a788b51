import type { DriveOptions } from '@iothreads/backends';
import * as blockdev from '@iothreads/backends/blockdev';
import type { BlockdevOptions, LeafBlockdev, RawBlockdev } from './options/blockdev-options.js';
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

/** A window onto a child's drive. The child has the lock: a second one of the same process would be refused. */
export function windowOptions(options: RawBlockdev, child: DriveOptions): DriveOptions {
  return blockdev.windowOptions(options, child.driver === 'file' ? { ...child, locking: 'off' } : child);
}

/** The options of a child described in place, with what it has from its parent. */
export function inheritOptions(parent: RawBlockdev, child: BlockdevOptions): BlockdevOptions {
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
