import type * as v from 'valibot';
import { checkOptions, fields } from '../options/check-options.js';
import type { StorageDaemon } from '../storage-daemon.js';

/** A QMP command: checks its arguments, and does it. What it returns goes to the client; nothing becomes `{}`. */
export type Command = (daemon: StorageDaemon, args: unknown) => Promise<unknown>;

/** Commands by their names. */
export type Commands = Readonly<Record<string, Command>>;

export function command<Arguments>(
  schema: v.GenericSchema<unknown, Arguments>,
  execute: (daemon: StorageDaemon, args: Arguments) => unknown,
): Command {
  return async (daemon, args) => execute(daemon, checkOptions(schema, args));
}

/** The schema of a command without arguments. */
export const NONE = fields({});
