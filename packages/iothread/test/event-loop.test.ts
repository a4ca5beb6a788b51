import { expect, test } from 'vitest';
import { nowNs } from '@iothreads/iothread';
import { LoopStatistics } from '../dist/shared/loop-statistics.js';
import { createWakeBuffer, WakeSlot } from '../dist/shared/wake-slots.js';
import type { AttachedDevice } from '../dist/worker/attached-device.js';
import { EventLoop } from '../dist/worker/event-loop.js';

/** As much of a device as the loop talks to; `arm` finds requests the first `late` times. */
function lateDevice(late: number): { device: AttachedDevice; log: string[] } {
  const log: string[] = [];
  let left = late;
  const device = {
    inFlight: 0,
    lastWorkNs: 0,
    waitsForLibuv: false,
    driver: {},
    turn: () => {
      log.push('turn');
      return 0;
    },
    arm: () => {
      log.push(left > 0 ? 'arm: more' : 'arm');
      return left-- > 0;
    },
    stirs: () => false,
    takeKicks: () => false,
    hasAvailable: () => false,
  };
  return { device: device as unknown as AttachedDevice, log };
}

test('a request that comes while the doorbells are being armed is looked for at once, not at the next kick', async () => {
  const statistics = new LoopStatistics();
  const loop = new EventLoop({
    nowNs,
    polling: { pollMaxNs: 0, pollGrow: 0, pollShrink: 0 },
    wakeSlot: new WakeSlot(createWakeBuffer(), 0),
    statistics,
  });
  try {
    const { device, log } = lateDevice(2);
    loop.add(device);
    loop.attend(device);
    while (statistics.read().sleeps === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(['turn', 'arm: more', 'turn', 'arm: more', 'turn', 'arm']);
  } finally {
    loop.stop();
  }
});
