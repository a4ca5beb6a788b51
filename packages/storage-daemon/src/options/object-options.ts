import type { OptionWords } from '@iothreads/backends/blockdev';
import * as v from 'valibot';
import { fields } from './check-options.js';
import { idSchema } from './export-options.js';
import { inBothDialects } from './scalars.js';

/** An object as `--object` and `object-add` describe it: iothreads are the only ones. */
export interface ObjectOptions {
  readonly 'qom-type': 'iothread';
  readonly id: string;
  readonly 'poll-max-ns'?: number | undefined;
  readonly 'poll-grow'?: number | undefined;
  readonly 'poll-shrink'?: number | undefined;
  /** Taken and told again: batches are as large as the rings make them. */
  readonly 'aio-max-batch'?: number | undefined;
}

/** An iothread that polls longer than a second would be a mistake in the unit. */
const MAX_POLL_NS = 1_000_000_000;
const MAX_POLL_FACTOR = 1000;

export const objectSchemas = inBothDialects(objectSchema);

function objectSchema(scalars: OptionWords): v.GenericSchema<unknown, ObjectOptions> {
  const { integer, choice } = scalars;
  return fields({
    'qom-type': choice(['iothread']),
    id: idSchema(scalars),
    'poll-max-ns': v.optional(integer(0, MAX_POLL_NS)),
    'poll-grow': v.optional(integer(0, MAX_POLL_FACTOR)),
    'poll-shrink': v.optional(integer(0, MAX_POLL_FACTOR)),
    'aio-max-batch': v.optional(integer(0)),
  });
}
