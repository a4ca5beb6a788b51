// Inputs that were found, or thought of: `case` of each file is played as it is.
import { type FuzzSurface, openSurface, SURFACE_NAMES, type SurfaceName } from '@iothreads/bench/fuzz';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Entry {
  readonly surface: SurfaceName;
  /** What is special about it. */
  readonly what: string;
  readonly case: unknown;
}

const corpus = new URL('./corpus/', import.meta.url);
const entries = readdirSync(corpus)
  .toSorted()
  .map((file) => JSON.parse(readFileSync(new URL(file, corpus), 'utf8')) as Entry);

test('every surface has an entry', () => {
  expect([...new Set(entries.map(({ surface }) => surface))].toSorted()).toEqual(SURFACE_NAMES.toSorted());
});

describe.each(SURFACE_NAMES)('%s', (name) => {
  let surface: FuzzSurface;

  beforeAll(async () => {
    surface = await openSurface(name);
  });
  afterAll(() => surface.close?.());

  test.each(entries.filter((entry) => entry.surface === name).map((entry) => [entry.what, entry.case]))(
    '%s',
    async (_, each) => {
      expect(await surface.play(each)).toBeGreaterThan(0);
      await surface.settle?.();
    },
  );
});
