import type { DriveOptions } from '../block-driver-types.js';
import type { BlockdevOptions, LeafBlockdev, NestedBlockdev } from './blockdev-options.js';
import { faultRules } from './inject-error.js';

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

/** Whether a drive is made of another one. */
export const isNested = <Own>(options: BlockdevOptions<Own>): options is NestedBlockdev<Own> =>
  options.driver === 'raw' || options.driver === 'blkdebug' || options.driver === 'blklogwrites';

/** The drive inside, or its name, and the option that says so. */
export function innerDrive<Own>(options: NestedBlockdev<Own>): {
  readonly option: string;
  readonly inner: string | BlockdevOptions<Own>;
} {
  return options.driver === 'blkdebug'
    ? { option: 'image', inner: options.image }
    : { option: 'file', inner: options.file };
}

/** A drive that is made of `inner`, in the words of `DriveOptions`. */
export function nestedOptions(options: NestedBlockdev, inner: DriveOptions): DriveOptions {
  const { driver } = options;
  switch (driver) {
    case 'raw':
      return { driver, file: inner, offset: options.offset, size: options.size };
    case 'blkdebug':
      return { driver, image: inner, rules: faultRules(options['inject-error'] ?? []), seed: options.seed };
    case 'blklogwrites':
      return { driver, file: inner, log: options.log.filename };
  }
}

/**
 * The options of a child that is written in place, with what it has from its parent: whether it may be written, how it is
 * cached, and whether discards reach it.
 */
export function inheritOptions<Options extends BlockdevOptions>(
  parent: NestedBlockdev,
  child: Options,
): Options {
  return {
    ...child,
    'read-only': child['read-only'] ?? parent['read-only'],
    cache: { ...parent.cache, ...child.cache },
    discard: parent.discard === 'unmap' && child.discard !== 'ignore' ? 'unmap' : 'ignore',
  };
}
