import type { OptionWords } from '@iothreads/backends/blockdev';
import * as v from 'valibot';
import { fields } from './check-options.js';

/** How an option is written: `key=value`, where all scalars are text, or JSON, where they have types. */
export type Dialect = 'keyval' | 'json';

/** One description of an option, for both ways to write it. */
export function inBothDialects<Output>(
  describe: (words: OptionWords) => v.GenericSchema<unknown, Output>,
): Readonly<Record<Dialect, v.GenericSchema<unknown, Output>>> {
  return { keyval: describe(scalars('keyval')), json: describe(scalars('json')) };
}

const ON = new Set(['on', 'yes', 'true', 'y']);
const OFF = new Set(['off', 'no', 'false', 'n']);

/** What is wrong with a value. */
class Wrong {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** A schema made of a function that reads a value or says what is wrong with it. */
export function reading<Output>(read: (input: unknown) => Output | Wrong): v.GenericSchema<unknown, Output> {
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }): Output => {
      const result = read(dataset.value);
      if (!(result instanceof Wrong)) return result;
      addIssue({ message: result.message });
      return NEVER;
    }),
  );
}

/** Text that has to look a certain way. @param wrong what is wrong with text that doesn't */
export function textThat(
  text: v.GenericSchema<unknown, string>,
  fits: (text: string) => boolean,
  wrong: (text: string) => string,
): v.GenericSchema<unknown, string> {
  return v.pipe(
    text,
    v.check(fits, ({ input }) => wrong(input)),
  );
}

/** Permission bits of a file, octal in either dialect: JSON has no octal numbers. */
export function fileMode(text: v.GenericSchema<unknown, string>): v.GenericSchema<unknown, number> {
  return v.pipe(
    textThat(
      text,
      (mode) => /^0?[0-7]{3}$/.test(mode),
      (mode) => `must be permission bits in octal, such as 0660, got '${mode}'`,
    ),
    v.transform((mode) => Number.parseInt(mode, 8)),
  );
}

/** Longest id: it stands in every log line of what has it. */
export const MAX_ID_LENGTH = 127;

/** QEMU's ids of exports, objects and character devices. */
export const isWellFormedId = (id: string): boolean =>
  id.length <= MAX_ID_LENGTH && /^[A-Za-z][\w.-]*$/.test(id);

const wrongType = (expected: string): Wrong =>
  new Wrong(`Invalid parameter type for '%', expected: ${expected}`);

export function scalars(dialect: Dialect): OptionWords {
  const text = reading((input) => (typeof input === 'string' ? input : wrongType('string')));
  return {
    text,
    onOff: reading((input) => {
      if (dialect === 'json') return typeof input === 'boolean' ? input : wrongType('boolean');
      if (typeof input !== 'string') return wrongType('boolean');
      if (ON.has(input)) return true;
      return OFF.has(input) ? false : new Wrong(`expects 'on' or 'off', got '${input}'`);
    }),
    integer: (least, most = Number.MAX_SAFE_INTEGER) =>
      reading((input) => {
        if (typeof input !== (dialect === 'json' ? 'number' : 'string')) return wrongType('integer');
        const value = /^[+-]?\d+$/.test(String(input)) ? Number(input) : NaN;
        if (Number.isNaN(value)) {
          return new Wrong(`expects integer, a plain number without a unit, got '${String(input)}'`);
        }
        if (value < least || value > most) {
          return new Wrong(`expects an integer from ${least} to ${most}, got ${String(input)}`);
        }
        return value;
      }),
    fraction: reading((input) => {
      if (typeof input !== (dialect === 'json' ? 'number' : 'string')) return wrongType('number');
      const value = /^\d*\.?\d+(e-\d+)?$/.test(String(input)) ? Number(input) : NaN;
      return value >= 0 && value <= 1
        ? value
        : new Wrong(`expects a number from 0 to 1, got ${String(input)}`);
    }),
    choice: <const Choice extends string>(choices: readonly Choice[]) =>
      reading((input): Choice | Wrong => {
        if (typeof input !== 'string') return wrongType('string');
        return (choices as readonly string[]).includes(input) ? (input as Choice) : notOneOf(choices, input);
      }),
    fields,
    noVariant:
      (choices) =>
      ({ input, path }) => {
        if (path === undefined) return wrongType('object').message;
        if (input === undefined) return 'is missing';
        return (typeof input === 'string' ? notOneOf(choices, input) : wrongType('string')).message;
      },
  };
}

/** What QEMU has and this version has not, for those who look for it. */
const NOT_HERE: ReadonlyMap<string, string> = new Map([
  ['throttle', 'driver'],
  ['throttle-group', 'object type'],
]);

function notOneOf(choices: readonly string[], input: string): Wrong {
  const what = NOT_HERE.get(input);
  return new Wrong(
    what === undefined
      ? `does not accept value '${input}' (known: ${choices.join(', ')})`
      : `Parameter '%': this version has no ${what} '${input}'`,
  );
}
