// How often, and how soon, a worker that has died is started again.
import { expect, test } from 'vitest';
import { RestartLimit } from '../dist/control/restart-limit.js';

const delays = (
  limit: RestartLimit,
  deaths: readonly [nowMs: number, livedMs: number][],
): (number | undefined)[] => deaths.map(([nowMs, livedMs]) => limit.died(nowMs, livedMs));

test('at once, then later and later while it dies at once, and at once again after a life', () => {
  const limit = new RestartLimit({ times: 100, withinMs: 60_000 });
  const early = Array.from({ length: 8 }, (_, i): [number, number] => [i, 0]);
  expect(delays(limit, early)).toEqual([0, 100, 200, 400, 800, 1000, 1000, 1000]);
  expect(
    delays(limit, [
      [5000, 1000],
      [5001, 999],
      [5002, 0],
    ]),
  ).toEqual([0, 0, 100]);
});

test('one more death than are allowed in a period is the last; what is longer ago does not count', () => {
  const limit = new RestartLimit({ times: 2, withinMs: 1000 });
  const long = 5000;
  expect(
    delays(limit, [
      [0, long],
      [500, long],
      [1000, long],
      [1400, long],
      [1500, long],
    ]),
  ).toEqual([0, 0, 0, undefined, 0]);
  expect(limit.reached).toBe('it has died 3 times within 1 s');
});

test('none at all', () => {
  expect(new RestartLimit({ times: 0, withinMs: 1000 }).died(0, 5000)).toBeUndefined();
});
