import { failedChains } from './failed-chains.js';
import { framing, unusualFraming } from './framing.js';
import { beyondCapacity, malformed, upToCapacity } from './malformed-requests.js';
import { oddChains } from './odd-chains.js';
import { flushes, ids, ignored, readOnlyDisk, unknownTypes } from './other-requests.js';
import { ranges } from './range-requests.js';
import type { Row } from './row.js';

/** What a driver can do wrong, or oddly, in the chains of a ring that is sound itself. Every rig serves all of it. */
export const CHAINS: readonly (readonly [rule: string, rows: readonly Row[]])[] = [
  ['a chain that breaks the rules fails alone', failedChains],
  ['what looks odd and is right works', oddChains],
];

/** ... and in requests. */
export const REQUESTS: readonly (readonly [rule: string, rows: readonly Row[]])[] = [
  ['no assumption about framing', [...framing, ...unusualFraming]],
  ['a malformed request gets IOERR, or nothing where there is no status byte', malformed],
  ['beyond the capacity is IOERR', beyondCapacity],
  ['up to the capacity is not', upToCapacity],
  ['a read-only disk: what changes it is IOERR, the rest works', readOnlyDisk],
  ['a flush ignores what comes with it', flushes],
  ['the id', ids],
  ['what is unknown or not offered is UNSUPP', unknownTypes],
  ['discard and write-zeroes', ranges],
  ['ignored', ignored],
];
