// An iothread dies under load: its devices say so loudly, everybody else goes on.
import { CONFIG_INTERRUPT, VIRTIO_STATUS_DRIVER_OK, VIRTIO_STATUS_NEEDS_RESET } from '@iothreads/core';
import { type BlockDevice, IOThreadError, IOThreadRuntime } from '@iothreads/iothread';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { fixture } from './support/fixture.js';
import { GenerationLoad } from './support/generations.js';
import { createMemory, Guest, statusBits } from './support/guest.js';
import { until, within } from './support/within.js';

const DISK_BYTES = 1 << 20;
const DYING_AFTER = 200;

const causes = [
  { how: 'exit', message: 'exited with code: 3' },
  { how: 'throw', message: 'the disk threw up' },
] as const;

async function addDevice(
  runtime: IOThreadRuntime,
  id: string,
  iothread: string,
  how?: 'exit' | 'throw',
  after = DYING_AFTER,
  signal?: SharedArrayBuffer,
): Promise<Guest> {
  const memory = createMemory();
  const device = await runtime.addDevice({
    id,
    iothread,
    memory,
    drive:
      how === undefined
        ? { driver: 'memory', size: DISK_BYTES }
        : {
            driver: 'module',
            url: fixture('dying-disk.mjs'),
            options: { size: DISK_BYTES, after, how, signal },
          },
  });
  return Guest.start(device, memory);
}

/** Keeps reads in flight; they are not waited for, because some never complete. */
function floodReads(guest: Guest, count: number): void {
  for (let i = 0; i < count; i++) void guest.queue.add(0, i % 64, 512).then(() => 0);
  guest.queue.go();
}

/** Reads until the iothread is dead. @returns its error */
async function kill(runtime: IOThreadRuntime, guest: Guest): Promise<[id: string, error: IOThreadError]> {
  const died = once(runtime, 'iothreadDied') as Promise<[string, IOThreadError]>;
  const state = { dead: false };
  const load = (async () => {
    while (!state.dead) {
      if (guest.queue.inFlight < 8) floodReads(guest, 8);
      await new Promise(setImmediate);
    }
  })();
  const event = await within(died, 'the death of the iothread');
  state.dead = true;
  await load;
  return event;
}

const needsReset = (device: BlockDevice): boolean => (device.virtio.status & VIRTIO_STATUS_NEEDS_RESET) !== 0;

describe.each(causes)('$how', ({ how, message }) => {
  test('only its own devices are struck; moved and reset they work again', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addDevice(runtime, 'vda', 'io0', how);
    const neighbour = await addDevice(runtime, 'vdb', 'io0');
    const other = await addDevice(runtime, 'vdc', 'io1');
    const load = new GenerationLoad(other.queues, 8, 64).start();
    const seen = [mortal, neighbour].map(({ device }) => device.channel.interrupts(CONFIG_INTERRUPT));
    const otherSeen = other.device.channel.interrupts(CONFIG_INTERRUPT);

    const [id, error] = await kill(runtime, mortal);

    expect(id).toBe('io0');
    expect(error).toBeInstanceOf(IOThreadError);
    expect(error.code).toBe('ERR_IOTHREAD_DIED');
    expect(error.message).toContain("iothread 'io0' died: ");
    expect(error.message).toContain(message);
    for (const [index, { device }] of [mortal, neighbour].entries()) {
      await statusBits(device, VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK, seen[index]!);
      expect(device.channel.interrupts(CONFIG_INTERRUPT)).toBeGreaterThan(seen[index]!);
    }
    expect(needsReset(other.device)).toBe(false);
    expect(other.device.channel.interrupts(CONFIG_INTERRUPT)).toBe(otherSeen);
    const [first, second] = await runtime.queryIOThreads();
    expect(first).toMatchObject({ id: 'io0', alive: false, threadId: 0, devices: ['vda', 'vdb'] });
    expect(second).toMatchObject({ id: 'io1', alive: true, devices: ['vdc'], syncAllowed: true });

    // The neighbour goes to a live iothread: it waits there for its driver's reset.
    await expect(runtime.removeIOThread('io0')).rejects.toMatchObject({ code: 'ERR_IOTHREAD_IN_USE' });
    await runtime.moveDevice('vdb', 'io1');
    expect(needsReset(neighbour.device)).toBe(true);
    await neighbour.reset();
    await neighbour.start();
    expect(needsReset(neighbour.device)).toBe(false);
    await neighbour.queue.write(7, new Uint8Array(512).fill(0x77));
    expect((await neighbour.queue.read(7))[511]).toBe(0x77);

    await runtime.removeDevice('vda');
    await runtime.removeIOThread('io0');
    expect((await runtime.queryIOThreads()).map((report) => report.id)).toEqual(['io1']);

    const before = load.requests;
    await until('progress of the load beside', () => load.requests > before + 20);
    await load.stop();
    expect(other.queue.completions).toBe(load.requests);
  });

  test('calls that are under way reject, and so do later ones', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const signal = new SharedArrayBuffer(8);
    const words = new Int32Array(signal);
    const mortal = await addDevice(runtime, 'vda', 'io0', how, 1, signal);
    const neighbour = await addDevice(runtime, 'vdb', 'io0');
    const died = once(runtime, 'iothreadDied');
    floodReads(mortal, 1);
    await until('the read that kills', () => words[0] === 1);
    // It never completes: the drain waits for it when the worker dies.
    const drained = runtime.drainDevice('vda');
    const outcome = expect(drained).rejects.toMatchObject({
      code: 'ERR_IOTHREAD_DIED',
      message: expect.stringContaining(message) as unknown,
    });
    Atomics.store(words, 1, 1);
    Atomics.notify(words, 1);
    await within(died, 'the death of the iothread');
    await within(outcome, 'the end of the drain');
    await expect(addDevice(runtime, 'vdd', 'io0')).rejects.toMatchObject({ code: 'ERR_IOTHREAD_DIED' });
    await expect(runtime.moveDevice('vdb', 'io0')).rejects.toMatchObject({ code: 'ERR_IOTHREAD_DIED' });
    expect(needsReset(neighbour.device)).toBe(true);
    // What failed left nothing behind.
    await addDevice(runtime, 'vdd', 'io1');
    expect((await runtime.queryIOThreads()).map(({ devices }) => devices)).toEqual([['vda', 'vdb'], ['vdd']]);
  });
});

describe('afterwards', () => {
  test('a reset before the move is complete at once; the device can be started when it has been moved', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const errors: string[] = [];
    runtime.on('deviceError', (id, error) => errors.push(`${id}: ${(error as IOThreadError).code}`));
    const mortal = await addDevice(runtime, 'vda', 'io0', 'exit');
    const neighbour = await addDevice(runtime, 'vdb', 'io0');
    await neighbour.queue.write(1, new Uint8Array(512).fill(1));
    await kill(runtime, mortal);
    await neighbour.reset();
    expect(neighbour.device.virtio.status).toBe(0);
    // Nobody is there to serve it yet.
    await neighbour.start();
    await until('NEEDS_RESET', () => needsReset(neighbour.device));
    expect(errors).toEqual(['vdb: ERR_IOTHREAD_DIED']);
    await runtime.moveDevice('vdb', 'io1');
    await neighbour.reset();
    await neighbour.start();
    expect((await neighbour.queue.read(1))[0]).toBe(1);
    expect(needsReset(neighbour.device)).toBe(false);
  });

  test('two moves before the reset serve nothing from where the rings once were', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }] });
    const mortal = await addDevice(runtime, 'vda', 'io0', 'exit');
    const neighbour = await addDevice(runtime, 'vdb', 'io0');
    await neighbour.queue.readOneByOne(10);
    await kill(runtime, mortal);
    await runtime.moveDevice('vdb', 'io1');
    await runtime.moveDevice('vdb', 'io2');
    const { completions } = neighbour.queue;
    void neighbour.queue.add(0, 0, 512);
    neighbour.queue.go();
    await runtime.drainDevice('vdb');
    expect(neighbour.queue.driver.queue.hasUsed()).toBe(false);
    expect(neighbour.queue.completions).toBe(completions);
    await neighbour.reset();
    await neighbour.start();
    await neighbour.queue.readOneByOne(10);
  });

  test('with queues on a live iothread as well: reset and moved it works again, and counts as attached once', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addDevice(runtime, 'vda', 'io0', 'exit');
    const memory = createMemory();
    const device = await runtime.addDevice({
      id: 'vdb',
      iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }],
      numQueues: 2,
      drive: { driver: 'memory', size: DISK_BYTES },
      memory,
    });
    const guest = await Guest.start(device, memory);
    for (const queue of guest.queues) await queue.readOneByOne(10);
    await kill(runtime, mortal);
    expect(needsReset(device)).toBe(true);
    await guest.reset();
    await runtime.moveDevice('vdb', 'io1');
    await guest.start();
    for (const queue of guest.queues) await queue.readOneByOne(10);
    const [, io1] = await runtime.queryIOThreads();
    expect(io1).toMatchObject({ devices: ['vdb'], syncAllowed: true });
  });

  test('an iothread of the same name takes its place', async () => {
    await using runtime = new IOThreadRuntime({ restart: false });
    await runtime.addIOThread({ id: 'io0' });
    const mortal = await addDevice(runtime, 'vda', 'io0', 'exit');
    await kill(runtime, mortal);
    await runtime.removeDevice('vda');
    await runtime.removeIOThread('io0');
    await runtime.addIOThread({ id: 'io0' });
    const guest = await addDevice(runtime, 'vda', 'io0');
    await guest.queue.readOneByOne(10);
  });

  test('the runtime can be closed with its dead', async () => {
    const runtime = new IOThreadRuntime({ restart: false });
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    const mortal = await addDevice(runtime, 'vda', 'io0', 'throw');
    await addDevice(runtime, 'vdb', 'io1');
    await kill(runtime, mortal);
    await within(runtime.close(), 'the end of the runtime');
    await expect(runtime.queryIOThreads()).rejects.toMatchObject({ code: 'ERR_RUNTIME_CLOSED' });
  });
});
