import {
  GuestMemory,
  MAX_MEMORY_REGIONS,
  type MemoryRegionOptions,
  SegmentList,
  VirtioError,
} from '@iothreads/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from './support/seed.js';

const region = (guestAddress: number, size: number): MemoryRegionOptions => ({
  guestAddress,
  buffer: new ArrayBuffer(size),
});

/** Translates and says where each run lies: guest address and bytes. */
function translate(
  memory: GuestMemory,
  address: bigint,
  byteLength: number,
): { ok: boolean; runs: number[][] } {
  const out = new SegmentList();
  const ok = memory.translate(Number(address >> 32n), Number(address & 0xffff_ffffn), byteLength, out);
  const runs = Array.from({ length: out.length }, (_, i) => [
    out.regions[i]!.guestAddress + out.offsets[i]!,
    out.lengths[i]!,
  ]);
  return { ok, runs };
}

describe('translation', () => {
  const FOUR_GIB = 2 ** 32;
  const LAST = 2 ** 53 - 1 - 0x1000 - 7;
  // Two that adjoin, a hole, two that adjoin at 4 GiB, and one at the end of what a number can hold.
  const memory = new GuestMemory([
    region(0x2000, 0x1000),
    region(0x1000, 0x1000),
    region(0x5000, 0x1000),
    region(FOUR_GIB, 0x1000),
    region(FOUR_GIB - 0x1000, 0x1000),
    region(LAST, 0x1000),
  ]);

  test.each<[what: string, address: number, byteLength: number, runs: number[][]]>([
    ['the first byte', 0x1000, 1, [[0x1000, 1]]],
    ['a whole region', 0x5000, 0x1000, [[0x5000, 0x1000]]],
    ['the last byte of a region', 0x5fff, 1, [[0x5fff, 1]]],
    [
      'across adjoining regions',
      0x1ffe,
      5,
      [
        [0x1ffe, 2],
        [0x2000, 3],
      ],
    ],
    [
      'two whole adjoining regions',
      0x1000,
      0x2000,
      [
        [0x1000, 0x1000],
        [0x2000, 0x1000],
      ],
    ],
    [
      'across 2^32',
      FOUR_GIB - 1,
      2,
      [
        [FOUR_GIB - 1, 1],
        [FOUR_GIB, 1],
      ],
    ],
    ['above 2^32', FOUR_GIB + 0x800, 0x800, [[FOUR_GIB + 0x800, 0x800]]],
    ['the last bytes below 2^53', LAST + 0xff0, 0x10, [[LAST + 0xff0, 0x10]]],
  ])('%s', (_, address, byteLength, runs) => {
    expect(translate(memory, BigInt(address), byteLength)).toEqual({ ok: true, runs });
  });

  test.each<[what: string, address: bigint, byteLength: number]>([
    ['address 0', 0n, 1],
    ['the byte before the first', 0xfffn, 1],
    ['from before the first into it', 0xfffn, 2],
    ['the byte behind a region', 0x3000n, 1],
    ['from a region into a hole', 0x2fffn, 2],
    ['over a hole into the next region', 0x2f00n, 0x3000],
    ['from a hole into a region', 0x4fffn, 2],
    ['the end of the region above 4 GiB', 2n ** 32n + 0xfffn, 2],
    ['32 bits of an address that is a region without its high word', 2n ** 33n + 0x1000n, 1],
    ['the byte behind the last region', BigInt(LAST) + 0x1000n, 1],
    ['from the last region across 2^53', BigInt(LAST) + 0xfffn, 0x100],
    ['2^53', 2n ** 53n, 1],
    ['2^53 and a region', 2n ** 53n + 0x1000n, 1],
    ['2^63', 2n ** 63n, 1],
    ['the last byte of 64 bits', 2n ** 64n - 1n, 1],
    ['across 2^64 to address 0', 2n ** 64n - 1n, 0x1002],
    ['4 GiB less one byte', 0x1000n, 0xffff_ffff],
  ])('%s is no memory', (_, address, byteLength) => {
    expect(translate(memory, address, byteLength).ok).toBe(false);
  });

  test.each([0n, 0x1000n, 0x3000n, 2n ** 53n, 2n ** 64n - 1n])(
    'no bytes at %i are always right',
    (address) => {
      expect(translate(memory, address, 0)).toEqual({ ok: true, runs: [] });
    },
  );

  test('the lower half of an address may be signed', () => {
    const high = new GuestMemory([region(0xc000_0000, 0x1000)]);
    const out = new SegmentList();
    expect(high.translate(0, 0xc000_0010 | 0, 4, out)).toBe(true);
    expect([out.length, out.offsets[0], out.lengths[0]]).toEqual([1, 0x10, 4]);
  });

  test('runs are appended to what the list holds', () => {
    const out = new SegmentList();
    expect(memory.translate(0, 0x5000, 4, out)).toBe(true);
    expect(memory.translate(0, 0x1000, 4, out)).toBe(true);
    expect(memory.translate(0, 0x1004, 4, out)).toBe(true);
    expect([out.length, out.byteLength]).toEqual([2, 12]);
  });

  test('regionOf wants the whole range in one region', () => {
    expect(memory.regionOf(0x1000, 0x1000)?.guestAddress).toBe(0x1000);
    expect(memory.regionOf(0x1001, 0x1000)).toBeUndefined();
    expect(memory.regionOf(0x3000, 1)).toBeUndefined();
    expect(memory.regionAt(FOUR_GIB)?.guestAddress).toBe(FOUR_GIB);
    expect(memory.regionAt(FOUR_GIB - 1)?.guestAddress).toBe(FOUR_GIB - 0x1000);
    expect(memory.regionAt(0x4fff)).toBeUndefined();
  });

  test('for any regions and any range, what comes out is inside memory and right', () => {
    // Regions in units of 8 bytes: a gap before each, often none, so that they adjoin.
    const regions = fc.array(
      fc.record({ gap: fc.constantFrom(0, 0, 8, 24), units: fc.integer({ min: 1, max: 4 }) }),
      {
        minLength: 1,
        maxLength: 8,
      },
    );
    const base = fc.constantFrom(0, 8, 2 ** 31 - 32, 2 ** 32 - 32, 2 ** 40);
    fc.assert(
      fc.property(base, regions, fc.nat(400), fc.nat(300), (start, shapes, from, byteLength) => {
        const mapped = new Set<number>();
        const options: MemoryRegionOptions[] = [];
        let at = start;
        for (const { gap, units } of shapes) {
          at += gap;
          options.push(region(at, units * 8));
          for (let i = 0; i < units * 8; i++) mapped.add(at + i);
          at += units * 8;
        }
        const address = Math.max(0, start - 16) + from;
        const wanted = Array.from({ length: byteLength }, (_, i) => address + i);
        const { ok, runs } = translate(new GuestMemory(options), BigInt(address), byteLength);
        expect(ok).toBe(wanted.every((byte) => mapped.has(byte)));
        const got = runs.flatMap(([first, length]) => Array.from({ length: length! }, (_, i) => first! + i));
        expect(got.every((byte) => mapped.has(byte))).toBe(true);
        // All of it, in its order; or, when it runs into a hole, what comes before.
        expect(got).toEqual(wanted.slice(0, ok ? byteLength : got.length));
      }),
      { seed, numRuns: 500 },
    );
  });
});

describe('regions', () => {
  const refused = (options: readonly MemoryRegionOptions[]): void => {
    expect(() => new GuestMemory(options)).toThrow(
      expect.objectContaining({ code: 'ERR_MEMORY_REGION', constructor: VirtioError }),
    );
  };

  test('none, or too many', () => {
    refused([]);
    const many = Array.from({ length: MAX_MEMORY_REGIONS + 1 }, (_, i) => region(i * 16, 8));
    refused(many);
    expect(new GuestMemory(many.slice(1)).regions).toHaveLength(MAX_MEMORY_REGIONS);
  });

  test('that overlap', () => {
    refused([region(0, 16), region(8, 16)]);
    refused([region(8, 8), region(0, 1024)]);
    refused([region(8, 8), region(8, 8)]);
  });

  test.each<[what: string, options: Partial<MemoryRegionOptions>]>([
    ['at an odd address', { guestAddress: 4 }],
    ['at a negative address', { guestAddress: -8 }],
    ['at no address', { guestAddress: NaN }],
    ['that end beyond 2^53', { guestAddress: 2 ** 53 - 8 }],
    ['at an odd place in the buffer', { byteOffset: 4 }],
    ['before the buffer', { byteOffset: -8 }],
    ['behind the buffer', { byteOffset: 64 }],
    ['of no bytes', { size: 0 }],
    ['of a negative size', { size: -8 }],
    ['larger than the buffer', { size: 65 }],
    ['larger than the rest of the buffer', { byteOffset: 8, size: 64 }],
  ])('%s', (_, options) => {
    refused([{ guestAddress: 0, buffer: new ArrayBuffer(64), ...options }]);
  });

  test('in a part of a buffer give that part', () => {
    const buffer = new SharedArrayBuffer(64);
    const [only] = new GuestMemory([{ guestAddress: 0x100, buffer, byteOffset: 16, size: 8 }]).regions;
    only!.bytes.fill(7);
    only!.view.setUint8(7, 9);
    expect([...new Uint8Array(buffer, 15, 10)]).toEqual([0, 7, 7, 7, 7, 7, 7, 7, 9, 0]);
  });
});
