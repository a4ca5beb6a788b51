import type { OptionWords } from '@iothreads/backends/blockdev';
import { closestMatch } from 'leven';
import * as v from 'valibot';

const FRACTION = 'must be a number from 0 to 1';

/**
 * How a machine is written: JSON, or the same as a literal. Made of what a JSON schema can express as well, so that an
 * editor knows all that the check knows.
 */
export const machineWords: OptionWords = {
  text: v.string('must be text'),
  onOff: v.boolean('must be true or false'),
  integer: (least, most = Number.MAX_SAFE_INTEGER) => {
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `from ${least} to ${most}`;
    const message = `must be an integer, ${range}`;
    return v.pipe(
      v.number(message),
      v.integer(message),
      v.minValue(least, message),
      v.maxValue(most, message),
    );
  },
  fraction: v.pipe(v.number(FRACTION), v.minValue(0, FRACTION), v.maxValue(1, FRACTION)),
  choice: (choices) => v.picklist(choices, `must be ${oneOf(choices)}`),
  fields: (entries) => {
    const known = Object.keys(entries);
    // Without a prototype: 'toString' is no field of anybody's.
    const own = Object.assign(Object.create(null) as typeof entries, entries);
    return v.strictObject(own, (issue) => {
      if (isUnknownOption(issue)) return unknownOption(String(issue.input), known);
      return issue.path === undefined ? 'must be an object' : 'is missing';
    });
  },
  noVariant:
    (choices) =>
    ({ path, input }) => {
      if (path === undefined) return 'must be an object';
      return input === undefined ? `is missing (known: ${choices.join(', ')})` : `must be ${oneOf(choices)}`;
    },
};

/** Whether an issue is about an option that nobody knows. */
export const isUnknownOption = (issue: v.BaseIssue<unknown>): boolean =>
  issue.type === 'strict_object' && issue.expected === 'never';

function unknownOption(name: string, known: readonly string[]): string {
  // Who knows the runtime's own names writes numQueues; otherwise one letter in three may be wrong.
  const kebabCase = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const near = closestMatch(kebabCase, known, { maxDistance: Math.ceil(name.length / 3) });
  return near === undefined
    ? `unknown option (known: ${known.join(', ')})`
    : `unknown option, did you mean ${near}?`;
}

/** `a, b or c` */
export function oneOf(choices: readonly (string | number)[]): string {
  const [last, ...others] = choices.toReversed();
  return others.length === 0 ? String(last) : `${others.toReversed().join(', ')} or ${last}`;
}
