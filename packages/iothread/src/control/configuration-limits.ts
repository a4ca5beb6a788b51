import * as v from 'valibot';

// What options of iothreads and devices may be, however they are written.

/** An iothread that polls longer than a second would be a mistake in the unit. */
export const MAX_POLL_NS = 1_000_000_000;
export const MAX_POLL_FACTOR = 1000;
export const MAX_QUEUES = 256;
export const MIN_QUEUE_SIZE = 4;
export const DEFAULT_QUEUE_SIZE = 256;
/** Bytes. */
export const BLOCK_SIZES = [512, 1024, 2048, 4096] as const;

/** QEMU's ids. */
export const WELL_FORMED_ID = v.regex<string, string>(
  /^[A-Za-z][\w.-]*$/,
  'must be a letter and then letters, digits, - . or _',
);
