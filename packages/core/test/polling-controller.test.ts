import { DEFAULT_POLLING, PollingController, type PollingSettings } from '@iothreads/core';
import { expect, test } from 'vitest';

const controller = (settings: Partial<PollingSettings> = {}): PollingController =>
  new PollingController({ ...DEFAULT_POLLING, ...settings });

/** Adjusts by each in turn. @returns for how long it polls after each */
const after = (polling: PollingController, ...idleNs: number[]): number[] =>
  idleNs.map((ns) => {
    polling.adjust(ns);
    return polling.pollNs;
  });

test('starts without polling and grows by doubling, as far as the wait needs and up to the most', () => {
  const polling = controller();
  expect(polling.pollNs).toBe(0);
  expect(after(polling, 3000, 5000, 20_000, 32_768)).toEqual([4096, 8192, 32_768, 32_768]);
  expect(after(controller(), 20_000)).toEqual([32_768]);
});

test('is content while work comes within the time it polls', () => {
  const polling = controller();
  expect(after(polling, 4000, 5000, 5000, 4096, 8192, 1, 0)).toEqual([
    4096, 8192, 8192, 8192, 8192, 8192, 8192,
  ]);
});

test('grows by its factor and never beyond the most', () => {
  expect(after(controller({ pollGrow: 3 }), 4000, 5000, 30_000)).toEqual([4096, 12_288, 32_768]);
  expect(after(controller({ pollGrow: 1 }), 4000, 5000)).toEqual([4096, 8192]);
  expect(after(controller({ pollMaxNs: 1000 }), 999, 1000)).toEqual([1000, 1000]);
});

test('goes back to nothing at once without a divisor', () => {
  expect(after(controller({ pollShrink: 0 }), 20_000, 32_769)).toEqual([32_768, 0]);
});

test('shrinks by its divisor, and to nothing below what it grows from', () => {
  const polling = controller({ pollShrink: 4 });
  expect(after(polling, 16_000, 1e6, 1e6, 1e9)).toEqual([16_384, 4096, 0, 0]);
  expect(after(polling, ...Array.from({ length: 5 }, () => 1e9)).at(-1)).toBe(0);
});

test('grows again after shrinking', () => {
  expect(after(controller({ pollShrink: 2 }), 8000, 1e6, 8000)).toEqual([8192, 4096, 8192]);
});

test('after sixteen waits that were slept through, one is polled through to the end: waking up hides how long they were', () => {
  const polling = controller();
  for (let wait = 0; wait < 16; wait++) {
    expect(polling.pollNs).toBe(0);
    polling.adjust(60_000, true);
  }
  expect(polling.pollNs).toBe(32_768);
  // It was long indeed.
  polling.adjust(90_000, true);
  expect(polling.pollNs).toBe(0);
  for (let wait = 0; wait < 16; wait++) polling.adjust(60_000, true);
  // It was short.
  polling.adjust(1500);
  expect(polling.pollNs).toBe(4096);
});

test('never polls when it is off', () => {
  const polling = controller({ pollMaxNs: 0 });
  expect(after(polling, 0, 1, 5000, 1e9)).toEqual([0, 0, 0, 0]);
  for (let wait = 0; wait < 40; wait++) polling.adjust(1, true);
  expect(polling.pollNs).toBe(0);
});
