import { RING_REGION, offsetOf } from './guest-ram.js';

/** Sixteen bytes of a descriptor: where they are put, then the fields; the address in two halves. */
export type DescriptorEntry = readonly [
  at: number,
  addressHigh: number,
  addressLow: number,
  byteLength: number,
  flags: number,
  next: number,
];

/** So many descriptors in a row from `at` on, alike but for `next`, which counts up. */
export type DescriptorRun = readonly [
  at: number,
  count: number,
  addressHigh: number,
  addressLow: number,
  byteLength: number,
  flags: number,
  next: number,
];

/** What a driver has written into guest memory before the device looks, and what was negotiated. JSON. */
export interface RingCase {
  readonly queueSize: number;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly readOnly: boolean;
  /** DISCARD and WRITE_ZEROES are offered. */
  readonly ranges: boolean;
  /** Where both rings begin. */
  readonly start: number;
  /** Chains that the device takes before it gives the first of them back, the last one first. */
  readonly hold: number;
  /** Entries of the avail ring, from `start` on. */
  readonly heads: number[];
  /** How far the avail index is beyond `start`. */
  readonly ahead: number;
  readonly descriptors: DescriptorEntry[];
  readonly runs: DescriptorRun[];
  /** 32-bit words, at any address: headers, payloads. */
  readonly words: (readonly [at: number, value: number])[];
}

export const MAX_QUEUE_SIZE = 32;

/** Where the parts of a ring are; and room for headers, status bytes and tables behind them. */
export const DESCRIPTOR_TABLE = RING_REGION;
export const AVAIL_RING = RING_REGION + MAX_QUEUE_SIZE * 16;
export const USED_RING = AVAIL_RING + 0x60;
export const HEADERS = RING_REGION + 0x400;
export const STATUSES = RING_REGION + 0x580;
export const TABLES = RING_REGION + 0x600;

/** Writes what the driver did. */
export function writeCase(each: RingCase, ram: DataView): void {
  for (const word of each.words) ram.setUint32(offsetOf(word[0]), word[1], true);
  for (const [at, count, high, low, byteLength, flags, next] of each.runs) {
    for (let i = 0; i < count; i++)
      writeDescriptor(ram, [at + 16 * i, high, low, byteLength, flags, next + i]);
  }
  for (const descriptor of each.descriptors) writeDescriptor(ram, descriptor);
  const avail = offsetOf(AVAIL_RING);
  const used = offsetOf(USED_RING);
  ram.setUint32(avail, 0, true);
  ram.setUint16(avail + 2, each.start + each.ahead, true);
  ram.setUint32(used, 0, true);
  ram.setUint16(used + 2, each.start, true);
  for (const [i, head] of each.heads.entries()) {
    ram.setUint16(avail + 4 + 2 * ((each.start + i) % each.queueSize), head, true);
  }
}

function writeDescriptor(ram: DataView, fields: DescriptorEntry): void {
  // By index: this is done more often than anything else.
  const at = fields[0];
  const first = offsetOf(at);
  // It may lie on the seam of two regions, which are not neighbours in RAM.
  const second = at % 16 === 0 ? first + 8 : offsetOf(at + 8);
  ram.setUint32(first, fields[2], true);
  ram.setUint32(first + 4, fields[1], true);
  ram.setUint32(second, fields[3], true);
  ram.setUint32(second + 4, (fields[4] | (fields[5] << 16)) >>> 0, true);
}
