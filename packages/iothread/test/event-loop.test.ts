import { expect, onTestFinished, test } from 'vitest';
import { LoopStatistics } from '../dist/shared/loop-statistics.js';
import { createWakeBuffer, WakeSlot } from '../dist/shared/wake-slots.js';
import type { AttachedDevice } from '../dist/worker/attached-device.js';
import { EventLoop } from '../dist/worker/event-loop.js';

/** A loop that goes to sleep as soon as it has nothing to do: its clock stands still. */
function sleepyLoop(): { loop: EventLoop; asleep: () => Promise<void> } {
  const statistics = new LoopStatistics();
  const loop = new EventLoop({
    nowNs: () => 0,
    polling: { pollMaxNs: 0, pollGrow: 0, pollShrink: 0 },
    wakeSlot: new WakeSlot(createWakeBuffer(), 0),
    statistics,
  });
  onTestFinished(() => loop.stop());
  return {
    loop,
    async asleep() {
      while (statistics.read().sleeps === 0) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** As much of a device as the loop talks to; it never has work. */
function idleDevice(hooks: { turn?: () => void; arm?: () => boolean }): AttachedDevice {
  const device = {
    inFlight: 0,
    lastWorkNs: 0,
    waitsForLibuv: false,
    driver: {},
    turn: () => {
      hooks.turn?.();
      return 0;
    },
    arm: () => hooks.arm?.() ?? false,
    stirs: () => false,
    takeKicks: () => false,
    hasWork: () => false,
  };
  return device as unknown as AttachedDevice;
}

test('a request that comes while the doorbells are being armed is looked for at once, not at the next kick', async () => {
  const { loop, asleep } = sleepyLoop();
  const log: string[] = [];
  let left = 2;
  const device = idleDevice({
    turn: () => log.push('turn'),
    arm: () => {
      log.push(left > 0 ? 'arm: more' : 'arm');
      return left-- > 0;
    },
  });
  loop.add(device);
  loop.attend(device);
  await asleep();
  expect(log).toEqual(['turn', 'arm: more', 'turn', 'arm: more', 'turn', 'arm']);
});

// Two disks of one ring: whoever collects finds the other's request complete, which nobody published before its driver kicked again.
test('a device whose request another one has collected in a turn without work has one itself before the loop sleeps', async () => {
  const { loop, asleep } = sleepyLoop();
  const log: string[] = [];
  const owner = idleDevice({ turn: () => log.push('turn of the owner') });
  let left = 1;
  const collector = idleDevice({
    turn: () => {
      if (left-- <= 0) return;
      log.push('completed');
      loop.attend(owner);
    },
  });
  for (const device of [owner, collector]) {
    loop.add(device);
    loop.attend(device);
  }
  await asleep();
  expect(log).toEqual(['turn of the owner', 'completed', 'turn of the owner']);
});
