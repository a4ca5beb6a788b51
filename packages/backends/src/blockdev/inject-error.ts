import * as v from 'valibot';
import {
  FAULT_ERRORS,
  IO_TYPES,
  MAX_DELAY_NS,
  MAX_FAULT_COUNT,
  MAX_FAULT_RULES,
  MAX_SECTOR,
} from '../blkdebug/fault-limits.js';
import type { FaultRule } from '../blkdebug/fault-rule.js';
import type { OptionWords } from './option-words.js';

/** A rule of blkdebug's, in QEMU's spelling: `FaultRule` says what its options mean. */
export interface InjectError extends Omit<FaultRule, 'delayNs' | 'shortSectors'> {
  readonly event?: 'none' | undefined;
  readonly 'delay-ns'?: number | undefined;
  readonly 'short-sectors'?: number | undefined;
}

/** The rules of a blkdebug drive. */
export function injectErrorSchema({
  onOff,
  integer,
  fraction,
  choice,
  fields,
}: OptionWords): v.GenericSchema<unknown, InjectError[]> {
  const option = <Output>(
    schema: v.GenericSchema<unknown, Output>,
    description: string,
  ): v.OptionalSchema<v.GenericSchema<unknown, Output>, undefined> =>
    v.optional(v.pipe(schema, v.description(description)));
  const rule = fields({
    event: option(choice(['none']), 'Taken for those who state it.'),
    iotype: option(choice(IO_TYPES), 'Requests of this kind alone; default: any.'),
    sector: option(
      integer(0, MAX_SECTOR),
      'Requests that touch this sector (of 512 bytes) alone; a flush touches none.',
    ),
    sectors: option(integer(1, MAX_SECTOR), '... or one of so many from there on; default: 1.'),
    errno: option(
      v.union(
        [integer(1, 4095), choice(FAULT_ERRORS)],
        `must be the number of an error, or one of ${FAULT_ERRORS.join(', ')}`,
      ),
      'Why the request fails; default: EIO, or no failure where there is a delay.',
    ),
    once: option(onOff, 'Once, as count=1.'),
    count: option(integer(1, MAX_FAULT_COUNT), 'How many requests have the fault; default: all.'),
    skip: option(integer(0, MAX_FAULT_COUNT), 'How many requests are let pass first; default: 0.'),
    probability: option(fraction, 'How likely a request has the fault, from 0 to 1; default: 1.'),
    'delay-ns': option(
      integer(0, MAX_DELAY_NS),
      'How long the request waits first, nanoseconds; timers make whole milliseconds of it.',
    ),
    'short-sectors': option(
      integer(0, MAX_SECTOR),
      'How many sectors are done before the request fails; default: 0.',
    ),
    hang: option(onOff, 'The request waits until the rules are changed, and is judged by the new ones.'),
  });
  return v.pipe(
    v.array(rule, 'must be a list'),
    v.maxLength(MAX_FAULT_RULES, `must be ${MAX_FAULT_RULES} rules at most`),
    v.description('Rules; of those that apply to a request the first one counts.'),
  );
}

/** The same rules as `FaultRules` takes them. */
export function faultRules(rules: readonly InjectError[]): FaultRule[] {
  return rules.map((rule) => ({
    iotype: rule.iotype,
    sector: rule.sector,
    sectors: rule.sectors,
    errno: rule.errno,
    once: rule.once,
    count: rule.count,
    skip: rule.skip,
    probability: rule.probability,
    delayNs: rule['delay-ns'],
    shortSectors: rule['short-sectors'],
    hang: rule.hang,
  }));
}

/** ... and back. */
export const injectError = ({ delayNs, shortSectors, ...rule }: FaultRule): InjectError => ({
  ...rule,
  'delay-ns': delayNs,
  'short-sectors': shortSectors,
});
