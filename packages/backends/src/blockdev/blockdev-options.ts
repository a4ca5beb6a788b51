import * as v from 'valibot';
import { MAX_SEED } from '../blkdebug/fault-limits.js';
import { type InjectError, injectErrorSchema } from './inject-error.js';
import type { OptionWords } from './option-words.js';

/** What every drive takes in QEMU's spelling, whatever its driver; `Own` is what else it takes where it is written. */
export interface CommonOptions {
  readonly 'read-only'?: boolean | undefined;
  readonly discard?: 'ignore' | 'unmap' | undefined;
  readonly cache?:
    { readonly direct?: boolean | undefined; readonly 'no-flush'?: boolean | undefined } | undefined;
  readonly 'force-share'?: false | undefined;
  readonly 'detect-zeroes'?: 'off' | undefined;
}

export interface FileBlockdev extends CommonOptions {
  readonly driver: 'file';
  readonly filename: string;
  readonly aio?: 'threads' | 'native' | 'io_uring' | undefined;
  readonly locking?: 'on' | 'off' | 'auto' | undefined;
}

/** A window onto another drive. */
export type RawBlockdev<Own = unknown> = Own &
  CommonOptions & {
    readonly driver: 'raw';
    /** The name of that drive, or the drive itself. */
    readonly file: string | BlockdevOptions<Own>;
    readonly offset?: number | undefined;
    readonly size?: number | undefined;
  };

/** Faults over another drive. */
export type BlkdebugBlockdev<Own = unknown> = Own &
  CommonOptions & {
    readonly driver: 'blkdebug';
    /** The name of that drive, or the drive itself. */
    readonly image: string | BlockdevOptions<Own>;
    readonly 'inject-error'?: readonly InjectError[] | undefined;
    readonly seed?: number | undefined;
  };

/** A record of what is written to another drive. */
export type BlklogwritesBlockdev<Own = unknown> = Own &
  CommonOptions & {
    readonly driver: 'blklogwrites';
    /** The name of that drive, or the drive itself. */
    readonly file: string | BlockdevOptions<Own>;
    /** The file that it goes to. */
    readonly log: { readonly driver: 'file'; readonly filename: string };
  };

/** A drive that is made of another one. */
export type NestedBlockdev<Own = unknown> =
  RawBlockdev<Own> | BlkdebugBlockdev<Own> | BlklogwritesBlockdev<Own>;

export interface NullBlockdev extends CommonOptions {
  readonly driver: 'null-co' | 'null-aio';
  readonly size?: number | undefined;
  readonly 'latency-ns'?: number | undefined;
  readonly 'read-zeroes'?: boolean | undefined;
}

export interface MemoryBlockdev extends CommonOptions {
  readonly driver: 'memory';
  readonly size: number;
}

export interface ModuleBlockdev extends CommonOptions {
  readonly driver: 'module';
  readonly url: string;
  readonly options?: unknown;
}

/** A drive that is made of no other. */
export type LeafBlockdev<Own = unknown> = Own &
  (FileBlockdev | NullBlockdev | MemoryBlockdev | ModuleBlockdev);

/** A drive as QEMU's `-blockdev` describes it: kebab case, and objects where the command line has dots. */
export type BlockdevOptions<Own = unknown> = LeafBlockdev<Own> | NestedBlockdev<Own>;

const DRIVERS = [
  'file',
  'raw',
  'null-co',
  'null-aio',
  'memory',
  'module',
  'blkdebug',
  'blklogwrites',
] as const;

const SIZE = 'must be a positive multiple of 512 (bytes)';

/**
 * Checks a drive.
 *
 * @param own what it takes where it is written: its name, for instance
 * @param child a drive inside another one, where that is written in place; default: one of the same kind
 */
export function blockdevSchema<Own>(
  words: OptionWords,
  own: v.ObjectEntries,
  child?: v.GenericSchema<unknown, BlockdevOptions<Own>>,
): v.GenericSchema<unknown, BlockdevOptions<Own>> {
  const { text, onOff, integer, choice, fields } = words;
  const size = v.pipe(integer(0), v.minValue(1, SIZE), v.multipleOf(512, SIZE));
  const common = {
    ...own,
    'read-only': v.optional(v.pipe(onOff, v.description('Guests can’t write, whatever the disk allows.'))),
    discard: v.optional(
      v.pipe(
        choice(['ignore', 'off', 'unmap', 'on']),
        v.description('Whether what guests discard is given back to the file system; default: ignore.'),
        v.transform((word) => (word === 'unmap' || word === 'on' ? 'unmap' : 'ignore')),
      ),
    ),
    cache: v.optional(
      v.pipe(
        fields({
          direct: v.optional(v.pipe(onOff, v.description('Past the page cache of the host (Linux).'))),
          'no-flush': v.optional(
            v.pipe(onOff, v.description('Flushes do nothing: what is written is lost if the host crashes.')),
          ),
        }),
        v.description('How the host caches a file.'),
      ),
    ),
    'force-share': v.optional(
      v.pipe(
        onOff,
        v.description('Taken for those who state the default.'),
        v.value(false, "can't be switched on: images are not shared with other writers; leave it out"),
      ),
    ),
    'detect-zeroes': v.optional(
      v.pipe(
        choice(['off', 'on', 'unmap']),
        v.description('Taken for those who state the default.'),
        v.value('off', "can't be switched on: nothing looks for zeroes here; leave it out"),
      ),
    ),
  };
  const path = (description: string): v.GenericSchema<unknown, string> =>
    v.pipe(text, v.regex(/^[^\0]+$/, 'must be a path'), v.description(description));
  const inner = (description: string): v.GenericSchema<unknown, string | BlockdevOptions<Own>> =>
    v.pipe(
      v.lazy((input): v.GenericSchema<unknown, string | BlockdevOptions<Own>> =>
        typeof input === 'string' ? text : (child ?? schema),
      ),
      v.description(description),
    );
  const drivers = [
    v.pipe(
      fields({
        driver: v.literal('file'),
        ...common,
        filename: path('Path of a raw image or a block device, relative to the working directory.'),
        aio: v.optional(
          v.pipe(
            choice(['threads', 'native', 'io_uring']),
            v.description(
              'How asynchronous requests are done; default: io_uring where it can be had, threads elsewhere.',
            ),
          ),
        ),
        locking: v.optional(
          v.pipe(
            choice(['on', 'off', 'auto']),
            v.description('Whether other writers are kept out, QEMU among them; default: auto (Linux).'),
          ),
        ),
      }),
      v.description('A raw image in a file or on a block device.'),
    ),
    v.pipe(
      fields({
        driver: v.literal('raw'),
        ...common,
        file: inner('The drive that this is a window onto: its name, or the drive itself.'),
        offset: v.optional(
          v.pipe(
            integer(0),
            v.multipleOf(512, 'must be a multiple of 512 (bytes)'),
            v.description('Where the window begins, bytes; default: 0.'),
          ),
        ),
        size: v.optional(v.pipe(size, v.description('Bytes; default: all that is behind the offset.'))),
      }),
      v.description('A window onto another drive.'),
    ),
    v.pipe(
      fields({
        driver: v.picklist(['null-co', 'null-aio']),
        ...common,
        size: v.optional(v.pipe(size, v.description('Bytes; default: 1 GiB.'))),
        'latency-ns': v.optional(
          v.pipe(integer(0), v.description('How long every request takes, nanoseconds; default: 0.')),
        ),
        'read-zeroes': v.optional(
          v.pipe(
            onOff,
            v.description('Whether reads give zeroes; by default they leave the buffer as it is.'),
          ),
        ),
      }),
      v.description('A disk that holds nothing, and takes the same time for everything.'),
    ),
    v.pipe(
      fields({ driver: v.literal('memory'), ...common, size: v.pipe(size, v.description('Bytes.')) }),
      v.description('A disk in memory, gone with the process.'),
    ),
    v.pipe(
      fields({
        driver: v.literal('module'),
        ...common,
        url: v.pipe(
          text,
          v.minLength(1, 'must be a file URL, a path or the name of a package'),
          v.description(
            'A file URL, a path (a relative one begins with ./ or ../) or the name of a package.',
          ),
        ),
        options: v.optional(v.pipe(v.unknown(), v.description('Handed to the module’s function.'))),
      }),
      v.description('A disk of your own, in TypeScript or JavaScript.'),
    ),
    v.pipe(
      fields({
        driver: v.literal('blkdebug'),
        ...common,
        image: inner('The drive whose requests are to fail: its name, or the drive itself.'),
        'inject-error': v.optional(injectErrorSchema(words)),
        seed: v.optional(
          v.pipe(
            integer(0, MAX_SEED),
            v.description('Decides on chances, the same in each run; default: 0.'),
          ),
        ),
      }),
      v.description('Faults over another drive: its requests fail, wait or hang by rules.'),
    ),
    v.pipe(
      fields({
        driver: v.literal('blklogwrites'),
        ...common,
        file: inner('The drive whose writes and flushes are recorded: its name, or the drive itself.'),
        log: v.pipe(
          fields({
            driver: v.literal('file'),
            filename: path('Path of a file that is made, or is a log already.'),
          }),
          v.description('Where the record goes.'),
        ),
      }),
      v.description('A record of what is written to another drive, in the format of dm-log-writes.'),
    ),
  ] as const;
  const variant = v.variant('driver', drivers, words.noVariant(DRIVERS));
  const schema = variant as unknown as v.GenericSchema<unknown, BlockdevOptions<Own>>;
  return schema;
}
