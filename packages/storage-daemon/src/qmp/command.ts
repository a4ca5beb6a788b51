import type * as v from 'valibot';
import { checkOptions, fields } from '../options/check-options.js';
import type { StorageDaemon } from '../storage-daemon.js';

/** A QMP command. */
export interface Command {
  /** Checks its arguments, and does it. What it returns goes to the client; nothing becomes `{}`. */
  readonly execute: (daemon: StorageDaemon, args: unknown) => Promise<unknown>;
  /** Whether it waits until what other monitors have asked for is done. */
  readonly inTurn: boolean;
}

/** Commands by their names. */
export type Commands = Readonly<Record<string, Command>>;

type Execute<Arguments> = (daemon: StorageDaemon, args: Arguments) => unknown;

/** A command that changes what there is: one at a time. */
export const command = <Arguments>(
  schema: v.GenericSchema<unknown, Arguments>,
  execute: Execute<Arguments>,
): Command => ({ execute: checked(schema, execute), inTurn: true });

/**
 * A command that is done at once: it only looks, or ends what others wait for. One may be waiting for a disk that does not answer,
 * and that is when an operator wants to know.
 */
export const urgent = <Arguments>(
  schema: v.GenericSchema<unknown, Arguments>,
  execute: Execute<Arguments>,
): Command => ({ execute: checked(schema, execute), inTurn: false });

function checked<Arguments>(
  schema: v.GenericSchema<unknown, Arguments>,
  execute: Execute<Arguments>,
): Command['execute'] {
  return async (daemon, args) => execute(daemon, checkOptions(schema, args));
}

/** The schema of a command without arguments. */
export const NONE = fields({});
