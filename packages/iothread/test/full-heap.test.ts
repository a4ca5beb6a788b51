// A disk of a user's that fills its worker's heap: not the process's, as long as it does so in small pieces.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('its worker dies, the process lives, and another worker has its devices', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    // Of every thread.
    '--max-old-space-size=48',
    fileURLToPath(new URL('./fixtures/full-heap.mjs', import.meta.url)),
  ]);
  expect(JSON.parse(stdout)).toEqual({
    message: "iothread 'io0' died: Worker terminated due to reaching memory limit: JS heap out of memory",
    alive: true,
    restarts: 1,
    devices: ['vda'],
  });
});
