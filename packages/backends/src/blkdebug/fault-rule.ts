import { BlockOperation, SECTOR_SIZE } from '@iothreads/core';
import { constants } from 'node:os';
import * as v from 'valibot';
import { BlockDriverError } from '../block-driver.js';
import { describeValue, parseOptions } from '../parse-options.js';
import {
  FAULT_ERRORS,
  type FaultError,
  IO_TYPES,
  type IoType,
  MAX_DELAY_NS,
  MAX_FAULT_COUNT,
  MAX_FAULT_RULES,
  MAX_SECTOR,
} from './fault-limits.js';

/**
 * A fault, and the requests that have it. Of the rules that apply to a request the first one counts.
 *
 * Without `delayNs` and `hang` a rule fails its requests, with EIO unless it says otherwise.
 */
export interface FaultRule {
  /** Requests of this kind alone. Default: any. */
  readonly iotype?: IoType | undefined;
  /** Requests that touch this sector (of 512 bytes) alone; a flush touches none. Default: any. */
  readonly sector?: number | undefined;
  /** ... or one of so many sectors from there on. Default 1. */
  readonly sectors?: number | undefined;
  /** Why the request fails: the host's number, or a name. */
  readonly errno?: number | FaultError | undefined;
  /** Once, which is the same as `count: 1`. */
  readonly once?: boolean | undefined;
  /** How many requests have the fault. Default: all. */
  readonly count?: number | undefined;
  /** How many requests that it applies to are let pass first. Default 0. */
  readonly skip?: number | undefined;
  /** How likely a request has the fault, 0 to 1. Default 1. */
  readonly probability?: number | undefined;
  /** How long a request waits before anything else happens to it, nanoseconds; timers make whole milliseconds of it. */
  readonly delayNs?: number | undefined;
  /** How many sectors are done before the request fails; what is behind them is left as it is. Default 0. */
  readonly shortSectors?: number | undefined;
  /** The request waits until the rules are changed, and is judged by the new ones then. */
  readonly hang?: boolean | undefined;
}

/** A rule as iothreads work by it. JSON. */
export interface CheckedRule {
  /** -1: any. */
  readonly operation: BlockOperation | -1;
  /** First byte of the range; -1: any request. */
  readonly begin: number;
  readonly end: number;
  /** '': it does not fail. */
  readonly errorCode: string;
  readonly count: number;
  readonly skip: number;
  /** Of 2^32. */
  readonly chance: number;
  readonly delayMs: number;
  readonly shortBytes: number;
  readonly hang: boolean;
}

const integer = (least: number, most: number): v.GenericSchema<unknown, number> =>
  v.custom<number>(
    (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
    `must be a whole number from ${least} to ${most}`,
  );
const boolean = v.boolean('must be true or false');

const entries = {
  iotype: v.optional(v.picklist(IO_TYPES, `must be one of ${IO_TYPES.join(', ')}`)),
  sector: v.optional(integer(0, MAX_SECTOR)),
  sectors: v.optional(integer(1, MAX_SECTOR), 1),
  errno: v.optional(
    v.union([v.number(), v.picklist(FAULT_ERRORS)], 'must be a number or the name of an error'),
  ),
  once: v.optional(boolean, false),
  count: v.optional(integer(1, MAX_FAULT_COUNT), MAX_FAULT_COUNT),
  skip: v.optional(integer(0, MAX_FAULT_COUNT), 0),
  probability: v.optional(
    v.pipe(
      v.number('must be a number from 0 to 1'),
      v.minValue(0, 'must be 0 or more'),
      v.maxValue(1, 'must be 1 or less'),
    ),
    1,
  ),
  delayNs: v.optional(integer(0, MAX_DELAY_NS), 0),
  shortSectors: v.optional(integer(0, MAX_SECTOR), 0),
  hang: v.optional(boolean, false),
};

const OPERATIONS: Readonly<Record<IoType, BlockOperation>> = {
  read: BlockOperation.READ,
  write: BlockOperation.WRITE,
  'write-zeroes': BlockOperation.WRITE_ZEROES,
  discard: BlockOperation.DISCARD,
  flush: BlockOperation.FLUSH,
};

/** @throws BlockDriverError `ERR_DRIVE_OPTION`, naming the rule and the field behind `path` (`rules[2].errno`) */
export function checkRules(rules: unknown, path: string): CheckedRule[] {
  if (!Array.isArray(rules) || rules.length > MAX_FAULT_RULES) {
    throw new BlockDriverError(
      'ERR_DRIVE_OPTION',
      `${path}: must be a list of at most ${MAX_FAULT_RULES} rules, got ${describeValue(rules)}`,
    );
  }
  return rules.map((rule, index) => checkRule(rule, `${path}[${index}]`));
}

function checkRule(rule: unknown, path: string): CheckedRule {
  const checked = parseOptions(entries, 'blkdebug', rule, path);
  const { iotype, sector, sectors, errno, once, count, skip, probability, delayNs, shortSectors, hang } =
    checked;
  if (hang && (errno !== undefined || delayNs > 0 || shortSectors > 0)) {
    throw new BlockDriverError(
      'ERR_DRIVE_OPTION',
      `${path}.hang: what hangs does nothing else: leave the delay, the error and the short transfer out`,
    );
  }
  const fails = !hang && (errno !== undefined || delayNs === 0 || shortSectors > 0);
  return {
    operation: iotype === undefined ? -1 : OPERATIONS[iotype],
    begin: sector === undefined ? -1 : sector * SECTOR_SIZE,
    end: sector === undefined ? 0 : Math.min(sector + sectors, MAX_SECTOR + 1) * SECTOR_SIZE,
    errorCode: fails ? errorName(errno ?? 'EIO', path) : '',
    count: once ? 1 : count,
    skip,
    chance: Math.round(probability * 2 ** 32),
    delayMs: Math.ceil(delayNs / 1e6),
    shortBytes: shortSectors * SECTOR_SIZE,
    hang,
  };
}

function errorName(errno: number | FaultError, path: string): string {
  if (typeof errno === 'string') return errno;
  const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
  if (name !== undefined) return name;
  throw new BlockDriverError(
    'ERR_DRIVE_OPTION',
    `${path}.errno: this system has no error of the number ${errno}`,
  );
}
