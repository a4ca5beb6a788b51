import { GuestMemory, SegmentList } from '@iothreads/core';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { seed } from './support/seed.js';

const SIZE = 64;
let memory: GuestMemory;

beforeEach(() => {
  memory = new GuestMemory([
    { guestAddress: 0, buffer: new ArrayBuffer(SIZE) },
    { guestAddress: 0x1000, buffer: new ArrayBuffer(SIZE) },
  ]);
});

type Run = readonly [region: number, offset: number, byteLength: number];

const listOf = (...runs: Run[]): SegmentList => {
  const list = new SegmentList();
  for (const [index, offset, byteLength] of runs) list.push(memory.regions[index]!, offset, byteLength);
  return list;
};
const runsOf = (list: SegmentList): Run[] =>
  Array.from({ length: list.length }, (_, i) => [
    memory.regions.indexOf(list.regions[i]!),
    list.offsets[i]!,
    list.lengths[i]!,
  ]);

describe('pushing', () => {
  test('keeps runs in their order and adds up their bytes', () => {
    const list = listOf([1, 8, 4], [0, 0, 16], [1, 0, 1]);
    expect(runsOf(list)).toEqual([
      [1, 8, 4],
      [0, 0, 16],
      [1, 0, 1],
    ]);
    expect(list.byteLength).toBe(21);
  });

  test('joins a run to one that it continues in the same region', () => {
    const list = listOf([0, 0, 4], [0, 4, 4], [0, 9, 1], [1, 10, 2], [0, 10, 2]);
    expect(runsOf(list)).toEqual([
      [0, 0, 8],
      [0, 9, 1],
      [1, 10, 2],
      [0, 10, 2],
    ]);
    expect(list.byteLength).toBe(13);
  });

  test('skips runs of no bytes', () => {
    expect(runsOf(listOf([0, 5, 0], [1, 5, 0]))).toEqual([]);
  });

  test('starts anew after clear', () => {
    const list = listOf([0, 0, 4]);
    list.clear();
    list.push(memory.regions[0]!, 4, 4);
    expect(runsOf(list)).toEqual([[0, 4, 4]]);
    expect(list.byteLength).toBe(4);
  });
});

describe('bytes', () => {
  test('are copied out up to the length asked for, over runs', () => {
    memory.regions[0]!.bytes.set([1, 2, 3, 4]);
    memory.regions[1]!.bytes.set([5, 6, 7, 8]);
    const list = listOf([1, 1, 2], [0, 0, 3]);
    const target = new Uint8Array(6).fill(9);
    expect(list.copyTo(target, 4)).toBe(4);
    expect([...target]).toEqual([6, 7, 1, 2, 9, 9]);
    expect(list.copyTo(target, 6)).toBe(5);
    expect([...target]).toEqual([6, 7, 1, 2, 3, 9]);
  });

  test('are copied in as far as they fit', () => {
    const list = listOf([1, 1, 2], [0, 0, 3]);
    expect(list.copyFrom(Uint8Array.of(1, 2, 3))).toBe(3);
    expect(list.copyFrom(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(5);
    expect([...memory.regions[1]!.bytes.subarray(0, 4)]).toEqual([0, 1, 2, 0]);
    expect([...memory.regions[0]!.bytes.subarray(0, 4)]).toEqual([3, 4, 5, 0]);
  });

  test('are zeroed in the runs and nowhere else', () => {
    for (const { bytes } of memory.regions) bytes.fill(1);
    listOf([0, 2, 2], [1, 0, 1]).zero();
    expect([...memory.regions[0]!.bytes.subarray(0, 5)]).toEqual([1, 1, 0, 0, 1]);
    expect([...memory.regions[1]!.bytes.subarray(0, 2)]).toEqual([0, 1]);
  });

  test('are viewed in place', () => {
    const [first, second] = listOf([0, 2, 2], [1, 0, 1]).views();
    first!.fill(3);
    second!.fill(4);
    expect([...memory.regions[0]!.bytes.subarray(0, 5)]).toEqual([0, 0, 3, 3, 0]);
    expect([...memory.regions[1]!.bytes.subarray(0, 2)]).toEqual([4, 0]);
  });
});

describe('any list', () => {
  const run = fc
    .tuple(fc.nat(1), fc.nat(SIZE - 1), fc.nat(SIZE))
    .filter(([, offset, byteLength]) => offset + byteLength <= SIZE);
  const places = (list: SegmentList): string[] =>
    runsOf(list).flatMap(([index, offset, byteLength]) =>
      Array.from({ length: byteLength }, (_, i) => `${index}:${offset + i}`),
    );

  test('loses exactly its first bytes by dropFront, and its last by dropLastByte', () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 8 }), fc.nat(600), fc.nat(20), (runs, front, back) => {
        const list = listOf(...runs);
        const all = places(list);
        expect(all).toHaveLength(list.byteLength);
        const dropped = Math.min(front, all.length);
        list.dropFront(dropped);
        expect(places(list)).toEqual(all.slice(dropped));
        const left = Math.min(back, all.length - dropped);
        for (let i = 0; i < left; i++) list.dropLastByte();
        expect(places(list)).toEqual(all.slice(dropped, all.length - left));
        expect(list.byteLength).toBe(all.length - dropped - left);
        expect(runsOf(list).every(([, , byteLength]) => byteLength > 0)).toBe(true);
      }),
      { seed, numRuns: 300 },
    );
  });
});
