import type { OptionWords } from '@iothreads/backends/blockdev';
import type { ReadErrorPolicy, WriteErrorPolicy } from '@iothreads/iothread';
import * as v from 'valibot';
import { fields } from './check-options.js';
import { fileMode, inBothDialects, isWellFormedId, MAX_ID_LENGTH, textThat } from './scalars.js';

/** An export as `--export` and `block-export-add` describe it. */
export interface ExportOptions {
  readonly type: 'vhost-user-blk';
  readonly id: string;
  readonly 'node-name': string;
  readonly addr:
    | { readonly type: 'unix'; readonly path: string; readonly mode?: number | undefined }
    /** A listening socket that was inherited: the number of its descriptor. */
    | { readonly type: 'fd'; readonly str: number };
  readonly writable?: boolean | undefined;
  readonly writethrough?: boolean | undefined;
  readonly 'logical-block-size'?: number | undefined;
  readonly 'num-queues'?: number | undefined;
  /** One iothread, or several over which the queues are spread. */
  readonly iothread?: string | readonly string[] | undefined;
  /** The export must not be moved to another iothread. */
  readonly 'fixed-iothread'?: boolean | undefined;
  /** What becomes of a write that the disk fails; 'auto' is the default, 'report'. */
  readonly werror?: WriteErrorPolicy | 'auto' | undefined;
  readonly rerror?: ReadErrorPolicy | 'auto' | undefined;
}

export const MAX_QUEUES = 256;
const BLOCK_SIZES = [512, 1024, 2048, 4096];
const MAX_FD = 2 ** 31 - 1;

export const exportSchemas = inBothDialects(exportSchema);

/** Ids of exports, objects and character devices. */
export function idSchema({ text }: OptionWords): v.GenericSchema<unknown, string> {
  return textThat(
    text,
    isWellFormedId,
    (id) =>
      `is no valid id: '${id.slice(0, MAX_ID_LENGTH)}' (a letter, then letters, digits, '-', '.' and '_', at most ${MAX_ID_LENGTH} characters)`,
  );
}

function exportSchema(scalars: OptionWords): v.GenericSchema<unknown, ExportOptions> {
  const { text, onOff, integer, choice } = scalars;
  const addressType = v.looseObject({ type: choice(['unix', 'fd']) }, 'is missing');
  const unix = fields({
    type: v.literal('unix'),
    path: textThat(
      text,
      (path) => path !== '' && !path.includes('\0'),
      () => 'must be a path',
    ),
    mode: v.optional(fileMode(text)),
  });
  const fd = fields({
    type: v.literal('fd'),
    str: v.pipe(
      textThat(
        text,
        (str) => /^\d{1,10}$/.test(str) && Number(str) <= MAX_FD,
        (str) => `must be the number of an inherited descriptor, got '${str}'`,
      ),
      v.transform(Number),
    ),
  });
  return fields({
    type: choice(['vhost-user-blk']),
    id: idSchema(scalars),
    'node-name': text,
    addr: v.lazy((addr): v.GenericSchema<unknown, ExportOptions['addr']> => {
      const type = typeof addr === 'object' && addr !== null && 'type' in addr ? addr.type : undefined;
      if (type === 'unix') return unix;
      return type === 'fd' ? fd : (addressType as unknown as typeof unix);
    }),
    writable: v.optional(onOff),
    writethrough: v.optional(onOff),
    'logical-block-size': v.optional(
      v.pipe(
        integer(0),
        v.check((size) => BLOCK_SIZES.includes(size), `must be one of ${BLOCK_SIZES.join(', ')} (bytes)`),
      ),
    ),
    'num-queues': v.optional(integer(1, MAX_QUEUES)),
    iothread: v.optional(
      v.lazy((iothread): v.GenericSchema<unknown, string | string[]> =>
        Array.isArray(iothread) ? v.pipe(v.array(text), v.minLength(1, 'names no iothread')) : text,
      ),
    ),
    'fixed-iothread': v.optional(onOff),
    // The runtime's lists, which stay unloaded until they are needed.
    werror: v.optional(choice(['report', 'ignore', 'enospc', 'stop', 'auto'])),
    rerror: v.optional(choice(['report', 'ignore', 'stop', 'auto'])),
  });
}
