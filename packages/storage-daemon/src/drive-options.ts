import type { DriveOptions } from '@iothreads/backends';
import type { BlockdevOptions, RawBlockdev } from './options/blockdev-options.js';
import { StorageDaemonError } from './storage-daemon-error.js';

/** QEMU's size of a null disk. */
const NULL_SIZE = 1 << 30;

/** A node's options, but those of a raw node, in the runtime's words. @throws StorageDaemonError `ERR_PARAMETER` */
export function driveOptions(options: Exclude<BlockdevOptions, RawBlockdev>): DriveOptions {
  switch (options.driver) {
    case 'file': {
      const { filename, aio, locking, cache } = options;
      return {
        driver: 'file',
        filename,
        discard: options.discard ?? 'ignore',
        ...(aio === undefined ? {} : { aio }),
        ...(locking === undefined ? {} : { locking }),
        ...(cache?.direct === undefined ? {} : { cacheDirect: cache.direct }),
        ...(cache?.['no-flush'] === undefined ? {} : { cacheNoFlush: cache['no-flush'] }),
      };
    }
    case 'null-co':
    case 'null-aio': {
      const latencyNs = options['latency-ns'];
      const readZeroes = options['read-zeroes'];
      return {
        driver: 'null',
        size: options.size ?? NULL_SIZE,
        ...(latencyNs === undefined ? {} : { latencyNs }),
        ...(readZeroes === undefined ? {} : { readZeroes }),
      };
    }
    case 'memory':
      return { driver: 'memory', buffer: memoryOf(options.size) };
    case 'module':
      return {
        driver: 'module',
        url: options.url,
        ...(options.options === undefined ? {} : { options: plain(options.options) }),
      };
  }
}

/** A window onto a child's drive. The child has the lock: a second one of the same process would be refused. */
export function windowOptions(options: RawBlockdev, child: DriveOptions): DriveOptions {
  const { offset, size } = options;
  return {
    driver: 'raw',
    file: child.driver === 'file' ? { ...child, locking: 'off' } : child,
    ...(offset === undefined ? {} : { offset }),
    ...(size === undefined ? {} : { size }),
  };
}

/**
 * The options of a child described in place, with what it has from its parent: whether it may be written, how it is
 * cached, and whether discards reach it.
 */
export function inheritOptions(parent: RawBlockdev, child: BlockdevOptions): BlockdevOptions {
  return {
    ...child,
    'read-only': child['read-only'] ?? parent['read-only'],
    'auto-read-only': child['auto-read-only'] ?? parent['auto-read-only'],
    cache: { ...parent.cache, ...child.cache },
    discard: parent.discard === 'unmap' && child.discard !== 'ignore' ? 'unmap' : 'ignore',
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
