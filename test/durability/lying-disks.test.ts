// The check itself: a disk that does not keep what it promises is found out.
import { afterEach, describe, expect, test } from 'vitest';
import { fixture } from '../support/fixture.js';
import { seeded } from '../support/random.js';
import { cutEverywhere, type Recording } from './support/recorded-guest.js';

afterEach(() => {
  delete process.env['IOTHREADS_TEST_LIE'];
});

const workerUrl = new URL(fixture('lying-disk-worker.mjs'));
const lying = (lie: string, recording: Pick<Recording, 'mode' | 'writeThrough'>) => {
  process.env['IOTHREADS_TEST_LIE'] = lie;
  return cutEverywhere({ ...recording, requests: 15, workerUrl });
};

test(seeded('one that tells the truth is not accused'), async () => {
  const { mistakes, images } = await lying('', { mode: 'async', writeThrough: false });
  expect(mistakes).toEqual([]);
  expect(images).toBeGreaterThan(0);
});

describe.each([
  ['write-back', false],
  ['write-through', true],
] as const)('%s', (_, writeThrough) => {
  test.each(['no sync', 'sync later', 'sync before the writes'])(seeded('a flush with %s'), async (lie) => {
    const { mistakes } = await lying(lie, { mode: 'async', writeThrough });
    expect(mistakes[0]).toMatch(
      /^sector \d+ holds generation \d+ at \d+, but \d+ was promised; nothing more/,
    );
  });

  test(seeded('no sync, synchronously'), async () => {
    expect((await lying('no sync', { mode: 'sync', writeThrough })).mistakes).not.toEqual([]);
  });
});

test(seeded('a torn sector'), async () => {
  await expect(lying('tear', { mode: 'async', writeThrough: false })).rejects.toThrow(/sector \d+ .*torn/);
});
