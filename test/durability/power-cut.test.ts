// What a guest has flushed is there whenever the power is cut; in write-through mode, whatever it has seen written.
import { describe, expect, test } from 'vitest';
import { seeded } from '../support/random.js';
import { cutEverywhere } from './support/recorded-guest.js';

const modes = ['sync', 'async', 'auto'] as const;
const REQUESTS = 24;

describe.each([
  ['write-back', false],
  ['write-through', true],
] as const)('%s', (_, writeThrough) => {
  test.each(modes)(seeded('%s'), async (mode) => {
    const { mistakes, images, flushes } = await cutEverywhere({ mode, writeThrough, requests: REQUESTS });
    expect(mistakes).toEqual([]);
    expect(flushes).toBeGreaterThan(0);
    // Six images for each of the requests, at least.
    expect(images).toBeGreaterThan(8 * REQUESTS * 6);
  });

  test(seeded('two iothreads: a flush on one covers what was written through the other'), async () => {
    const { mistakes } = await cutEverywhere({
      mode: 'async',
      writeThrough,
      iothreads: 2,
      requests: REQUESTS,
    });
    expect(mistakes).toEqual([]);
  });

  test.runIf(process.platform === 'linux').each([
    ['threads', { aio: 'threads' }],
    ['past the page cache', { cacheDirect: true }],
    ['what is discarded is given back', { discard: 'unmap' }],
  ] as const)(seeded('%s'), async (__, file) => {
    const { mistakes } = await cutEverywhere({ mode: 'async', writeThrough, file, requests: REQUESTS });
    expect(mistakes).toEqual([]);
  });
});
