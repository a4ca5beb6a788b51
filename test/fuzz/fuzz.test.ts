// A million inputs to whatever takes what others wrote: `npm run fuzz` goes on for as long as one likes.
import { type FuzzReport, runFuzz, type SurfaceName } from '@iothreads/bench/fuzz';
import { afterAll, describe, expect, test } from 'vitest';
import { seed, seeded } from '../support/random.js';

/** Inputs of each surface; chains, requests and texts are played in processes of their own. */
const INPUTS: Partial<Record<SurfaceName, number>> = {
  ring: 450_000,
  request: 420_000,
  shift: 25_000,
  keyval: 65_000,
  qmp: 40_000,
};
const reports: FuzzReport[] = [];

describe(seeded('nothing breaks'), () => {
  // Two at a time: there are not more processors everywhere.
  test.concurrent.each([
    ['request', ['request', 'qmp', 'shift']],
    ['ring', ['ring', 'keyval']],
  ] as const)(
    '%s and others',
    async (_, surfaces) => {
      for (const surface of surfaces) {
        const inputs = INPUTS[surface]!;
        const report = await runFuzz({ surface, seed, inputs });
        expect(report.inputs, surface).toBeGreaterThanOrEqual(inputs);
        reports.push(report);
      }
    },
    400_000,
  );

  afterAll(() => {
    expect(reports.reduce((sum, { inputs }) => sum + inputs, 0)).toBeGreaterThanOrEqual(1_000_000);
  });
});
