// Fewer inputs to what is alive meanwhile: iothreads, connections, a daemon.
import { runFuzz } from '@iothreads/bench/fuzz';
import { describe, expect, test } from 'vitest';
import { seed, seeded } from '../support/random.js';

describe(seeded('nothing breaks'), () => {
  test.each([
    ['race', 6000],
    ['message', 12_000],
    ['daemon', 2000],
    ['command', 480],
  ] as const)(
    '%s',
    async (surface, inputs) => {
      const report = await runFuzz({ surface, seed, inputs });
      expect(report.inputs).toBeGreaterThanOrEqual(inputs);
    },
    300_000,
  );
});
