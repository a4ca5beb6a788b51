import { describe, expect, test } from 'vitest';
import { LeakWatch } from '../dist/stress/daemon/leak-watch.js';
import type { ProcessFigures } from '../dist/stress/daemon/process-figures.js';

const STILL: ProcessFigures = { fds: 40, mappings: 2, threads: 15, handles: 3 };
const WARM_UP = 2;
const LOOKS = 90;

const newWatch = (settleMs = 0): LeakWatch => new LeakWatch('the daemon', WARM_UP, settleMs);

async function addAll(watch: LeakWatch, points: readonly ProcessFigures[]): Promise<void> {
  for (const point of points) await watch.add(() => point);
}

function watchMemory(residentMib: (look: number) => number): void {
  const watch = newWatch();
  for (let look = 0; look < LOOKS; look++) watch.addMemory(residentMib(look));
  watch.finish();
}

describe('a watch for leaks', () => {
  test.each(['fds', 'mappings', 'threads', 'handles'] as const)('finds %s that stay', async (what) => {
    const watch = newWatch();
    await addAll(watch, [STILL, STILL, STILL]);
    const more = { ...STILL, [what]: STILL[what] + 1 };
    await expect(watch.add(() => more)).rejects.toThrow(
      `the daemon leaks: ${STILL[what]} ${what} have become ${more[what]}`,
    );
  });

  test('lets go what is on its way out, and what comes while it warms up', async () => {
    const watch = newWatch(20_000);
    await addAll(watch, [{ ...STILL, threads: 12 }, { ...STILL, threads: 13 }, STILL]);
    let looks = 0;
    await watch.add(() => (looks++ === 0 ? { ...STILL, threads: 16 } : STILL));
    expect(looks).toBe(2);
    expect(watch.last).toEqual(STILL);
  });

  test('finds memory that grows, however slowly', () => {
    expect(() => watchMemory((look) => 200 + look)).toThrow(
      /^the daemon leaks: 2\d\d MiB have become 2\d\d$/,
    );
  });

  test('lets memory grow to its size, and go up and down', () => {
    watchMemory((look) => Math.min(100 + 10 * look, 250) + (look % 7) * 8);
  });
});
