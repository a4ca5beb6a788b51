import {
  CONFIG_INTERRUPT,
  PCI_COMMAND,
  VIRTIO_STATUS_DRIVER_OK,
  type VirtioMmio,
  VirtioPci,
} from '@iothreads/core';
import type { RegisterBus } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { type Machine, mmioMachine, pciMachine } from './support/register-machines.js';
import { CAPACITY_SECTORS, RegisterRig } from './support/register-rig.js';
import { random, seed } from './support/seed.js';
import { StartedDevice } from './support/started-device.js';

const ROUNDS = 60;
const STEPS = 400;
const WIDTHS = [1, 2, 4] as const;

/** Hands out numbers that mean something to a device more often than chance would. */
class Chooser {
  readonly #next: () => number;

  constructor(start: number) {
    this.#next = random(start);
  }

  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  value(): number {
    return this.pick([
      this.below(16),
      1 << this.below(8),
      [1, 3, 11, 15][this.below(4)]!,
      0x1_0000 + 16 * this.below(0x1000),
      this.below(2 ** 32),
      -this.below(2 ** 31),
      0xffff_ffff,
    ]);
  }

  offset(bytes: number): number {
    return this.below(20) === 0 ? this.pick([-2, bytes - 2, bytes + 8, 2 ** 32]) : this.below(bytes);
  }
}

/** One thing that a guest, or the device behind its back, may do. */
function step(machine: Machine, choose: Chooser): void {
  const { rig, transport } = machine;
  switch (choose.below(12)) {
    case 0:
      rig.interrupt(choose.pick([CONFIG_INTERRUPT, 0, 1, 2]));
      break;
    case 1:
      rig.deliver();
      break;
    case 2:
      rig.resize(choose.below(1000));
      break;
    case 3:
      rig.holdReset = choose.below(2) === 0;
      rig.holdStop = choose.below(2) === 0;
      break;
    case 4:
      rig.finishReset();
      rig.finishStops();
      break;
    default:
      if (transport instanceof VirtioPci) accessPci(transport, choose);
      else accessMmio(transport, choose);
  }
}

function accessMmio(mmio: VirtioMmio, choose: Chooser): void {
  const offset = choose.offset(0x200);
  const at = choose.below(4) === 0 ? offset : offset & ~3;
  access(mmio, at, choose);
}

function accessPci(pci: VirtioPci, choose: Chooser): void {
  if (choose.below(4) === 0) {
    const config: Registers = {
      read: (offset, width) => pci.readConfig(offset, width),
      write: (offset, width, value) => {
        pci.writeConfig(offset, width, value);
      },
    };
    // The command, and capabilities, more often than the rest.
    access(config, choose.pick([PCI_COMMAND, 0x84 + choose.below(0x20), choose.offset(256)]), choose);
    return;
  }
  const bar = choose.pick([0, 0, 0, 1, 2]);
  const registers: Registers = {
    read: (offset, width) => pci.readBar(bar, offset, width),
    write: (offset, width, value) => {
      pci.writeBar(bar, offset, width, value);
    },
    read64: (offset) => pci.readBar64(bar, offset),
    write64: (offset, value) => {
      pci.writeBar64(bar, offset, value);
    },
  };
  access(registers, choose.offset(bar === 0 ? 0x90 : 0x60), choose);
}

type Registers = RegisterBus & Partial<Pick<VirtioMmio, 'read64' | 'write64'>>;

function access(registers: Registers, offset: number, choose: Chooser): void {
  const width = choose.pick(WIDTHS);
  if (choose.below(30) === 0) {
    registers.write64?.(offset, BigInt(choose.value()));
    registers.read64?.(offset);
  } else if (choose.below(3) === 0) {
    const read = registers.read(offset, width);
    if (!(Number.isInteger(read) && read >= 0 && read < 2 ** (8 * width))) {
      throw new Error(`read ${read} of ${width} bytes`);
    }
  } else {
    registers.write(offset, width, choose.value());
  }
}

describe.each<[string, (rig: RegisterRig) => Machine]>([
  ['virtio-mmio', (rig) => mmioMachine(rig)],
  ['virtio-pci in ports', (rig) => pciMachine(rig, { bar: 'io' })],
  ['virtio-pci with MSI-X', (rig) => pciMachine(rig, { canSend: true })],
])('%s', (_, make) => {
  test(`random accesses are survived, and a reset leads out of them; seed ${seed}`, () => {
    let running = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const choose = new Chooser(seed + round);
      const rig = new RegisterRig(3);
      const machine = make(rig);
      // Every other round begins with a device that runs.
      if (round % 2 === 0) void new StartedDevice(rig, machine.driver);
      for (let i = 0; i < STEPS; i++) step(machine, choose);
      if ((rig.virtio.status & VIRTIO_STATUS_DRIVER_OK) !== 0) running++;
      // What was saved anywhere is a state that can be restored.
      const state: unknown = JSON.parse(JSON.stringify(machine.transport.saveState()));
      machine.transport.restoreState(state);
      expect(machine.transport.saveState()).toEqual(state);
      rig.holdReset = rig.holdStop = false;
      machine.driver.reset();
      rig.finishReset();
      rig.resize(CAPACITY_SECTORS);
      rig.deliver();
      expect(machine.line.level).toBe(false);
      machine.messages.length = 0;
      machine.probeAgain();
      const started = new StartedDevice(rig, machine.driver);
      for (const index of [0, 1, 2]) {
        started.roundTrip(index, index, () => {
          machine.hear(index);
        });
      }
    }
    expect(running).toBeGreaterThan(0);
  });
});
