import type * as v from 'valibot';
import { checkOptions } from './check-options.js';
import { parseJson } from './json-text.js';
import { type KeyvalSyntax, parseKeyval } from './keyval.js';
import type { Dialect } from './scalars.js';

/**
 * Reads the value of a command-line option: JSON when it begins with a brace, `key=value` otherwise.
 * @throws StorageDaemonError `ERR_PARAMETER`, `ERR_JSON`
 */
export function readOption<Output>(
  schemas: Readonly<Record<Dialect, v.GenericSchema<unknown, Output>>>,
  text: string,
  syntax: KeyvalSyntax,
): Output {
  return text.startsWith('{')
    ? checkOptions(schemas.json, parseJson(text))
    : checkOptions(schemas.keyval, parseKeyval(text, syntax));
}
