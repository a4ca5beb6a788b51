// A disk on the bus of a real v86, which has nothing to run: a driver in this process goes through the machine's ports and RAM.
import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { type BlockDevice, IOThreadRuntime } from '@iothreads/iothread';
import { type AttachedDisk, attachDisk, guestMemory, V86Error } from '@iothreads/v86';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BareMachine } from './support/bare-machine.js';
import { MachineDriver } from './support/machine-driver.js';
import { portsBus } from './support/ports-bus.js';

const SECTORS = 2048;

let runtime: IOThreadRuntime;
let machine: BareMachine;

beforeEach(async () => {
  runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  machine = await BareMachine.create();
});

afterEach(async () => {
  await machine[Symbol.asyncDispose]();
  await runtime.close();
});

function addDevice(id: string, completion: 'wake' | 'pull' = 'pull'): Promise<BlockDevice> {
  return runtime.addDevice({
    id,
    iothread: 'iothread0',
    drive: { driver: 'memory', size: SECTORS * 512 },
    memory: guestMemory(machine.emulator),
    completion,
  });
}

async function addDisk(id: string, slot?: number): Promise<AttachedDisk> {
  return attachDisk(machine.emulator, await addDevice(id), slot === undefined ? {} : { slot });
}

const block = (value: number): Uint8Array => new Uint8Array(4096).fill(value);

describe('a disk', () => {
  test.each(['wake', 'pull'] as const)(
    'serves a driver that goes through ports, completions by %s',
    async (completion) => {
      const { slot } = attachDisk(machine.emulator, await addDevice('vda', completion));
      const driver = new MachineDriver(machine, slot);
      expect(driver.pci.capacitySectors).toBe(SECTORS);
      for (let value = 1; value <= 20; value++) {
        const written = await driver.request(VIRTIO_BLK_T_OUT, value * 8, block(value));
        expect(driver.blk.status(written)).toBe(VIRTIO_BLK_S_OK);
      }
      for (let value = 1; value <= 20; value++) {
        const read = await driver.request(VIRTIO_BLK_T_IN, value * 8, block(0));
        expect(driver.blk.data(read)).toEqual(block(value));
      }
    },
  );

  test('goes on when the guest has moved its ports', async () => {
    const { slot } = await addDisk('vda');
    const bus = portsBus(machine.cpu.io, slot);
    const before = bus.readConfig(0x10, 4) & 0xfffc;
    bus.writeConfig(0x10, 4, 0xc000);
    expect(bus.readConfig(0x10, 4)).toBe(0xc001);
    expect(machine.cpu.io.port_read32(before)).toBe(-1);
    // The driver moves it once more.
    const driver = new MachineDriver(machine, slot);
    const read = await driver.request(VIRTIO_BLK_T_IN, 0, block(1));
    expect(driver.blk.data(read)).toEqual(block(0));
  });

  test('says which line its interrupts come by where the BIOS has done its work already', async () => {
    const bridge = portsBus(machine.cpu.io, 1);
    [5, 9, 10, 11].forEach((line, route) => bridge.writeConfig(0x60 + route, 1, line));
    const lines: number[] = [];
    for (const slot of [0x0f, 0x10, 0x11, 0x16]) {
      await addDisk(`disk-${slot}`, slot);
      lines.push(portsBus(machine.cpu.io, slot).readConfig(0x3c, 1));
    }
    // Pin A of each slot leads to the line behind that of the slot before.
    expect(lines).toEqual([10, 11, 5, 9]);
    bridge.writeConfig(0x62, 1, 0x80);
    await addDisk('vde', 0x13);
    expect(portsBus(machine.cpu.io, 0x13).readConfig(0x3c, 1)).toBe(0);
  });

  test('tells of every byte that it writes to RAM', async () => {
    const dirty = new Set<number>();
    const jitDirtyCache = machine.cpu.jit_dirty_cache.bind(machine.cpu);
    machine.cpu.jit_dirty_cache = (start, end) => {
      for (let address = start; address < end; address++) dirty.add(address);
      jitDirtyCache(start, end);
    };
    const driver = new MachineDriver(machine, (await addDisk('vda')).slot);
    const { byteOffset, length } = machine.cpu.mem8;
    await driver.request(VIRTIO_BLK_T_OUT, 0, block(0xaa));
    dirty.clear();
    driver.blk.queue.enableInterrupts();
    const slot = driver.blk.takeSlot();
    driver.blk.data(slot).fill(0);
    driver.blk.start(slot, VIRTIO_BLK_T_IN, 0, 4096);
    driver.blk.publish();
    const before = new Uint8Array(machine.cpu.wasm_memory.buffer, byteOffset, length).slice();
    driver.pci.kick(0);
    await driver.interrupt();
    const after = new Uint8Array(machine.cpu.wasm_memory.buffer, byteOffset, length);
    const silent: number[] = [];
    let written = 0;
    for (let address = 0; address < length; address++) {
      if (before[address] === after[address]) continue;
      written++;
      if (!dirty.has(address)) silent.push(address);
    }
    expect(written).toBeGreaterThan(4096);
    expect(silent).toEqual([]);
  });

  test('finds guest RAM where it is after the memory has grown', async () => {
    const { slot } = await addDisk('vda');
    const first = new MachineDriver(machine, slot);
    await first.request(VIRTIO_BLK_T_OUT, 8, block(7));
    machine.cpu.wasm_memory.grow(16);
    first.pci.reset();
    while (!first.pci.isReset) await new Promise(setImmediate);
    const second = new MachineDriver(machine, slot, 1);
    const read = await second.request(VIRTIO_BLK_T_IN, 8);
    expect(second.blk.data(read)).toEqual(block(7));
  });

  test('is reset with its machine', async () => {
    const { slot, device } = await addDisk('vda');
    const driver = new MachineDriver(machine, slot);
    await driver.request(VIRTIO_BLK_T_OUT, 0, block(1));
    machine.cpu.reboot_internal();
    while (device.virtio.status !== 0) await new Promise(setImmediate);
    const again = new MachineDriver(machine, slot, 1);
    const read = await again.request(VIRTIO_BLK_T_IN, 0);
    expect(again.blk.data(read)).toEqual(block(1));
  });

  test('leaves nothing behind when it is detached', async () => {
    const disk = await addDisk('vda', 0x14);
    const used = (): number => machine.cpu.io.ports.filter(({ device }) => device !== undefined).length;
    const withDisk = used();
    // It moves the ports.
    expect(new MachineDriver(machine, 0x14).pci.capacitySectors).toBe(SECTORS);
    disk.detach();
    disk.detach();
    expect(used()).toBe(withDisk - 256);
    expect(portsBus(machine.cpu.io, 0x14).readConfig(0, 4)).toBe(0xffff_ffff);
    const { slot } = await addDisk('vdb', 0x14);
    const driver = new MachineDriver(machine, slot);
    const read = await driver.request(VIRTIO_BLK_T_IN, 0, block(1));
    expect(driver.blk.data(read)).toEqual(block(0));
  });
});

describe('several disks', () => {
  test('get slots and ports of their own', async () => {
    const disks = [await addDisk('vda'), await addDisk('vdb'), await addDisk('vdc')];
    expect(new Set(disks.map(({ slot }) => slot)).size).toBe(3);
    const drivers = disks.map(({ slot }, place) => {
      const bus = portsBus(machine.cpu.io, slot);
      // All BARs are at different ports when each driver comes to move its own to the same place.
      bus.writeConfig(0x10, 4, 0xd000 + place * 0x100);
      return bus.readConfig(0x10, 4);
    });
    expect(drivers).toEqual([0xd001, 0xd101, 0xd201]);
  });

  test('keep a shared line high until all of them have been heard', async () => {
    // Four slots apart: one line of the bus.
    const disks = [await addDisk('vda', 0x0f), await addDisk('vdb', 0x13)];
    const { pci } = machine.cpu.devices;
    const level = { line: false };
    const raise = pci.raise_irq.bind(pci);
    const lower = pci.lower_irq.bind(pci);
    pci.raise_irq = (pciId) => {
      level.line = true;
      raise(pciId);
    };
    pci.lower_irq = (pciId) => {
      level.line = false;
      lower(pciId);
    };
    const drivers = disks.map(({ slot }, place) => {
      const driver = new MachineDriver(machine, slot, place);
      // The next one is to have these ports.
      portsBus(machine.cpu.io, slot).writeConfig(0x10, 4, 0xd000 + place * 0x100);
      return driver;
    });
    for (const driver of drivers) {
      driver.blk.start(driver.blk.takeSlot(), VIRTIO_BLK_T_IN, 0, 4096);
      driver.blk.publish();
      driver.pci.kick(0);
    }
    while (!disks.every((disk) => disk.interrupting)) {
      machine.tick();
      await new Promise(setImmediate);
    }
    expect(level.line).toBe(true);
    drivers[0]!.pci.acknowledgeInterrupt();
    expect(level.line).toBe(true);
    // Another device on the line has nothing to tell any more.
    pci.lower_irq(0x0f << 3);
    machine.tick();
    expect(level.line).toBe(true);
    drivers[1]!.pci.acknowledgeInterrupt();
    expect(level.line).toBe(false);
    machine.tick();
    expect(level.line).toBe(false);
  });
});

describe('a mistake', () => {
  test('an emulator that is not loaded', () => {
    expect(() => guestMemory({} as never)).toThrow(expect.objectContaining({ code: 'ERR_EMULATOR' }));
  });

  test('a version of v86 that is another', () => {
    const { cpu } = machine;
    const other = { v86: { cpu: { ...cpu, io: cpu.io, devices: cpu.devices, jit_dirty_cache: undefined } } };
    expect(() => guestMemory(other as never)).toThrow(/no jit_dirty_cache/);
  });

  test.each([[1], [32], [2.5]])('slot %d', async (slot) => {
    const device = await addDevice('vda');
    expect(() => attachDisk(machine.emulator, device, { slot })).toThrow(V86Error);
  });

  test('a slot that is taken', async () => {
    await addDisk('vda', 9);
    await expect(addDisk('vdb', 9)).rejects.toMatchObject({ code: 'ERR_SLOT', message: 'slot 9 is taken' });
  });

  test('more queues than there are ports for', async () => {
    const device = await runtime.addDevice({
      id: 'vda',
      iothread: 'iothread0',
      drive: { driver: 'memory', size: 4096 },
      memory: guestMemory(machine.emulator, { slotBytes: 4096, slots: 1 }),
      numQueues: 64,
    });
    expect(() => attachDisk(machine.emulator, device)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_OPTION' }),
    );
  });
});
