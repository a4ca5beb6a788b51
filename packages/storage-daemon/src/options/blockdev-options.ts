import * as v from 'valibot';
import { fields } from './check-options.js';
import { inBothDialects, isWellFormedId, type Scalars, textThat } from './scalars.js';

/** What every node takes, whatever its driver. */
interface CommonOptions {
  readonly 'node-name'?: string | undefined;
  readonly 'read-only'?: boolean | undefined;
  /** Read-only where the image can't be written, instead of an error. */
  readonly 'auto-read-only'?: boolean | undefined;
  readonly discard?: 'ignore' | 'unmap' | undefined;
  readonly cache?:
    { readonly direct?: boolean | undefined; readonly 'no-flush'?: boolean | undefined } | undefined;
}

interface FileBlockdev extends CommonOptions {
  readonly driver: 'file';
  readonly filename: string;
  readonly aio?: 'threads' | 'native' | 'io_uring' | undefined;
  readonly locking?: 'on' | 'off' | 'auto' | undefined;
}

export interface RawBlockdev extends CommonOptions {
  readonly driver: 'raw';
  /** The child: the name of a node, or a node described in place. */
  readonly file: string | BlockdevOptions;
  readonly offset?: number | undefined;
  readonly size?: number | undefined;
}

interface NullBlockdev extends CommonOptions {
  readonly driver: 'null-co' | 'null-aio';
  readonly size?: number | undefined;
  readonly 'latency-ns'?: number | undefined;
  readonly 'read-zeroes'?: boolean | undefined;
}

interface MemoryBlockdev extends CommonOptions {
  readonly driver: 'memory';
  readonly size: number;
}

interface ModuleBlockdev extends CommonOptions {
  readonly driver: 'module';
  readonly url: string;
  readonly options?: unknown;
}

/** A node as `--blockdev` and `blockdev-add` describe it. */
export type BlockdevOptions = FileBlockdev | RawBlockdev | NullBlockdev | MemoryBlockdev | ModuleBlockdev;

const DRIVERS = ['file', 'raw', 'null-co', 'null-aio', 'memory', 'module'] as const;
const MAX_NODE_NAME = 31;
const WELL_FORMED = `a letter, then letters, digits, '-', '.' and '_', at most ${MAX_NODE_NAME} characters`;

export const blockdevSchemas = inBothDialects(blockdevSchema);

function blockdevSchema(scalars: Scalars): v.GenericSchema<unknown, BlockdevOptions> {
  const { text, onOff, integer, choice } = scalars;
  const common = {
    'node-name': v.optional(
      textThat(
        text,
        (name) => isWellFormedId(name) && name.length <= MAX_NODE_NAME,
        (name) => `Parameter '%' is no valid node name: '${name}' (${WELL_FORMED})`,
      ),
    ),
    'read-only': v.optional(onOff),
    'auto-read-only': v.optional(onOff),
    'force-share': v.optional(only(onOff, false, 'images are not shared with other writers; leave it out')),
    'detect-zeroes': v.optional(
      only(choice(['off', 'on', 'unmap']), 'off', 'nothing looks for zeroes here; leave it out'),
    ),
    discard: v.optional(
      v.pipe(
        choice(['ignore', 'off', 'unmap', 'on']),
        v.transform((word) => (word === 'unmap' || word === 'on' ? 'unmap' : 'ignore')),
      ),
    ),
    cache: v.optional(fields({ direct: v.optional(onOff), 'no-flush': v.optional(onOff) })),
  };
  const byDriver: ReadonlyMap<unknown, v.GenericSchema<unknown, BlockdevOptions>> = new Map<
    unknown,
    v.GenericSchema<unknown, BlockdevOptions>
  >([
    [
      'file',
      fields({
        driver: v.literal('file'),
        ...common,
        filename: textThat(
          text,
          (name) => name !== '' && !name.includes('\0'),
          () => "Parameter '%' must be a path",
        ),
        aio: v.optional(choice(['threads', 'native', 'io_uring'])),
        locking: v.optional(choice(['on', 'off', 'auto'])),
      }),
    ],
    [
      'raw',
      fields({
        driver: v.literal('raw'),
        ...common,
        file: v.lazy((child): v.GenericSchema<unknown, string | BlockdevOptions> =>
          typeof child === 'string' ? text : blockdev,
        ),
        offset: v.optional(integer(0)),
        size: v.optional(integer(0)),
      }),
    ],
    ...(['null-co', 'null-aio'] as const).map(
      (driver) =>
        [
          driver,
          fields({
            driver: v.literal(driver),
            ...common,
            size: v.optional(integer(0)),
            'latency-ns': v.optional(integer(0)),
            'read-zeroes': v.optional(onOff),
          }),
        ] as const,
    ),
    ['memory', fields({ driver: v.literal('memory'), ...common, size: integer(0) })],
    [
      'module',
      fields({ driver: v.literal('module'), ...common, url: text, options: v.optional(v.unknown()) }),
    ],
  ]);
  const unknownDriver = v.looseObject({ driver: driverOf(scalars) }, "Parameter 'driver' is missing");
  const blockdev: v.GenericSchema<unknown, BlockdevOptions> = v.lazy((input) => {
    const driver =
      typeof input === 'object' && input !== null && 'driver' in input ? input.driver : undefined;
    // Only to say what is wrong: a driver that it takes is in the table.
    return byDriver.get(driver) ?? (unknownDriver as unknown as v.GenericSchema<unknown, BlockdevOptions>);
  });
  return blockdev;
}

/** The driver's name, with a word for those who look for what QEMU has. */
function driverOf({ choice }: Scalars): v.GenericSchema<unknown, string> {
  return v.pipe(
    v.unknown(),
    v.check((driver) => driver !== 'throttle', "Parameter '%': this version has no driver 'throttle'"),
    choice(DRIVERS),
  );
}

/** A parameter that exists for those who state a default. */
function only<Value>(
  schema: v.GenericSchema<unknown, Value>,
  value: Value,
  why: string,
): v.GenericSchema<unknown, Value> {
  return v.pipe(
    schema,
    v.check((given) => given === value, `Parameter '%' can't be switched on: ${why}`),
  );
}
