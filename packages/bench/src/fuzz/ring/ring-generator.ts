import type { Random } from '../../stress/random.js';
import { DATA_REGION, FAR_REGION, HOLE, RING_REGION, SECOND_DATA_REGION, TABLE_REGION } from './guest-ram.js';
import { planRequest, type RequestPlan, spoil, split, oddNumber } from './request-plan.js';
import {
  AVAIL_RING,
  DESCRIPTOR_TABLE,
  type DescriptorEntry,
  type DescriptorRun,
  HEADERS,
  MAX_QUEUE_SIZE,
  type RingCase,
  STATUSES,
  TABLES,
  USED_RING,
} from './ring-case.js';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const DESCRIPTOR_BYTES = 16;
const TABLES_END = RING_REGION + 0x1000;
/** Longer than a chain may be. */
const LONG_TABLES = [1024, 1025, 1026, 1027, 1100];

const FLAGS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x80, 0x8000, 0xffff];
const LENGTHS = [
  0, 1, 2, 8, 15, 16, 17, 32, 48, 511, 512, 513, 1024, 4096, 4097, 0x8000, 0x7fff_ffff, 0x8000_0000,
];
const HUGE_LENGTHS = [0xffff_fe00, 0xffff_fff0, 0xffff_ffff];
const HIGH_HALVES = [0, 0, 1, 2, 0xfff, 0x1000, 0x1f_ffff, 0x20_0000, 0x7fff_ffff, 0xffff_ffff];
const PLACES = [
  0,
  RING_REGION,
  DESCRIPTOR_TABLE,
  AVAIL_RING,
  USED_RING,
  HEADERS,
  STATUSES,
  TABLES,
  DATA_REGION,
  HOLE,
  SECOND_DATA_REGION,
  SECOND_DATA_REGION + 0x800,
  TABLE_REGION,
  TABLE_REGION + 0x4800,
  0xffff_f000,
  0x1_0000_0000 - 1,
];

/** What is to go wrong, and how often. */
interface Weights {
  /** Of a chain's descriptors. */
  readonly descriptors: number;
  /** Of a request's words and buffers. */
  readonly requests: number;
  /** Of the avail ring. */
  readonly ring: number;
}

/** Rings with chains that are mostly right, and mistakes in descriptors, tables and the ring itself. */
export const makeRingCase = (random: Random): RingCase =>
  new RingGenerator(random, { descriptors: 0.35, requests: 0.05, ring: 0.12 }).make();

/** Sound chains in all framings, and mistakes in headers and payloads. */
export const makeRequestCase = (random: Random): RingCase =>
  new RingGenerator(random, { descriptors: 0.01, requests: 0.45, ring: 0 }).make();

class RingGenerator {
  readonly #random: Random;
  readonly #weights: Weights;
  readonly #descriptors: DescriptorEntry[] = [];
  readonly #runs: DescriptorRun[] = [];
  readonly #words: (readonly [number, number])[] = [];
  #free = 0;
  #tablesEnd: number = TABLES;

  constructor(random: Random, weights: Weights) {
    this.#random = random;
    this.#weights = weights;
  }

  make(): RingCase {
    const random = this.#random;
    const queueSize = random.chance(0.7) ? MAX_QUEUE_SIZE : 1 << random.below(6);
    const heads: number[] = [];
    while (heads.length < 12) {
      const head = this.#chain(queueSize, heads.length);
      if (head === -1) break;
      heads.push(head);
    }
    const total = this.#descriptors.length;
    for (let i = 0; i < total; i++) {
      if (random.chance(this.#weights.descriptors / 3)) {
        this.#descriptors[i] = this.#mutated(this.#descriptors[i]!, queueSize);
      }
    }
    let ahead = heads.length;
    if (random.chance(this.#weights.ring)) ahead = this.#breakRing(heads, queueSize);
    return {
      queueSize,
      indirect: random.chance(0.95),
      eventIdx: random.chance(0.5),
      readOnly: random.chance(0.08),
      ranges: random.chance(0.9),
      start: random.chance(0.5) ? 0 : random.pick([1, 0x7fff, 0xfff0, 0xffff]),
      hold: random.chance(0.6) ? 1 : 1 + random.below(4),
      heads,
      ahead,
      descriptors: this.#descriptors,
      runs: this.#runs,
      words: this.#words,
    };
  }

  /** Lays out one request. @returns its head, -1 where there is no room */
  #chain(queueSize: number, slot: number): number {
    const random = this.#random;
    const plan = planRequest(random, slot);
    if (random.chance(this.#weights.requests)) spoil(random, plan);
    if (random.chance(0.3)) split(random, plan);
    if (random.chance(0.002)) return this.#longTable(plan, queueSize);
    const { pieces } = plan;
    const room = queueSize - this.#free;
    const tableRoom = Math.floor((TABLES_END - this.#tablesEnd) / DESCRIPTOR_BYTES);
    let direct = pieces.length;
    if (random.chance(0.4) && tableRoom >= pieces.length)
      direct = random.chance(0.7) ? 0 : random.below(direct);
    const indirect = direct < pieces.length;
    const count = direct + (indirect ? 1 : 0);
    if (count > room) return -1;
    const first = this.#free;
    this.#free += count;
    const more = (last: boolean): number => (last ? 0 : NEXT);
    for (let i = 0; i < direct; i++) {
      this.#put(
        DESCRIPTOR_TABLE + (first + i) * DESCRIPTOR_BYTES,
        plan,
        i,
        more(i + 1 === count),
        first + i + 1,
      );
    }
    if (indirect) {
      const table = this.#tableFor(pieces.length - direct);
      for (let i = direct; i < pieces.length; i++) {
        const last = i + 1 === pieces.length;
        this.#put(table + (i - direct) * DESCRIPTOR_BYTES, plan, i, more(last), i - direct + 1);
      }
      this.#refer(first + direct, table, pieces.length - direct);
    }
    this.#words.push(...plan.words);
    return first;
  }

  /** Most tables stand one behind the other; some on the seam of two regions, where they overlap what was there. */
  #tableFor(count: number): number {
    const random = this.#random;
    if (random.chance(0.05)) return TABLES_END - 8 * (1 + random.below(2 * count));
    const table = this.#tablesEnd;
    this.#tablesEnd += count * DESCRIPTOR_BYTES;
    return table;
  }

  /** A table with more buffers than there is data: most of them are empty. */
  #longTable(plan: RequestPlan, queueSize: number): number {
    if (this.#free >= queueSize || this.#runs.length > 0) return -1;
    const count = this.#random.pick(LONG_TABLES);
    const { pieces } = plan;
    const padding = count - pieces.length;
    const [status] = pieces.splice(-1);
    for (let i = 0; i < pieces.length; i++) {
      this.#put(TABLE_REGION + i * DESCRIPTOR_BYTES, plan, i, NEXT, i + 1);
    }
    const begin = pieces.length;
    this.#runs.push([TABLE_REGION + begin * DESCRIPTOR_BYTES, padding, 0, DATA_REGION, 0, NEXT, begin + 1]);
    pieces.push(status!);
    this.#put(TABLE_REGION + (count - 1) * DESCRIPTOR_BYTES, plan, begin, 0, 0);
    this.#words.push(...plan.words);
    this.#refer(this.#free, TABLE_REGION, count);
    return this.#free++;
  }

  #refer(index: number, table: number, count: number): void {
    const flags = INDIRECT | (this.#random.chance(0.1) ? WRITE : 0);
    const at = DESCRIPTOR_TABLE + index * DESCRIPTOR_BYTES;
    this.#descriptors.push([at, 0, table, count * DESCRIPTOR_BYTES, flags, 0]);
  }

  #put(at: number, { pieces }: RequestPlan, index: number, more: number, next: number): void {
    const { address, byteLength, writable } = pieces[index]!;
    this.#descriptors.push([
      at,
      Math.floor(address / 2 ** 32),
      address >>> 0,
      byteLength,
      more | (writable ? WRITE : 0),
      more === 0 ? 0 : next,
    ]);
  }

  #mutated([at, high, low, byteLength, flags, next]: DescriptorEntry, queueSize: number): DescriptorEntry {
    const random = this.#random;
    switch (random.below(7)) {
      case 0:
        return [at, high, low, byteLength, flags ^ (1 << random.below(3)), next];
      case 1:
        return [at, high, low, byteLength, random.pick(FLAGS), next];
      case 2: {
        const other = random.chance(0.8) ? random.below(queueSize + 2) : random.below(0x1_0000);
        return [at, high, low, byteLength, flags | NEXT, other];
      }
      case 3:
        return [at, high, low, random.pick(random.chance(0.7) ? LENGTHS : HUGE_LENGTHS), flags, next];
      case 4:
        return [at, high, low, (byteLength + random.pick([-16, -1, 1, 16])) >>> 0, flags, next];
      case 5:
        return [
          at,
          random.pick(HIGH_HALVES),
          random.chance(0.5) ? low : oddNumber(random),
          byteLength,
          flags,
          next,
        ];
      default: {
        const place = random.pick(PLACES) + random.pick([-512, -16, -1, 0, 0, 0, 1, 8, 0x7f0, 0xff0, 0xfff]);
        const address = Math.max(0, place) + (random.chance(0.1) ? FAR_REGION : 0);
        return [at, Math.floor(address / 2 ** 32), address >>> 0, byteLength, flags, next];
      }
    }
  }

  /** @returns how far the avail index is ahead now */
  #breakRing(heads: number[], queueSize: number): number {
    const random = this.#random;
    const where = random.below(heads.length + 1);
    switch (random.below(5)) {
      case 0:
        heads.splice(where, 0, random.chance(0.5) ? queueSize : random.below(0x1_0000));
        return heads.length;
      case 1:
        // The same one again: in flight, or given back already.
        if (heads.length > 0) heads.splice(where, 0, random.pick(heads));
        return heads.length;
      case 2:
        // In the middle of a chain.
        heads.splice(where, 0, random.below(queueSize));
        return heads.length;
      case 3:
        return random.pick([queueSize, queueSize + 1, 0x7fff, 0x8000, 0xffff]);
      default:
        return random.below(0x1_0000);
    }
  }
}
