import type { Random } from '../../stress/random.js';
import { DATA_REGION, TABLE_REGION } from '../ring/guest-ram.js';
import { oddNumber } from '../ring/request-plan.js';
import {
  AVAIL_RING,
  DESCRIPTOR_TABLE,
  type DescriptorEntry,
  HEADERS,
  MAX_QUEUE_SIZE,
  type RingCase,
  STATUSES,
} from '../ring/ring-case.js';

/** A 32-bit word of guest memory that is written again and again while the device works. */
export type Change = readonly [at: number, value: number];

/** Requests, and what their driver does to them while they are served. JSON. */
export interface RaceBatch {
  readonly ring: RingCase;
  readonly changes: readonly Change[];
}

export interface RaceCase {
  readonly batches: readonly RaceBatch[];
}

const BATCHES = 4;
const CHAINS = 10;
const HEADER_BYTES = 16;

/** What can be written at most, whatever is changed when: these, each at most so many bytes. */
export const MOST_BYTES = 1024;
const ADDRESSES = [HEADERS, STATUSES, TABLE_REGION, ...[0, 1, 2, 3].map((i) => DATA_REGION + 512 * i)];
const LENGTHS = [
  0,
  1,
  15,
  16,
  32,
  48,
  511,
  512,
  513,
  MOST_BYTES,
  0x1_0000,
  0x8000_0000,
  0xffff_ff00,
  0xffff_ffff,
];
const HIGH_HALVES = [0, 0, 0, 2, 0x1f_ffff, 0xffff_ffff];
const TYPES = [0, 0, 1, 1, 4, 8, 11, 13, 99];

/** Good requests, and changes to all that the device reads. */
export const makeRaceCase = (random: Random): RaceCase => ({
  batches: Array.from({ length: BATCHES }, () => makeBatch(random)),
});

function makeBatch(random: Random): RaceBatch {
  const descriptors: DescriptorEntry[] = [];
  const words: Change[] = [];
  const heads: number[] = [];
  let free = 0;
  for (let slot = 0; slot < CHAINS; slot++) {
    const type = random.below(2);
    const header = HEADERS + slot * HEADER_BYTES;
    words.push([header, type], [header + 8, random.below(12)], [header + 12, 0]);
    const indirect = random.chance(0.4);
    const table = indirect ? TABLE_REGION + slot * 48 : DESCRIPTOR_TABLE + free * 16;
    const first = indirect ? 0 : free;
    const data = DATA_REGION + 512 * random.below(4);
    descriptors.push([table, 0, header, 16, 1, first + 1]);
    descriptors.push([table + 16, 0, data, 512, type === 0 ? 3 : 1, first + 2]);
    descriptors.push([table + 32, 0, STATUSES + slot, 1, 2, 0]);
    heads.push(free);
    if (indirect) descriptors.push([DESCRIPTOR_TABLE + free * 16, 0, table, 48, 4, 0]);
    free += indirect ? 1 : 3;
  }
  const changes = Array.from({ length: 1 + random.below(4) }, () =>
    flicker(random, descriptors, words),
  ).flat();
  // What the device then takes is anybody's guess, so that less can be checked: not always.
  if (random.chance(0.3))
    changes.push([AVAIL_RING + 4 + 4 * random.below(CHAINS / 2), oddNumber(random) & 0x3f_003f]);
  const ring = {
    queueSize: MAX_QUEUE_SIZE,
    indirect: true,
    eventIdx: false,
    readOnly: false,
    ranges: true,
    start: 0,
    hold: 1,
    heads,
    // Made available when everything has been written.
    ahead: 0,
    descriptors,
    runs: [],
    words,
  };
  return { ring, changes };
}

/** A word that is wrong and right in turn, so that it may be either whenever it is read. */
function flicker(
  random: Random,
  descriptors: readonly DescriptorEntry[],
  words: readonly Change[],
): Change[] {
  if (random.chance(0.2)) {
    const right = random.pick(words);
    const isType = right[0] % HEADER_BYTES === 0;
    return [[right[0], isType ? random.pick(TYPES) : oddNumber(random)], right];
  }
  const [at, high, low, byteLength, flags, next] = random.pick(descriptors);
  switch (random.below(4)) {
    case 0:
      return [
        [at, random.pick(ADDRESSES)],
        [at, low],
      ];
    case 1:
      return [
        [at + 4, random.pick(HIGH_HALVES)],
        [at + 4, high],
      ];
    case 2:
      return [
        [at + 8, random.pick(LENGTHS)],
        [at + 8, byteLength],
      ];
    default:
      return [
        [at + 12, ((random.below(34) << 16) | random.below(8)) >>> 0],
        [at + 12, ((next << 16) | flags) >>> 0],
      ];
  }
}
