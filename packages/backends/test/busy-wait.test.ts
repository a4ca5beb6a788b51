import { expect, test } from 'vitest';
import { BusyWait } from '../dist/null/busy-wait.js';

test('never ends before its moment, and reads the clock seldom on the way', () => {
  let readings = 0;
  const nowNs = (): number => {
    readings++;
    return performance.now() * 1e6;
  };
  const wait = new BusyWait(nowNs);
  for (const latencyNs of [0, 500, 2000, 30_000, 1_000_000]) {
    for (let i = 0; i < 50; i++) {
      const deadlineNs = nowNs() + latencyNs;
      readings = 0;
      wait.until(deadlineNs);
      expect(nowNs()).toBeGreaterThanOrEqual(deadlineNs);
      // Watching it all the time would take ten thousand readings for a millisecond.
      expect(readings).toBeLessThan(1000);
    }
  }
});

test('a clock that moves only when it is read makes it wait longer, not for ever', () => {
  let nowNs = 0;
  const wait = new BusyWait(() => (nowNs += 100));
  wait.until(100_000);
  expect(nowNs).toBeGreaterThanOrEqual(100_000);
});

test('a moment that has passed is not waited for', () => {
  let readings = 0;
  new BusyWait(() => {
    readings++;
    return 5000;
  }).until(4000);
  expect(readings).toBe(1);
});
