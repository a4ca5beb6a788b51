import type * as v from 'valibot';

/**
 * How somebody who writes options down writes the simplest ones, and how a mistake is told to them: `key=value`, where
 * all of them are text, JSON on a command line, a file. Descriptions of options are made of these words, and so are the
 * same for all.
 *
 * A message is what follows the name of the option: `must be a path`.
 */
export interface OptionWords {
  readonly text: v.GenericSchema<unknown, string>;
  readonly onOff: v.GenericSchema<unknown, boolean>;
  /** A whole number within bounds. */
  readonly integer: (least: number, most?: number) => v.GenericSchema<unknown, number>;
  /** A number from 0 to 1. */
  readonly fraction: v.GenericSchema<unknown, number>;
  /** One of these words. */
  readonly choice: <const Choice extends string>(
    choices: readonly Choice[],
  ) => v.GenericSchema<unknown, Choice>;
  /** An object that takes these fields and no others. */
  readonly fields: <const Entries extends v.ObjectEntries>(
    entries: Entries,
  ) => v.StrictObjectSchema<Entries, v.ErrorMessage<v.StrictObjectIssue>>;
  /** What to say where the choice of a variant is none of `choices`, is missing, or there is no object to have one. */
  readonly noVariant: (choices: readonly string[]) => (issue: v.VariantIssue) => string;
}
