// When an emulator's thread looks for completions. The device counts the looks; only that there are some depends on a clock.
import { attachDisk, type AttachOptions } from '@iothreads/v86';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BareMachine } from './support/bare-machine.js';
import { LateDevice } from './support/late-device.js';
import { MachineDriver } from './support/machine-driver.js';

/** Long enough for any number of looks below. */
const LONG_NS = 10e9;
const OFF = { pollMaxNs: 0, kickPollMaxNs: 0 };

let machine: BareMachine;
let device: LateDevice;
let driver: MachineDriver;

beforeEach(async () => {
  machine = await BareMachine.create();
  device = new LateDevice(machine);
});

afterEach(() => machine[Symbol.asyncDispose]());

function attach(options: AttachOptions): void {
  driver = new MachineDriver(machine, attachDisk(machine.emulator, device, options).slot);
}

const interrupted = (): boolean => driver.pci.acknowledgeInterrupt().queue;

test('without polling a look a tick is all', () => {
  attach(OFF);
  machine.cpu.in_hlt[0] = 1;
  for (let round = 0; round < 5; round++) {
    device.looks = 3;
    driver.pci.kick(0);
    const ticks = [1, 2, 3].map(() => {
      machine.tick();
      return interrupted();
    });
    expect(ticks).toEqual([false, false, true]);
  }
});

test('a doorbell waits for what comes soon, once it has seen that it does', () => {
  attach({ ...OFF, kickPollMaxNs: LONG_NS });
  driver.pci.kick(0);
  expect(interrupted()).toBe(false);
  machine.tick();
  expect(interrupted()).toBe(true);
  for (let round = 0; round < 5; round++) {
    driver.pci.kick(0);
    expect(interrupted()).toBe(true);
  }
});

test('a halted guest waits for what comes soon, a running one does not', () => {
  attach({ ...OFF, pollMaxNs: LONG_NS });
  device.looks = 2;
  for (let round = 0; round < 5; round++) {
    machine.cpu.in_hlt[0] = 1;
    driver.pci.kick(0);
    machine.tick();
    // Before the first time it knows nothing.
    if (round === 0) machine.tick();
    expect(interrupted()).toBe(true);
    machine.cpu.in_hlt[0] = 0;
    driver.pci.kick(0);
    machine.tick();
    expect(interrupted()).toBe(false);
    machine.tick();
    expect(interrupted()).toBe(true);
  }
});

test('before a halted guest sleeps with a request in flight, the device is asked to wake it up', () => {
  attach(OFF);
  machine.cpu.in_hlt[0] = 1;
  machine.tick();
  expect(device.armed).toBe(0);
  device.looks = 2;
  driver.pci.kick(0);
  machine.cpu.in_hlt[0] = 0;
  machine.tick();
  expect(device.armed).toBe(0);
  device.looks = 3;
  driver.pci.kick(0);
  machine.cpu.in_hlt[0] = 1;
  machine.tick();
  expect(device.armed).toBe(1);
});
