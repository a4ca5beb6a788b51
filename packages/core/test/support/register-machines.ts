import { VirtioMmio, VirtioPci, type VirtioPciHost } from '@iothreads/core';
import {
  MmioDriver,
  type PciBus,
  PciDriver,
  type RegisterBus,
  type RegisterDriver,
  splitIntoBytes,
} from '@iothreads/core/testing';
import { expect } from 'vitest';
import { RegisterRig } from './register-rig.js';

/** A level-triggered line as a machine has it. It minds levels that are no change. */
export class Line {
  level = false;
  raised = 0;

  set(level: boolean): void {
    if (level === this.level) throw new Error(`the line is ${level ? 'high' : 'low'} already`);
    this.level = level;
    if (level) this.raised++;
  }
}

type MachineCallbacks = Required<Pick<VirtioPciHost, 'setInterrupt' | 'sendMessage'>>;

/** A device behind a transport's registers, and the machine around it. */
export class Machine<T extends VirtioMmio | VirtioPci = VirtioMmio | VirtioPci> {
  readonly rig: RegisterRig;
  readonly line = new Line();
  /** Messages that were sent: address and data. */
  readonly messages: (readonly number[])[] = [];
  readonly transport: T;
  readonly #makeDriver: () => RegisterDriver;
  driver: RegisterDriver;

  constructor(
    rig: RegisterRig,
    makeTransport: (machine: MachineCallbacks) => T,
    makeDriver: (transport: T) => RegisterDriver,
  ) {
    this.rig = rig;
    this.transport = makeTransport({
      setInterrupt: (level) => {
        this.line.set(level);
      },
      sendMessage: (...message) => {
        this.messages.push(message);
      },
    });
    this.#makeDriver = () => makeDriver(this.transport);
    this.driver = this.#makeDriver();
  }

  /** Another driver comes, as after a firmware's. */
  probeAgain(): void {
    this.driver = this.#makeDriver();
  }

  /** There is one interrupt, from queue `source` or the configuration (-1): takes it, after which it is quiet. */
  hear(source: number): void {
    if (this.driver instanceof PciDriver && this.messages.length > 0) {
      expect(this.messages.splice(0)).toEqual([PciDriver.message(source + 1)]);
      expect(this.line.level).toBe(false);
      return;
    }
    expect(this.line.level).toBe(true);
    expect(this.driver.acknowledgeInterrupt()).toEqual({ queue: source !== -1, config: source === -1 });
    expect(this.line.level).toBe(false);
  }
}

type Wrap = (bus: RegisterBus) => RegisterBus;

/** `numQueues` of 1 unless given; the driver's accesses go through `wrap`. */
export function mmioMachine(rig = new RegisterRig(), wrap: Wrap = (bus) => bus): Machine<VirtioMmio> {
  return new Machine(
    rig,
    ({ setInterrupt }) => new VirtioMmio(rig, { setInterrupt }),
    (mmio) => new MmioDriver(wrap(mmio)),
  );
}

export interface PciMachineOptions {
  readonly bar?: 'io' | 'memory';
  /** The machine can send messages. */
  readonly canSend?: boolean;
  /** The driver wants messages. */
  readonly msix?: boolean;
  readonly wrap?: Wrap;
  readonly bus?: (pci: VirtioPci) => PciBus;
}

export function pciMachine(rig = new RegisterRig(), options: PciMachineOptions = {}): Machine<VirtioPci> {
  const { bar = 'memory', msix = false, canSend = msix, wrap = (bus: RegisterBus) => bus } = options;
  return new Machine(
    rig,
    ({ setInterrupt, sendMessage }) =>
      new VirtioPci(rig, canSend ? { setInterrupt, sendMessage } : { setInterrupt }, { bar }),
    (pci) => new PciDriver(options.bus?.(pci) ?? pci, { msix, wrap }),
  );
}

/** Accesses of BARs that go through the configuration space, as those of firmware do (virtio 1.3 section 4.1.4.9). */
function throughConfigSpace(pci: VirtioPci): PciBus {
  // The fifth structure's capability: behind two of 16 bytes and one of 20.
  const capability = 0x84;
  const point = (bar: number, offset: number, width: number): void => {
    pci.writeConfig(capability + 4, 1, bar);
    pci.writeConfig(capability + 8, 4, offset);
    pci.writeConfig(capability + 12, 4, width);
  };
  return {
    readConfig: (offset, width) => pci.readConfig(offset, width),
    writeConfig: (offset, width, value) => {
      pci.writeConfig(offset, width, value);
    },
    readBar(bar, offset, width) {
      point(bar, offset, width);
      return pci.readConfig(capability + 16, width);
    },
    writeBar(bar, offset, width, value) {
      point(bar, offset, width);
      pci.writeConfig(capability + 16, width, value);
    },
  };
}

/** Every transport, and every way to it. */
export const TRANSPORTS: readonly (readonly [name: string, make: (rig: RegisterRig) => Machine])[] = [
  ['virtio-mmio', (rig) => mmioMachine(rig)],
  ['virtio-mmio, split into bytes', (rig) => mmioMachine(rig, splitIntoBytes)],
  ['virtio-pci in ports', (rig) => pciMachine(rig, { bar: 'io' })],
  ['virtio-pci in ports, split into bytes', (rig) => pciMachine(rig, { bar: 'io', wrap: splitIntoBytes })],
  ['virtio-pci in memory', (rig) => pciMachine(rig)],
  ['virtio-pci through its configuration space', (rig) => pciMachine(rig, { bus: throughConfigSpace })],
  ['virtio-pci with MSI-X that the driver leaves alone', (rig) => pciMachine(rig, { canSend: true })],
  ['virtio-pci with MSI-X', (rig) => pciMachine(rig, { msix: true })],
  ['virtio-pci with MSI-X, split into bytes', (rig) => pciMachine(rig, { msix: true, wrap: splitIntoBytes })],
];
