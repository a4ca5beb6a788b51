import { runDaemonStress } from '@iothreads/bench/daemon-stress';
import { runStress } from '@iothreads/bench/stress';
import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';

const seed = Number(process.env['SEED'] ?? randomInt(1, 2 ** 31));
const REQUESTS = 40_000;

test(`many devices on shared iothreads, everything done to them under load, every byte checked (SEED=${seed})`, async () => {
  const report = await runStress({
    seed,
    requests: REQUESTS,
    // Against hangs only: what ends the run is the number of requests.
    durationMs: 100_000,
    iothreads: 3,
    directory: tmpdir(),
  });
  expect(report.requests).toBeGreaterThanOrEqual(REQUESTS);
  for (const action of ['added', 'removed', 'moved', 'drained', 'reset'] as const) {
    expect(report[action], action).toBeGreaterThan(0);
  }
}, 150_000);

test(`a daemon to which everything is done, every sector compared, nothing kept (SEED=${seed})`, async () => {
  const report = await runDaemonStress({
    seed,
    rounds: 3,
    kills: 2,
    // Against hangs only.
    durationMs: 100_000,
    warmUp: 1,
    directory: tmpdir(),
  });
  for (const action of ['verified', 'removed', 'moved', 'vanished', 'iothreads', 'rules', 'kills'] as const) {
    expect(report[action], action).toBeGreaterThan(0);
  }
}, 150_000);
