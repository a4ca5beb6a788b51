import * as v from 'valibot';
import { StorageDaemonError } from '../storage-daemon-error.js';

/** What QEMU says with the parameter's name in its midst; anything else is said after the name. */
const NAMES_IT = /^(?:Invalid parameter type for|Parameter) '%'/;

/** An object that takes these fields and no others. */
export function fields<const Entries extends v.ObjectEntries>(entries: Entries) {
  // Without a prototype: 'toString' is no field of anybody's.
  const own = Object.assign(Object.create(null) as Entries, entries);
  const known = Object.keys(entries).join(', ');
  return v.strictObject(own, (issue) => {
    if (isUnexpected(issue)) return `is unexpected${known === '' ? '' : ` (known: ${known})`}`;
    return issue.path === undefined ? "Invalid parameter type for '%', expected: object" : 'is missing';
  });
}

/**
 * Checks options against their schema.
 * @throws StorageDaemonError `ERR_PARAMETER`, one line that names the parameter by its dotted path
 */
export function checkOptions<Output>(schema: v.GenericSchema<unknown, Output>, input: unknown): Output {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  // A misspelt parameter explains a missing one, not the other way round.
  const issue = result.issues.find(isUnexpected) ?? result.issues[0];
  const path = issue.path?.map(({ key }) => String(key)).join('.') ?? '';
  throw new StorageDaemonError(
    'ERR_PARAMETER',
    NAMES_IT.test(issue.message)
      ? issue.message.replace('%', () => path)
      : `Parameter '${path}' ${issue.message}`,
  );
}

/** Whether an issue is about a field that nobody knows. */
const isUnexpected = (issue: v.BaseIssue<unknown>): boolean =>
  issue.type === 'strict_object' && issue.expected === 'never';
