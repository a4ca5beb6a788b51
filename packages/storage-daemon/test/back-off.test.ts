import { expect, test } from 'vitest';
import { BackOff, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, STEADY_MS } from '../dist/supervise/back-off.js';
import { MAX_RECENT, NO_RESTARTS, withRestart } from '../dist/supervise/restarts.js';

test('a single crash costs no pause', () => {
  const backOff = new BackOff();
  expect(backOff.pauseMs(0)).toBe(0);
  for (let i = 0; i < 10; i++) expect(backOff.pauseMs(STEADY_MS)).toBe(0);
});

test('crashes in a row: pauses double up to the longest, and a steady time forgives them', () => {
  const backOff = new BackOff();
  const pauses = Array.from({ length: 2000 }, () => backOff.pauseMs(STEADY_MS - 1));
  expect(pauses[0]).toBe(0);
  expect(pauses[1]).toBe(FIRST_PAUSE_MS);
  for (let i = 2; i < pauses.length; i++) {
    expect(pauses[i]).toBe(Math.min(pauses[i - 1]! * 2, LONGEST_PAUSE_MS));
  }
  expect(backOff.pauseMs(STEADY_MS)).toBe(0);
  expect(backOff.pauseMs(0)).toBe(FIRST_PAUSE_MS);
});

test('all restarts are counted, the latest are told', () => {
  let restarts = NO_RESTARTS;
  for (let timeMs = 1; timeMs <= 1000; timeMs++)
    restarts = withRestart(restarts, { timeMs, reason: 'SIGKILL' });
  expect(restarts.count).toBe(1000);
  expect(restarts.recent).toHaveLength(MAX_RECENT);
  expect(restarts.recent.at(-1)).toEqual({ timeMs: 1000, reason: 'SIGKILL' });
});
