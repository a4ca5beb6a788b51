import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { image } from './file-variants.js';

const script = fileURLToPath(new URL('fixtures/file-loop.mjs', import.meta.url));
const run = promisify(execFile);

/** How many garbage collections a child process does for so many reads. */
async function collections(mode: string, segments: number, requests: number): Promise<number> {
  const filename = image(new Uint8Array(65536));
  // A young generation of 4 MiB: what loading and compiling allocate fits in a few, what requests allocate does not.
  const { stdout } = await run(
    process.execPath,
    [
      '--trace-gc',
      '--min-semi-space-size=4',
      '--max-semi-space-size=4',
      script,
      filename,
      mode,
      String(segments),
      String(requests),
    ],
    { timeout: 120_000 },
  );
  return stdout.split('\n').filter((line) => /Scavenge|Mark-Compact/.test(line)).length;
}

describe.runIf(process.platform === 'linux')('half a million reads of a file more', () => {
  // A request that allocated one number, 16 bytes, would cost 8 MB: two collections.
  test.each([
    ['async', 1, 1],
    ['async', 2, 1],
    // The address, which the call takes as a number of its own.
    ['sync', 1, 3],
    ['sync', 2, 3],
  ])('%s, %i segments: no object for any of them', { timeout: 250_000 }, async (mode, segments, most) => {
    // What requests allocate is in every run; what code allocates that is compiled late, on a busy machine, is not.
    let more = Infinity;
    for (let attempt = 0; attempt < 3 && more > most; attempt++) {
      const few = await collections(mode, segments, 100_000);
      const many = await collections(mode, segments, 600_000);
      more = Math.min(more, many - few);
    }
    expect(more).toBeLessThanOrEqual(most);
  });
});
