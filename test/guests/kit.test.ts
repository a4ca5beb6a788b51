// The means of these tests: a guest that goes wrong is a test that fails.
import { expect, test } from 'vitest';
import { whyNoGuest } from './support/guest-kit.js';
import { describeGuests } from './support/scene.js';

const why = whyNoGuest();
// Once for all files of this directory.
if (why !== undefined) process.stderr.write(`test/guests: skipped: ${why}\n`);

describeGuests('a guest', (scene) => {
  test('whose script fails shows where', async () => {
    const boot = scene().boot({ disks: [], script: 'echo before\nfalse\necho behind' });
    const error = await boot.then(
      () => undefined,
      (reason: unknown) => String(reason),
    );
    expect(error).toMatch(/script left with status 1.*before.*\+ false/s);
    expect(error).not.toContain('behind');
  });

  test('that comes to no end is ended', async () => {
    const boot = scene().boot({ disks: [], script: 'ask never', deadlineMs: 1 });
    await expect(boot).rejects.toThrow('the guest never came to its end');
  });
});
