import type { DriveOptions } from '../block-driver-types.js';
import type { BlockdevOptions, LeafBlockdev, RawBlockdev } from './blockdev-options.js';

/** A drive that is made of no other, in the words of `DriveOptions`; `read-only` is for whoever holds it. */
export function leafOptions(options: LeafBlockdev): DriveOptions {
  switch (options.driver) {
    case 'file': {
      const { driver, filename, aio, locking, cache, discard } = options;
      return {
        driver,
        filename,
        aio,
        locking,
        discard,
        cacheDirect: cache?.direct,
        cacheNoFlush: cache?.['no-flush'],
      };
    }
    case 'null-co':
    case 'null-aio':
      return {
        driver: 'null',
        size: options.size,
        latencyNs: options['latency-ns'],
        readZeroes: options['read-zeroes'],
      };
    case 'memory':
      return { driver: 'memory', size: options.size };
    case 'module':
      return { driver: 'module', url: options.url, options: options.options };
  }
}

/** A window onto `child`. */
export function windowOptions({ offset, size }: RawBlockdev, child: DriveOptions): DriveOptions {
  return { driver: 'raw', file: child, offset, size };
}

/**
 * The options of a child that is written in place, with what it has from its parent: whether it may be written, how it is
 * cached, and whether discards reach it.
 */
export function inheritOptions<Options extends BlockdevOptions>(
  parent: RawBlockdev,
  child: Options,
): Options {
  return {
    ...child,
    'read-only': child['read-only'] ?? parent['read-only'],
    cache: { ...parent.cache, ...child.cache },
    discard: parent.discard === 'unmap' && child.discard !== 'ignore' ? 'unmap' : 'ignore',
  };
}
