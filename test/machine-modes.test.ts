// What every emulator relies on, whichever way its memory is reached and its completions come.
import {
  type BouncedMemory,
  CONFIG_INTERRUPT,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_STATUS_NEEDS_RESET,
} from '@iothreads/core';
import { startDevice } from '@iothreads/core/testing';
import {
  type BlockDevice,
  type DeviceOptions,
  type DeviceState,
  IOThreadRuntime,
  type RuntimeOptions,
} from '@iothreads/iothread';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { fixture } from './support/fixture.js';
import { Gate } from './support/gate.js';
import { GenerationLoad } from './support/generations.js';
import { createMemory, Guest, type GuestOptions } from './support/guest.js';
import { MACHINE_MODES, type MachineMode, machineMemory, MachineLine } from './support/machine-line.js';
import { blockStats } from './support/statistics.js';
import { until, within } from './support/within.js';

let runtime: IOThreadRuntime;
async function startRuntime(options?: RuntimeOptions): Promise<void> {
  runtime = new IOThreadRuntime(options);
  await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
}
beforeEach(() => startRuntime());
afterEach(() => runtime.close());

interface Machine {
  readonly device: BlockDevice;
  readonly guest: Guest;
  readonly line: MachineLine;
  readonly memory: Pick<DeviceOptions, 'memory' | 'completion'>;
}

/** A device, its memory and a driver that has started it. */
async function machine(
  mode: MachineMode,
  options: Partial<DeviceOptions> = {},
  { bounce = {}, ...guestOptions }: GuestOptions & { bounce?: Partial<BouncedMemory> } = {},
): Promise<Machine> {
  const { ram, options: memory } = machineMemory(mode, bounce);
  const device = await runtime.addDevice({
    id: 'vda',
    iothread: 'io0',
    drive: { driver: 'memory', size: 1 << 20 },
    ...options,
    ...memory,
  });
  const line = new MachineLine(device, mode.completion === 'pull');
  const guest = await Guest.start(device, ram, { ...guestOptions, line });
  return { device, guest, line, memory };
}

/** Ends an iothread by a disk that ends its thread. */
async function killIOThread(id: string): Promise<void> {
  const died = once(runtime, 'iothreadDied');
  const memory = createMemory();
  const options = { size: 1 << 20, after: 0, how: 'exit' };
  const drive = { driver: 'module', url: fixture('dying-disk.mjs'), options } as const;
  const killer = await Guest.start(
    await runtime.addDevice({ id: 'killer', iothread: id, drive, memory }),
    memory,
  );
  void killer.queue.add(VIRTIO_BLK_T_IN, 0, 512);
  killer.queue.go();
  await within(died, 'the death of the iothread');
}

const reads = async (): Promise<number> => {
  const [report] = await runtime.queryBlockStats();
  return report!.read.operations;
};

describe.each(MACHINE_MODES)('$name', (mode) => {
  test('what is written is read again, through several queues', async () => {
    const { guest } = await machine(mode, { numQueues: 3, serial: 'machine-0' });
    const load = new GenerationLoad(guest.queues, 12, 64).start();
    await until('2000 requests', () => load.requests >= 2000);
    await load.stop();
    const { status, data } = await guest.queue.request(VIRTIO_BLK_T_GET_ID, 0, 20);
    expect(status).toBe(VIRTIO_BLK_S_OK);
    expect(Buffer.from(data).toString('latin1').replaceAll('\0', '')).toBe('machine-0');
    const { operations } = (await blockStats(runtime, 'vda')).write;
    expect(operations).toBe(load.done.writes);
  });

  test('a request that makes no sense is refused, and counted as that', async () => {
    const { guest } = await machine(mode);
    const { status } = await guest.queue.request(VIRTIO_BLK_T_IN, 1 << 20, 512);
    expect(status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blockStats(runtime, 'vda')).invalid).toBe(1);
    await guest.queue.read(0);
  });

  test('its driver resets it with requests in flight: their data never arrives', async () => {
    const gate = new Gate();
    const { guest, device } = await machine(mode, { drive: gate.drive() });
    const outcomes = Array.from({ length: 8 }, (_, i) => guest.queue.add(VIRTIO_BLK_T_IN, i, 512));
    for (const outcome of outcomes) outcome.catch(() => undefined);
    guest.queue.go();
    await gate.came(8);
    const { driver } = guest.queue;
    device.virtio.writeStatus(0);
    if (mode.memory === 'bounced') {
      gate.open();
      await until('the reset', () => device.virtio.status === 0);
      device.drain();
      // Their slots were let go of at once.
      for (let slot = 0; slot < 8; slot++) expect(driver.status(slot)).toBe(0xff);
    } else {
      expect(device.virtio.status).not.toBe(0);
      gate.open();
      await until('the reset', () => device.virtio.status === 0);
    }
    const again = await Guest.start(device, guest.memory, {
      line: new MachineLine(device, mode.completion === 'pull'),
    });
    expect(await again.queue.read(1)).toEqual(new Uint8Array(512).fill(0xdd));
    await gate.went(9);
  });

  test('it moves to another iothread under load', async () => {
    const { guest } = await machine(mode, { numQueues: 2 });
    const load = new GenerationLoad(guest.queues, 8, 64).start();
    for (const to of ['io1', 'io0', 'io1']) {
      const before = load.requests;
      await until('some requests', () => load.requests > before + 50);
      await runtime.moveDevice('vda', to);
    }
    await load.stop();
  });

  test('quiesced, it serves nothing until it is told to go on; kicks meanwhile are not lost', async () => {
    const { guest, device } = await machine(mode);
    const load = new GenerationLoad(guest.queues, 8, 64).start();
    for (let round = 0; round < 5; round++) {
      const before = load.requests;
      await until('some requests', () => load.requests > before + 50);
      await within(device.quiesce(), 'quiescence');
      const { usedRing } = guest.queue.addresses;
      const used = guest.allocator.view(usedRing + 2, 2);
      const usedIdx = used.getUint16(0, true);
      expect(guest.queue.driver.queue.ring.used16[1]).toBe(usedIdx);
      // The load's tasks go on until each waits for its next request.
      await until('all tasks waiting', () => guest.queue.inFlight === 8);
      device.drain();
      expect(used.getUint16(0, true)).toBe(usedIdx);
      await device.resume();
    }
    await load.stop();
  });

  test('its state goes into another device, with requests waiting: none is lost, none is done twice', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'iothreads-modes-'));
    try {
      const filename = join(directory, 'disk.img');
      writeFileSync(filename, '');
      truncateSync(filename, 1 << 20);
      const drive = { driver: 'file', filename } as const;
      const { guest, device, line, memory } = await machine(mode, { drive, numQueues: 2 });
      const load = new GenerationLoad(guest.queues, 8, 64).start();
      let before = device;
      for (let round = 0; round < 4; round++) {
        const count = load.requests;
        await until('some requests', () => load.requests > count + 50);
        await before.quiesce();
        await until(
          'all tasks waiting',
          () => guest.queues.reduce((sum, { inFlight }) => sum + inFlight, 0) === 8,
        );
        const state = JSON.parse(JSON.stringify(before.saveState())) as DeviceState;
        await runtime.removeDevice('vda');
        before = await runtime.addDevice({ id: 'vda', iothread: 'io1', drive, numQueues: 2, ...memory });
        line.plug(before);
        before.restoreState(state);
        await within(before.settled(), 'the restored device');
      }
      await load.stop();
      // A completion of what was not in flight would have been an exception of the driver's.
      expect(guest.queues.reduce((sum, { completions }) => sum + completions, 0)).toBe(load.requests);
    } finally {
      await runtime.close();
      rmSync(directory, { recursive: true });
    }
  });

  test('a state that does not tell where a running queue stands is refused', async () => {
    const { guest, device, memory } = await machine(mode);
    await guest.queue.read(0);
    await device.quiesce();
    const state = device.saveState();
    await runtime.removeDevice('vda');
    const drive = { driver: 'memory', size: 1 << 20 } as const;
    const after = await runtime.addDevice({ id: 'vda', iothread: 'io0', drive, ...memory });
    expect(() => {
      after.restoreState({ ...state, positions: [] });
    }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(after.virtio.status).toBe(0);
    after.restoreState(state);
    await after.settled();
  });

  test('an iothread that dies during a pause takes nothing of it: it goes on with the next worker', async () => {
    const { guest, device } = await machine(mode);
    await guest.queue.write(5, new Uint8Array(512).fill(5));
    await device.quiesce();
    const read = guest.queue.read(5);
    await killIOThread('io0');
    await device.resume();
    expect((await read)[0]).toBe(5);
    expect(device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).toBe(0);
    await guest.queue.readOneByOne(10);
  });

  test('what can not be served any more after a pause works again when its driver has reset it', async () => {
    await runtime.close();
    await startRuntime({ restart: false });
    const { guest, device } = await machine(mode);
    await guest.queue.read(0);
    await device.quiesce();
    // The iothread ends meanwhile: there is nobody to go on with.
    await killIOThread('io0');
    await expect(device.resume()).rejects.toThrow();
    expect(device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).toBe(VIRTIO_STATUS_NEEDS_RESET);
    await guest.reset();
    await runtime.moveDevice('vda', 'io1');
    const again = await Guest.start(device, guest.memory, {
      line: new MachineLine(device, mode.completion === 'pull'),
    });
    await again.queue.read(1);
  });

  test('a disk that does not answer can not be quiesced, and is served on', async () => {
    const gate = new Gate();
    const { guest, device } = await machine(mode, { drive: gate.drive(), drainTimeoutMs: 50 });
    const outcome = guest.queue.request(VIRTIO_BLK_T_IN, 0, 512);
    await gate.came(1);
    await expect(device.quiesce()).rejects.toMatchObject({ code: 'ERR_DRAIN_TIMEOUT' });
    expect(() => device.saveState()).toThrow(expect.objectContaining({ code: 'ERR_NOT_QUIESCED' }));
    gate.open();
    expect((await outcome).status).toBe(VIRTIO_BLK_S_OK);
    await guest.queue.read(3);
    await device.quiesce();
    expect(device.saveState().positions).toEqual([{ index: 0, lastAvail: 2, usedIdx: 2 }]);
  });

  test('a disk of another size is told to the driver, and can be used to its new end', async () => {
    const { guest, device, line } = await machine(mode, { drive: { driver: 'null', size: 1 << 20 } });
    expect((await guest.queue.request(VIRTIO_BLK_T_IN, 2048, 512)).status).toBe(VIRTIO_BLK_S_IOERR);
    const generation = device.virtio.configGeneration;
    const told = line.interruptAfter(CONFIG_INTERRUPT, line.interrupts(CONFIG_INTERRUPT));
    await device.resize(2 << 20);
    await within(told, 'the configuration interrupt');
    expect(device.virtio.configGeneration).not.toBe(generation);
    const capacity = new Uint8Array(8);
    device.virtio.config.read(0, capacity);
    expect(new DataView(capacity.buffer).getBigUint64(0, true)).toBe(4096n);
    expect((await guest.queue.request(VIRTIO_BLK_T_IN, 4095, 512)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await guest.queue.request(VIRTIO_BLK_T_IN, 4096, 512)).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  test('its driver stops a queue of several and starts it anew', async () => {
    const { guest, device } = await machine(mode, { numQueues: 2 });
    await guest.queues[1]!.read(5);
    device.virtio.disableQueue(1);
    await until('the stop', () => !device.virtio.isQueueEnabled(1));
    await guest.queue.read(6);
    await until('both to be counted', async () => (await reads()) === 2);
    const stopped = guest.queues[1]!;
    void stopped.request(VIRTIO_BLK_T_IN, 7, 512).catch(() => undefined);
    await guest.queue.read(8);
    await until('the third to be counted', async () => (await reads()) >= 3);
    expect(await reads()).toBe(3);
    guest.layOut({ line: new MachineLine(device, mode.completion === 'pull') });
    device.virtio.setQueue(1, guest.queues[1]!.addresses);
    expect(device.virtio.isQueueEnabled(1)).toBe(true);
    await guest.queues[1]!.read(9);
  });
});

describe.each(MACHINE_MODES.filter(({ completion }) => completion === 'pull'))('$name', (mode) => {
  test('nobody is ever woken up', async () => {
    const waits = vi.spyOn(Atomics, 'waitAsync');
    try {
      const { guest } = await machine(mode);
      await guest.queue.readOneByOne(200);
      expect(waits).not.toHaveBeenCalled();
    } finally {
      waits.mockRestore();
    }
  });

  test('nobody is told of anything outside drain, but for who has armed: once', async () => {
    const { device, guest } = await machine(mode, {}, { depth: 2 });
    const told: number[] = [];
    device.onInterrupt((source) => told.push(source));
    const start = (): void => {
      guest.queue.driver.start(guest.queue.driver.takeSlot(), VIRTIO_BLK_T_IN, 0, 512);
      guest.queue.driver.publish();
      device.kick(0);
    };
    start();
    await until('the read', async () => (await reads()) === 1);
    await new Promise(setImmediate);
    expect(told).toEqual([]);
    // A completion is there: no reason to go to sleep.
    expect(device.arm()).toBe(true);
    expect(device.drain() + told.length).toBeGreaterThan(0);
    expect(guest.queue.driver.takeDone()).not.toBe(-1);
    guest.queue.driver.queue.enableInterrupts();
    told.length = 0;
    expect(device.arm()).toBe(false);
    start();
    await until('the wake-up', () => told.length > 0);
    expect(told).toEqual([0]);
  });
});

describe.each(MACHINE_MODES.filter(({ completion }) => completion === 'pull'))('$name', (mode) => {
  test('who has armed before the device was started is woken up by its first completion', async () => {
    const { ram, options } = machineMemory(mode);
    const drive = { driver: 'memory', size: 1 << 20 } as const;
    const device = await runtime.addDevice({ id: 'vda', iothread: 'io0', drive, ...options });
    for (let life = 0; life < 2; life++) {
      const told = new Promise<number>((resolve) => {
        const end = device.onInterrupt((source) => {
          if (source === CONFIG_INTERRUPT) return;
          end();
          resolve(source);
        });
      });
      const line = new MachineLine(device, false);
      const guest = new Guest(device, ram);
      guest.layOut({ line });
      device.arm();
      startDevice(
        device.virtio,
        guest.queues.map(({ addresses }) => addresses),
      );
      guest.queue.driver.start(guest.queue.driver.takeSlot(), VIRTIO_BLK_T_IN, 0, 512);
      guest.queue.driver.publish();
      device.kick(0);
      expect(await within(told, 'the wake-up')).toBe(0);
      await guest.reset();
    }
  });
});

describe.each(MACHINE_MODES.filter(({ memory }) => memory === 'bounced'))('$name', (mode) => {
  test('more requests than slots: the rest waits in the ring, and all are done', async () => {
    const gate = new Gate();
    const { guest } = await machine(mode, { drive: gate.drive() }, { depth: 64, bounce: { slots: 4 } });
    const outcomes = Array.from({ length: 64 }, (_, i) => guest.queue.add(VIRTIO_BLK_T_IN, i, 512));
    guest.queue.go();
    await gate.came(4);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    gate.open();
    for (const outcome of outcomes) {
      const { status, data } = await within(outcome, 'a request that had to wait for a slot');
      expect(status).toBe(VIRTIO_BLK_S_OK);
      expect(data).toEqual(new Uint8Array(512).fill(0xdd));
    }
    await gate.came(64);
  });

  test.each([1, 256])('%i slots for a queue of 64', async (slots) => {
    const { guest } = await machine(mode, { queueSize: 64 }, { depth: 21, bounce: { slots } });
    const load = new GenerationLoad(guest.queues, 16, 64).start();
    await until('200 requests', () => load.requests >= 200);
    await load.stop();
  });

  test.each([
    ['tells of its memory', { buffer: throws }],
    ['is told of what was written', { markDirty: throws }],
  ])(
    'an emulator that throws when it %s does not see it again from within its own calls',
    async (_, bounce) => {
      const errors: Error[] = [];
      runtime.on('deviceError', (_id, error) => errors.push(error));
      const { ram, options } = machineMemory(mode);
      let armed = false;
      const memory = options.memory as BouncedMemory;
      const device = await runtime.addDevice({
        id: 'vda',
        iothread: 'io0',
        drive: { driver: 'memory', size: 1 << 20 },
        completion: mode.completion,
        memory: {
          buffer: () => (armed && 'buffer' in bounce ? bounce.buffer() : memory.buffer()),
          markDirty: () => {
            if (armed && 'markDirty' in bounce) bounce.markDirty();
          },
        },
      });
      const guest = await Guest.start(device, ram, {
        line: new MachineLine(device, mode.completion === 'pull'),
      });
      await guest.queue.read(0);
      armed = true;
      void guest.queue.add(VIRTIO_BLK_T_IN, 0, 512).catch(() => undefined);
      guest.queue.driver.publish();
      device.kick(0);
      await until('the error', () => {
        device.drain();
        return errors.length > 0;
      });
      expect(errors[0]!.message).toContain('the emulator is broken');
      expect(device.virtio.status & VIRTIO_STATUS_NEEDS_RESET).toBe(VIRTIO_STATUS_NEEDS_RESET);
    },
  );
});

function throws(): never {
  throw new Error('the emulator is broken');
}
