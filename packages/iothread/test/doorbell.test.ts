// Doorbells and interrupts between threads: none is lost, whoever sleeps.
import { CONFIG_INTERRUPT } from '@iothreads/core';
import { DeviceChannel } from '@iothreads/iothread';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { createDevicePort } from '../dist/shared/device-channel.js';
import { createWakeBuffer, WakeSlot, Waker } from '../dist/shared/wake-slots.js';

const ROUNDS = 20_000;
const seed =
  process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED']);

const worker = (name: string, workerData: unknown): Worker =>
  new Worker(new URL(`./fixtures/${name}`, import.meta.url), { workerData });

describe('between two threads', () => {
  test(`${ROUNDS} kicks, to a loop asleep, awake and about to sleep, are all answered (SEED=${seed})`, async () => {
    const slot = 7;
    const port = createDevicePort(createWakeBuffer(), 1);
    new DeviceChannel(port).route(0, slot);
    const device = worker('doorbell-device.mjs', { port, slot, seed });
    await once(device, 'message');
    const driver = worker('doorbell-driver.mjs', { port, rounds: ROUNDS, seed: seed ^ 0x5bd1e995 });
    const [done] = (await once(driver, 'message')) as [number];
    device.postMessage('end', []);
    const [sleeps] = (await once(device, 'message')) as [number];
    await Promise.all([driver.terminate(), device.terminate()]);
    expect(done).toBe(ROUNDS);
    // It did sleep, and it was met awake.
    expect(sleeps).toBeGreaterThan(ROUNDS / 100);
    expect(sleeps).toBeLessThan(ROUNDS);
  });
});

describe('a wake slot', () => {
  test('a kick before the sleep prevents it', () => {
    const buffer = createWakeBuffer();
    const slot = new WakeSlot(buffer, 3);
    const waker = new Waker(buffer);
    waker.wake(3);
    expect(slot.sleep(() => undefined)).toBe(false);
    expect(slot.takeKick()).toBe(true);
    expect(slot.takeKick()).toBe(false);
  });

  test('a kick during the sleep ends it; one of another slot does not', async () => {
    const buffer = createWakeBuffer();
    const slot = new WakeSlot(buffer, 3);
    const waker = new Waker(buffer);
    let woken = 0;
    const wake = new Promise<void>((resolve) => {
      expect(
        slot.sleep(() => {
          woken++;
          resolve();
        }),
      ).toBe(true);
    });
    waker.wake(2);
    waker.wake(4);
    await new Promise(setImmediate);
    expect(woken).toBe(0);
    expect(slot.takeKick()).toBe(false);
    waker.wake(3);
    await wake;
    expect(woken).toBe(1);
    expect(slot.takeKick()).toBe(true);
  });

  test('the highest slot is there as well', () => {
    const buffer = createWakeBuffer();
    const slot = new WakeSlot(buffer, 255);
    new Waker(buffer).wake(255);
    expect(slot.takeKick()).toBe(true);
  });
});

describe('a device channel', () => {
  const create = (numQueues = 2): DeviceChannel =>
    new DeviceChannel(createDevicePort(createWakeBuffer(), numQueues));

  test('keeps the doorbells of the queues apart', () => {
    const channel = create();
    channel.kick(1);
    expect(channel.takeKick(0)).toBe(false);
    expect(channel.takeKick(1)).toBe(true);
    expect(channel.takeKick(1)).toBe(false);
  });

  test('a kick goes to the iothread that serves the queue at the moment', () => {
    const port = createDevicePort(createWakeBuffer(), 2);
    const channel = new DeviceChannel(port);
    const slots = [0, 1, 2].map((slot) => new WakeSlot(port.wakeBuffer, slot));
    const kicked = (): number[] => slots.flatMap((slot, index) => (slot.takeKick() ? [index] : []));
    channel.route(0, 1);
    channel.route(1, 2);
    channel.kick(0);
    expect(kicked()).toEqual([1]);
    channel.kick(1);
    expect(kicked()).toEqual([2]);
    channel.route(0, 0);
    channel.kick(0);
    expect(kicked()).toEqual([0]);
  });

  test('an interrupt ends a wait that began before it, and one that begins after it', async () => {
    const channel = create();
    const seen = channel.interrupts(1);
    const early = channel.interruptAfter(1, seen);
    channel.interrupt(0);
    channel.interrupt(1);
    await early;
    await channel.interruptAfter(1, seen);
    expect(channel.interrupts(1)).toBe(seen + 1);
    expect(channel.waitForInterrupt(1, seen, 20_000)).toBe(true);
    expect(channel.waitForInterrupt(1, seen + 1, 1)).toBe(false);
  });

  test('breaking the device is a configuration interrupt, healing it is none', () => {
    const channel = create();
    expect(channel.broken).toBe(false);
    const seen = channel.interrupts(CONFIG_INTERRUPT);
    channel.setBroken(true);
    expect(channel.broken).toBe(true);
    expect(channel.interrupts(CONFIG_INTERRUPT)).toBe(seen + 1);
    channel.setBroken(false);
    expect(channel.broken).toBe(false);
    expect(channel.interrupts(CONFIG_INTERRUPT)).toBe(seen + 1);
    expect([channel.interrupts(0), channel.interrupts(1)]).toEqual([0, 0]);
  });
});
