// Which queues go to which iothread.
import { checkConfiguration, type VqMappingOptions } from '@iothreads/iothread';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const memory = new SharedArrayBuffer(4096);
const IOTHREADS = Array.from({ length: 8 }, (_, i) => ({ id: `io${i}` }));

/** The mapping that a configuration comes to. */
function mappingOf(
  place: { iothread: string } | { iothreadVqMapping: readonly VqMappingOptions[] },
  numQueues: number,
): Record<string, readonly number[]> {
  const { devices } = checkConfiguration({
    iothreads: IOTHREADS,
    devices: [{ id: 'vda', drive: { driver: 'null' }, memory, numQueues, ...place }],
  });
  return Object.fromEntries(devices[0]!.mapping);
}

describe('one iothread', () => {
  test.each([1, 3])('serves all of %d queues', (numQueues) => {
    expect(mappingOf({ iothread: 'io3' }, numQueues)).toEqual({ io3: [0, 1, 2].slice(0, numQueues) });
  });
});

describe('a mapping without queues', () => {
  test('deals them out in turn, in the order of the entries', () => {
    const iothreadVqMapping = [{ iothread: 'io2' }, { iothread: 'io0' }, { iothread: 'io1' }];
    expect(mappingOf({ iothreadVqMapping }, 7)).toEqual({ io2: [0, 3, 6], io0: [1, 4], io1: [2, 5] });
  });

  test('gives every iothread its share of every number of queues', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 248 }), (count, more) => {
        const iothreadVqMapping = IOTHREADS.slice(0, count).map(({ id }) => ({ iothread: id }));
        const shares = Object.values(mappingOf({ iothreadVqMapping }, count + more));
        expect(shares.flat().toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: count + more }, (_, i) => i),
        );
        const sizes = shares.map((share) => share.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('a mapping with queues', () => {
  test('is what it says, in the order that it says', () => {
    const iothreadVqMapping = [
      { iothread: 'io1', vqs: [3, 0] },
      { iothread: 'io0', vqs: [1] },
      { iothread: 'io5', vqs: [2] },
    ];
    expect(mappingOf({ iothreadVqMapping }, 4)).toEqual({ io1: [3, 0], io0: [1], io5: [2] });
  });

  test('is accepted if and only if every queue is there once and no entry is empty', () => {
    const entry = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 4 }), (lists) => {
        const numQueues = 4;
        const iothreadVqMapping = lists.map((vqs, i) => ({ iothread: `io${i}`, vqs }));
        const all = lists.flat().toSorted((a, b) => a - b);
        const good = lists.every((list) => list.length > 0) && all.join() === '0,1,2,3';
        if (good) {
          expect(Object.values(mappingOf({ iothreadVqMapping }, numQueues))).toEqual(lists);
        } else {
          expect(() => mappingOf({ iothreadVqMapping }, numQueues)).toThrow(/iothreadVqMapping/);
        }
      }),
      { numRuns: 500 },
    );
  });
});
